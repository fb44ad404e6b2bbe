//! Where each kind of entry stands in OCSF: one table, which `docs/siem.md` shows.

use countermand_core::effect::Effect;
use countermand_engine::Kind;

/// A class of OCSF that entries are told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    AccountChange,
    ApiActivity,
    ApplicationLifecycle,
    Authentication,
    DetectionFinding,
    EntityManagement,
}

impl Class {
    /// `class_uid`; its thousands are `category_uid`.
    pub(crate) fn uid(self) -> u64 {
        match self {
            Class::DetectionFinding => 2004,
            Class::AccountChange => 3001,
            Class::Authentication => 3002,
            Class::EntityManagement => 3004,
            Class::ApplicationLifecycle => 6002,
            Class::ApiActivity => 6003,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::DetectionFinding => "Detection Finding",
            Class::AccountChange => "Account Change",
            Class::Authentication => "Authentication",
            Class::EntityManagement => "Entity Management",
            Class::ApplicationLifecycle => "Application Lifecycle",
            Class::ApiActivity => "API Activity",
        }
    }

    pub(crate) fn category(self) -> &'static str {
        match self.uid() / 1000 {
            2 => "Findings",
            3 => "Identity & Access Management",
            _ => "Application Activity",
        }
    }
}

/// What is done, with its `activity_id` in its class. What the class has no word for is `Other`, by
/// the name that it has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    Close,
    Create,
    Delete,
    Disable,
    Logon,
    Other(&'static str),
    Read,
    Resume,
    Start,
    Stop,
    Suspend,
    Update,
}

impl Activity {
    /// `activity_id` and `activity_name`. What a class has no number for is 99, as the schema asks.
    pub(crate) fn of(self, class: Class) -> (u64, &'static str) {
        let crud = matches!(class, Class::ApiActivity | Class::EntityManagement);
        let entity = class == Class::EntityManagement;
        let finding = class == Class::DetectionFinding;
        match self {
            Activity::Create => (1, "Create"),
            Activity::Read if crud => (2, "Read"),
            Activity::Update if crud => (3, "Update"),
            Activity::Update if finding => (2, "Update"),
            Activity::Delete if crud => (4, "Delete"),
            Activity::Close if finding => (3, "Close"),
            Activity::Disable if class == Class::AccountChange => (5, "Disable"),
            Activity::Logon if class == Class::Authentication => (1, "Logon"),
            Activity::Suspend if entity => (12, "Suspend"),
            Activity::Resume if entity => (13, "Resume"),
            Activity::Start if class == Class::ApplicationLifecycle => (3, "Start"),
            Activity::Stop if class == Class::ApplicationLifecycle => (4, "Stop"),
            Activity::Other(name) => (99, name),
            Activity::Read => (99, "Read"),
            Activity::Update => (99, "Update"),
            Activity::Delete => (99, "Delete"),
            Activity::Close => (99, "Close"),
            Activity::Disable => (99, "Disable"),
            Activity::Logon => (99, "Logon"),
            Activity::Resume => (99, "Resume"),
            Activity::Start => (99, "Start"),
            Activity::Stop => (99, "Stop"),
            Activity::Suspend => (99, "Suspend"),
        }
    }
}

/// `severity_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Severity::Informational => "Informational",
            Severity::Low => "Low",
            Severity::Medium => "Medium",
            Severity::High => "High",
            Severity::Critical => "Critical",
        }
    }
}

/// Whether it went well, as far as the entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Unknown,
    Success,
    Failure,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) class: Class,
    pub(crate) activity: Activity,
    pub(crate) severity: Severity,
    pub(crate) status: Status,
}

fn at(class: Class, activity: Activity, severity: Severity, status: Status) -> Place {
    Place { class, activity, severity, status }
}

