//! `tollgate proxy` in an operator's hands: reloads, limits, service managers, status, mistakes.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use tollgate_tests::{AGENTS, ALICE, BOB, Bench, LISTENERS, Proxy, ask, finish, policy_for, through, two_agents};

fn get(bench: &Bench, proxy: &Proxy, credentials: &str, path: &str) -> (u16, u16) {
    let got = bench.curl(&proxy.url(credentials), &[], &format!("https://api.test{path}"));
    (got.connect, got.status)
}

#[test]
fn an_edited_policy_is_in_force_for_its_agent_alone() {
    let bench = two_agents(LISTENERS);
    let mut proxy = Proxy::start(&bench);
    bench.set_policy(&policy_for("/c"));
    proxy.wait_for("agent alice, generation 2 is in force");
    assert_eq!(get(&bench, &proxy, ALICE, "/c"), (200, 200));
    assert_eq!(get(&bench, &proxy, ALICE, "/a"), (200, 403));
    assert_eq!(get(&bench, &proxy, BOB, "/b"), (200, 200));
    assert_eq!(proxy.stop().code, 0);
    let told: Vec<_> = bench
        .proxy_events(1, "policy")
        .iter()
        .map(|e| (e["agent"].as_str().unwrap_or_default().to_owned(), e["generation"].as_u64().unwrap_or_default()))
        .collect();
    let expected = [("alice", 1), ("bob", 1), ("alice", 2)].map(|(name, number)| (name.to_owned(), number));
    assert_eq!(told, expected);
}

#[test]
fn p2_an_invalid_file_keeps_everything_and_says_where() {
    let bench = two_agents(LISTENERS);
    let mut proxy = Proxy::start(&bench);
    bench.write("bob.yaml", policy_for("/b").replace("protocol: rest", "protocol: rets"));
    let said = proxy.wait_for("bob.yaml:7:");
    assert!(said.contains("what is in force stays"), "{said}");
    let status = finish(bench.tollgate().args(["status", "proxy"])).succeeded();
    assert!(status.contains("REFUSED"), "{status}");
    assert_eq!(get(&bench, &proxy, BOB, "/b"), (200, 200));
    bench.configure("listeners: [");
    proxy.wait_for("tollgate.yaml:4:");
    bench.configure(&format!("{LISTENERS}\n{AGENTS}"));
    bench.write("bob.yaml", policy_for("/d"));
    proxy.wait_for("agent bob, generation 2 is in force");
    assert_eq!(get(&bench, &proxy, BOB, "/d"), (200, 200));
    assert_eq!(proxy.stop().code, 0);
    let refused = bench.proxy_events(1, "policy").into_iter().filter(|event| event["outcome"] == "refused").count();
    assert_eq!(refused, 2);
}

#[test]
fn what_cannot_change_is_refused_by_name() {
    let bench = two_agents(LISTENERS);
    let mut proxy = Proxy::start(&bench);
    for (edited, section) in [
        (format!("listeners: [{{ address: \"127.0.0.2:0\" }}]\n{AGENTS}"), "`listeners`"),
        (format!("name: other\n{LISTENERS}\n{AGENTS}"), "`name`"),
        (format!("{LISTENERS}\n{AGENTS}limits: {{ connections: 7 }}"), "`limits`"),
        (format!("{LISTENERS}\n{AGENTS}authority: {{ folder: elsewhere }}"), "`authority`"),
    ] {
        bench.configure(&edited);
        let said = proxy.wait_for(section);
        assert!(said.contains("cannot change while the proxy runs"), "{said}");
    }
    assert_eq!(get(&bench, &proxy, ALICE, "/a"), (200, 200));
}

