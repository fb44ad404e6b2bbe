//! cvc5 as a process of its own. What it cannot do in time is unknown, never proved.

use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, Env};
use std::ffi::OsString;
use std::future::Future;
use std::time::Duration;
use tokio::process::Command;

/// What one question may take. `--tlimit` would count the idle time of the process too.
const LIMIT: &str = "--tlimit-per=60000";
/// When the solver does not keep its own limit.
const PATIENCE: Duration = Duration::from_secs(90);

/// What turns policies into terms, and puts them to cvc5.
pub(crate) type Compiler = CedarSymCompiler<LocalSolver>;

/// Why there is no solver.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SolverFault {
    /// Not there, or not to be run.
    #[error("cannot run cvc5 (`{program}`): {error}; install the package `cvc5`, or set CVC5")]
    Missing {
        /// What was tried.
        program: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// Something else of that name.
    #[error("`{program}` does not say that it is cvc5: set CVC5 to the one that is")]
    Stranger {
        /// What was tried.
        program: String,
    },
}

fn program() -> OsString {
    std::env::var_os("CVC5").filter(|path| !path.is_empty()).unwrap_or_else(|| "cvc5".into())
}

/// The solver as it names itself.
pub(crate) async fn name() -> Result<String, SolverFault> {
    let program = || program().to_string_lossy().into_owned();
    let asked = Command::new(self::program()).arg("--version").kill_on_drop(true).output().await;
    let said = asked.map_err(|error| SolverFault::Missing { program: program(), error })?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.split_whitespace().skip_while(|word| *word != "version").nth(1);
    match version.filter(|_| said.contains("cvc5")) {
        Some(version) => Ok(format!("cvc5 {version}")),
        None => Err(SolverFault::Stranger { program: program() }),
    }
}

/// A solver, started when it is first needed and again after it has failed.
#[derive(Default)]
pub(crate) struct Solver {
    running: Option<Compiler>,
    pub(crate) questions: u64,
}

/// What it takes to put one question.
pub(crate) trait Question {
    /// Asks; a counter-example, or none where there is none.
    fn put(&self, compiler: &mut Compiler) -> impl Future<Output = Result<Option<Env>, String>>;
}

impl Solver {
    /// A counter-example, or none where there is none; an error where nobody knows. After an
    /// error the process may be in any state, so the next question gets another.
    pub(crate) async fn ask(&mut self, question: &impl Question) -> Result<Option<Env>, String> {
        self.questions += 1;
        let mut solver = match self.running.take() {
            Some(solver) => solver,
            None => start()?,
        };
        let answer = tokio::time::timeout(PATIENCE, question.put(&mut solver)).await;
        let answer = answer.map_err(|_| format!("no answer in {} s", PATIENCE.as_secs()))?;
        let answer = answer?;
        self.running = Some(solver);
        Ok(answer)
    }
}

fn start() -> Result<Compiler, String> {
    let mut command = Command::new(program());
    command.args(["--lang", "smt", LIMIT]).kill_on_drop(true);
    let solver = LocalSolver::from_command(&mut command).map_err(|error| with_causes(&error))?;
    CedarSymCompiler::new(solver).map_err(|error| with_causes(&error))
}

/// An error with what led to it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