/// Where entries of this kind stand. Of [`Kind::FlowIntent`] and of each part of [`Kind::FlowBatch`]
/// their content decides: [`intended`], [`flowed`], [`refused`], [`ended`], [`CIRCUIT`].
pub(crate) fn of(kind: Kind) -> Place {
    use Activity::{
        Close, Create, Delete, Disable, Logon, Other, Read, Resume, Start, Stop, Suspend, Update,
    };
    use Class::{
        AccountChange, ApiActivity, ApplicationLifecycle, Authentication, DetectionFinding,
        EntityManagement,
    };
    use Severity::{Critical, High, Informational, Low, Medium};
    use Status::{Failure, Success, Unknown};
    match kind {
        Kind::GatewayStarted => at(ApplicationLifecycle, Start, Informational, Success),
        Kind::GatewayStopped => at(ApplicationLifecycle, Stop, Low, Success),
        Kind::GatewayBackedUp => at(ApplicationLifecycle, Other("Back Up"), Low, Success),
        Kind::GatewayRestored => at(ApplicationLifecycle, Other("Restore"), High, Success),
        Kind::SessionOpened => at(Authentication, Logon, Informational, Success),
        Kind::SessionRefused => at(Authentication, Logon, High, Failure),
        Kind::FlowBatch => at(ApiActivity, Read, Informational, Unknown),
        Kind::FlowIntent => intended(None, false),
        Kind::ChangeHeld => at(ApiActivity, Create, Medium, Success),
        Kind::ChangeTrialTaken => at(ApiActivity, Update, Informational, Success),
        Kind::ChangeTrialFailed => at(ApiActivity, Update, Low, Failure),
        Kind::ChangeRehearsed => at(ApiActivity, Update, Informational, Success),
        Kind::ChangeRehearsalFailed => at(ApiActivity, Update, Low, Failure),
        Kind::ChangeApproved => at(ApiActivity, Update, Medium, Success),
        Kind::ChangeRejected => at(ApiActivity, Update, Medium, Success),
        Kind::ChangeCoolingStopped => at(ApiActivity, Update, Medium, Success),
        Kind::ChangeCoolingRestarted => at(ApiActivity, Update, Informational, Success),
        Kind::ChangeVoided => at(ApiActivity, Update, Low, Success),
        Kind::ChangeStarted => at(ApiActivity, Update, Medium, Success),
        Kind::ChangeCommitting => at(ApiActivity, Update, Medium, Unknown),
        Kind::ChangeExecuted => at(ApiActivity, Update, High, Success),
        Kind::ChangeRolledBack => at(ApiActivity, Update, Medium, Failure),
        Kind::ChangeInDoubt => at(DetectionFinding, Create, Critical, Unknown),
        Kind::ChangeResolved => at(DetectionFinding, Close, Medium, Unknown),
        Kind::ChangeDelivered => at(ApiActivity, Read, Informational, Success),
        Kind::ChangeWithdrawn => at(ApiActivity, Update, Low, Success),
        Kind::ChangeExpired => at(ApiActivity, Update, Informational, Success),
        Kind::ChangeRestored => at(ApiActivity, Update, High, Success),
        Kind::ChangeRestoreFailed => at(ApiActivity, Update, High, Failure),
        Kind::ChangeRestoreBegun => at(ApiActivity, Update, Medium, Unknown),
        Kind::ChangeStandingEnded => at(ApiActivity, Update, Low, Success),
        Kind::ChangeRestoreInDoubt => at(ApiActivity, Update, Critical, Unknown),
        Kind::ChangeForbidden => at(ApiActivity, Create, Medium, Failure),
        Kind::ChangeAdopted => at(ApiActivity, Update, Medium, Success),
        Kind::ChangeWatchNotReady => at(ApiActivity, Update, Low, Failure),
        Kind::ChangeWatchBegun => at(ApiActivity, Update, Informational, Success),
        Kind::ChangeWatchPassed => at(ApiActivity, Update, Informational, Success),
        Kind::ChangeWatchFailed => at(ApiActivity, Update, High, Failure),
        Kind::ChangeWatchUnfinished => at(ApiActivity, Update, Low, Failure),
        Kind::TakeBackIntended => at(ApiActivity, Update, Medium, Unknown),
        Kind::TakeBackDone => at(ApiActivity, Update, High, Success),
        Kind::TakeBackFailed => at(ApiActivity, Update, High, Failure),
        Kind::AgentAdded => at(AccountChange, Create, Medium, Success),
        Kind::AgentRevoked => at(AccountChange, Disable, Medium, Success),
        Kind::AgentProbation => at(AccountChange, Other("Probation"), Low, Success),
        Kind::FreezeOn => at(EntityManagement, Suspend, High, Success),
        Kind::FreezeOff => at(EntityManagement, Resume, High, Success),
        Kind::StandingApproved => at(EntityManagement, Create, Medium, Success),
        Kind::StandingEnded => at(EntityManagement, Delete, Low, Success),
        Kind::ConfigProposed => at(EntityManagement, Create, Medium, Success),
        Kind::ConfigApproved => at(EntityManagement, Update, Medium, Success),
        Kind::ConfigStopped => at(EntityManagement, Delete, Low, Success),
        Kind::ConfigApplied => at(EntityManagement, Update, High, Success),
        Kind::LedgerKeyChanged => at(EntityManagement, Update, Critical, Success),
        Kind::LedgerKeyVouched => at(EntityManagement, Update, Medium, Success),
        Kind::LedgerTextsKeyChanged => at(EntityManagement, Update, High, Success),
        Kind::TextsErased => at(EntityManagement, Delete, Medium, Success),
        Kind::TargetBackupStale => at(DetectionFinding, Create, High, Unknown),
        Kind::TargetBackupFresh => at(DetectionFinding, Close, Informational, Unknown),
    }
}

