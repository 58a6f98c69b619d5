//! A small agent: `openclaw mcp list` asks each MCP server of its configuration once, and prints those that answer as
//! `- NAME: URL`.

use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    assert_eq!(words, ["mcp", "list"], "this is all that it can do");
    let home = std::env::var("HOME").expect("a home");
    let text = std::fs::read_to_string(Path::new(&home).join(".openclaw/openclaw.json")).expect("a configuration");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    let servers = config["mcp"]["servers"].as_object().expect("servers");
    println!("{} servers", servers.len());
    let answers = servers.iter().map(|(name, server)| {
        let url = server["url"].as_str().expect("a URL");
        let answered = answers(url, server["headers"].as_object().expect("headers"));
        println!("{} {name}: {url}", if answered { '-' } else { '!' });
        answered
    });
    // Each is asked, whatever the one before said.
    match answers.filter(|answered| !answered).count() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// It has no TLS of its own; what it starts has its rights.
fn answers(url: &str, headers: &serde_json::Map<String, Value>) -> bool {
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail", "-o", "/dev/null", "--json", INITIALIZE, url]);
    for (name, value) in headers {
        curl.arg("-H").arg(format!("{name}: {}", value.as_str().expect("text")));
    }
    curl.status().is_ok_and(|status| status.success())
}
