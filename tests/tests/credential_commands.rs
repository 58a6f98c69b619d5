//! `tollgate credential …` and `tollgate provider …` as a user types them; what they print and keep.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tollgate_tests::{Bench, Finished, LISTENERS, Proxy, Started, finish};

const VALUE: &str = "ghp_therealvalueABCDEFGHIJKLMNOPQRSTUVWX";
const OTHER: &str = "ghp_anotherrealvalueABCDEFGHIJKLMNOPQRST";

fn tollgate(bench: &Bench, arguments: &[&str]) -> Finished {
    let finished = finish(bench.tollgate().args(arguments).env_remove("GITHUB_TOKEN").env_remove("GH_TOKEN"));
    for value in [VALUE, OTHER] {
        assert!(!finished.stdout.contains(value) && !finished.stderr.contains(value), "a value is shown: {finished:?}");
    }
    finished
}

/// For commands whose words do not matter.
#[track_caller]
fn does(bench: &Bench, arguments: &[&str]) {
    let finished = tollgate(bench, arguments);
    assert_eq!(finished.code, 0, "{finished:?}");
}

#[track_caller]
fn check_refused(bench: &Bench, arguments: &[&str], code: i32, said: &str) {
    let finished = tollgate(bench, arguments);
    assert_eq!(finished.code, code, "{finished:?}");
    assert!(finished.stderr.contains(said), "{said:?} is not in {finished:?}");
}

/// Where the store lies, by the program's own word.
fn store(bench: &Bench) -> PathBuf {
    let listed = tollgate(bench, &["credential", "list"]).succeeded();
    PathBuf::from(listed.trim().strip_prefix("no credentials are kept in ").expect("an empty store"))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn set_rotate_revoke_reset() {
    let bench = Bench::new("version: 1\n");
    let store = store(&bench);
    let (first, second) = (bench.write("first", VALUE), bench.write("second", OTHER));
    let (first, second) = (first.to_str().expect("text"), second.to_str().expect("text"));
    check_refused(&bench, &["credential", "rotate", "GITHUB_TOKEN", "--file", first], 5, "is not kept here");
    does(&bench, &["credential", "set", "GITHUB_TOKEN", "--file", first]);
    assert_eq!((mode(&store), mode(store.parent().expect("a folder"))), (0o600, 0o700));
    assert!(tollgate(&bench, &["credential", "list"]).succeeded().contains("GITHUB_TOKEN"));
    assert_eq!(tollgate(&bench, &["credential", "test"]).succeeded(), "GITHUB_TOKEN: usable\n");
    does(&bench, &["credential", "rotate", "GITHUB_TOKEN", "--file", second]);
    does(&bench, &["credential", "revoke", "GITHUB_TOKEN"]);
    let tested = tollgate(&bench, &["credential", "test", "GITHUB_TOKEN"]);
    assert_eq!((tested.code, &*tested.stdout), (5, "GITHUB_TOKEN: it was revoked\n"));
    let tested = tollgate(&bench, &["credential", "test", "-o", "json"]);
    assert_eq!(tested.code, 5);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&tested.stdout).expect("JSON"),
        serde_json::json!([{ "name": "GITHUB_TOKEN", "usable": false, "reason": "it was revoked" }])
    );
    does(&bench, &["credential", "reset", "GITHUB_TOKEN"]);
    assert_eq!(std::fs::read_to_string(&store).expect("there"), "{}");
}

#[test]
fn what_is_refused() {
    let bench = Bench::new("version: 1\n");
    let store = store(&bench);
    let value = format!("GITHUB_TOKEN={VALUE}");
    check_refused(&bench, &["credential", "set", &value], 2, "never given on the command line");
    check_refused(
        &bench,
        &["provider", "create", "--name", "a", "--type", "github", "--credential", &value],
        2,
        "never given",
    );
    let broken = bench.write("broken", "a-value\r\nX-Evil: 1");
    let broken = broken.to_str().expect("text");
    check_refused(&bench, &["credential", "set", "A", "--file", broken], 5, "line break");
    check_refused(&bench, &["credential", "set", "A", "--file", "/does/not/exist"], 5, "/does/not/exist");
    check_refused(&bench, &["credential", "set", "A", "--from", VALUE], 2, "never the value itself");
    let value = bench.write("value", VALUE);
    does(&bench, &["credential", "set", "A", "--file", value.to_str().expect("text")]);
    std::fs::set_permissions(&store, PermissionsExt::from_mode(0o644)).expect("set");
    check_refused(&bench, &["credential", "list"], 6, "chmod 600");
}

