//! `tollgate policy diff`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use tollgate_model::Authority;
use tollgate_policy::diff::{self, Diff, Reach};
use tollgate_policy::question::{Question, RequestWords};
use tollgate_proxy::JournalFolder;

use super::{DiffArguments, load};
use crate::commands::audit::numbers;
use crate::failure::{Failure, Kind};
use crate::output::{Output, print_json};

/// Says what the second policy means differently.
pub(super) fn diff(arguments: &DiffArguments) -> Result<ExitCode, Failure> {
    let (before, after) = (load(&arguments.before)?, load(&arguments.after)?);
    let mut diff = diff::diff(&before, &after);
    if let Some(journal) = &arguments.requests {
        for flip in diff::flips(&before, &after, &requests(journal)?) {
            if !diff.flips.contains(&flip) {
                diff.flips.push(flip);
            }
        }
    }
    match arguments.output {
        Output::Json => print_json(&diff),
        Output::Text => print(&diff),
    }
    let differs = arguments.exit_code && !diff.is_empty();
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(diff: &Diff) {
    if diff.is_empty() {
        println!("both policies mean the same");
    }
    let reach = |label: &str, all: &[Reach]| {
        for one in all {
            println!("{label} {} for {}", one.destination, one.programs.join(", "));
        }
    };
    reach("reach gained:", &diff.reach_gained);
    reach("reach lost:  ", &diff.reach_lost);
    diff.flips.iter().for_each(|flip| println!("{flip}"));
    diff.sections.iter().for_each(|section| println!("changed: {section}"));
    if diff.truncated {
        println!("the policies suggest more requests than were asked");
    }
}

/// What of a journal's record makes a question.
#[derive(Deserialize)]
struct Record {
    event: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    authority: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    binary: String,
}

fn requests(journal: &Path) -> Result<Vec<Question>, Failure> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("the journal {} cannot be read: {e}", journal.display()))
    };
    let mut questions = Vec::new();
    for path in files(journal)? {
        let file = File::open(path).map_err(|e| unreadable(&e))?;
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|e| unreadable(&e))?;
            let record: Record = serde_json::from_str(&line)
                .map_err(|_| unreadable(&format!("line {} is no journal record", number + 1)))?;
            if let Some(question) = question(&record)
                && !questions.contains(&question)
            {
                questions.push(question);
            }
        }
    }
    Ok(questions)
}

/// A journal's folder means all its segments.
fn files(journal: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !journal.is_dir() {
        return Ok(vec![journal.to_owned()]);
    }
    let folder = JournalFolder::new(journal);
    Ok(numbers(&folder)?.into_iter().map(|number| folder.records(number)).collect())
}

fn question(record: &Record) -> Option<Question> {
    let authority = Authority::parse(&record.authority).ok()?;
    let request = match record.event.as_str() {
        "request" => Some(RequestWords { method: record.method.clone(), path: record.path.clone(), body: None }),
        "connection" => None,
        _ => return None,
    };
    let known = record.binary.starts_with('/');
    Some(Question {
        host: authority.host.to_string(),
        port: authority.port.get(),
        binary: known.then(|| record.binary.clone()),
        request,
        ..Question::default()
    })
}
