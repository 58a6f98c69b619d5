//! The real job that the whole gate is measured at: a service behind a thousand rules, a hundred credentials, one of which the
//! service expects.

use std::fmt::Write as _;

use crate::policies::path;

/// The service that clients ask for.
pub const SERVICE: &str = "api.bench.test";

/// Every name below it is the service as well.
pub const MANY: &str = "many.bench.test";

/// What the service expects.
pub const AUTHORIZATION: &str = "Bearer ghp_therealvalue0000Zm9vYmFyYmF6cXV4MDEy";

/// Credentials.
pub const SECRETS: usize = 100;

/// Rules.
pub const RULES: usize = 1000;

/// Rules for the service itself, among them those that are used.
const RULES_OF_SERVICE: usize = 10;

/// The value of a credential; the first is the one that the service expects.
#[must_use]
pub fn value(number: usize) -> String {
    AUTHORIZATION.trim_start_matches("Bearer ").replace("0000", &format!("{number:04}"))
}

/// What an agent holds in its place, in the same shape.
#[must_use]
pub fn placeholder(number: usize) -> String {
    format!("ghp_placeholder{number:04}AAAAAAAAAAAAAAAAAAAAA")
}

/// A policy of so many rules, ten for each host, for clients of any program; each of `secrets` credentials is bound to a
/// host of its own, the first to the service.
#[must_use]
pub fn policy(port: u16, rules: usize, secrets: usize) -> String {
    let mut text = String::from("version: 1\nnetwork_policies:\n");
    text += &entry("service", SERVICE, port, &["/v1/json", "/v1/bytes/*", "/v1/events/*/*", "/v1/sink", "/v1/echo"]);
    text += &entry("many", &format!("**.{MANY}"), port, &["/v1/json"]);
    for number in 0..(rules.saturating_sub(RULES_OF_SERVICE)) / RULES_OF_SERVICE {
        let first = number * RULES_OF_SERVICE;
        let paths: Vec<_> = (first..first + RULES_OF_SERVICE).map(path).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        text += &entry(&format!("e{number}"), &format!("host-{number}.example.com"), port, &paths);
    }
    if secrets > 0 {
        text += "x-tollgate:\n  credentials:\n";
    }
    for number in 0..secrets {
        let host = if number == 0 { SERVICE.to_owned() } else { format!("host-{}.example.com", number - 1) };
        let _ = write!(
            text,
            "    TOKEN_{number}:\n      bindings:\n      - {{host: {host}, port: {port}, header: authorization}}\n"
        );
        if number == 0 {
            let _ = writeln!(text, "      - {{host: \"**.{MANY}\", port: {port}, header: authorization}}");
        }
    }
    text
}

fn entry(name: &str, host: &str, port: u16, paths: &[&str]) -> String {
    let mut text = format!(
        "  {name}:\n    endpoints:\n    - host: \"{host}\"\n      port: {port}\n      protocol: rest\n      rules:\n"
    );
    for path in paths {
        let method = if matches!(*path, "/v1/sink" | "/v1/echo") { "POST" } else { "GET" };
        let _ = writeln!(text, "      - allow: {{method: {method}, path: \"{path}\"}}");
    }
    text
}
