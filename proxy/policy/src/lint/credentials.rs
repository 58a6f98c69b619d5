//! Secrets that programs made for running other people's code can use.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Document, Endpoint, Entry};
use crate::glob::PathGlob;

pub(super) fn credentials(document: &Document, found: &mut Diagnostics) {
    for (key, entry) in &document.network_policies {
        let Some(interpreter) = interpreter_of(entry) else { continue };
        for endpoint in &entry.endpoints {
            for credential in bound(document, endpoint) {
                found.push(
                    Diagnostic::warning(
                        endpoint.at,
                        format!("{interpreter} can use the credential `{credential}` through the entry `{key}`"),
                    )
                    .hint("name the program that needs it, not the interpreter or shell that can run anything"),
                );
            }
        }
    }
}

/// A program of the entry that runs whatever it is given, or any program at all.
fn interpreter_of(entry: &Entry) -> Option<String> {
    if super::is_for_anybody(entry) {
        return Some("any program".to_owned());
    }
    let binaries = entry.binaries.iter().flatten().map(|binary| &binary.path);
    let mut all = binaries.flat_map(|path| INTERPRETERS.iter().map(move |name| (path, name)));
    all.find(|(path, name)| runs(path, name)).map(|(path, _)| format!("`{path}`"))
}

fn runs(path: &PathGlob, name: &str) -> bool {
    let file = path.as_str().rsplit('/').next().unwrap_or_default();
    let plain = file.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '*' | '.'));
    plain == name || plain.is_empty() || PathGlob::parse(file).is_ok_and(|glob| glob.matches(name))
}

fn bound<'d>(document: &'d Document, endpoint: &'d Endpoint) -> Vec<&'d str> {
    let provider = endpoint.credential_binding.as_deref();
    let bindings = document.credentials.iter().filter(|binding| {
        let host = endpoint.host.as_ref().is_some_and(|host| host.overlaps(&binding.host));
        host && endpoint.ports.contains(&binding.port)
    });
    provider.into_iter().chain(bindings.map(|binding| &*binding.credential)).collect()
}

const INTERPRETERS: &[&str] = &[
    "bash", "sh", "zsh", "dash", "python", "node", "deno", "bun", "perl", "ruby", "php", "lua", "java", "curl", "wget",
    "nc", "socat",
];
