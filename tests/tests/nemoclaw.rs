//! `nemoclaw …` as its users type it: the sandbox's name first.

use serde_json::{Value, json};
use tollgate_tests::{ASKING, Bench, Finished, Started, Staying, built, finish, policy_for};

const VALUE: &str = "ghp_therealvalueABCDEFGHIJKLMNOPQRSTUVWX";

fn nemoclaw(bench: &Bench, arguments: &[&str]) -> Finished {
    let finished = finish(bench.tollgate_as(&built("nemoclaw")).args(arguments));
    assert!(!finished.stdout.contains(VALUE) && !finished.stderr.contains(VALUE), "a value is shown: {finished:?}");
    finished
}

#[track_caller]
fn check(bench: &Bench, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let finished = nemoclaw(bench, arguments);
    assert_eq!(finished.code, code, "{arguments:?}: {finished:?}");
    assert!(finished.stdout.contains(stdout) && (stdout.is_empty() == finished.stdout.is_empty()), "{finished:?}");
    assert!(finished.stderr.contains(stderr) && (stderr.is_empty() == finished.stderr.is_empty()), "{finished:?}");
}

fn start(bench: &Bench) -> Started {
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    agent
}

#[test]
fn presets_and_hosts_come_and_go() {
    let bench = Bench::new("version: 1\n");
    let mut agent = start(&bench);
    check(&bench, &["box", "policy-list"], 0, "  ○ slack         Slack's interface and webhooks\n", "");
    check(&bench, &["box", "policy-add", "slack", "--dry-run"], 0, "host: hooks.slack.com", "");
    check(&bench, &["box", "policy-add", "slack", "--yes"], 0, "", "✓ Policy version 2 loaded (active version: 2)");
    check(&bench, &["box", "policy-add", "slack"], 0, "", "· Policy unchanged (version 2");
    check(&bench, &["box", "policy-list"], 0, "  ● slack ", "");
    agent.ask("/a");
    check(&bench, &["box", "policy", "add", "--domain", "api.test"], 0, "", "✓ Policy version 3 submitted");
    agent.ask("/a");
    check(&bench, &["box", "policy", "list", "--domain"], 0, "api.slack.com:443\napi.test:443\n", "");
    check(&bench, &["box", "policy", "remove", "--domain", "api.test"], 0, "", "✓ Policy version 4 submitted");
    agent.ask("/a");
    check(&bench, &["box", "policy-remove", "slack"], 0, "", "✓ Policy version 5 submitted");
    let own =
        "preset: {name: own, description: mine}\nnetwork_policies: {own: {endpoints: [{host: own.test, port: 443}]}}\n";
    let own = bench.write("own.yaml", own).display().to_string();
    check(&bench, &["box", "policy-add", "--from-file", &own], 0, "", "✓ Policy version 6 submitted");
    let list: Value =
        serde_json::from_str(&nemoclaw(&bench, &["box", "policy-list", "-o", "json"]).succeeded()).expect("JSON");
    assert_eq!(list["entries"], json!(["own"]));
    let other = bench.write("other.yaml", "preset: {name: own}\nnetwork_policies: {}\n").display().to_string();
    check(&bench, &["box", "policy-add", "--from-file", &other], 1, "", "not that of its file");
    check(&bench, &["box", "policy-add", "slak"], 2, "", "there is no preset `slak`; did you mean `slack`?");
    check(&bench, &["box", "policy-add"], 2, "", "say what to add: a preset (discord, ");
    let ended = agent.end();
    let statuses: Vec<_> = ended.stdout.lines().filter(|line| line.parse::<u16>().is_ok()).collect();
    assert_eq!(statuses, ["000", "200", "000"], "{ended:?}");
}

