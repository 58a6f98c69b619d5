//! `tollgate policy check`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use tollgate_policy::document::{Imported, import};
use tollgate_policy::lint::{Report, lint};
use tollgate_policy::{Diagnostics, Policy};

use super::{CheckArguments, lines, read};
use crate::failure::{Failure, Kind};
use crate::output::{Output, print_json};

/// A file and what was found in it.
struct Checked<'a> {
    path: &'a Path,
    found: Result<(Imported, Report), Diagnostics>,
}

/// Validates files; fails when one of them does not load.
pub(super) fn check(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let mut checked = Vec::new();
    for path in &arguments.files {
        let text = read(path)?;
        checked.push(Checked { path, found: examine(&text) });
    }
    match arguments.output {
        Output::Json => print_json(&checked.iter().map(|one| one.to_json(arguments.lint)).collect::<Vec<_>>()),
        Output::Text => checked.iter().for_each(|one| one.print(arguments.lint)),
    }
    match checked.iter().filter(|one| one.found.is_err()).count() {
        0 => Ok(ExitCode::SUCCESS),
        broken => {
            let message = format!("{broken} of {} policies are not valid", checked.len());
            Err(Failure::new(Kind::Policy, message))
        }
    }
}

fn examine(text: &str) -> Result<(Imported, Report), Diagnostics> {
    let imported = import(text)?;
    Policy::compile(imported.document.clone())?;
    let report = lint(&imported.document);
    Ok((imported, report))
}

impl Checked<'_> {
    fn print(&self, with_lint: bool) {
        match &self.found {
            Err(diagnostics) => eprintln!("{}", lines(self.path, diagnostics)),
            Ok((imported, report)) => {
                let entries = imported.document.network_policies.len();
                println!("{}: valid, {entries} entries", self.path.display());
                let warnings = if with_lint { &report.warnings } else { &imported.document.warnings };
                if !warnings.is_empty() {
                    println!("{}", lines(self.path, warnings));
                }
                for surface in report.surface.iter().filter(|_| with_lint) {
                    println!(
                        "{}: entry `{}` has an exfiltration surface of {}",
                        self.path.display(),
                        surface.policy,
                        surface.score
                    );
                }
            }
        }
    }

    fn to_json(&self, with_lint: bool) -> Value {
        let file = self.path.display().to_string();
        match &self.found {
            Err(diagnostics) => json!({ "file": file, "valid": false, "errors": diagnostics }),
            Ok((imported, report)) if with_lint => json!({
                "file": file, "valid": true, "dialect": imported.dialect,
                "warnings": report.warnings, "surface": report.surface,
            }),
            Ok((imported, _)) => json!({
                "file": file, "valid": true, "dialect": imported.dialect, "warnings": imported.document.warnings,
            }),
        }
    }
}
