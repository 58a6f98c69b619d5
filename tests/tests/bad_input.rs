//! Wrong input and missing protections: one clear sentence, the right exit code, and nothing of COMMAND has run.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tollgate_tests::{Bench, Finished, finish, without};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
";

/// An agent that leaves a trace.
const AGENT: &[&str] = &["sh", "-c", "echo it ran; echo it ran > trace"];

/// It must have ended with this code, said this much, and not run the agent.
#[track_caller]
fn check_refused(bench: &Bench, finished: &Finished, code: i32, said: &[&str]) {
    assert_eq!(finished.code, code, "{finished:?}");
    for text in said {
        assert!(finished.stderr.contains(text), "{text:?} is not in {finished:?}");
    }
    assert!(finished.stderr.starts_with("tollgate: ") || code == 2, "{finished:?}");
    assert!(finished.stdout.is_empty() && !bench.path("work/trace").exists(), "the agent ran: {finished:?}");
}

#[track_caller]
fn check(options: &[&str], agent: &[&str], code: i32, said: &[&str]) {
    let bench = Bench::new(POLICY);
    check_refused(&bench, &bench.agent(options, agent), code, said);
}

#[track_caller]
fn check_policy(policy: &str, said: &[&str]) {
    let bench = Bench::new(policy);
    check_refused(&bench, &bench.agent(&[], AGENT), 3, said);
}

#[test]
fn a_wrong_command_line_is_2() {
    check(&["--secret", "1BAD"], AGENT, 2, &["--secret", "a secret's name is"]);
    check(&["--secret", "TOKEN=vault:x"], AGENT, 2, &["env:VAR, store, file:PATH, cmd:COMMAND or oauth:FILE"]);
    let typed = Bench::new(POLICY).agent(&["--secret", "TOKEN=ghp_typed"], AGENT);
    assert!(!typed.stderr.contains("ghp_typed"), "a value that was typed by mistake is not repeated: {typed:?}");
    check(&["--resolve", "api.test:443"], AGENT, 2, &["NAME:PORT:ADDRESS"]);
    check(&["--allow-degraded", "everything"], AGENT, 2, &["landlock, seccomp, nftables"]);
    check(&["--name", "Not A Name"], AGENT, 2, &["`Not A Name` is no sandbox name"]);
    check(&["--upstream-ca", "/etc/hostname"], AGENT, 2, &["/etc/hostname", "no PEM certificate"]);
    check(&["--read-only", "/does/not/exist"], AGENT, 2, &["/does/not/exist"]);
    check(&[], &[], 2, &["COMMAND"]);
}

#[test]
fn a_policy_that_cannot_be_used_is_3() {
    let bench = Bench::new(POLICY);
    let missing = finish(&mut bench.run_with(&bench.path("nowhere.yaml"), &[], AGENT));
    check_refused(&bench, &missing, 3, &["nowhere.yaml", "No such file"]);
    let unreadable = bench.write("closed.yaml", POLICY);
    std::fs::set_permissions(&unreadable, PermissionsExt::from_mode(0o000)).expect("set");
    let unreadable = finish(&mut bench.run_with(&unreadable, &[], AGENT));
    check_refused(&bench, &unreadable, 3, &["closed.yaml", "Permission denied"]);
    check_policy("", &["policy.yaml:1:1", "version"]);
    check_policy("version: 1\nnetwork_polices: {}\n", &["policy.yaml:2:1", "did you mean `network_policies`"]);
    check_policy("version: 1\nversion: 1\n", &["policy.yaml:2:1"]);
    check_policy("version: 2\n", &["policy.yaml:1:10"]);
    check_policy("version: 1\nnetwork_policies: {a: {endpoints: [{host: '*', port: 443}]}}\n", &["policy.yaml:2:"]);
}

#[test]
fn all_mistakes_of_a_policy_are_told_at_once() {
    let bench = Bench::new("version: 1\nfirst: 1\nsecond: 2\nversion: 1\n");
    let finished = bench.agent(&[], AGENT);
    check_refused(&bench, &finished, 3, &["policy.yaml:2:1", "policy.yaml:3:1", "policy.yaml:4:1"]);
}