#[test]
fn providers() {
    let bench = Bench::new("version: 1\n");
    let create = ["provider", "create", "--name", "work", "--type", "github"];
    check_refused(&bench, &create, 5, "GITHUB_TOKEN or GH_TOKEN");
    let mut command = bench.tollgate();
    let created = finish(command.args(create).env_remove("GITHUB_TOKEN").env("GH_TOKEN", VALUE));
    assert!(!created.succeeded().contains(VALUE));
    assert!(tollgate(&bench, &["provider", "get", "work"]).succeeded().contains("GH_TOKEN"));
    assert_eq!(tollgate(&bench, &["provider", "list", "--names"]).succeeded(), "work\n");
    assert_eq!(tollgate(&bench, &["credential", "test"]).succeeded(), "GH_TOKEN: usable\n");
    let json = tollgate(&bench, &["provider", "policy", "telegram", "-o", "json"]).succeeded();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON")["version"], 1);
    let policy = tollgate(&bench, &["provider", "policy", "telegram"]).succeeded();
    let policy = tollgate_policy::load(&policy).expect("what is printed loads");
    assert_eq!(policy.credentials().len(), 2);
    does(&bench, &["provider", "delete", "work"]);
    check_refused(&bench, &["provider", "get", "work"], 2, "there is no provider work");
}

#[test]
fn import_of_an_older_store() {
    let bench = Bench::new("version: 1\n");
    let older = bench.write("credentials.json", format!("{{\"GITHUB_TOKEN\": \"{VALUE}\"}}"));
    std::fs::set_permissions(&older, PermissionsExt::from_mode(0o600)).expect("set");
    let imported = tollgate(&bench, &["credential", "import", older.to_str().expect("text")]).succeeded();
    assert!(imported.starts_with("1 taken over"), "{imported}");
    assert_eq!(tollgate(&bench, &["credential", "test"]).succeeded(), "GITHUB_TOKEN: usable\n");
}

/// A profile of one's own for the bench's origin.
const PROFILE: &str = "{id: own, credentials: [{name: t, env_vars: [OWN_TOKEN], auth_style: header, header_name: x-own}], \
                       endpoints: [{host: api.test, port: 443, protocol: rest, access: read-only}]}";

const JUDGED: &str = "version: 1\nnetwork_policies: {api: {endpoints: [{host: api.test, port: 443, protocol: rest, access: read-only}]}}\n";

fn with_own_provider(policy: &str) -> Bench {
    let bench = Bench::new(policy);
    does(&bench, &["provider", "list"]);
    std::fs::create_dir(bench.path("home/profiles")).expect("made");
    std::fs::write(bench.path("home/profiles/own.yaml"), PROFILE).expect("written");
    let mut command = bench.tollgate();
    let created =
        finish(command.args(["provider", "create", "--name", "work", "--type", "own"]).env("OWN_TOKEN", VALUE));
    assert_eq!(created.code, 0, "{created:?}");
    bench
}

/// What `GET /` with the provider's credential in a header gets, and what the origin was sent.
fn asked(bench: &Bench, header: &str) -> (String, Option<String>) {
    let script = format!("curl -sS -o body -w '%{{http_code}}' -H \"{header}: $OWN_TOKEN\" https://api.test/");
    let code = bench.shell(&["--provider", "work"], &script).succeeded();
    (code, bench.origin.arrived().last().and_then(|arrived| arrived.header(header).map(str::to_owned)))
}

#[test]
fn a_provider_brings_its_bindings() {
    let bench = with_own_provider(JUDGED);
    assert_eq!(asked(&bench, "x-own"), ("200".to_owned(), Some(VALUE.to_owned())));
    let elsewhere = with_own_provider(&JUDGED.replace("api.test", "other.test"));
    let finished = elsewhere.shell(&["--provider", "work"], "true");
    assert!(finished.stderr.contains("no endpoint leads to where OWN_TOKEN"), "{finished:?}");
}

#[test]
fn endpoints_name_providers_that_are_attached() {
    let named = JUDGED.replace("access: read-only", "access: read-only, credential_binding: {provider: work}");
    let bench = with_own_provider(&named);
    assert_eq!(asked(&bench, "x-own"), ("200".to_owned(), Some(VALUE.to_owned())));
    let finished = bench.shell(&[], "true");
    assert_eq!(finished.code, 3, "{finished:?}");
    assert!(finished.stderr.contains("policy.yaml:2:") && finished.stderr.contains("--provider work"), "{finished:?}");
}

/// Runs until it is told to end; each line of its input makes it ask once, and it says the answer.
const ASKING: &str = "echo ready >&2; while read line; do \
                      curl -sS -o body -w '%{http_code}\\n' -H \"x-own: $OWN_TOKEN\" https://api.test/ >&2; done; exit 0";

