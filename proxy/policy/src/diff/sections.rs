//! What differs besides verdicts on requests.

use std::collections::BTreeSet;

use crate::document::{Compatibility, CredentialBinding, Document};

pub(super) fn sections(a: &Document, b: &Document) -> Vec<String> {
    let mut lines = Vec::new();
    filesystem(a, b, &mut lines);
    let landlock = |document: &Document| document.landlock.unwrap_or_default();
    if landlock(a) != landlock(b) {
        let word = |document: &Document| Compatibility::as_str(landlock(document));
        lines.push(format!("landlock: {} → {}", word(a), word(b)));
    }
    if a.process != b.process {
        lines.push("process: the user or group that the agent runs as differs".to_owned());
    }
    changes("credential", &bindings(a), &bindings(b), &mut lines);
    changes("middleware", &middlewares(a), &middlewares(b), &mut lines);
    lines
}

fn filesystem(a: &Document, b: &Document, lines: &mut Vec<String>) {
    let none = crate::document::Filesystem::default();
    let (old, new) = (a.filesystem_policy.as_ref(), b.filesystem_policy.as_ref());
    if old.is_some() != new.is_some() {
        let what = if new.is_some() { "written, was the default" } else { "the default, was written" };
        lines.push(format!("filesystem_policy: {what}"));
    }
    let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
    if old.include_workdir != new.include_workdir {
        lines.push(format!("include_workdir: {} → {}", old.include_workdir, new.include_workdir));
    }
    let set = |paths: &[String]| paths.iter().cloned().collect::<BTreeSet<String>>();
    changes("read_only", &set(&old.read_only), &set(&new.read_only), lines);
    changes("read_write", &set(&old.read_write), &set(&new.read_write), lines);
}

fn bindings(document: &Document) -> BTreeSet<String> {
    let one = |binding: &CredentialBinding| {
        let path = binding.path.as_ref().map_or("/**", |path| path.as_str());
        let methods = if binding.methods.is_empty() { "*".to_owned() } else { binding.methods.join(",") };
        let (credential, slot) = (&binding.credential, &binding.slot);
        let clear = if binding.allow_cleartext { ", in clear as well" } else { "" };
        format!("{credential} in {slot} at {}:{} {methods} {path}{clear}", binding.host, binding.port)
    };
    document.credentials.iter().map(one).collect()
}

fn middlewares(document: &Document) -> BTreeSet<String> {
    let stages = document.network_middlewares.iter();
    stages
        .map(|(key, stage)| {
            let hosts = stage.include.join(",");
            format!("{key} ({}) at place {} for {hosts} with {}", stage.middleware, stage.order, stage.config)
        })
        .collect()
}

fn changes(what: &str, old: &BTreeSet<String>, new: &BTreeSet<String>, lines: &mut Vec<String>) {
    lines.extend(old.difference(new).map(|line| format!("{what} lost: {line}")));
    lines.extend(new.difference(old).map(|line| format!("{what} gained: {line}")));
}
