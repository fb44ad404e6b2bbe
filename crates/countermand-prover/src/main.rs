//! `countermand-policy-prover`: claims about policies on standard input, verdicts on standard
//! output, both JSON. It decides nothing: `countermand policy prove` puts what it refutes to the
//! ordinary authorizer again, and what it does not prove is not proved.
//!
//! The solver is cvc5, a process of its own: `$CVC5`, or `cvc5` on the path. Ends with 0 where
//! every claim has a verdict, with 1 and `{"error": …}` where it could not begin.
#![forbid(unsafe_code)]

mod claim;
mod kind;
mod self_test;
mod solver;

use claim::Prover;
use countermand_core::policy::proof::{Answer, Proof};
use std::process::ExitCode;

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the claims cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("standard input cannot be read: {0}")]
    Input(#[from] std::io::Error),
    #[error(transparent)]
    Solver(#[from] solver::SolverFault),
    #[error("the claims make no sense: {0}")]
    Claims(#[from] claim::ClaimFault),
    #[error("the solver failed its self-test, so nothing it says is believed: {0}")]
    SelfTest(#[from] self_test::SelfTestFault),
}

fn main() -> ExitCode {
    let (code, said) = match answer() {
        Ok(answer) => (ExitCode::SUCCESS, serde_json::json!(answer)),
        Err(fault) => (ExitCode::FAILURE, serde_json::json!({ "error": fault.to_string() })),
    };
    println!("{said}");
    code
}

fn answer() -> Result<Answer, Fault> {
    let proof: Proof = serde_json::from_reader(std::io::stdin().lock())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let name = solver::name().await?;
        let mut prover = Prover::new(&proof)?;
        self_test::run().await?;
        let verdicts = prover.verdicts().await?;
        Ok(Answer { solver: name, questions: prover.questions(), verdicts })
    })
}