#[test]
fn agents_come_and_go() {
    let bench = two_agents(LISTENERS);
    let mut proxy = Proxy::start(&bench);
    let mut tunnel = proxy.connect();
    let (_, token) = BOB.split_once(':').expect("a pair");
    let connect =
        format!("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    assert!(ask(&mut tunnel, &connect).starts_with("HTTP/1.1 200"));
    let carol = "  - { name: carol, token_file: bob.token, policy: bob.yaml }\n";
    bench.configure(&format!("{LISTENERS}\n{}{carol}", AGENTS.lines().take(2).collect::<Vec<_>>().join("\n") + "\n"));
    proxy.wait_for("agent bob is no longer let in");
    // What was open has lost its permission and ends.
    tunnel.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("set");
    assert_eq!(std::io::Read::read(&mut tunnel, &mut [0; 16]).expect("an end, not silence"), 0);
    assert_eq!(get(&bench, &proxy, BOB, "/b"), (407, 0));
    assert_eq!(get(&bench, &proxy, &BOB.replace("bob:", "carol:"), "/b"), (200, 200));
    bench.write_private("alice.token", "another-token-0123456789\n");
    proxy.wait_for("agent alice, generation 2");
    bench.set_policy(&policy_for("/z"));
    proxy.wait_for("agent alice, generation 3");
    assert_eq!(get(&bench, &proxy, ALICE, "/a"), (407, 0));
    assert_eq!(get(&bench, &proxy, "alice:another-token-0123456789", "/z"), (200, 200));
}

#[test]
fn the_proxys_own_connections_are_not_let_in() {
    let bench = Bench::new(
        "version: 1\nnetwork_policies:\n  loop:\n    endpoints: [{ host: loop.test, port: 80, protocol: rest, access: read-only }]\n",
    );
    let config = |pins: &str| {
        format!(
            "version: 1\n{LISTENERS}\n{pins}agents: [{{ name: local, sources: [\"127.0.0.1\"], policy: policy.yaml }}]\n"
        )
    };
    bench.write("tollgate.yaml", config(""));
    let mut proxy = Proxy::start(&bench);
    bench.write("tollgate.yaml", config(&format!("resolve: [\"loop.test:80:{}\"]\n", proxy.addresses[0])));
    proxy.wait_for("upstream authorities and pins");
    let got = bench.curl(&proxy.url(""), &[], "http://loop.test/");
    assert_eq!((got.status, got.body.contains("proxy_loop")), (508, true), "{}", got.body);
    assert_eq!(proxy.stop().code, 0);
    let refused: Vec<_> =
        bench.proxy_events(1, "connection").into_iter().filter(|e| e["error"] == "proxy_loop").collect();
    assert_eq!(refused.len(), 1);
}

#[test]
fn sighup_reads_everything_again() {
    let bench = two_agents(LISTENERS);
    bench.write("value", "first-secret-value");
    let agents = "agents: [{ name: alice, token_file: alice.token, policy: policy.yaml, secrets: { TOKEN: \"cmd:cat value\" } }]";
    bench.configure(&format!("{LISTENERS}\n{agents}"));
    let mut command = bench.proxy();
    let mut proxy = Proxy::start_as(command.current_dir(bench.path("")));
    // Nothing that is watched changes; only the signal makes the command run again.
    bench.write("value", "second-secret-value");
    proxy.signal(Signal::SIGHUP);
    proxy.wait_for("agent alice, generation 2 is in force");
    assert_eq!(proxy.stop().code, 0);
}

#[test]
fn an_agent_has_its_share_of_connections() {
    let bench = two_agents(&format!("{LISTENERS}\nlimits: {{ connections_per_agent: 2 }}"));
    let proxy = Proxy::start(&bench);
    let (_, token) = ALICE.split_once(':').expect("a pair");
    let connect =
        format!("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    let mut open: Vec<TcpStream> = (0..3).map(|_| proxy.connect()).collect();
    let heads: Vec<_> = open.iter_mut().map(|stream| ask(stream, &connect)).collect();
    let codes: Vec<_> = heads.iter().map(|head| head.get(9..12).unwrap_or_default()).collect();
    assert_eq!(codes, ["200", "200", "503"]);
    assert_eq!(get(&bench, &proxy, BOB, "/b"), (200, 200), "others are not held up");
    let status = finish(bench.tollgate().args(["status", "proxy"])).succeeded();
    assert!(status.contains("alice, by token, connections 2 of 2"), "{status}");
}

#[test]
fn o5_running_out_of_descriptors_slows_down_and_ends_nothing() {
    let bench = two_agents(LISTENERS);
    let proxy = Proxy::start_as(&mut through(&["prlimit", "--nofile=32"], &bench.proxy()));
    let silent: Vec<TcpStream> = (0..60).map(|_| proxy.connect()).collect();
    drop(silent);
    assert_eq!(get(&bench, &proxy, ALICE, "/a"), (200, 200));
    assert_eq!(proxy.stop().code, 0);
}

/// Becomes a proxy whose first listener was passed to it as systemd passes one.
const ACTIVATE: &str = "
import os, socket, sys
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES=sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
";

fn activated(bench: &Bench, name: &str) -> std::process::Command {
    through(&["/usr/bin/python3", "-c", ACTIVATE, name], &bench.proxy())
}

#[test]
fn sockets_are_passed_and_states_are_told() {
    let bench = two_agents("listeners: [{ systemd: gate }]");
    let path = bench.path("notify.sock");
    let manager = UnixDatagram::bind(&path).expect("bound");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("set");
    let told = |expected: &str| {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).expect("a message");
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(said.starts_with(expected), "{expected:?} is not {said:?}");
    };
    let mut command = activated(&bench, "gate");
    let proxy = Proxy::start_as(command.env("NOTIFY_SOCKET", &path));
    told("READY=1\nSTATUS=2 agents at 1 listeners\n");
    assert_eq!(get(&bench, &proxy, ALICE, "/a"), (200, 200));
    proxy.signal(Signal::SIGHUP);
    told("RELOADING=1\nMONOTONIC_USEC=");
    told("READY=1\n");
    proxy.signal(Signal::SIGTERM);
    told("STOPPING=1\n");
    assert_eq!(proxy.end().code, 0);
}

#[test]
fn a_watchdog_is_kept_quiet() {
    let bench = two_agents(LISTENERS);
    let path = bench.path("notify.sock");
    let manager = UnixDatagram::bind(&path).expect("bound");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("set");
    let mut command = bench.proxy();
    let proxy = Proxy::start_as(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000"));
    let mut seen = 0;
    while seen < 3 {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).expect("a message");
        seen += usize::from(buffer[..length].starts_with(b"WATCHDOG=1"));
    }
    assert_eq!(proxy.stop().code, 0);
}

#[test]
fn sockets_that_do_not_fit_are_refused() {
    let bench = two_agents("listeners: [{ systemd: gate }]");
    let refused = finish(&mut bench.proxy());
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("FileDescriptorName=gate"), "{}", refused.stderr);
    let refused = finish(&mut activated(&bench, "other"));
    assert!(refused.stderr.contains("no socket named `gate`"), "{}", refused.stderr);
    bench.configure(&format!("{LISTENERS}\n{AGENTS}"));
    let refused = finish(&mut activated(&bench, "gate"));
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("no listener has `systemd: gate`"), "{}", refused.stderr);
}

