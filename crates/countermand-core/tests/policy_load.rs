//! What may be put in force, and what is refused with which words.
#![allow(clippy::unwrap_used)]

use countermand_core::effect::Effect;
use countermand_core::policy::{Fault, Grant, Policy, PolicyError, World};

fn world() -> World {
    let grant = Grant {
        targets: ["db".parse().unwrap()].into(),
        effects: [Effect::Read, Effect::Destroy].into(),
    };
    World {
        groups: ["dba".parse().unwrap(), "on-call.eu".parse().unwrap()].into(),
        sponsors: [("alice".parse().unwrap(), grant.clone())].into(),
        agents: [("bot".parse().unwrap(), ("alice".parse().unwrap(), grant))].into(),
    }
}

fn load(text: &str) -> Result<Policy, PolicyError> {
    Policy::load(&world(), &[("site.cedar".to_owned(), text.to_owned())])
}

fn error(text: &str) -> PolicyError {
    match load(text) {
        Ok(_) => panic!("loaded: {text}"),
        Err(error) => error,
    }
}

/// Why this is refused under `unless`.
fn fault(condition: &str) -> Fault {
    fault_of(&format!("unless {{ {condition} }}"))
}

fn fault_of(clauses: &str) -> Fault {
    let text = format!("@id(\"x\") @reason(\"r\") forbid (principal, action, resource) {clauses};");
    match error(&text) {
        PolicyError::Refused { fault, .. } => fault,
        other => panic!("{clauses}: {other}"),
    }
}

fn accepts(clauses: &str) {
    let text = format!("@id(\"x\") @reason(\"r\") forbid (principal, action, resource) {clauses};");
    if let Err(error) = load(&text) {
        panic!("{clauses}: {error}");
    }
}

#[test]
fn evidence_is_accepted_where_it_can_only_help() {
    for condition in [
        "context.evidence.approvals.peers >= 2",
        "context.evidence.approvals.groups.dba >= 1",
        "context.evidence.approvals.groups[\"on-call.eu\"] >= 1",
        "context[\"evidence\"].restore_point.trial",
        "context.evidence.restore_point.verified && context.evidence.rehearsed",
        "context.evidence.confirmed || (context.evidence.cooled_seconds >= 5 && context.roots < 3)",
        "!(context.roots > 3) && context.evidence.rehearsed",
        "resource.name like \"*.scratch\" || context.evidence.rehearsed",
        "(if context.solo then context.roots > 1 else context.roots > 2) || context.evidence.rehearsed",
        "[\"table\", \"view\"].contains(resource.kind)",
        "resource.target.tags.containsAny([\"a\", \"b\"])",
        "resource in Environment::\"staging\" && principal in Sponsor::\"alice\"",
    ] {
        accepts(&format!("unless {{ {condition} }}"));
    }
    accepts(
        "when { context.roots > 1 } unless { context.evidence.rehearsed } unless { context.solo }",
    );
}

#[test]
fn evidence_is_refused_where_it_could_hurt() {
    for condition in [
        "!context.evidence.rehearsed",
        "!(context.solo && context.evidence.rehearsed)",
        "context.evidence.rehearsed == true",
        "context.evidence.rehearsed == false",
        "context.evidence.rehearsed != false",
        "context.evidence.approvals.peers == 1",
        "context.evidence.approvals.peers < 3",
        "context.evidence.approvals.peers > 3",
        "3 <= context.evidence.approvals.peers",
        "context.evidence.approvals.peers >= context.roots",
        "context.roots >= context.evidence.approvals.peers",
        "context.evidence.approvals.peers >= context.evidence.approvals.groups.dba",
        "if context.evidence.rehearsed then context.solo else true",
        "if context.solo then context.evidence.rehearsed else false",
        "[context.evidence.rehearsed].contains(true)",
        "[1, context.evidence.approvals.peers].containsAny([2])",
        "context.evidence == context.evidence",
        "context.evidence has rehearsed",
        "context.evidence.approvals has peers",
        "{seen: context.evidence.rehearsed} == {seen: true}",
    ] {
        assert!(matches!(fault(condition), Fault::Misplaced(_)), "{condition}");
    }
    for clauses in [
        "when { context.evidence.rehearsed }",
        "when { context.evidence.approvals.peers >= 1 }",
        "when { !context.evidence.rehearsed }",
        "unless { context.solo } when { context.evidence.rehearsed }",
    ] {
        assert!(matches!(fault_of(clauses), Fault::Misplaced(_)), "{clauses}");
    }
}