#[test]
fn a_missing_protection_is_4() {
    for (feature, said) in [
        ("user-namespaces", &["no user namespaces", "unshare"][..]),
        ("landlock", &["Landlock", "--allow-degraded landlock"][..]),
        ("seccomp", &["seccomp", "--allow-degraded seccomp"][..]),
        ("nftables", &["nf_tables", "--allow-degraded nftables"][..]),
    ] {
        let bench = Bench::new(POLICY);
        let finished = finish(&mut without(feature, &bench.run(&[], AGENT)));
        check_refused(&bench, &finished, 4, said);
        let reason = bench.events("close")[0]["reason"].to_string();
        assert!(reason.contains("not started"), "{reason}");
    }
}

#[test]
fn no_user_namespaces_at_all_names_the_switch() {
    let bench = Bench::new(POLICY);
    let run = bench.run(&[], AGENT);
    let inner: Vec<_> = std::iter::once(run.get_program()).chain(run.get_args()).collect();
    let home = bench.path("own");
    std::fs::create_dir(&home).expect("made");
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).expect("set");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg("echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"").arg("sh").args(inner);
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TOLLGATE_HOME", home).current_dir(bench.path("work"));
    let finished = finish(&mut command);
    assert_eq!(finished.code, 4, "{finished:?}");
    assert!(finished.stderr.contains("sysctl -w user.max_user_namespaces="), "{finished:?}");
    assert!(!bench.path("work/trace").exists());
}

#[test]
fn a_protection_may_be_missing_only_by_name() {
    for feature in ["landlock", "seccomp", "nftables"] {
        let bench = Bench::new(POLICY);
        let script = "curl -sS --fail --noproxy '*' https://api.test/";
        let run = bench.run(&["--allow-degraded", feature], &["sh", "-c", script]);
        let finished = finish(&mut without(feature, &run));
        assert_eq!((finished.code, finished.stdout.as_str()), (0, "ok"), "{finished:?}");
        assert!(finished.stderr.contains(&format!("WITHOUT {feature}")), "{finished:?}");
        assert_eq!(bench.events("open")[0]["degraded"][0], feature);
        let other = if feature == "landlock" { "seccomp" } else { "landlock" };
        let bench = Bench::new(POLICY);
        let refused = finish(&mut without(feature, &bench.run(&["--allow-degraded", other], AGENT)));
        check_refused(&bench, &refused, 4, &[feature]);
    }
}

#[test]
fn without_redirection_other_ports_are_refused_at_once() {
    let bench = Bench::new(POLICY);
    let script = "curl -sS --noproxy '*' http://api.test:8080/";
    let run = bench.run(&["--allow-degraded", "nftables"], &["sh", "-c", script]);
    let finished = finish(&mut without("nftables", &run));
    assert_eq!(finished.code, 7, "curl could not connect: {finished:?}");
}

#[test]
fn a_policy_that_asks_for_signing_is_3() {
    let signed = POLICY.replace("protocol: rest", "protocol: rest, credential_signing: sigv4, signing_service: s3");
    assert_ne!(signed, POLICY);
    check_policy(&signed, &["policy.yaml:", "asks for signed requests"]);
}

#[test]
fn a_secret_that_cannot_be_read_is_5() {
    check(&["--secret", "UNSET"], AGENT, 5, &["secret UNSET", "neither in the environment nor in the store"]);
    check(&["--secret", "A=env:UNSET"], AGENT, 5, &["secret A", "not set"]);
    check(&["--secret", "A=file:/does/not/exist"], AGENT, 5, &["secret A", "/does/not/exist"]);
    check(&["--secret", "A=cmd:exit 3"], AGENT, 5, &["secret A", "its command failed with exit status: 3"]);
    check(&["--secret", "A=cmd:true"], AGENT, 5, &["secret A", "empty"]);
    check(&["--secret", "A=cmd:echo x"], AGENT, 5, &["secret A", "shorter than"]);
    check(&["--secret", "A=cmd:printf 'abcdef\\r\\nX-Evil: 1'"], AGENT, 5, &["secret A", "line break"]);
    check(&["--secret", "A=cmd:echo 12345678", "--secret", "A=cmd:echo 12345678"], AGENT, 5, &["given twice"]);
}