#[test]
fn status_shows_a_proxy() {
    let bench = two_agents(LISTENERS);
    bench.write("bob.yaml", policy_for("/b") + "    binaries: [{ path: /usr/bin/curl }]\n");
    let proxy = Proxy::start(&bench);
    assert!(proxy.said.contains("warning: agent bob") && proxy.said.contains("names binaries"), "{}", proxy.said);
    assert_eq!(get(&bench, &proxy, BOB, "/b"), (403, 0), "an entry for a program never matches");
    let said = finish(bench.tollgate().arg("status")).succeeded();
    let address = proxy.addresses[0].to_string();
    for text in
        ["proxy (proxy, pid", &address, "alice, by token", "bob.yaml, generation 1", "connections", "api.test:443 ->"]
    {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
    assert!(!said.contains("alice-token"));
    let json = finish(bench.tollgate().args(["status", "proxy", "-o", "json"])).succeeded();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["kind"], &json[0]["agents"][1]["name"]), (&"proxy".into(), &"bob".into()));
    let second = finish(&mut bench.proxy());
    assert_eq!(second.code, 6);
    assert!(second.stderr.contains("runs already"), "{}", second.stderr);
    assert_eq!(proxy.stop().code, 0);
    assert!(finish(bench.tollgate().arg("status")).succeeded().contains("no proxy"));
}

#[test]
fn what_is_wrong_is_told_with_a_code() {
    let bench = two_agents(LISTENERS);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("listeners: [{{ address: \"{}\" }}]\n{AGENTS}", taken.local_addr().expect("bound"));
    let whole = format!("{LISTENERS}\n{AGENTS}");
    for (config, code, expected) in [
        (whole.replace("name: bob", "nmae: bob"), 3, "tollgate.yaml:7:7: unknown field `nmae`"),
        (whole.replace("bob.yaml", "missing.yaml"), 3, "missing.yaml"),
        (whole.replace("bob.token", "missing.token"), 5, "missing.token"),
        (whole.replace("bob.token", "alice.token"), 3, "have one token file"),
        (whole.replace("bob.token", "short.token"), 5, "openssl rand -hex 32"),
        (whole.replace("bob.token", "open.token"), 5, "run: chmod 600"),
        (whole.replace("bob.token", "same.token"), 5, "have one token"),
        (format!("{whole}authority: {{ certificate: c.pem, key: open.token }}"), 3, "c.pem"),
        (taken, 1, "cannot listen at"),
    ] {
        bench.write_private("short.token", "short");
        bench.write_private("same.token", "alice-token-0123456789");
        bench.write("open.token", "open-token-0123456789");
        bench.configure(&config);
        let refused = finish(&mut bench.proxy());
        assert_eq!(refused.code, code, "{config}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{expected:?} is not in {}", refused.stderr);
        assert!(!refused.stderr.contains("0123456789"), "a token is told: {}", refused.stderr);
    }
    bench.configure(&whole);
    assert!(finish(bench.proxy().arg("check")).succeeded().contains("can be used"));
    let unknown = finish(bench.proxy().args(["env", "carol"]));
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("alice, bob"), "{}", unknown.stderr);
    let missing = finish(bench.tollgate().args(["proxy", "--config", "nowhere.yaml"]));
    assert_eq!((missing.code, missing.stderr.contains("--config")), (3, true), "{}", missing.stderr);
}

#[test]
fn i9_a_silent_connection_leaves_a_record() {
    let bench = two_agents(LISTENERS);
    let proxy = Proxy::start(&bench);
    let mut stream = proxy.connect();
    stream.shutdown(std::net::Shutdown::Write).expect("shut");
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(proxy.stop().code, 0);
    assert_eq!(bench.proxy_events(1, "connection").len(), 1);
}