#[test]
fn context_as_a_whole_is_refused() {
    for condition in [
        "context == context",
        "context has evidence",
        "context has evidence.rehearsed",
        "[context].contains(context)",
        "{a: context} == {a: context}",
        "(if context.solo then context else context) == context",
    ] {
        assert_eq!(fault(condition), Fault::WholeContext, "{condition}");
    }
    // An alias that is only ever read from is no better.
    assert_eq!(
        fault("(if context.solo then context else context).evidence.rehearsed"),
        Fault::Elsewhere("evidence".to_owned()),
    );
    assert_eq!(fault("{a: context}.a.evidence.rehearsed"), Fault::Elsewhere("a".to_owned()));
}

#[test]
fn what_could_fail_is_refused() {
    for condition in [
        "context.roots + 9223372036854775807 > 3",
        "context.roots * 2 > 3",
        "context.roots - 2 > 3",
        "-(context.roots) > 3",
        "ip(\"10.0.0.1\").isLoopback()",
        "decimal(\"1.0\").lessThan(decimal(\"2.0\"))",
        "resource.getTag(\"x\") == \"y\"",
        "context.evidence.rehearsed && context.roots + 1 > 3",
    ] {
        assert!(matches!(fault(condition), Fault::CanFail(_)), "{condition}");
    }
    assert_eq!(
        fault("Target::\"other\".tags.contains(\"x\")"),
        Fault::Elsewhere("tags".to_owned()),
    );
}

#[test]
fn evidence_that_does_not_exist_is_named() {
    assert_eq!(
        fault("context.evidence.approvals.groups.dbas >= 1").to_string(),
        "the reviewer group `dbas` is not configured: there are `dba`, `on-call.eu`",
    );
    assert_eq!(
        fault("context.evidence.luck").to_string(),
        "there is no evidence `context.evidence.luck`",
    );
    assert_eq!(fault("context.evidence").to_string(), "there is no evidence `context.evidence`",);
}

#[test]
fn evidence_has_one_shape() {
    assert_eq!(
        fault("context.evidence.approvals.peers || true").to_string(),
        "`context.evidence.approvals.peers` is a count: write `>=` and a number behind it",
    );
    assert_eq!(
        fault("context.evidence.rehearsed >= 1").to_string(),
        "`context.evidence.rehearsed` is a flag: write it bare",
    );
    for number in ["0", "-1", "1000000001"] {
        let fault = fault(&format!("context.evidence.approvals.peers >= {number}"));
        assert!(matches!(fault, Fault::Number { .. }), "{number}: {fault}");
    }
}

#[test]
fn the_search_is_bounded_when_a_policy_is_loaded() {
    let many: Vec<String> =
        (1..=300).map(|n| format!("context.evidence.approvals.peers >= {n}")).collect();
    // 255 thresholds of one kind are 256 combinations; `||` nests to the left.
    assert_eq!(
        fault(
            &many[..200]
                .join(" || ")
                .replace("peers >= 200", "peers >= 200 || context.evidence.rehearsed")
        ),
        Fault::TooMany
    );
    accepts(&format!("unless {{ {} }}", many[..200].join(" || ")));
    assert_eq!(fault(&many.join(" || ")), Fault::TooDeep);
}

