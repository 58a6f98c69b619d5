//! `tollgate proxy`: several agents at one gate, told apart by token or address, with what operators do to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Sender, channel};

use nix::sys::signal::Signal;
use tollgate_tests::{ALICE, BOB, Bench, Got, LISTENERS, Proxy, ask, finish, policy_for, two_agents};

fn status(got: &Got) -> (u16, u16) {
    (got.connect, got.status)
}

#[test]
fn agents_with_tokens_are_told_apart() {
    let bench = two_agents(LISTENERS);
    let proxy = Proxy::start(&bench);
    for (credentials, path, expected) in [
        (ALICE, "a", (200, 200)),
        (ALICE, "b", (200, 403)),
        (BOB, "a", (200, 403)),
        (BOB, "b", (200, 200)),
        ("", "a", (407, 0)),
        ("alice:wrong-token-0123456789", "a", (407, 0)),
        ("bob:alice-token-0123456789", "a", (407, 0)),
        ("mallory:alice-token-0123456789", "a", (407, 0)),
    ] {
        let got = bench.curl(&proxy.url(credentials), &[], &format!("https://api.test/{path}"));
        assert_eq!(status(&got), expected, "{credentials} {path}");
    }
    let bearer = ["--proxy-header", "Proxy-Authorization: Bearer alice-token-0123456789"];
    assert_eq!(status(&bench.curl(&proxy.url(""), &bearer, "https://api.test/a")), (200, 200));
    assert_eq!(bench.origin.lines(), ["GET /a", "GET /b", "GET /a"]);
    assert!(bench.origin.arrived().iter().all(|arrived| arrived.header("proxy-authorization").is_none()));
    assert_eq!(proxy.stop().code, 0);
    let seen = |kind: &str, decision: &str| -> Vec<_> {
        let events = bench.proxy_events(1, kind).into_iter().filter(|event| event["decision"] == decision);
        events.map(|event| event["agent"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(seen("request", "allowed"), ["alice", "bob", "alice"]);
    assert_eq!(seen("request", "denied"), ["alice", "bob"]);
    assert_eq!(seen("connection", "denied"), ["-"; 4]);
    let strangers = bench.proxy_events(1, "connection");
    let stranger = strangers.iter().find(|event| event["decision"] == "denied").expect("one");
    assert_eq!(stranger["error"], "proxy_authentication_required");
    assert!(stranger["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{stranger}");
}

#[test]
fn a_refusal_asks_for_credentials_and_says_why() {
    let bench = two_agents(LISTENERS);
    let proxy = Proxy::start(&bench);
    let head = ask(&mut proxy.connect(), "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 407"), "{head}");
    let head = head.to_ascii_lowercase();
    for part in ["proxy-authenticate: basic realm=", "proxy-authenticate: bearer", "application/problem+json"] {
        assert!(head.contains(part), "{part:?} is not in {head}");
    }
}

#[test]
fn agents_are_told_apart_by_address() {
    let bench = Bench::new(&policy_for("/a"));
    bench
        .configure(&format!("{LISTENERS}\nagents: [{{ name: local, sources: [\"127.0.0.1\"], policy: policy.yaml }}]"));
    let proxy = Proxy::start(&bench);
    assert_eq!(status(&bench.curl(&proxy.url(""), &[], "https://api.test/a")), (200, 200));
    // Credentials that are shown must be right, whatever the address says.
    assert_eq!(status(&bench.curl(&proxy.url(ALICE), &[], "https://api.test/a")), (403, 0));
    assert_eq!(proxy.stop().code, 0);
    assert_eq!(bench.proxy_events(1, "request")[0]["agent"], "local");

    bench.configure(&format!("{LISTENERS}\nagents: [{{ name: far, sources: [\"10.0.0.0/8\"], policy: policy.yaml }}]"));
    let proxy = Proxy::start(&bench);
    assert_eq!(status(&bench.curl(&proxy.url(""), &[], "https://api.test/a")), (403, 0));
    assert_eq!(proxy.stop().code, 0);
    assert_eq!(bench.proxy_events(2, "connection")[0]["error"], "unknown_agent");
}

#[test]
fn an_entry_may_ask_for_an_agent_by_name() {
    let bench = two_agents(LISTENERS);
    let when = policy_for("/a").replace("  api:\n", "  api:\n    x-tollgate: { when: { agent: bob } }\n");
    bench.set_policy(&when);
    bench.write("bob.yaml", &when);
    let proxy = Proxy::start(&bench);
    assert_eq!(bench.curl(&proxy.url(ALICE), &[], "https://api.test/a").connect, 403);
    assert_eq!(status(&bench.curl(&proxy.url(BOB), &[], "https://api.test/a")), (200, 200));
}

#[test]
fn secrets_are_exchanged_and_placeholders_stay() {
    let bench = Bench::new(&format!(
        "{}x-tollgate:\n  credentials:\n    TOKEN:\n      bindings: [{{ host: api.test, port: 443, header: authorization }}]\n",
        policy_for("/echo")
    ));
    bench.write_private("token", "alice-token-0123456789");
    bench.write_private("secret", "ghp_0123456789abcdefghijABCDEFGHIJ012345");
    bench.configure(
        "listeners: [{ address: \"127.0.0.1:0\" }]\nagents:\n  - name: alice\n    token_file: token\n    \
         policy: policy.yaml\n    secrets: { TOKEN: \"file:secret\" }\n",
    );
    let environment = || {
        let mut command = bench.proxy();
        let json = finish(command.args(["env", "alice", "--address", "gate.test:3128", "-o", "json"])).succeeded();
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON")
    };
    let first = environment();
    let placeholder = first["TOKEN"].as_str().expect("a placeholder").to_owned();
    assert!(placeholder.starts_with("ghp_") && placeholder != "ghp_0123456789abcdefghijABCDEFGHIJ012345");
    assert_eq!(first["HTTPS_PROXY"], "http://alice:alice-token-0123456789@gate.test:3128");
    assert_eq!(first["NODE_EXTRA_CA_CERTS"].as_str(), bench.proxy_ca().to_str());
    for _ in 0..2 {
        let proxy = Proxy::start(&bench);
        let header = format!("Authorization: Bearer {placeholder}");
        let got = bench.curl(&proxy.url(ALICE), &["-H", &header], "https://api.test/echo");
        assert_eq!(status(&got), (200, 200));
        assert!(got.body.contains(&placeholder) && !got.body.contains("ghp_0123"), "{}", got.body);
        assert_eq!(proxy.stop().code, 0);
    }
    let sent: Vec<_> = bench.origin.arrived().iter().map(|a| a.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, vec![Some("Bearer ghp_0123456789abcdefghijABCDEFGHIJ012345".to_owned()); 2]);
    assert_eq!(environment(), first);
}

/// A certificate authority and a server certificate for `127.0.0.1`, in files of the bench.
fn given_authority(bench: &Bench) {
    let key = || rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "An organisation's own");
    let issuer = rcgen::CertifiedIssuer::self_signed(params, key()).expect("a root");
    bench.write("given.pem", issuer.pem());
    bench.write_private("given.key", &issuer.key().serialize_pem());
    let leaf_key = key();
    let names = vec!["127.0.0.1".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).expect("a name").signed_by(&leaf_key, &issuer).expect("a leaf");
    bench.write("tls.pem", leaf.pem());
    bench.write_private("tls.key", &leaf_key.serialize_pem());
}

#[test]
fn a_listener_speaks_tls_and_the_authority_is_given() {
    let bench = two_agents(
        "listeners: [{ address: \"127.0.0.1:0\", tls: { certificate: tls.pem, key: tls.key } }]\n\
         authority: { certificate: given.pem, key: given.key }",
    );
    given_authority(&bench);
    let mut proxy = Proxy::start(&bench);
    let given = bench.path("given.pem").display().to_string();
    let trust = ["--cacert", &given, "--proxy-cacert", &given];
    let url = proxy.url(ALICE).replace("http:", "https:");
    assert_eq!(status(&bench.curl(&url, &trust, "https://api.test/a")), (200, 200));
    // Clear text on a TLS port gets nothing and leaves a record.
    let mut stream = proxy.connect();
    stream.write_all(b"GET http://api.test/a HTTP/1.1\r\nHost: api.test\r\n\r\n").expect("sent");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    // Another certificate is served from the moment its files are there.
    given_authority(&bench);
    proxy.signal(Signal::SIGHUP);
    bench.set_policy(&policy_for("/b"));
    proxy.wait_for("agent alice, generation 2 is in force");
    assert_eq!(bench.curl(&url, &["--proxy-cacert", &given], "https://api.test/b").connect, 200);
    assert_eq!(proxy.stop().code, 0);
    let vias: Vec<_> = bench.proxy_events(1, "connection").iter().map(|event| event["via"].to_string()).collect();
    assert!(vias.iter().all(|via| via == "\"explicit-tls\""), "{vias:?}");
    assert!(bench.proxy_events(1, "connection").iter().any(|event| event["error"] == "invalid_request"));
}

#[test]
fn an_authority_is_made_once_and_kept() {
    let bench = two_agents(LISTENERS);
    let proxy = Proxy::start(&bench);
    let first = std::fs::read_to_string(bench.proxy_ca()).expect("made");
    let key = bench.path("home/proxies/proxy/ca/ca.key");
    assert_eq!(std::fs::metadata(&key).expect("made").permissions().mode() & 0o777, 0o600);
    assert_eq!(proxy.stop().code, 0);
    let proxy = Proxy::start(&bench);
    assert_eq!(std::fs::read_to_string(bench.proxy_ca()).expect("kept"), first);
    assert_eq!(status(&bench.curl(&proxy.url(ALICE), &[], "https://api.test/a")), (200, 200));
    assert_eq!(proxy.stop().code, 0);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("set");
    let refused = finish(&mut bench.proxy());
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains(&format!("run: chmod 600 {}", key.display())), "{}", refused.stderr);
}

/// An upstream in clear that sends half a reply, and the rest when it is told to.
fn halting_upstream() -> (SocketAddr, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (go_on, wait) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy comes");
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").expect("sent");
        if wait.recv().is_ok() {
            stream.write_all(b"half").expect("sent");
        }
    });
    (address, go_on)
}

