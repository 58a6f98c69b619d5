//! What must not pass, does not; nothing of it reaches the upstream, and the client is told why.

use serde_json::Value;
use tollgate_tests::{Bench, through};

const POLICY: &str = "
version: 1
network_policies:
  curl:
    endpoints:
      - host: api.test
        port: 443
        protocol: rest
        rules:
          - allow: { method: GET, path: '/v1/*' }
          - allow: { method: GET, path: /echo }
          - allow: { method: GET, path: /hex }
          - allow: { method: GET, path: '/coded/*' }
          - allow: { method: GET, path: '/hostile/*' }
        deny_rules:
          - { method: GET, path: /v1/secret }
      - host: other.test
        port: 443
        protocol: rest
        access: read-only
    binaries:
      - path: /usr/bin/curl
x-tollgate:
  credentials:
    TOKEN:
      bindings:
        - { host: api.test, port: 443, header: authorization }
";

const REAL: &str = "the-real-token-of-these-tests";

/// Runs curl; it must be refused with this status and code, and nothing may have reached the origin.
#[track_caller]
fn check(curl: &str, status: u16, error: &str) -> Value {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let script = format!("curl -sS -w '\\n%{{http_code}} %{{http_connect}}\\n' {curl}");
    let finished = bench.shell(&["--secret", &secret], &script);
    let codes = finished.stdout.lines().last().unwrap_or_default();
    assert!(codes.contains(&status.to_string()), "{finished:?}");
    assert_eq!(bench.origin.connections(), 0, "something reached the origin");
    let denied: Vec<_> = bench.journal().into_iter().filter(|r| r["decision"] == "denied").collect();
    assert!(denied.iter().any(|record| record["error"] == error), "{denied:?}");
    let body = finished.stdout.lines().next().unwrap_or_default();
    let problem = serde_json::from_str(body).unwrap_or(Value::Null);
    if problem != Value::Null {
        assert_eq!(problem["error"], error, "{problem}");
    }
    problem
}

#[test]
fn another_path_and_method() {
    let problem = check("https://api.test/v2/x", 403, "policy_denied");
    assert_eq!(
        (&problem["host"], &problem["port"], &problem["path"]),
        (&"api.test".into(), &443.into(), &"/v2/x".into())
    );
    assert_eq!(problem["binary"], "/usr/bin/curl");
    assert_eq!(problem["rule_missing"]["type"], "rest_allow");
    check("https://api.test/v1/a/b", 403, "policy_denied");
    check("-X DELETE https://api.test/v1/x", 403, "policy_denied");
    check("https://api.test/v1/secret", 403, "policy_denied");
    check("--path-as-is https://api.test/v1/../v1/%73ecret", 403, "policy_denied");
    check("--path-as-is https://api.test/v1/../../x", 400, "invalid_request_target");
    check("--path-as-is https://api.test/v1/a%2fb", 400, "invalid_request_target");
}

#[test]
fn another_host_by_every_way() {
    check("https://evil.test/", 403, "policy_denied");
    check("http://evil.test/", 403, "policy_denied");
    check("https://api.test:8443/v1/x", 403, "policy_denied");
    // Plain HTTP to a host that is allowed at another port.
    check("http://api.test/v1/x", 403, "policy_denied");
}

#[test]
fn b2_the_inner_host_must_be_the_tunnels() {
    check("-H 'Host: other.test' https://api.test/v1/x", 421, "request_authority_mismatch");
    check("--noproxy '*' -H 'Host: other.test' https://api.test/v1/x", 421, "request_authority_mismatch");
}

#[test]
fn b1_the_server_name_must_be_the_tunnels() {
    let bench = Bench::new(POLICY);
    let script = "curl -sS --noproxy '*' --connect-to api.test:443:other.test:443 https://api.test/v1/x";
    let finished = bench.shell(&[], script);
    assert_ne!(finished.code, 0);
    assert!(finished.stderr.contains("alert"), "{finished:?}");
    assert_eq!(bench.origin.connections(), 0);
}

#[test]
fn j_addresses_past_dns() {
    check("--noproxy '*' http://169.254.169.254/latest/meta-data/", 403, "policy_denied");
    check("--noproxy '*' http://10.0.0.1/", 403, "policy_denied");
    check("--noproxy '*' 'http://[fd00:ec2::254]/'", 403, "policy_denied");
    check("http://169.254.169.254/latest/meta-data/", 403, "policy_denied");
}

