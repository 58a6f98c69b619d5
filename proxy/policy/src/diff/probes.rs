//! Questions that the text of two policies suggests.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Document, Endpoint, Entry, Protocol, Rule};
use crate::glob::PathGlob;
use crate::question::{Question, RequestWords};

/// Questions in two groups.
pub(super) struct Probes {
    pub(super) connections: Vec<Question>,
    pub(super) requests: Vec<Question>,
    pub(super) truncated: bool,
}

/// Questions of one group at most: both policies answer them within a second.
const MAX_QUESTIONS: usize = 100_000;

/// A program that no policy names; how it differs from an unknown one is that `/**` names it too.
const STRANGER: &str = "/any/other/program";

pub(super) fn probes(a: &Document, b: &Document) -> Probes {
    let mut seeds: BTreeMap<(String, u16), Seed> = BTreeMap::new();
    for document in [a, b] {
        for entry in document.network_policies.values() {
            for endpoint in &entry.endpoints {
                for port in &endpoint.ports {
                    seeds.entry((sample_host(endpoint), port.get())).or_default().add(entry, endpoint);
                }
            }
        }
    }
    let mut probes = Probes { connections: Vec::new(), requests: Vec::new(), truncated: false };
    for ((host, port), seed) in &seeds {
        seed.ask(host, *port, &mut probes);
    }
    probes
}

/// What both policies say about one destination.
#[derive(Default)]
struct Seed {
    programs: BTreeSet<String>,
    requests: BTreeSet<(String, String, Option<String>)>,
}

impl Seed {
    fn add(&mut self, entry: &Entry, endpoint: &Endpoint) {
        let binaries = entry.binaries.iter().flatten();
        self.programs.extend(binaries.map(|binary| sample_path(&binary.path)));
        let Some(protocol) = endpoint.inspected() else { return };
        let scope = endpoint.path.as_ref().map_or("/".to_owned(), sample_path);
        for method in ["GET", "POST", "PUT", "DELETE"] {
            self.requests.insert((method.to_owned(), scope.clone(), None));
        }
        for rule in endpoint.rules.iter().chain(&endpoint.deny_rules) {
            self.requests.extend(requests(protocol, rule, &scope));
        }
    }

    fn ask(&self, host: &str, port: u16, probes: &mut Probes) {
        let strangers = [Some(STRANGER.to_owned()), None];
        for binary in self.programs.iter().cloned().map(Some).chain(strangers) {
            let connection = Question { binary, ..Question::connection(host, port) };
            for (method, path, body) in &self.requests {
                let request = RequestWords { method: method.clone(), path: path.clone(), body: body.clone() };
                probes.push_request(Question { request: Some(request), ..connection.clone() });
            }
            probes.push_connection(connection);
        }
    }
}

impl Probes {
    fn push_request(&mut self, question: Question) {
        match self.requests.len() < MAX_QUESTIONS {
            true => self.requests.push(question),
            false => self.truncated = true,
        }
    }

    fn push_connection(&mut self, question: Question) {
        match self.connections.len() < MAX_QUESTIONS {
            true => self.connections.push(question),
            false => self.truncated = true,
        }
    }
}

/// Requests that a rule is about.
fn requests(protocol: Protocol, rule: &Rule, scope: &str) -> Vec<(String, String, Option<String>)> {
    let body = |body: String| vec![("POST".to_owned(), scope.to_owned(), Some(body))];
    match protocol {
        Protocol::Rest | Protocol::Websocket => {
            let method = rule.method.as_deref().filter(|method| *method != "*").unwrap_or("GET");
            let mut path = rule.path.as_ref().map_or_else(|| scope.to_owned(), sample_path);
            let values = rule
                .query
                .iter()
                .filter_map(|(name, globs)| Some(format!("{name}={}", sample_text(globs.globs.first()?.as_str()))));
            let query: Vec<String> = values.collect();
            if !query.is_empty() {
                path = format!("{path}?{}", query.join("&"));
            }
            vec![(method.to_owned(), path, None)]
        }
        Protocol::Graphql => {
            let kind = rule.operation_type.map_or("query", |kind| kind.as_str()).replace('*', "query");
            let field = rule.fields.first().map_or("probe".to_owned(), |glob| sample_text(glob.as_str()));
            body(serde_json::json!({ "query": format!("{kind} {{ {field} }}") }).to_string())
        }
        Protocol::JsonRpc | Protocol::Mcp => {
            let tool = rule.tool.as_ref().and_then(|globs| globs.globs.first()).map(|glob| sample_text(glob.as_str()));
            let method = sample_text(rule.method.as_deref().unwrap_or("tools/call"));
            let params = tool.map(|name| serde_json::json!({ "name": name, "arguments": {} }));
            let mut call = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method });
            if let Some(params) = params {
                call["params"] = params;
            }
            body(call.to_string())
        }
        Protocol::Tcp => Vec::new(),
    }
}

/// A host that the endpoint covers.
fn sample_host(endpoint: &Endpoint) -> String {
    match &endpoint.host {
        None => "any-host.example".to_owned(),
        Some(host) => match host.exact() {
            Some(host) => host.to_string(),
            None => sample_text(host.as_str()).to_ascii_lowercase(),
        },
    }
}

/// A path that the glob matches, if a plain reading of its wildcards does.
fn sample_path(glob: &PathGlob) -> String {
    sample_text(glob.as_str())
}

/// The pattern with something in the place of each wildcard.
fn sample_text(pattern: &str) -> String {
    let mut sample = String::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' => {
                while characters.next_if_eq(&'*').is_some() {}
                sample.push_str("sample");
            }
            '?' => sample.push('s'),
            '\\' => sample.extend(characters.next()),
            '{' => {
                let inside: String = characters.by_ref().take_while(|c| *c != '}').collect();
                sample.push_str(inside.split(',').next().unwrap_or_default());
            }
            '[' => {
                let inside: String = characters.by_ref().take_while(|c| *c != ']').collect();
                sample.push(inside.trim_start_matches(['!', '^']).chars().next().unwrap_or('s'));
            }
            other => sample.push(other),
        }
    }
    sample
}
