//! Programs as policies name them: by a link, by the interpreter of a script, in an environment of their own.

use std::os::unix::fs::symlink;

use tollgate_tests::Bench;

/// A policy that lets one program through, and one secret that is for it alone.
fn policy(program: &str, more: &str) -> String {
    format!(
        "
version: 1
network_policies:
  api:
    endpoints:
      - {{ host: api.test, port: 443, protocol: rest, access: read-only }}
    binaries: [{{ path: {program} }}]
{more}x-tollgate:
  credentials:
    TOKEN:
      bindings: [{{ host: api.test, port: 443, header: authorization, binaries: [{program}] }}]
"
    )
}

const ASK: &str = r#"
import os, urllib.request, urllib.error
request = urllib.request.Request("https://api.test/echo", headers={"Authorization": "Bearer " + os.environ["TOKEN"]})
try:
    print(urllib.request.urlopen(request, timeout=20).status, flush=True)
except urllib.error.HTTPError as error:
    print(error.code, flush=True)
except OSError as error:
    print("403" if "403" in str(error) else error, flush=True)
"#;

/// The agent runs `script` in its folder, where `ask.py` lies; what is printed, and how many requests arrived with the
/// secret in them.
#[track_caller]
fn check(program: &str, prepare: impl Fn(&Bench), script: &str, printed: &str, arrived: usize) {
    const REAL: &str = "ghp_theRealTokenOfTheseTests0123456789AB";
    let bench = Bench::new(&policy(program, ""));
    let program = program.replace("WORK", &bench.path("work").display().to_string());
    bench.write("policy.yaml", policy(&program, ""));
    bench.write("work/ask.py", ASK);
    prepare(&bench);
    let finished = bench.shell(&["--secret", &format!("TOKEN=cmd:printf {REAL}")], script);
    assert_eq!(finished.stdout, printed, "{program}: {finished:?}");
    let all = bench.origin.arrived();
    let authorized = all.iter().filter(|one| one.header("authorization") == Some(&format!("Bearer {REAL}")));
    assert_eq!((all.len(), authorized.count()), (arrived, arrived), "{program}: {all:?}");
}

/// Debian's `python3` is a link to the version that is installed.
fn real_python() -> String {
    std::fs::canonicalize("/usr/bin/python3").expect("python3").display().to_string()
}

#[test]
fn l12_programs_that_are_named_by_links() {
    assert_ne!(real_python(), "/usr/bin/python3", "a link, or the test shows nothing");
    check("/usr/bin/python3", |_| {}, "python3 ask.py", "200\n", 1);
    check(&real_python(), |_| {}, "python3 ask.py", "200\n", 1);
    // A neighbour is not meant.
    check("/usr/bin/env", |_| {}, "python3 ask.py", "403\n", 0);
    check("/usr/bin/python3-that-is-not-there", |_| {}, "python3 ask.py", "403\n", 0);
}

#[test]
fn l12_environments_and_shims() {
    // An environment's own python is a link to a link; a shim is a link into a folder of packages.
    let environment = |bench: &Bench| {
        std::fs::create_dir_all(bench.path("work/env/bin")).expect("made");
        bench.write("work/env/pyvenv.cfg", "home = /usr/bin\n");
        symlink("/usr/bin/python3", bench.path("work/env/bin/python3")).expect("linked");
        symlink("python3", bench.path("work/env/bin/python")).expect("linked");
    };
    check("WORK/env/bin/python", environment, "env/bin/python ask.py", "200\n", 1);
    let shim = |bench: &Bench| {
        for folder in ["work/bin", "work/lib/tool"] {
            std::fs::create_dir_all(bench.path(folder)).expect("made");
        }
        bench.write("work/lib/tool/cli.py", format!("#!/usr/bin/python3\n{ASK}"));
        symlink("../lib/tool/cli.py", bench.path("work/bin/tool")).expect("linked");
    };
    let run = "chmod 755 lib/tool/cli.py; bin/tool";
    // The kernel runs the interpreter of a script: a rule for the script is a rule for nothing that runs.
    check("WORK/bin/tool", shim, run, "403\n", 0);
    check("/usr/bin/python3", shim, run, "200\n", 1);
}

/// What a script that is permitted by its interpreter starts is permitted like itself, and what starts it is not.
#[test]
fn l6_what_an_interpreter_starts() {
    let bench = |_: &Bench| {};
    let child = "python3 -c 'import subprocess; subprocess.run([\"sh\", \"-c\", \"python3 ask.py; true\"])'";
    check("/usr/bin/python3", bench, child, "200\n", 1);
    check("/bin/dash", bench, "python3 ask.py; true", "200\n", 1);
    check("/usr/bin/perl", bench, "python3 ask.py; true", "403\n", 0);
}

/// A path stands for the file that was first seen there, unless the policy says that it may change.
#[test]
fn l3_programs_that_are_replaced() {
    // The same file but for a byte at its end, which no loader looks at.
    let script = "cp /usr/bin/python3 tool; ./tool ask.py; cp tool new; printf x >> new; mv new tool; ./tool ask.py; \
                  ./tool -c 'import subprocess; subprocess.run([\"python3\", \"ask.py\"])'; cp /usr/bin/python3 tool; ./tool ask.py";
    for (upgrades, printed) in
        [("", "200\n403\n403\n200\n"), ("    x-tollgate: { upgrades: true }\n", "200\n200\n200\n200\n")]
    {
        let bench = Bench::new("version: 1\n");
        let tool = bench.path("work/tool").display().to_string();
        bench.write("policy.yaml", policy(&tool, upgrades).replace(&format!("binaries: [{tool}]"), ""));
        bench.write("work/ask.py", ASK);
        let finished = bench.shell(&["--secret", "TOKEN=cmd:printf ghp_theRealTokenOfTheseTests0123456789AB"], script);
        assert_eq!(finished.stdout, printed, "{upgrades}: {finished:?}");
        let denied: Vec<_> = bench.events("connection").into_iter().filter(|one| one["decision"] == "denied").collect();
        assert_eq!(denied.len(), printed.matches("403").count(), "{denied:?}");
        assert!(denied.iter().all(|one| one.to_string().contains("another file than at first")), "{denied:?}");
    }
}