/// A client in the middle of a download through a proxy that drains for so many seconds.
fn downloading(drain_seconds: u32) -> (Bench, Proxy, TcpStream, Sender<()>) {
    let bench = Bench::new(
        "version: 1\nnetwork_policies:\n  slow:\n    endpoints: [{ host: slow.test, port: 80, protocol: rest, access: read-only }]\n",
    );
    let (upstream, go_on) = halting_upstream();
    let agents = "agents: [{ name: local, sources: [\"127.0.0.0/8\"], policy: policy.yaml }]";
    let limits = format!("limits: {{ drain_seconds: {drain_seconds} }}");
    bench.write(
        "tollgate.yaml",
        format!("version: 1\n{LISTENERS}\nresolve: [\"slow.test:80:{upstream}\"]\n{agents}\n{limits}\n"),
    );
    let proxy = Proxy::start(&bench);
    let mut client = proxy.connect();
    let head = ask(&mut client, "GET http://slow.test/ HTTP/1.1\r\nHost: slow.test\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut half = [0; 4];
    client.read_exact(&mut half).expect("the first half");
    (bench, proxy, client, go_on)
}

/// A connection that idles is closed, or reset where it was not accepted yet, which tells that the end has begun.
fn wait_until_closed(mut idle: &TcpStream) {
    assert!(matches!(idle.read(&mut [0]), Ok(0) | Err(_)), "nothing was asked for");
}

#[test]
fn sigterm_lets_a_download_end() {
    let (bench, proxy, mut client, go_on) = downloading(30);
    let idle = proxy.connect();
    let address = proxy.addresses[0];
    proxy.signal(Signal::SIGTERM);
    wait_until_closed(&idle);
    go_on.send(()).expect("it waits");
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("the second half, and the end");
    assert_eq!(rest, "half");
    assert_eq!(proxy.end().code, 0);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    assert_eq!(bench.proxy_events(1, "reply")[0]["outcome"], "complete");
    let closed = bench.proxy_events(1, "close");
    assert!(closed[0]["reason"].as_str().is_some_and(|why| why.contains("every connection had ended")), "{closed:?}");
    let verified = finish(bench.tollgate().args(["audit", "verify", "proxy"])).succeeded();
    assert!(verified.contains("closed in order"), "{verified}");
}

#[test]
fn what_does_not_end_in_time_is_cut_and_recorded() {
    let (bench, proxy, mut client, _go_on) = downloading(0);
    let ended = proxy.stop();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("were cut"), "{}", ended.stderr);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert_eq!(bench.proxy_events(1, "reply")[0]["outcome"], "aborted");
}

#[test]
fn a_second_signal_does_not_wait() {
    let (_bench, proxy, _client, _go_on) = downloading(600);
    let idle = proxy.connect();
    proxy.signal(Signal::SIGTERM);
    wait_until_closed(&idle);
    assert_eq!(proxy.stop().code, 0);
}