#[test]
fn every_policy_is_named_gives_a_reason_and_forbids() {
    let refused = |text: &str| error(text).to_string();
    assert_eq!(
        refused("forbid (principal, action, resource);"),
        "`site.cedar`: policy 1 has no `@id(\"…\")`: give it one",
    );
    assert_eq!(
        refused("@id(\"a\") forbid (principal, action, resource);"),
        "`site.cedar`: policy `a` has no `@reason(\"…\")`: say why it forbids",
    );
    assert_eq!(
        refused("@id(\"a b\") @reason(\"r\") forbid (principal, action, resource);"),
        "`site.cedar`: `a b` is not an id: use 1 to 100 of a-z, A-Z, 0-9, `-`, `_`, `.` and `/`",
    );
    for permit in [
        "@id(\"a\") permit (principal, action, resource);",
        "@id(\"a\") @reason(\"r\") permit (principal, action, resource) when { context.evidence.rehearsed };",
    ] {
        assert!(matches!(error(permit), PolicyError::Permit { .. }), "{permit}");
    }
    for id in ["floor/hard-stop", "floor/mine", "grant/agent/bot", "countermand/empty"] {
        let text = format!("@id(\"{id}\") @reason(\"r\") forbid (principal, action, resource);");
        assert!(matches!(error(&text), PolicyError::ReservedId { .. }), "{id}");
    }
    let template = "@id(\"a\") @reason(\"r\") forbid (principal == ?principal, action, resource);";
    assert!(matches!(error(template), PolicyError::Template { .. }));
    assert!(matches!(error("forbid (principal"), PolicyError::Syntax { .. }));
    assert!(matches!(error(&" ".repeat(300_000)), PolicyError::TooLarge { .. }));
}

#[test]
fn an_id_is_used_once_in_all_files() {
    let text = "@id(\"a\") @reason(\"r\") forbid (principal, action, resource);".to_owned();
    let files = [("one.cedar".to_owned(), text.clone()), ("two.cedar".to_owned(), text.clone())];
    let error = Policy::load(&world(), &files).err().unwrap().to_string();
    assert_eq!(
        error,
        "`two.cedar`: policy `a` is there already, in `one.cedar`: give one another id"
    );
    assert!(matches!(self::error(&text.repeat(2)), PolicyError::DuplicateId { .. }));
}

#[test]
fn what_does_not_validate_strictly_is_refused() {
    for clauses in [
        "(principal, action == Action::\"postgres:DropTabel\", resource)",
        "(principal, action in Action::\"Destory\", resource)",
        "(principal == User::\"bot\", action, resource)",
        "(principal, action, resource) when { resource.owner == \"x\" }",
        "(principal, action, resource) when { resource.name == 3 }",
        "(principal, action, resource) unless { context.lucky }",
        // Can never apply: the site meant something else.
        "(principal, action, resource) when { resource is Agent }",
        "(principal, action in Action::\"Read\", resource) when { action in Action::\"Destroy\" }",
    ] {
        let text = format!("@id(\"x\") @reason(\"r\") forbid {clauses};");
        assert!(matches!(error(&text), PolicyError::Invalid { .. }), "{clauses}");
    }
}

#[test]
fn an_agent_has_a_sponsor() {
    let mut world = world();
    world.sponsors.clear();
    let error = Policy::load(&world, &[]).err().unwrap().to_string();
    assert_eq!(error, "agent `bot` acts for `alice`, who is not among the sponsors: add a grant");
}

#[test]
fn empty_grants_load() {
    let mut world = world();
    world.agents.values_mut().for_each(|(_, grant)| *grant = Grant::default());
    world.sponsors.values_mut().for_each(|grant| grant.targets.clear());
    assert!(Policy::load(&world, &[]).is_ok());
}

#[test]
fn the_digest_names_world_and_site() {
    let digest = |world: &World, files: &[(&str, &str)]| {
        let files: Vec<_> =
            files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        Policy::load(world, &files).unwrap().digest()
    };
    let forbid = "@id(\"a\") @reason(\"r\") forbid (principal, action, resource);";
    let bare = digest(&world(), &[]);
    assert_eq!(bare, digest(&world(), &[]));
    assert_ne!(bare, digest(&world(), &[("a.cedar", forbid)]));
    assert_eq!(
        digest(&world(), &[("a.cedar", forbid), ("b.cedar", "")]),
        digest(&world(), &[("b.cedar", ""), ("a.cedar", forbid)]),
    );
    let mut other = world();
    other.agents.values_mut().for_each(|(_, grant)| grant.effects.clear());
    assert_ne!(bare, digest(&other, &[]));
}

#[test]
fn policies_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Policy>();
}