#[test]
fn a_configuration_is_set_and_shown() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    check(
        &bench,
        &["box", "config", "set", "--key", "agents.model", "--value", "big"],
        0,
        "✓ Set agents.model of box\n",
        "",
    );
    check(&bench, &["box", "config", "get", "--key", "agents.model"], 0, "\"big\"\n", "");
    check(&bench, &["box", "config", "set", "--key", "agents.depth", "--value", "3"], 0, "✓ Set agents.depth", "");
    check(&bench, &["box", "config", "get", "--format", "yaml"], 0, "agents:\n  depth: 3\n  model: big\n", "");
    let token = format!("{{\"apiToken\": \"{VALUE}\", \"n\": 1}}");
    check(&bench, &["box", "config", "set", "--key", "other", "--value", &token], 0, "✓ Set other", "");
    check(&bench, &["box", "config", "get", "--key", "other"], 0, "\"apiToken\": \"[redacted]\"", "");

    let before = nemoclaw(&bench, &["box", "config", "get"]).succeeded();
    let server = |url: &str| {
        format!("{{\"a\": {{\"url\": \"{url}\", \"headers\": {{\"Authorization\": \"Bearer {VALUE}\"}}}}}}")
    };
    let refused = [
        (
            ["mcp.servers", &server("https://elsewhere.test/mcp")],
            1,
            "does not let requests with a token go to elsewhere.test:443",
        ),
        (["mcp.servers", &server("http://api.test/a")], 2, "over https alone"),
        (["mcp.servers", &server("https://169.254.169.254/a")], 2, "cloud metadata address"),
        (["agents.model.name", "x"], 2, "`agents.model` is there and is no object"),
        (["gateway.auth", "x"], 2, "`gateway` is the agent's own"),
        (["a..b", "x"], 2, "`a..b` is no key"),
    ];
    for ([key, value], code, said) in refused {
        check(&bench, &["box", "config", "set", "--key", key, "--value", value], code, "", said);
    }
    check(&bench, &["box", "config", "get", "--key", "nothing"], 1, "", "nothing is set at `nothing`");
    check(&bench, &["other", "config", "get"], 1, "", "there is no sandbox other");
    assert_eq!(nemoclaw(&bench, &["box", "config", "get"]).succeeded(), before, "what was refused changed nothing");
    assert!(!bench.path("home/credentials.json").exists(), "nothing was kept");
    let versions = finish(bench.tollgate().args(["policy", "list", "box", "-o", "json"])).succeeded();
    assert_eq!(serde_json::from_str::<Value>(&versions).expect("JSON")["active_version"], 1);
    check(
        &bench,
        &["box", "config", "set", "--key", "mcp.servers", "--value", &server("https://api.test/a")],
        0,
        "is the credential AGENT_MCP_SERVERS_A_",
        "",
    );
    assert_eq!(agent.end().code, 0);
}

/// A credential that is reset is refused at the gate; it does not keep its sandbox from starting.
#[test]
fn a_configuration_outlives_a_stop_and_a_reset_token() {
    let staying = Staying::new(&policy_for("/a"));
    assert_eq!(staying.create("box", &[], &["sleep", "1000"]).code, 0);
    let bench = &staying.0;
    let server = format!(
        "{{\"a\": {{\"url\": \"https://api.test/a\", \"headers\": {{\"Authorization\": \"Bearer {VALUE}\"}}}}}}"
    );
    let set = |code, said, refused| {
        check(bench, &["box", "config", "set", "--key", "mcp.servers", "--value", &server], code, said, refused);
    };
    set(0, "is the credential AGENT_", "");
    let listed = finish(bench.tollgate().args(["credential", "list", "-o", "json"])).succeeded();
    let name = listed.split('"').find(|text| text.starts_with("AGENT_")).expect("its name").to_owned();
    assert_eq!(staying.sandbox(&["stop", "box"]).code, 0);
    check(bench, &["credentials", "reset", &name, "--yes"], 0, "is forgotten", "");
    check(bench, &["box", "config", "set", "--key", "agents.model", "--value", "big"], 0, "for its next start", "");
    check(bench, &["box", "config", "get", "--key", "agents.model"], 0, "\"big\"", "");
    let started = staying.sandbox(&["start", "box"]);
    assert!(started.code == 0 && started.stderr.contains(&format!("{name}, a token of")), "{started:?}");
    check(bench, &["box", "config", "get", "--key", "agents.model"], 0, "\"big\"", "");
    check(bench, &["box", "config", "get", "--key", "mcp.servers.a.url"], 0, "https://api.test/a", "");
    set(0, "is the credential AGENT_", "");
    assert_eq!(staying.sandbox(&["stop", "box"]).code, 0);
    let again = staying.sandbox(&["start", "box"]);
    assert!(again.code == 0 && !again.stderr.contains("was reset"), "{again:?}");
}