#[test]
fn a_secret_file_that_the_agent_would_see_is_refused() {
    let bench = Bench::new(POLICY);
    bench.write("work/token", "the-real-token");
    let secret = format!("A=file:{}", bench.path("work/token").display());
    let finished = bench.agent(&["--secret", &secret], AGENT);
    check_refused(&bench, &finished, 5, &["work/token", "the agent would see the secret"]);
}

/// A link that leads to the state, and one that an agent could have laid.
#[test]
fn links_do_not_hide_what_is_granted() {
    let bench = Bench::new(POLICY);
    let link = bench.path("link");
    std::os::unix::fs::symlink(bench.path("home"), &link).expect("linked");
    let grant = |path: &std::path::Path| {
        format!("{POLICY}filesystem_policy: {{ include_workdir: true, read_only: ['{}'] }}\n", path.display())
    };
    bench.set_policy(&grant(&link));
    check_refused(&bench, &bench.agent(&[], AGENT), 3, &["TOLLGATE_HOME"]);
    let laid = bench.path("work/sub");
    std::os::unix::fs::symlink("/var", &laid).expect("linked");
    bench.set_policy(&grant(&laid));
    check_refused(&bench, &bench.agent(&[], AGENT), 3, &["work/sub is a link", "could point it anywhere"]);
}

#[test]
fn the_agent_never_sees_the_state_folder() {
    let bench = Bench::new(POLICY);
    let home = bench.path("home").display().to_string();
    let finished = bench.agent(&["--read-only", &home], AGENT);
    check_refused(&bench, &finished, 3, &["TOLLGATE_HOME"]);
}

#[test]
fn a_state_folder_that_cannot_be_used_is_6() {
    let bench = Bench::new(POLICY);
    for (home, said) in [("/tmp", "/tmp is shared"), ("/proc/nowhere", "cannot be made"), ("relative", "absolute")] {
        let finished = finish(bench.run(&[], AGENT).env("TOLLGATE_HOME", home));
        check_refused(&bench, &finished, 6, &[said]);
    }
    std::fs::set_permissions(bench.path("home"), PermissionsExt::from_mode(0o755)).expect("set");
    check_refused(&bench, &bench.agent(&[], AGENT), 6, &["chmod 700"]);
}

/// A file system of a few kilobytes, full, in a mount namespace of the test's own.
#[test]
fn o6_a_full_disk_under_the_journal_is_6() {
    let bench = Bench::new(POLICY);
    let run = bench.run(&[], AGENT);
    let inner: Vec<_> = std::iter::once(run.get_program()).chain(run.get_args()).collect();
    let script = "mount -t tmpfs -o size=64k,mode=700 tmpfs \"$TOLLGATE_HOME\" && \
                  { head -c 1M /dev/zero > \"$TOLLGATE_HOME/fill\" 2>/dev/null || exec \"$@\"; }";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).args(inner);
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(bench.path("work"));
    let finished = finish(&mut command);
    check_refused(&bench, &finished, 6, &["No space left on device"]);
}

#[test]
fn a_command_that_cannot_run_is_126_or_127() {
    check(&[], &["does-not-exist"], 127, &["`does-not-exist` does not exist"]);
    check(&[], &["/does/not/exist"], 127, &["does not exist"]);
    check(&[], &["/etc/hostname"], 126, &["/etc/hostname", "cannot be executed"]);
    check(&[], &["/usr/bin"], 126, &["/usr/bin"]);
    let bench = Bench::new(POLICY);
    let script = bench.write("work/script", "#!/does/not/exist\n");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("set");
    check_refused(&bench, &bench.agent(&[], &["./script"]), 126, &["./script"]);
}

#[test]
fn otherwise_the_exit_code_is_the_agents() {
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
    {
        let bench = Bench::new(POLICY);
        assert_eq!(bench.shell(&[], script).code, code, "{script}");
    }
}
