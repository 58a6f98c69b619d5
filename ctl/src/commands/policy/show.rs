//! `tollgate policy show`.

use std::process::ExitCode;

use super::{ShowArguments, document};
use crate::failure::Failure;
use crate::output::Output;

/// Prints the canonical form: the same bytes for the same meaning.
pub(super) fn show(arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    let document = document(&arguments.file)?.document;
    match arguments.output {
        Output::Text => print!("{}", document.canonical()),
        Output::Json => println!("{}", document.canonical_json()),
    }
    Ok(ExitCode::SUCCESS)
}