#[test]
fn i1_a_denied_name_does_not_exist() {
    let bench = Bench::new(POLICY);
    let finished = bench.shell(&[], "curl -sS --noproxy '*' https://data.evil.test/");
    assert_eq!(finished.code, 6, "curl could not resolve it: {finished:?}");
    let dns = bench.events("dns");
    assert!(dns.iter().all(|r| r["outcome"] == "refused" && r["name"] == "data.evil.test."), "{dns:?}");
}

/// UDP and TCP, both families, any server: names of the policy get an address of the sandbox's own.
#[test]
fn policy_dns_answers_on_every_way() {
    let bench = Bench::new(POLICY);
    bench.write(
        "work/ask.py",
        "import socket, struct\n\
         def ask(name, kind, server, tcp):\n  \
           q = b'\\x12\\x34\\x01\\x00\\x00\\x01' + bytes(6) + b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\\0' + struct.pack('>HH', kind, 1)\n  \
           family = socket.AF_INET6 if ':' in server else socket.AF_INET\n  \
           s = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)\n  \
           s.settimeout(10); s.connect((server, 53))\n  \
           s.send(struct.pack('>H', len(q)) + q if tcp else q)\n  \
           r = s.recv(4096)[2 if tcp else 0:]\n  \
           return (r[3] & 15, struct.unpack('>H', r[6:8])[0])\n\
         for server in ('8.8.8.8', '127.0.0.53', '2001:4860:4860::8888'):\n  \
           for tcp in (False, True):\n    \
             print(ask('api.test', 1, server, tcp), ask('API.test', 28, server, tcp), ask('api.test', 65, server, tcp), ask('x.api.test', 1, server, tcp))\n",
    );
    let printed = bench.agent(&[], &["python3", "ask.py"]).succeeded();
    // A: one answer; AAAA: one answer; HTTPS: none; another name: NXDOMAIN.
    assert_eq!(printed, "(0, 1) (0, 1) (0, 0) (3, 0)\n".repeat(6));
}

/// A secret that no binding names is used nowhere.
#[test]
fn an_unbound_secret_is_unused() {
    let bench = Bench::new(POLICY);
    let script = r#"curl -sS -w '%{http_code}\n' -o /dev/null -H "Authorization: Bearer $LOOSE" https://api.test/echo; \
                    curl -sS --fail -H "X-Note: $LOOSE" https://api.test/echo"#;
    let printed = bench.shell(&["--secret", "LOOSE=cmd:printf the-loose-token"], script).succeeded();
    assert!(printed.starts_with("403\n") && !printed.contains("the-loose-token"), "{printed}");
    assert_eq!(bench.origin.arrived().len(), 1);
}

