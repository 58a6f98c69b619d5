//! The other half of the demo: what the service saw, and what the journal proves.

use std::path::Path;

use secrecy::ExposeSecret;
use serde_json::Value;
use tollgate_audit::verify_journal;
use tollgate_proxy::JournalFolder;

use super::real_token;
use super::service::Arrived;
use crate::commands::read_key;
use crate::failure::{Failure, Kind};

/// Requests that must have arrived, and no others.
const EXPECTED: [&str; 4] = ["GET /v1/hello", "GET /v1/hello", "POST /v1/policy-please", "GET /v1/drafts"];

/// Prints what was seen and proved; fails when anything is not as it should be.
pub fn show(seen: &[Arrived], journal: &JournalFolder, key: &Path) -> Result<(), Failure> {
    show_service(seen)?;
    show_journal(journal, key)
}

fn show_service(seen: &[Arrived]) -> Result<(), Failure> {
    println!("\nthe service, outside:");
    let lines: Vec<_> = seen.iter().map(|arrived| arrived.line.as_str()).collect();
    check(lines == EXPECTED, || format!("these requests arrived: {lines:?}"))?;
    let real = format!("Bearer {}", real_token().expose_secret());
    let with_token: Vec<_> = seen.iter().filter(|arrived| !arrived.authorization.is_empty()).collect();
    let exchanged = with_token.len() == 2 && with_token.iter().all(|arrived| arrived.authorization == real);
    check(exchanged, || "the service did not get its token".to_owned())?;
    println!("  exchanged it was sent its real token, which was never inside the sandbox");
    println!("  got       {} requests, all of them allowed: {}", lines.len(), EXPECTED.join(", "));
    Ok(())
}

fn show_journal(journal: &JournalFolder, key: &Path) -> Result<(), Failure> {
    let broken = |e: &dyn std::fmt::Display| Failure::new(Kind::Other, format!("the journal: {e}"));
    // One segment holds all that a demo records.
    let head = std::fs::read(journal.head(1)).map_err(|e| broken(&e))?;
    let journal = std::fs::read(journal.records(1)).map_err(|e| broken(&e))?;
    let key = read_key(key)?;
    let verify = |journal: &[u8]| verify_journal(journal, &head, &key);
    let summary = verify(&journal).map_err(|e| broken(&e))?;
    println!("\nthe journal:");
    println!("  proved    {} records, chained and signed: {}", summary.records, counts(&journal));
    let text = String::from_utf8_lossy(&journal).into_owned();
    check(!text.contains(real_token().expose_secret()), || "the journal holds the real token".to_owned())?;
    let edited = text.replacen("\"decision\":\"denied\"", "\"decision\":\"allowed\"", 1);
    let cut: String = text.split_inclusive('\n').take(5).collect();
    for (what, forged) in [("edited", edited), ("cut short", cut)] {
        let flaw = verify(forged.as_bytes()).err();
        let flaw = flaw.ok_or_else(|| Failure::new(Kind::Other, format!("a journal that was {what} verifies")))?;
        println!("  tamper    {what}: {flaw}");
    }
    Ok(())
}

fn counts(journal: &[u8]) -> String {
    let records: Vec<Value> =
        journal.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let count = |field: &str, value: &str| records.iter().filter(|record| record[field] == value).count();
    format!(
        "{} connections, {} requests, {} names, {} denials",
        count("event", "connection"),
        count("event", "request"),
        count("event", "dns"),
        count("decision", "denied") + count("outcome", "refused"),
    )
}

fn check(as_it_should_be: bool, surprise: impl FnOnce() -> String) -> Result<(), Failure> {
    if as_it_should_be { Ok(()) } else { Err(Failure::new(Kind::Other, surprise())) }
}
