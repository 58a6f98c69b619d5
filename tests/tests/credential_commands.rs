//! `tollgate credential …` and `tollgate provider …` as a user types them; what they print and keep.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tollgate_tests::{Bench, Finished, finish};

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