#[test]
fn another_binary() {
    let bench = Bench::new(POLICY);
    let script =
        r#"cp /usr/bin/curl ./curl2; ./curl2 -sS -o /dev/null -w '%{http_connect}\n' https://api.test/v1/x; true"#;
    let printed = bench.shell(&[], script).succeeded();
    assert_eq!(printed.trim(), "403");
    assert_eq!(bench.origin.connections(), 0);
    let connection = &bench.events("connection")[0];
    assert_eq!(connection["decision"], "denied");
    assert_eq!(connection["binary"], bench.path("work/curl2").display().to_string());
    assert_eq!(connection["binary_sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn l1_a_name_in_argv_changes_nothing() {
    let bench = Bench::new(POLICY);
    let script = "exec -a /usr/bin/curl python3 -c 'import urllib.request as u\ntry: u.urlopen(\"https://api.test/v1/x\")\nexcept Exception as e: print(e)'";
    let printed = bench.agent(&[], &["bash", "-c", script]).succeeded();
    assert!(printed.contains("403"), "{printed}");
    assert_eq!(bench.origin.connections(), 0);
}

#[test]
fn k1_a_token_elsewhere_is_refused() {
    check(r#"-H "Authorization: Bearer $TOKEN" https://other.test/"#, 403, "credential_endpoint_mismatch");
    check(r#"-H "X-Api-Key: $TOKEN" https://other.test/"#, 403, "credential_endpoint_mismatch");
    check(r#"-u "user:$TOKEN" https://other.test/"#, 403, "credential_endpoint_mismatch");
    check(r#"-H "Authorization: Bearer x$TOKEN" https://api.test/v1/x"#, 403, "invalid_credential_placeholder");
}

#[test]
fn b11_an_unverified_upstream_gets_nothing() {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let script = r#"curl -sS -w '\n%{http_code}\n' -H "Authorization: Bearer $TOKEN" https://api.test/v1/x"#;
    let mut command = bench.tollgate();
    command.args(["run", "--quiet", "--policy"]).arg(bench.path("policy.yaml"));
    command.arg("--resolve").arg(format!("api.test:443:{}", bench.origin.address()));
    command.args(["--secret", &secret, "--", "sh", "-c", script]);
    let finished = tollgate_tests::finish(&mut command);
    assert!(finished.stdout.ends_with("502\n") && finished.stdout.contains("upstream_tls_failed"), "{finished:?}");
    assert_eq!(bench.origin.arrived(), []);
}

#[test]
fn a_reply_that_hides_behind_an_encoding_is_not_passed_on() {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let printed = bench.shell(&["--secret", &secret], "curl -sS https://api.test/coded/compress").succeeded();
    assert!(printed.contains("reply_not_readable"), "{printed}");
    assert_eq!(bench.origin.arrived()[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn k4_a_coded_reply_is_searched_and_goes_on_in_plain_form() {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let script = r#"curl -sS -i -H "Authorization: Bearer $TOKEN" https://api.test/coded/gzip; printf '
%s' "$TOKEN""#;
    let printed = bench.shell(&["--secret", &secret], script).succeeded();
    let (reply, placeholder) = printed.rsplit_once('\n').expect("two parts");
    assert!(reply.ends_with(&format!("\r\n\r\nBearer {placeholder}")) && !reply.contains(REAL), "{printed}");
    assert!(!reply.to_lowercase().contains("content-encoding"), "{printed}");
    assert_eq!(bench.events("reply")[0]["scrubbed"], 1);
}

#[test]
fn k4_an_encoded_echo_is_scrubbed() {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let script = r#"curl -sS -i -H "Authorization: Bearer $TOKEN" https://api.test/hex https://api.test/echo"#;
    let printed = bench.shell(&["--secret", &secret], script).succeeded();
    let hex: String = REAL.bytes().map(|b| format!("{b:02x}")).collect();
    assert!(!printed.contains(&hex) && !printed.contains(REAL), "{printed}");
    assert_eq!(bench.origin.arrived()[0].header("authorization"), Some(format!("Bearer {REAL}").as_str()));
    let scrubbed: Vec<_> = bench.events("reply").iter().map(|r| r["scrubbed"].as_u64()).collect();
    assert_eq!(scrubbed, [Some(1), Some(2)], "the body; then the header and the body");
}

/// A bound service that hands the token back in odd places: what arrives holds none of it, nor does the journal.
#[test]
fn k3_k4_hostile_replies_hand_nothing_over() {
    const LOWER: &str = "0123456789abcdef-lower-case-token-0042";
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {LOWER}");
    let hows = ["reason", "coding", "name", "case", "utf16", "entities", "hidden", "part"];
    let urls: Vec<_> = hows.iter().map(|how| format!("https://api.test/hostile/{how}")).collect();
    let script = format!(
        r#"for url in {}; do curl -sS -i -H "Authorization: Bearer $TOKEN" -H 'Range: bytes=0-5' $url; echo; done"#,
        urls.join(" ")
    );
    let printed = bench.shell(&["--secret", &secret], &script).succeeded();
    assert_eq!(bench.origin.arrived().len(), hows.len(), "{printed}");
    assert!(bench.origin.arrived().iter().all(|arrived| arrived.header("range").is_none()), "no part is asked for");
    let printed = printed.replace('\0', "").to_lowercase();
    let entities: String = LOWER.chars().map(|c| format!("&#{};", u32::from(c))).collect();
    for text in [LOWER, &LOWER[..10], &entities] {
        assert!(!printed.contains(text), "{text} is in {printed}");
    }
    let journal = std::fs::read_to_string(bench.journal_file()).expect("a journal");
    assert!(!journal.contains(&LOWER[..10]), "{journal}");
}

/// A program that holds a permitted program's connection in a thread's own descriptors.
#[test]
fn l10_threads_do_not_hide_descriptors() {
    let bench = Bench::new(POLICY);
    bench.write(
        "work/try.py",
        "import ctypes, errno\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         def t(*a):\n  \
           r = libc.syscall(*a)\n  \
           return 'done' if r >= 0 else errno.errorcode[ctypes.get_errno()]\n\
         print(t(272, 0x400), t(436, 1000, 2000, 2), t(436, 1000, 2000, 0))\n",
    );
    let printed = bench.agent(&[], &["python3", "try.py"]).succeeded();
    assert_eq!(printed, "EPERM EPERM done\n", "unshare and close_range keep the table shared");
}

/// A sparse executable would take hours to hash.
#[test]
fn o_a_huge_executable_is_unknown_at_once() {
    let bench = Bench::new(POLICY);
    let script = "cp /usr/bin/curl big && truncate -s 300G big && ./big -sS -o /dev/null -w '%{http_connect}' https://api.test/echo; true";
    assert_eq!(bench.shell(&[], script).succeeded(), "403");
    let connection = &bench.events("connection")[0];
    assert_eq!(connection["binary"], "unknown: process unreadable");
}

/// More connections than descriptors: others wait, nothing dies, and afterwards everything is as before.
#[test]
fn o2_running_out_of_descriptors_slows_down_only() {
    let bench = Bench::new(POLICY);
    let script = "python3 - <<'E'\nimport socket\nall = []\n\
                  for n in range(900):\n  s = socket.socket(); s.settimeout(5); s.connect(('127.0.0.1', 3128)); all.append(s)\nE\n\
                  curl -sS --fail https://api.test/echo >/dev/null && echo served";
    let finished =
        tollgate_tests::finish(&mut through(&["prlimit", "--nofile=400:400"], &bench.run(&[], &["sh", "-c", script])));
    assert!(finished.stdout.contains("served"), "{finished:?}");
    assert_eq!(bench.journal().last().map(|record| record["event"].clone()), Some("close".into()));
}

#[test]
fn k7_a_token_that_is_merely_talked_about_passes() {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let script = r#"curl -sS --fail -H "X-Note: about $TOKEN" "https://other.test/x?q=$TOKEN""#;
    let printed = bench.shell(&["--secret", &secret], script).succeeded();
    assert_eq!(printed, "ok");
    let arrived = &bench.origin.arrived()[0];
    assert!(!arrived.line.contains(REAL) && !arrived.header("x-note").unwrap_or_default().contains(REAL));
    assert_eq!(bench.events("request")[0]["inert"][0], "TOKEN");
}

#[test]
fn c13_headers_of_the_hop_and_forged_origins_stay_here() {
    let bench = Bench::new(POLICY);
    let script = "curl -sS --fail --http1.1 -H 'Connection: keep-alive, x-secret' -H 'X-Secret: 1' -H 'X-Forwarded-For: 1.2.3.4' \
                  -H 'X-HTTP-Method-Override: DELETE' -H 'Proxy-Authorization: Basic eA==' -H 'X-Kept: 1' https://other.test/";
    let _ = bench.shell(&[], script).succeeded();
    let arrived = &bench.origin.arrived()[0];
    for name in ["x-secret", "x-forwarded-for", "x-http-method-override", "proxy-authorization", "connection"] {
        assert_eq!(arrived.header(name), None, "{name}");
    }
    assert_eq!(arrived.header("x-kept"), Some("1"));
}

/// A process that hides its descriptors shares a connection with a permitted program and then uses it.
#[test]
fn l10_a_hidden_holder_makes_the_caller_unknown() {
    let bench = Bench::new(POLICY.replace("/usr/bin/curl", "/usr/bin/python3*").as_str());
    let script = r#"
cp /bin/sleep hidden; chmod 0111 hidden
python3 -c '
import os, socket, subprocess
s = socket.create_connection(("127.0.0.1", 3128))
subprocess.Popen(["./hidden", "20"], pass_fds=[s.fileno()])
while b"hidden" not in open("/proc/%d/comm" % (os.getpid() + 1), "rb").read(): pass
s.send(b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n")
print(s.recv(4096).split()[1].decode())'
"#;
    let finished = bench.shell(&[], script);
    assert_eq!(finished.stdout, "403\n", "{finished:?}");
}

/// The gate's own listeners, and its end of the network, are no destination.
#[test]
fn g4_the_capture_port_leads_nowhere() {
    let bench = Bench::new(POLICY);
    let script = "for place in 192.0.0.2:15001 '[fd74:6f6c:6c67::2]:15001'; do \
                  curl -sS -o /dev/null -w '%{http_code} ' --noproxy '*' http://$place/; done; \
                  curl -sS --noproxy '*' http://127.0.0.1:15001/; curl -sS --noproxy '*' 'http://[::1]:15001/'; \
                  curl -sS -x http://127.0.0.1:3128 http://127.0.0.1:3128/ -o /dev/null -w '%{http_code}'";
    let finished = bench.shell(&[], script);
    assert_eq!(finished.stdout, "403 403 400", "a proxy is not asked for its own pages: {finished:?}");
    assert_eq!(bench.events("connection").iter().filter(|r| r["decision"] == "denied").count(), 3);
}
