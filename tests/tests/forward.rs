//! Ports of the host's loopback that lead into a sandbox.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;

use tollgate_tests::{Staying, finish, free_port, front_door, program, until};

/// Sends back what comes, on a port of the family that its first argument names.
const ECHO: &str = r#"
import socket, sys, threading
family = {"4": socket.AF_INET, "6": socket.AF_INET6}[sys.argv[1]]
listener = socket.socket(family)
listener.bind(("127.0.0.1" if sys.argv[1] == "4" else "::1", 8000))
listener.listen()
print("ready", flush=True)
def echo(one):
    while part := one.recv(65536): one.sendall(part)
    one.sendall(b"end"); one.close()
while True: threading.Thread(target=echo, args=(listener.accept()[0],)).start()
"#;

fn exchange(port: u16, text: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let mut writer = stream.try_clone().expect("cloned");
    let text = text.to_vec();
    let writing = std::thread::spawn(move || {
        // Nobody may be there to take it.
        let _ = writer.write_all(&text).and_then(|()| writer.shutdown(Shutdown::Write));
    });
    let mut got = Vec::new();
    // A connection that was refused inside is reset here.
    let _ = stream.read_to_end(&mut got);
    writing.join().expect("written");
    got
}

#[test]
fn a_port_leads_inside() {
    let bench = Staying::new("version: 1\n");
    for family in ["4", "6"] {
        let port = free_port();
        let forward = format!("{port}:8000");
        let agent = ["/usr/bin/python3", "-c", ECHO, family];
        assert_eq!(bench.create("box", &["--forward", &forward], &agent).succeeded(), "box\n");
        until("it listens", || bench.sandbox(&["logs", "box"]).succeeded() == "ready\n");
        assert_eq!(exchange(port, b"hello "), b"hello end", "IPv{family}");
        let large: Vec<u8> = (0..3_000_000u32).map(|i| (i >> 3) as u8).collect();
        assert_eq!(exchange(port, &large), [&large[..], b"end"].concat());
        assert_eq!(bench.get("box")["forwards"][0], forward);
        let all: Vec<_> = (0..100).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("queued")).collect();
        drop(all);
        assert_eq!(exchange(port, b"still "), b"still end", "more than there is room for wait");
        assert_eq!(bench.sandbox(&["delete", "box"]).code, 0);
        // What held it is taken apart by the kernel piece by piece.
        until("the port is free again", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn a_port_is_led_inside_while_it_runs_and_let_go() {
    let bench = Staying::new("version: 1\n");
    let port = free_port();
    assert_eq!(bench.create("box", &[], &["/usr/bin/python3", "-c", ECHO, "4"]).succeeded(), "box\n");
    until("it listens", || bench.sandbox(&["logs", "box"]).succeeded() == "ready\n");
    let by = |program: &Path, arguments: &[&str]| finish(bench.0.tollgate_as(program).arg("forward").args(arguments));
    let (pair, single) = (format!("{port}:8000"), port.to_string());
    let started = by(&front_door(), &["start", &pair, "box", "-d"]);
    assert!(started.code == 0 && started.stderr.contains(" leads to port 8000 of the sandbox box"), "{started:?}");
    assert_eq!(exchange(port, b"hello "), b"hello end");
    let listed = by(program(), &["list", "-o", "json"]).succeeded();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed, serde_json::json!([{ "sandbox": "box", "host": port, "inside": 8000 }]));
    assert_eq!(by(&front_door(), &["list"]).succeeded(), format!("box  127.0.0.1:{port} -> 8000\n"));
    let again = by(program(), &["start", &pair]);
    assert!(again.code == 1 && again.stderr.contains("cannot be forwarded"), "{again:?}");
    let mut open = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    open.write_all(b"x").expect("written");
    open.read_exact(&mut [0]).expect("it leads inside");
    assert_eq!(by(&front_door(), &["stop", &single, "box"]).code, 0);
    assert!(!matches!(open.read(&mut [0]), Ok(1..)), "what was open is closed");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it is free");
    for (arguments, code, said) in [
        (vec!["stop", &single], 1, "does not lead into the sandbox"),
        (vec!["start", "0"], 2, "write PORT, or HOST:INSIDE"),
        (vec!["start", "80", "bx"], 1, "did you mean `box`?"),
    ] {
        let refused = by(program(), &arguments);
        assert!(refused.code == code && refused.stderr.contains(said), "{arguments:?}: {refused:?}");
    }
    let notices = finish(bench.0.tollgate().args(["logs", "box"])).succeeded();
    assert!(notices.contains("leads to port 8000 inside from now on, by its owner"), "{notices}");
}

#[test]
fn nobody_inside_is_nobody_here() {
    let bench = Staying::new("version: 1\n");
    let port = free_port();
    // A server of the host on the port of the same number is not what is reached.
    let host = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let inside = host.local_addr().expect("bound").port();
    assert_eq!(bench.create("box", &["--forward", &format!("{port}:{inside}")], &[]).succeeded(), "box\n");
    assert_eq!(exchange(port, b"hello"), b"");
    host.set_nonblocking(true).expect("set");
    assert!(host.accept().is_err(), "nothing came out");
}
