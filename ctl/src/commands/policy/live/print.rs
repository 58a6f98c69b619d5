//! How policies and their revisions are printed.

use serde_json::{Map, Value, json};
use tollgate_policy::document;
use tollgate_wire::policy::{Applied, Mistake, Origin, Revision, Shown};

/// Says what a change came to.
pub fn report(applied: &Applied, wait: bool) {
    let Revision { number, sha256, .. } = &applied.revision;
    let hash = short(sha256);
    if !applied.is_new {
        eprintln!("· Policy unchanged (version {number}, hash: {hash})");
        return;
    }
    eprintln!("✓ Policy version {number} submitted (hash: {hash})");
    if wait {
        eprintln!("✓ Policy version {number} loaded (active version: {number})");
    }
}

/// `get` for people.
pub fn print_shown(shown: &Shown, is_revision: bool) {
    let line = |label: &str, value: &str| println!("{label:<14}{value}");
    let revision = &shown.revision;
    line("Version:", &revision.number.to_string());
    line("Hash:", &revision.sha256);
    if is_revision {
        line("Status:", &capitalised(&status(revision)));
        line("Active:", &shown.active.to_string());
        line("Created:", &format!("{} ms", revision.created_at_ms));
        if let Some(loaded) = revision.loaded_at_ms {
            line("Loaded:", &format!("{loaded} ms"));
        }
        if let Some(error) = &revision.error {
            line("Error:", error);
        }
    } else {
        line("Status:", "Effective");
        line("Source:", "sandbox");
        line("Config rev:", &shown.generation.to_string());
    }
    line("Origin:", &origin(revision));
    if let Some(text) = &shown.text {
        print!("---\n{text}");
    }
}

/// Keys and shapes that programs of this field read; `generation` and `provenance` say what there is to say beyond them.
pub fn described(sandbox: &str, shown: &Shown, is_revision: bool, with_policy: bool) -> Value {
    let mut all = Map::new();
    let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
    put("scope", "sandbox".into());
    put("sandbox", sandbox.into());
    let Value::Object(revision) = summary(&shown.revision) else { return Value::Null };
    for (key, value) in revision {
        put(&key, value);
    }
    put("active_version", shown.active.into());
    if !is_revision {
        put("status", "effective".into());
        put("config_revision", shown.generation.into());
        put("policy_source", "sandbox".into());
    }
    if with_policy {
        let document = shown.text.as_deref().and_then(|text| document::read(text).ok());
        let policy = document.and_then(|document| serde_json::from_str(&document.canonical_json()).ok());
        put("policy", policy.unwrap_or(Value::Null));
    }
    Value::Object(all)
}

/// A change, for programs.
pub fn changed(sandbox: &str, applied: &Applied) -> Value {
    let mut all = summary(&applied.revision);
    all["sandbox"] = sandbox.into();
    all["changed"] = applied.is_new.into();
    all["config_revision"] = applied.generation.into();
    all
}

/// One revision, for programs.
pub fn summary(revision: &Revision) -> Value {
    let mut all = json!({
        "version": revision.number,
        "hash": revision.sha256,
        "status": status(revision),
        "created_at_ms": revision.created_at_ms,
        "provenance": { "origin": revision.origin, "author_uid": revision.author_uid },
    });
    if let Some(loaded) = revision.loaded_at_ms {
        all["loaded_at_ms"] = loaded.into();
    }
    if let Some(error) = &revision.error {
        all["load_error"] = error.as_str().into();
    }
    if let Some(earlier) = revision.restores {
        all["provenance"]["restores"] = earlier.into();
    }
    all
}

/// `list` for people.
pub fn table<'a>(revisions: impl Iterator<Item = &'a Revision>) {
    println!("{:<8}{:<14}{:<12}{:<24}ERROR", "VERSION", "HASH", "STATUS", "CREATED");
    for revision in revisions {
        let error = revision.error.as_deref().map(shortened).unwrap_or_default();
        let status = capitalised(&status(revision));
        let line = format!(
            "{:<8}{:<14}{status:<12}{:<24}{error}",
            revision.number,
            short(&revision.sha256),
            revision.created_at_ms
        );
        println!("{}", line.trim_end());
    }
}

/// One mistake, as compilers print it; `shown` is the policy's name.
pub fn mistake(one: &Mistake, shown: &str) -> String {
    let place = match (one.line, one.column) {
        (Some(line), Some(column)) => format!("{shown}:{line}:{column}"),
        _ => shown.to_owned(),
    };
    match &one.hint {
        Some(hint) => format!("{place}: {} (hint: {hint})", one.message),
        None => format!("{place}: {}", one.message),
    }
}

fn origin(revision: &Revision) -> String {
    let by = format!("by user {}", revision.author_uid);
    match (revision.origin, revision.restores) {
        (Origin::File, _) => format!("policy file, of user {}", revision.author_uid),
        (_, Some(earlier)) => format!("rollback to {earlier}, {by}"),
        (_, None) => format!("set, {by}"),
    }
}

fn status(revision: &Revision) -> String {
    json!(revision.status).as_str().unwrap_or_default().to_owned()
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    format!("{}{rest}", first.to_uppercase())
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_OF_ERROR) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Characters of an error in a table.
const SHOWN_OF_ERROR: usize = 40;
