//! Real clients, by every way in: each reaches what the policy allows, and its token is exchanged on the way.

use std::path::PathBuf;
use std::process::Command;

use tollgate_tests::{Bench, finish};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - host: api.test
        port: 443
        protocol: rest
        rules:
          - allow: { method: GET, path: /echo }
          - allow: { method: GET, path: '/files/**' }
          - allow: { method: GET, path: '/bytes/*' }
          - allow: { method: POST, path: /echo }
x-tollgate:
  credentials:
    TOKEN:
      bindings:
        - { host: api.test, port: 443, header: authorization }
";

const REAL: &str = "ghp_theRealTokenOfTheseTests0123456789AB";

/// Runs a shell script that prints the reply of `/echo`, and checks both ends of the exchange.
#[track_caller]
fn check(options: &[&str], script: &str) {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let options = [&["--secret", &secret], options].concat();
    let printed = bench.shell(&options, &format!("echo placeholder=$TOKEN; {script}")).succeeded();
    let placeholder = printed.lines().find_map(|line| line.strip_prefix("placeholder=")).expect("printed");
    assert!(placeholder.starts_with("ghp_") && placeholder.len() == REAL.len(), "{placeholder}");
    let arrived = bench.origin.arrived();
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(arrived[0].header("authorization"), Some(format!("Bearer {REAL}").as_str()));
    assert!(printed.contains(&format!("Bearer {placeholder}")), "the reply was scrubbed: {printed}");
    assert!(!printed.contains(REAL), "{printed}");
    let requests = bench.events("request");
    assert_eq!(requests.len(), 1);
    assert_eq!((&requests[0]["decision"], &requests[0]["exchanged"][0]), (&"allowed".into(), &"TOKEN".into()));
}

/// A virtual environment with requests and httpx, made by `tests/run.sh`.
fn python() -> (PathBuf, String) {
    let folder = std::env::var_os("TOLLGATE_TEST_PYTHON")
        .map(PathBuf::from)
        .expect("TOLLGATE_TEST_PYTHON names a virtual environment with requests and httpx; run tests/run.sh");
    let interpreter = folder.join("bin/python").display().to_string();
    (folder, interpreter)
}

#[track_caller]
fn check_python(program: &str) {
    let (folder, interpreter) = python();
    let script = format!("{interpreter} -c '{program}'");
    check(&["--read-only", &folder.display().to_string()], &script);
}

#[test]
fn curl_by_proxy() {
    check(&[], r#"curl -sS --fail -H "Authorization: Bearer $TOKEN" https://api.test/echo"#);
}

#[test]
fn curl_transparent_ipv4() {
    check(&[], r#"curl -sS --fail --noproxy '*' -4 -H "Authorization: Bearer $TOKEN" https://api.test/echo"#);
}

#[test]
fn curl_transparent_ipv6() {
    check(&[], r#"curl -sS --fail --noproxy '*' -6 -H "Authorization: Bearer $TOKEN" https://api.test/echo"#);
}

#[test]
fn curl_posts_a_body() {
    check(
        &[],
        r#"head -c 300000 /dev/zero | curl -sS --fail --data-binary @- -H "Authorization: Bearer $TOKEN" https://api.test/echo"#,
    );
}

#[test]
fn python_urllib() {
    check_python(
        r#"import os, urllib.request as u
r = u.Request("https://api.test/echo", headers={"Authorization": "Bearer " + os.environ["TOKEN"]})
print(u.urlopen(r).read().decode())"#,
    );
}

#[test]
fn python_requests() {
    check_python(
        r#"import os, requests
r = requests.get("https://api.test/echo", headers={"Authorization": "Bearer " + os.environ["TOKEN"]})
r.raise_for_status(); print(r.text)"#,
    );
}

#[test]
fn python_httpx() {
    check_python(
        r#"import os, httpx
r = httpx.get("https://api.test/echo", headers={"Authorization": "Bearer " + os.environ["TOKEN"]})
r.raise_for_status(); print(r.text)"#,
    );
}

#[test]
fn python_without_proxy_variables() {
    check_python(
        r#"import os, requests
s = requests.Session(); s.trust_env = False
r = s.get("https://api.test/echo", headers={"Authorization": "Bearer " + os.environ["TOKEN"]}, verify=os.environ["SSL_CERT_FILE"])
r.raise_for_status(); print(r.text)"#,
    );
}

#[test]
fn node_fetch_honours_no_proxy_variables() {
    check(
        &[],
        r#"env -u NODE_USE_ENV_PROXY node -e '
fetch("https://api.test/echo", {headers: {Authorization: "Bearer " + process.env.TOKEN}})
  .then(async r => { if (!r.ok) throw new Error(await r.text()); console.log(await r.text()) })
  .catch(e => { console.error(e); process.exit(1) })'"#,
    );
}

/// A plain Rust program with its own sockets and TLS: the demo's agent by both of its ways.
#[test]
fn a_plain_rust_socket() {
    let bench = Bench::new(POLICY);
    let finished = finish(bench.tollgate().arg("demo"));
    let printed = finished.succeeded();
    assert!(printed.contains("knowing of no proxy"), "{printed}");
}

#[test]
fn git_clones_over_https() {
    let bench = Bench::new(POLICY);
    let repository = bench.path("files/project.git");
    let git = |folder: &std::path::Path, arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
        let mut command = Command::new("git");
        command.current_dir(folder).args(identity).args(arguments);
        assert_eq!(finish(&mut command).code, 0, "git {arguments:?}");
    };
    let source = bench.path("source");
    std::fs::create_dir(&source).expect("made");
    git(&source, &["init", "-q"]);
    std::fs::write(source.join("hello.txt"), "hello from the repository").expect("written");
    git(&source, &["add", "."]);
    git(&source, &["commit", "-q", "-m", "first"]);
    git(&source, &["clone", "-q", "--bare", ".", &repository.display().to_string()]);
    git(&repository, &["update-server-info"]);
    let printed = bench.shell(&[], "git clone -q https://api.test/files/project.git p && cat p/hello.txt").succeeded();
    assert_eq!(printed, "hello from the repository");
}

#[test]
fn a_large_download_arrives_whole() {
    let bench = Bench::new(POLICY);
    let printed = bench.shell(&[], "curl -sS --fail https://api.test/bytes/20000000 | wc -c").succeeded();
    assert_eq!(printed.trim(), "20000000");
    let reply = bench.events("reply");
    assert_eq!((&reply[0]["bytes"], &reply[0]["outcome"]), (&20_000_000.into(), &"complete".into()));
}
