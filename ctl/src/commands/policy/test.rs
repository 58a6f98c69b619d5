//! `tollgate policy test`.

use std::process::ExitCode;

use tollgate_policy::cases;

use super::{TestArguments, load, not_valid, read};
use crate::failure::{Failure, Kind};
use crate::output::{Output, print_json};

/// Asks the cases; fails when an answer is not the expected one.
pub(super) fn test(arguments: &TestArguments) -> Result<ExitCode, Failure> {
    let policy = load(&arguments.policy)?;
    let cases =
        cases::read(&read(&arguments.cases)?).map_err(|diagnostics| not_valid(&arguments.cases, &diagnostics))?;
    let outcomes = cases::run(&policy, &cases);
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    match arguments.output {
        Output::Json => print_json(&outcomes),
        Output::Text => {
            for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
                println!("{}:{}: {outcome}", arguments.cases.display(), outcome.line);
            }
            println!("{} passed, {failed} failed", outcomes.len() - failed);
        }
    }
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::new(Kind::Other, format!("{failed} of {} cases failed", outcomes.len()))),
    }
}