/// A write that is about to flow, by the worst that it names; `observed`: though it would have been held,
/// were its target not observed.
pub(crate) fn intended(effect: Option<Effect>, observed: bool) -> Place {
    at(Class::ApiActivity, by_effect(effect), that_flows(effect, observed), Status::Unknown)
}

/// Something that flowed.
pub(crate) fn flowed(effect: Option<Effect>, observed: bool, ok: bool) -> Place {
    let status = if ok { Status::Success } else { Status::Failure };
    at(Class::ApiActivity, by_effect(effect), that_flows(effect, observed), status)
}

/// What destroys, or is not understood, flows where it is allowed: in what is disposable, say.
fn that_flows(effect: Option<Effect>, observed: bool) -> Severity {
    match effect {
        _ if observed => Severity::High,
        Some(Effect::Read | Effect::Write) => Severity::Informational,
        Some(Effect::Destroy | Effect::Grant | Effect::Network | Effect::Opaque) | None => {
            Severity::Medium
        }
    }
}

/// Something that was refused. Production has seen nothing of it.
pub(crate) fn refused(effect: Option<Effect>) -> Place {
    at(Class::ApiActivity, by_effect(effect), Severity::Medium, Status::Failure)
}

/// How a write ended.
pub(crate) fn ended(ok: Option<bool>) -> Place {
    let (severity, status) = match ok {
        Some(true) => (Severity::Informational, Status::Success),
        Some(false) => (Severity::Informational, Status::Failure),
        None => (Severity::Medium, Status::Unknown),
    };
    at(Class::ApiActivity, Activity::Other("Write Ended"), severity, status)
}

/// An agent's circuit has opened: it was refused too often.
pub(crate) const CIRCUIT: Place = Place {
    class: Class::ApiActivity,
    activity: Activity::Other("Circuit Opened"),
    severity: Severity::Medium,
    status: Status::Success,
};

fn by_effect(effect: Option<Effect>) -> Activity {
    match effect {
        Some(Effect::Read) => Activity::Read,
        Some(Effect::Write) => Activity::Update,
        Some(Effect::Destroy) => Activity::Delete,
        Some(Effect::Grant) => Activity::Other("Grant"),
        Some(Effect::Network) => Activity::Other("Network"),
        Some(Effect::Opaque) | None => Activity::Other("Opaque"),
    }
}