/// It is bound in the policy that the next start begins with, unless an edit of the file means another one.
#[test]
fn a_token_is_set_while_its_sandbox_does_not_run() {
    let staying = Staying::new(&policy_for("/a"));
    assert_eq!(staying.create("box", &[], &["sleep", "1000"]).code, 0);
    assert_eq!(staying.sandbox(&["stop", "box"]).code, 0);
    let bench = &staying.0;
    let server = format!(r#"{{"url": "https://api.test/a", "headers": {{"Authorization": "Bearer {VALUE}"}}}}"#);
    let elsewhere = server.replace("api.test", "else.test");
    let set = ["box", "config", "set", "--key", "mcp.servers.a", "--value", &server];
    let refused = ["box", "config", "set", "--key", "mcp.servers.a", "--value", &elsewhere];
    check(bench, &refused, 1, "", "does not let requests with a token go to else.test:443, so nothing changed");
    let policy = std::fs::read_to_string(bench.path("policy.yaml")).expect("there");
    bench.write("policy.yaml", policy_for("/b"));
    check(bench, &set, 1, "", "its policy file was changed since");
    assert!(!bench.path("home/credentials.json").exists(), "nothing was kept");
    bench.write("policy.yaml", policy);
    check(bench, &set, 0, "is the credential AGENT_", "");
    check(bench, &set, 0, "✓ Set mcp.servers.a of box, for its next start", "");
    assert_eq!(staying.sandbox(&["start", "box"]).code, 0);
    let listed = finish(bench.tollgate().args(["policy", "list", "box", "-o", "json"])).succeeded();
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((&listed["active_version"], listed["revisions"].as_array().map(Vec::len)), (&2.into(), Some(2)));
    let inside =
        finish(bench.tollgate().args(["sandbox", "exec", "box", "--", "sh", "-c", "cat ~/.openclaw/openclaw.json"]));
    let name =
        inside.succeeded().split("resolve:env:").nth(1).and_then(|rest| rest.split('"').next().map(str::to_owned));
    let name = name.expect("a reference");
    let told = finish(bench.tollgate().args(["credential", "revoke", &name, "-o", "json"])).succeeded();
    assert!(told.contains("refused: "), "the sandbox has it: {told}");
    let policy = finish(bench.tollgate().args(["policy", "get", "box", "--full"])).succeeded();
    assert!(policy.contains(&format!("{name}:\n      bindings:\n      - host: api.test\n")), "{policy}");
}

#[test]
fn everything_else() {
    let bench = Bench::new(&policy_for("/a"));
    check(&bench, &["list"], 0, "no sandbox is there", "");
    check(&bench, &["onboard"], 1, "", "`nemoclaw onboard` is not here: it comes with a later version");
    check(&bench, &[], 0, "nemoclaw NAME COMMAND", "");
    check(&bench, &["lst"], 2, "", "unrecognized subcommand 'lst'; did you mean `list`?");
    check(&bench, &["box", "--help"], 0, "policy", "");
    check(&bench, &["box", "shields", "up"], 1, "", "`nemoclaw box shields` is not here");
    check(&bench, &["box", "statu"], 2, "", "unrecognized subcommand 'statu'; did you mean `status`?");
    check(&bench, &["box", "status"], 1, "", "there is no sandbox box");
    check(&bench, &["box", "destroy", "--yes"], 1, "", "there is no sandbox box");
    check(&bench, &["credentials", "list"], 0, "no credentials are kept", "");
    check(&bench, &["credentials", "reset", "NOPE", "--yes"], 1, "", "NOPE is not kept here");
    let mut agent = start(&bench);
    agent.ask("/a");
    check(&bench, &["box", "status", "--json"], 0, "\"phase\": \"ready\"", "");
    check(&bench, &["box", "status", "--json"], 0, "\"found\": true", "");
    check(&bench, &["other", "status", "--json"], 1, "\"found\": false", "there is no sandbox other");
    check(
        &bench,
        &["box", "logs", "--since", "1h"],
        0,
        "[ocsf] HTTP:GET [INFO] ALLOWED GET https://api.test:443/a",
        "",
    );
    check(&bench, &["box", "destroy"], 1, "", "there is no terminal to confirm it at; say --yes");
    let token = format!("{{\"note\": \"{VALUE}\"}}");
    check(&bench, &["box", "config", "set", "--key", "a", "--value", &token], 0, "✓ Set a", "");
    let debug = nemoclaw(&bench, &["debug", "--sandbox", "box"]).succeeded();
    for part in ["== sandbox box", "\"phase\": \"ready\"", "network_policies:", "HTTP:GET [INFO] ALLOWED"] {
        assert!(debug.contains(part), "{part}: {debug}");
    }
    let file = bench.path("work/debug.txt").display().to_string();
    check(&bench, &["debug", "--quick", "-o", &file], 0, "", "✓ Wrote");
    assert!(!std::fs::read_to_string(&file).expect("written").contains("HTTP:GET"), "quick is without journals");
    check(&bench, &["box", "destroy", "--yes"], 0, "", "✓ Destroyed box");
    check(&bench, &["list"], 0, "no sandbox is there", "");
    assert_ne!(agent.end().code, 0, "it was ended");
}