#[test]
fn k9_rotation_and_revocation_are_in_force_when_the_command_ends() {
    let bench = with_own_provider(JUDGED);
    let mut running = Started::new(&mut bench.run(&["--provider", "work", "--name", "box"], &["sh", "-c", ASKING]));
    running.wait_for("ready");
    let mut ask = |expected: &str| {
        running.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("sent");
        running.wait_for(expected);
        bench.origin.arrived().last().and_then(|arrived| arrived.header("x-own").map(str::to_owned))
    };
    assert_eq!(ask("200").as_deref(), Some(VALUE));
    let other = bench.write("other", OTHER);
    let rotate = ["credential", "rotate", "OWN_TOKEN", "--file", other.to_str().expect("text")];
    let said = tollgate(&bench, &rotate).succeeded();
    assert!(said.ends_with("sandbox box: in force\n"), "{said}");
    assert_eq!(ask("200").as_deref(), Some(OTHER));
    let said = tollgate(&bench, &["credential", "revoke", "OWN_TOKEN"]).succeeded();
    assert!(said.ends_with("sandbox box: refused: it was revoked\n"), "{said}");
    let before = bench.origin.arrived().len();
    ask("50");
    assert_eq!(bench.origin.arrived().len(), before, "nothing was sent");
    assert_eq!(running.end().code, 0);
    let told: Vec<_> = bench.events("credential").iter().map(|event| event["outcome"].clone()).collect();
    assert_eq!(told, ["rotated", "revoked"]);
    assert!(bench.events("credential").iter().all(|event| event["credential"] == "OWN_TOKEN"));
}

/// One that runs and does not answer is named: its socket is there, and nobody takes what comes.
#[test]
fn k9_what_cannot_be_told_is_named() {
    let bench = with_own_provider(JUDGED);
    std::fs::create_dir_all(bench.path("home/sandboxes/deaf")).expect("made");
    let socket = std::os::unix::net::UnixListener::bind(bench.path("home/sandboxes/deaf/control.sock")).expect("bound");
    let place = bench.path("home/sandboxes/deaf/control.sock");
    bench.give(&place);
    std::fs::set_permissions(place, PermissionsExt::from_mode(0o600)).expect("set");
    std::fs::set_permissions(bench.path("home/sandboxes/deaf"), PermissionsExt::from_mode(0o755)).expect("set");
    std::fs::set_permissions(bench.path("home/sandboxes"), PermissionsExt::from_mode(0o755)).expect("set");
    let finished = tollgate(&bench, &["credential", "revoke", "OWN_TOKEN"]);
    assert_eq!((finished.code, &*finished.stdout), (1, "OWN_TOKEN is revoked\n"), "{finished:?}");
    assert!(finished.stderr.contains("sandbox deaf (it gives no answer"), "{finished:?}");
    drop(socket);
}

/// An agent of a stand-alone proxy has its providers as well, and is told of a rotation by name.
#[test]
fn k9_agents_of_a_proxy_have_providers() {
    let bench = with_own_provider(JUDGED);
    let agents = "agents: [{ name: alice, sources: [\"127.0.0.1\"], policy: policy.yaml, providers: [work] }]";
    bench.configure(&format!("{LISTENERS}\n{agents}"));
    let proxy = Proxy::start(&bench);
    let environment =
        finish(bench.proxy().args(["env", "alice", "--address", "127.0.0.1:1", "-o", "json"])).succeeded();
    let environment: serde_json::Value = serde_json::from_str(&environment).expect("JSON");
    let header = format!("x-own: {}", environment["OWN_TOKEN"].as_str().expect("a placeholder"));
    let ask = || {
        let status = bench.curl(&proxy.url(""), &["-H", &header], "https://api.test/").status;
        (status, bench.origin.arrived().last().and_then(|arrived| arrived.header("x-own").map(str::to_owned)))
    };
    assert_eq!(ask(), (200, Some(VALUE.to_owned())));
    let other = bench.write("other", OTHER);
    let said =
        tollgate(&bench, &["credential", "rotate", "OWN_TOKEN", "--file", other.to_str().expect("text")]).succeeded();
    assert!(said.ends_with("proxy proxy: agent alice: in force\n"), "{said}");
    assert_eq!(ask(), (200, Some(OTHER.to_owned())));
    let told = bench.proxy_events(1, "credential");
    assert_eq!((told[0]["agent"].as_str(), told[0]["outcome"].as_str()), (Some("alice"), Some("rotated")));
    assert_eq!(proxy.stop().code, 0);
}
