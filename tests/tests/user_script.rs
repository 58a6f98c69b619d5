//! A user's script connects the agent of a running sandbox to two services of one host, by the commands of other tools alone.
//!
//! `TOLLGATE_USER_SCRIPT` and `TOLLGATE_USER_SCRIPT_PREFIX` name another such script, and what its settings begin with.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tollgate_tests::{Finished, Staying, built, finish, through};

const SCRIPT: &str = r#"#!/bin/bash
set -euo pipefail
SANDBOX=$1
source ~/.connect-creds
MCP_HOST=$(printf '%s' "$CONNECT_LINEAR_MCP_URL" | awk -F/ '{print $3}')
TOKEN=$(curl -sS -X POST "$CONNECT_TOKEN_ENDPOINT" \
    -d "grant_type=client_credentials&client_id=$CONNECT_CLIENT_ID&client_secret=$CONNECT_CLIENT_SECRET" \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
DRAFT=$(mktemp -d)
trap 'rm -rf "$DRAFT"' EXIT
openshell policy get --full "$SANDBOX" | awk '/^---$/{found=1;next} found' > "$DRAFT/policy.yaml"
tollgate policy show "$DRAFT/policy.yaml" -o json > "$DRAFT/policy.json"
MCP_HOST="$MCP_HOST" python3 - "$DRAFT/policy.json" <<'PY'
import json, os, sys
with open(sys.argv[1]) as file:
    policy = json.load(file)
methods = [{"allow": {"method": method, "path": "/**"}} for method in ("POST", "GET")]
policy.setdefault("network_policies", {})["mcp"] = {
    "name": "mcp",
    "endpoints": [{"host": os.environ["MCP_HOST"], "port": 443, "protocol": "rest", "tls": "terminate",
                   "enforcement": "enforce", "rules": methods}],
    "binaries": [{"path": "/usr/local/bin/openclaw"}, {"path": "/usr/local/bin/node"}],
}
with open(sys.argv[1], "w") as file:
    json.dump(policy, file)
PY
openshell policy set "$SANDBOX" --policy "$DRAFT/policy.json" >/dev/null
SERVERS=$(TOKEN="$TOKEN" python3 -c '
import json, os
def server(name):
    url = os.environ["CONNECT_%s_MCP_URL" % name.upper()]
    return {"type": "http", "url": url, "headers": {"Authorization": "Bearer " + os.environ["TOKEN"]}}
print(json.dumps({name: server(name) for name in ("linear", "notion")}))')
nemoclaw "$SANDBOX" config set --key mcp.servers --value "$SERVERS" >/dev/null
openshell sandbox exec -n "$SANDBOX" -- openclaw mcp list 2>/dev/null | awk '/^- /{print "  "$0}'
"#;

/// A sandbox named `box`, in which `/usr/local/bin` holds `openclaw` and `node` alone.
fn sandbox() -> Staying {
    let bench = Staying::new("version: 1\n");
    let programs = bench.0.path("programs");
    std::fs::create_dir(&programs).expect("made");
    for (program, name) in [(built("openclaw"), "openclaw"), ("/usr/bin/curl".into(), "node")] {
        std::fs::copy(program, programs.join(name)).expect("copied");
    }
    for path in [programs.clone(), programs.join("openclaw"), programs.join("node")] {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("set");
    }
    let mut create = bench.command(&["create", "--name", "box", "--policy"]);
    create.arg(bench.0.path("policy.yaml")).arg("--upstream-ca").arg(bench.0.path("origin-ca.pem"));
    create.arg("--resolve").arg(format!("api.test:443:{}", bench.0.origin.address())).env("HOME", "/home/agent");
    assert_eq!(finish(&mut inside(&bench, &create)).succeeded(), "box\n");
    bench
}

/// A command for which `/usr/local/bin` is another folder.
fn inside(bench: &Staying, command: &Command) -> Command {
    let programs = bench.0.path("programs").display().to_string();
    through(&[&built("laid_over").display().to_string(), &programs, "/usr/local/bin"], command)
}

/// Answers each request for a token with the next of these.
fn token_endpoint(tokens: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for (stream, token) in listener.incoming().flatten().zip(tokens) {
            let mut request = BufReader::new(&stream);
            let mut length = 0;
            let mut line = String::new();
            while request.read_line(&mut line).is_ok_and(|_| line.trim() != "") {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            request.read_exact(&mut body).expect("a body");
            assert_eq!(body, b"grant_type=client_credentials&client_id=me&client_secret=mine");
            let reply = format!("{{\"access_token\":\"{token}\",\"expires_in\":300}}");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", reply.len());
            (&stream).write_all(format!("{head}{reply}").as_bytes()).expect("answered");
        }
    });
    address
}

/// Runs the script as a user would, with the commands of the build on the path.
fn connect(bench: &Staying, endpoint: SocketAddr) -> Finished {
    let prefix = std::env::var("TOLLGATE_USER_SCRIPT_PREFIX").unwrap_or_else(|_| "connect".to_owned());
    let script = match std::env::var_os("TOLLGATE_USER_SCRIPT") {
        Some(script) => std::fs::read_to_string(script).expect("readable"),
        None => SCRIPT.to_owned(),
    };
    let upper = prefix.to_uppercase();
    let settings = format!(
        "{upper}_CLIENT_ID=me\n{upper}_CLIENT_SECRET=mine\n{upper}_TOKEN_ENDPOINT=http://{endpoint}/token\n\
         export {upper}_LINEAR_MCP_URL=https://api.test/linear {upper}_NOTION_MCP_URL=https://api.test/notion\n"
    );
    bench.0.write(&format!("work/.{prefix}-creds"), settings);
    let script = bench.0.write("work/connect.sh", script);
    let folder = |name: &str| built(name).parent().map(PathBuf::from).expect("a folder").display().to_string();
    let path = [folder("tollgate"), folder("openshell"), folder("nemoclaw"), "/usr/bin".to_owned(), "/bin".to_owned()];
    finish(bench.0.tollgate_as("/bin/bash".as_ref()).arg(script).arg("box").env("PATH", path.join(":")))
}

/// The status of a request by a program of the sandbox; 0 where the gate gives no way to the host.
fn status(bench: &Staying, program: &str, method: &str) -> u32 {
    let ask =
        ["box", "--", program, "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "https://api.test/linear"];
    let (_, stdout, _) = bench.exec(&ask, b"");
    String::from_utf8_lossy(&stdout).parse().expect("a status")
}

const FIRST: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJmaXJzdCJ9.c2lnbmF0dXJl";
const SECOND: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzZWNvbmQifQ.c2lnbmF0dXJl";

#[test]
fn it_connects_and_the_token_stays_outside() {
    let bench = sandbox();
    let endpoint = token_endpoint(&[FIRST, SECOND]);
    const LISTED: &str = "  - linear: https://api.test/linear\n  - notion: https://api.test/notion\n";
    let connected = connect(&bench, endpoint);
    assert!(connected.code == 0 && connected.stdout.contains(LISTED), "{connected:?}");
    let sent = |token: &str| {
        let token = format!("Bearer {token}");
        bench.0.origin.arrived().iter().filter(|one| one.header("authorization") == Some(&token)).count()
    };
    assert_eq!((sent(FIRST), sent(SECOND)), (2, 0), "each server was sent the real token");

    let config = bench.exec(&["box", "--", "sh", "-c", "cat ~/.openclaw/openclaw.json"], b"");
    let config: Value = serde_json::from_slice(&config.1).expect("JSON");
    let header = config["mcp"]["servers"]["linear"]["headers"]["Authorization"].as_str().expect("a header");
    let name = header.strip_prefix("Bearer openshell:resolve:env:").expect("a reference");
    let store = || std::fs::read_to_string(bench.0.path("home/credentials.json")).expect("a store");
    assert!(store().contains(name) && store().contains(FIRST), "the store keeps it");
    let kept_elsewhere = Command::new("grep").args(["-rlF", FIRST]).arg(bench.0.path("home")).output().expect("ran");
    let kept_elsewhere = String::from_utf8_lossy(&kept_elsewhere.stdout).into_owned();
    assert_eq!(kept_elsewhere.lines().count(), 1, "nothing but the store has it: {kept_elsewhere}");

    for (program, method, expected) in [
        ("/usr/local/bin/node", "GET", 200),
        ("/usr/local/bin/node", "POST", 200),
        ("/usr/local/bin/node", "DELETE", 403),
        ("/usr/local/bin/node", "PUT", 403),
        ("/usr/bin/curl", "GET", 0),
        ("/usr/bin/curl", "POST", 0),
    ] {
        assert_eq!(status(&bench, program, method), expected, "{program} {method}");
    }

    let again = connect(&bench, endpoint);
    assert!(again.code == 0 && again.stdout.contains(LISTED), "{again:?}");
    assert_eq!((sent(FIRST), sent(SECOND)), (2, 2), "a new token takes the place of the old one");

    let _ = bench.sandbox(&["stop", "box"]).code;
    assert_eq!(finish(&mut inside(&bench, &bench.command(&["start", "box"]))).code, 0);
    let (code, listed, said) = bench.exec(&["box", "--", "openclaw", "mcp", "list"], b"");
    assert_eq!((code, sent(SECOND)), (0, 4), "{}{said}", String::from_utf8_lossy(&listed));
    assert_eq!(bench.sandbox(&["delete", "box"]).code, 0);
    assert!(!store().contains(SECOND), "the token is deleted with the sandbox");
}
