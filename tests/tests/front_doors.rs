//! `openshell …` as its users type it: what it prints where, and how it ends.

use tollgate_tests::{Bench, Finished, finish, front_door};

const VALUE: &str = "ghp_therealvalueABCDEFGHIJKLMNOPQRSTUVWX";
const OTHER: &str = "ghp_anotherrealvalueABCDEFGHIJKLMNOPQRST";

fn openshell(bench: &Bench, arguments: &[&str], token: Option<&str>) -> Finished {
    let mut command = bench.tollgate_as(&front_door());
    command.args(arguments);
    if let Some(token) = token {
        command.env("GITHUB_TOKEN", token);
    }
    let finished = finish(&mut command);
    for value in [VALUE, OTHER] {
        assert!(!finished.stdout.contains(value) && !finished.stderr.contains(value), "a value is shown: {finished:?}");
    }
    finished
}

#[track_caller]
fn check(bench: &Bench, arguments: &[&str], token: Option<&str>, code: i32, stdout: &str, stderr: &str) {
    let finished = openshell(bench, arguments, token);
    assert_eq!(finished.code, code, "{arguments:?}: {finished:?}");
    assert!(finished.stdout.contains(stdout) && (stdout.is_empty() == finished.stdout.is_empty()), "{finished:?}");
    assert!(finished.stderr.contains(stderr) && (stderr.is_empty() == finished.stderr.is_empty()), "{finished:?}");
}

const CREATE: &[&str] = &["provider", "create", "--name", "work", "--type", "github", "--from-existing"];

#[test]
fn providers() {
    let bench = Bench::new("version: 1\n");
    let table =
        "NAME                    TYPE            CREDENTIALS\nwork                    github          GITHUB_TOKEN\n";
    check(&bench, &["provider", "list"], None, 0, "", "No providers found");
    check(&bench, CREATE, None, 1, "", "Error:   × the profile github needs GITHUB_TOKEN or GH_TOKEN");
    check(&bench, CREATE, Some(VALUE), 0, "", "✓ Created provider work");
    check(&bench, CREATE, Some(VALUE), 1, "", "Error:   × there is a provider work already");
    check(&bench, &["provider", "list"], None, 0, table, "");
    check(&bench, &["provider", "list", "--names"], None, 0, "work\n", "");
    check(&bench, &["provider", "list", "-o", "yaml"], None, 0, "name: work\n", "");
    check(&bench, &["provider", "get", "work"], None, 0, "Name:          work\nType:          github\n", "");
    check(&bench, &["provider", "get", "work", "-o", "json"], None, 0, "\"type\": \"github\"", "");
    check(&bench, &["provider", "list-profiles"], None, 0, "telegram", "");
    check(&bench, &["provider", "update", "work"], None, 1, "", "GITHUB_TOKEN is not in the environment");
    check(&bench, &["provider", "update", "work", "--credential", "GITHUB_TOKEN"], Some(OTHER), 0, "", "✓ Updated");
    let store = std::fs::read_to_string(bench.path("home/credentials.json")).expect("there");
    assert!(store.contains(OTHER) && store.contains("former"), "{store}");
    check(&bench, &["provider", "delete", "work"], None, 0, "", "✓ Deleted provider work");
    check(&bench, &["provider", "get", "work"], None, 1, "", "Error:   × there is no provider work");
}

#[test]
fn what_ends_how() {
    let bench = Bench::new("version: 1\n");
    let value = format!("GITHUB_TOKEN={VALUE}");
    let on_line = ["provider", "create", "--name", "a", "--type", "github", "--credential", &value];
    check(&bench, &on_line, None, 1, "", "export GITHUB_TOKEN and write --credential GITHUB_TOKEN");
    check(
        &bench,
        &["provider", "create", "--name", "a", "--type", "github", "--from-gcloud-adc"],
        None,
        1,
        "",
        "oauth:FILE",
    );
    check(&bench, &["provider", "refresh", "status", "work"], None, 1, "", "`provider refresh` is not here");
    check(&bench, &["provider"], None, 0, "list-profiles", "");
    check(&bench, &[], None, 0, "provider", "");
    check(&bench, &["--version"], None, 0, "openshell ", "");
    check(&bench, &["provider", "create"], None, 2, "", "--name");
    check(&bench, &["sandbox", "create", "--provider", "work"], None, 1, "", "name a policy with --policy FILE");
    check(&bench, &["nonsense"], None, 2, "", "unrecognized subcommand 'nonsense'; see `openshell --help`");
    check(&bench, &["status"], None, 0, "Gateway:       local\nServer:        /", "");
    check(&bench, &["status", "-o", "json"], None, 0, "\"status\": \"Connected\"", "");
    check(&bench, &["gateway", "list"], None, 0, "local       this host   Connected", "");
    check(&bench, &["gateway", "select", "local"], None, 0, "", "✓ Using gateway local");
    check(&bench, &["gateway", "login"], None, 1, "", "`gateway login` is not here: nothing has to be added");
    check(&bench, &["settings", "get", "--global"], None, 0, "ocsf_json_enabled                 true\n", "");
    check(&bench, &["settings", "get"], None, 1, "", "no sandbox is running");
    check(&bench, &["whoami"], None, 0, "of this machine", "");
    check(&bench, &["doctor", "check"], None, 1, "", "`openshell doctor` is not here: use `tollgate doctor`");
    check(&bench, &["--gateway", "local", "provider", "list", "--names"], None, 0, "", "");
}
