//! `tollgate audit verify`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tollgate_audit::digest::unhex;
use tollgate_audit::verify_journal;

use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, check_name};

/// Verifies journals and says how each stands; fails when one does not hold.
pub fn verify(journal: Option<&str>, key: Option<&Path>) -> Result<ExitCode, Failure> {
    let files = journals(journal)?;
    if files.is_empty() {
        return Err(other("there is no journal yet"));
    }
    let key = match key {
        Some(key) => read_key(key)?,
        None => read_key(&Home::open()?.path().join("journal.pub"))?,
    };
    let mut broken = 0;
    for file in &files {
        match verify_file(file, &key) {
            Ok(line) => println!("{}: {line}", file.display()),
            Err(flaw) => {
                broken += 1;
                eprintln!("tollgate: {}: {flaw}", file.display());
            }
        }
    }
    if broken > 0 {
        return Err(other(format!("{broken} of {} journals do not hold", files.len())));
    }
    Ok(ExitCode::SUCCESS)
}

fn verify_file(path: &Path, key: &[u8]) -> Result<String, String> {
    let head = path.with_extension("head");
    let journal = File::open(path).map_err(|e| format!("it cannot be read: {e}"))?;
    let head = std::fs::read(&head).map_err(|e| format!("its signed head {} cannot be read: {e}", head.display()))?;
    let summary = verify_journal(BufReader::new(journal), &head, key).map_err(|flaw| flaw.to_string())?;
    let end = match (summary.closed, summary.beyond_head) {
        (true, _) => "closed in order".to_owned(),
        (false, 0) => "not closed: the session runs, or was killed".to_owned(),
        (false, n) => format!("not closed, {n} records after the signed head: the session runs, or was killed"),
    };
    Ok(format!("intact, {} records, {end}, last hash {}", summary.records, &summary.last_hash[..12]))
}

fn journals(argument: Option<&str>) -> Result<Vec<PathBuf>, Failure> {
    match argument {
        Some(path) if path.contains('/') || path.ends_with(".jsonl") => Ok(vec![PathBuf::from(path)]),
        Some(name) => {
            check_name(name)?;
            let found: Vec<_> = folders()?.into_iter().filter(|folder| folder.name == name).collect();
            match found.is_empty() {
                true => {
                    Err(other(format!("there is no sandbox or proxy {name}; `tollgate sandbox list` shows sandboxes")))
                }
                false => Ok(found.iter().flat_map(files).collect()),
            }
        }
        None => Ok(folders()?.iter().flat_map(files).collect()),
    }
}

/// Everything that keeps a journal.
fn folders() -> Result<Vec<SandboxFolder>, Failure> {
    let home = Home::open()?;
    Ok(home.sandboxes().into_iter().chain(home.proxies()).collect())
}

fn files(folder: &SandboxFolder) -> Vec<PathBuf> {
    folder.segments().iter().map(|segment| folder.journal().join(format!("{segment}.jsonl"))).collect()
}

/// A public key file, as `journal.pub`.
pub fn read_key(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &str| other(format!("the key {} cannot be used: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e.to_string()))?;
    unhex(text.trim()).filter(|key| key.len() == 32).ok_or_else(|| wrong("it is not 64 hexadecimal digits"))
}

fn other(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Other, message)
}
