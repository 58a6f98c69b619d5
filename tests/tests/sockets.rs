//! WebSockets that hide something: nothing of it arrives, and the socket ends with the code that says why.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_inspect::websocket::Opcode;
use tollgate_tests::loopback::{Loopback, Plan, Scripted, Upstreams, soon};
use tollgate_tests::websocket::{HANDSHAKE, Socket, answer, head};

const POLICY: &str = "
version: 1
network_policies:
  chat:
    endpoints:
    - {host: chat.test, port: 443, protocol: websocket, websocket_credential_rewrite: true, rules: [{allow: {method: GET, path: /ws}}, {allow: {method: WEBSOCKET_TEXT, path: /ws}}]}
";

/// Messages that nobody judges.
const UNREAD: &str = "
version: 1
network_policies:
  chat:
    endpoints:
    - {host: chat.test, port: 443, protocol: rest, rules: [{allow: {method: GET, path: /ws}}]}
";

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\n\r\n";
const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const ALONE: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";

/// A frame with RSV1 set, as compressed messages have it: a text of one byte, its mask zero.
const COMPRESSED: [u8; 7] = [0xc1, 0x81, 0, 0, 0, 0, b'x'];

/// Everything that an upstream got.
type Seen = Arc<Mutex<Vec<u8>>>;

fn text(seen: &Seen) -> String {
    String::from_utf8_lossy(&seen.lock().expect("no panic")).into_owned()
}

/// An upstream that answers a handshake in some way and keeps what it gets: the handshake, and what comes behind it.
fn upstream(upstreams: &Upstreams, answer: impl Fn(&str) -> String + Send + Sync + 'static) -> (Scripted, Seen, Seen) {
    let (asked, behind) = (Seen::default(), Seen::default());
    let (kept_asked, kept_behind) = (Arc::clone(&asked), Arc::clone(&behind));
    let answer = Arc::new(answer);
    let upstream = upstreams.serve("chat.test", &["http/1.1"], move |mut stream| {
        let (asked, behind, answer) = (Arc::clone(&kept_asked), Arc::clone(&kept_behind), Arc::clone(&answer));
        async move {
            let head = head(&mut stream).await;
            asked.lock().expect("no panic").extend_from_slice(head.as_bytes());
            let answer = answer(&head);
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.flush().await;
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut some).await {
                behind.lock().expect("no panic").extend_from_slice(&some[..count]);
            }
        }
    });
    (upstream, asked, behind)
}

fn start(policy: &str, upstreams: &Upstreams, upstream: &Scripted) -> Loopback {
    Plan::new(policy).pin("chat.test:443", upstream.address).start(upstreams)
}

/// The upstream gives this answer; the client, which goes on without waiting for it, gets this status.
async fn check_answer(answer: impl Fn(&str) -> String + Send + Sync + 'static, offered: &str, status: &str) {
    let upstreams = Upstreams::new();
    let (upstream, asked, behind) = upstream(&upstreams, answer);
    let gate = start(POLICY, &upstreams, &upstream);
    let early = String::from_utf8_lossy(&[0x81, 0x80, 0, 0, 0, 0]).into_owned();
    let stream = format!("GET /ws HTTP/1.1\r\nHost: chat.test\r\n{offered}{HANDSHAKE}{early}{HIDDEN}");
    let reply = gate.raw("chat.test", stream.as_bytes()).await;
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "one answer, then the end: {reply}");
    assert!(!reply.contains("hidden-in-the-answer"), "{reply}");
    assert!(text(&asked).starts_with("GET /ws HTTP/1.1\r\n"), "{}", text(&asked));
    assert_eq!(text(&behind), "", "sent although no socket was open");
}

#[tokio::test]
async fn e2_e3_e8_answers_that_open_nothing() {
    const NO: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    const OFFERED: &str = "Sec-WebSocket-Protocol: chat, news\r\n";
    check_answer(|_| NO.to_owned(), "", "403").await;
    check_answer(|_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), "", "200").await;
    check_answer(|_| format!("{SWITCH}\r\nhidden-in-the-answer"), "", "502").await;
    check_answer(|_| format!("{SWITCH}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"), "", "502").await;
    check_answer(|head| answer(head).replace("Upgrade: websocket", "Upgrade: h2c") + "\r\n", "", "502").await;
    check_answer(|head| answer(head).replace("Connection: upgrade\r\n", "") + "\r\n", "", "502").await;
    let twice = |head: &str| {
        let once = answer(head);
        let accept = once.lines().last().expect("the accept").to_owned();
        format!("{once}{accept}\r\n\r\n")
    };
    check_answer(twice, "", "502").await;
    for chosen in ["mqtt", "h2", "chat, news", "CHAT"] {
        let choose = move |head: &str| format!("{}Sec-WebSocket-Protocol: {chosen}\r\n\r\n", answer(head));
        check_answer(choose, OFFERED, "502").await;
    }
    check_answer(|head| format!("{}Sec-WebSocket-Protocol: chat\r\n\r\n", answer(head)), "", "502").await;
    // Offered by the client, and not so by the gate, which reads messages here: one by one.
    for chosen in ["permessage-deflate", "permessage-bzip2", "permessage-deflate; client_max_window_bits=9"] {
        let choose = move |head: &str| format!("{}Sec-WebSocket-Extensions: {chosen}\r\n\r\n", answer(head));
        check_answer(choose, DEFLATE, "502").await;
    }
    check_answer(|head| format!("{}{ALONE}\r\n", answer(head)), "", "502").await;
}

/// What a client sends before it knows that the socket is open waits here until it is.
#[tokio::test]
async fn e2_frames_before_the_answer_wait() {
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("chat.test", &["http/1.1"], |mut stream| async move {
        let head = head(&mut stream).await;
        let early = tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await;
        let said: &[u8] = if early.is_err() { b"\x81\x02ok" } else { b"\x81\x05early" };
        stream.write_all(format!("{}\r\n", answer(&head)).as_bytes()).await.expect("sent");
        stream.write_all(said).await.expect("sent");
        stream.flush().await.expect("sent");
        let _ = stream.read(&mut [0; 64]).await;
    });
    let gate = start(POLICY, &upstreams, &upstream);
    let mut stream = gate.tls("chat.test", &["http/1.1"]).await;
    let request = format!("GET /ws HTTP/1.1\r\nHost: chat.test\r\n{HANDSHAKE}");
    stream.write_all(&[request.as_bytes(), &[0x81, 0x80, 0, 0, 0, 0]].concat()).await.expect("sent");
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let mut socket = Socket::client(stream);
    assert_eq!(socket.next().await, Some((Opcode::Text, b"ok".to_vec())));
}

/// Frames that end a socket with a code; the upstream gets none of them.
async fn check_frames(frames: &[&[u8]], code: u16) {
    let upstreams = Upstreams::new();
    let (upstream, asked, behind) = upstream(&upstreams, |head| format!("{}\r\n", answer(head)));
    let gate = start(POLICY, &upstreams, &upstream);
    let stream = gate.tls("chat.test", &["http/1.1"]).await;
    let (mut socket, agreed) = Socket::open_with(stream, "chat.test", "/ws", DEFLATE).await.expect("opened");
    assert!(!agreed.to_ascii_lowercase().contains("extensions"), "the upstream does not compress: {agreed}");
    assert!(text(&asked).contains("permessage-deflate"), "{}", text(&asked));
    socket.write(&frames.concat()).await;
    let (opcode, payload) = socket.next().await.expect("a close");
    assert_eq!((opcode, &payload[..2]), (Opcode::Close, &code.to_be_bytes()[..]), "{frames:?}");
    assert!(gate.ending(1).await["outcome"].as_str().expect("text").contains(&code.to_string()));
    let told = behind.lock().expect("no panic").clone();
    assert!(told.is_empty() || told[0] == 0x88, "nothing but a close: {told:?}");
}

#[tokio::test]
async fn e6_e7_frames_that_end_a_socket() {
    check_frames(&[&COMPRESSED], 1002).await;
    // A text whose end is no UTF-8, whole and in fragments.
    check_frames(&[&[0x81, 0x83, 0, 0, 0, 0, b'x', 0xc3, b'x']], 1007).await;
    check_frames(&[&[0x01, 0x82, 0, 0, 0, 0, b'x', 0xc3], &[0x80, 0x81, 0, 0, 0, 0, b'x']], 1007).await;
    // A surrogate, and a letter in more bytes than it needs.
    check_frames(&[&[0x81, 0x83, 0, 0, 0, 0, 0xed, 0xa0, 0x80]], 1007).await;
    check_frames(&[&[0x81, 0x82, 0, 0, 0, 0, 0xc1, 0x81]], 1007).await;
}

/// Extensions of messages that nobody reads are the business of both ends: nothing is inflated in between.
#[tokio::test]
async fn e6_e9_what_is_not_read_is_counted() {
    let upstreams = Upstreams::new();
    let (upstream, asked, behind) = upstream(&upstreams, |head| format!("{}{DEFLATE}\r\n", answer(head)));
    let gate = start(UNREAD, &upstreams, &upstream);
    let stream = gate.tls("chat.test", &["http/1.1"]).await;
    let (mut socket, agreed) = Socket::open_with(stream, "chat.test", "/ws", DEFLATE).await.expect("opened");
    for head in [&agreed, &text(&asked)] {
        assert!(head.to_ascii_lowercase().contains("permessage-deflate"), "{head}");
    }
    socket.write(&COMPRESSED.repeat(1000)).await;
    soon("all of it", async {
        while behind.lock().expect("no panic").len() < COMPRESSED.len() * 1000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(socket);
    let ended = gate.ending(1).await;
    assert_eq!(ended["sent"], COMPRESSED.len() * 1000, "{ended}");
}

/// A placeholder in bytes stays one.
#[tokio::test]
async fn e7_bytes_get_no_credentials() {
    const PLACEHOLDER: &str = "the-placeholder-012345678";
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("chat.test", &["http/1.1"], |stream| async move {
        let mut socket = Socket::accept(stream).await;
        while let Some((_, payload)) = socket.next().await {
            // Said in a way that no search undoes.
            let lent = payload.windows(10).any(|some| some == b"real-value");
            socket.send(Opcode::Text, if lent { b"lent" } else { b"not lent" }).await;
        }
    });
    let policy = format!(
        "{POLICY}x-tollgate: {{credentials: {{TOKEN: {{bindings: [{{host: chat.test, header: authorization}}]}}}}}}\n"
    );
    let plan = Plan::new(&policy).secret("TOKEN", "the-real-value-0123456789", PLACEHOLDER);
    let gate = plan.pin("chat.test:443", upstream.address).start(&upstreams);
    let stream = gate.tls("chat.test", &["http/1.1"]).await;
    let mut socket = Socket::open(stream, "chat.test", "/ws").await.expect("opened");
    let message = format!(r#"{{"token":"{PLACEHOLDER}"}}"#);
    for (opcode, expected) in [(Opcode::Text, &b"lent"[..]), (Opcode::Binary, b"not lent")] {
        socket.send(opcode, message.as_bytes()).await;
        assert_eq!(socket.next().await, Some((Opcode::Text, expected.to_vec())), "{opcode:?}");
    }
}

/// Other protocols than WebSocket are switched to nowhere.
#[tokio::test]
async fn e8_other_protocols() {
    for (policy, status) in [(POLICY, "403"), (UNREAD, "200")] {
        for protocol in ["mqtt", "tcp", "h2c", "notwebsocket", "websocket2"] {
            let upstreams = Upstreams::new();
            let (upstream, asked, behind) =
                upstream(&upstreams, |_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned());
            let gate = start(policy, &upstreams, &upstream);
            let handshake = HANDSHAKE.replace("Upgrade: websocket", &format!("Upgrade: {protocol}"));
            let stream = format!("GET /ws HTTP/1.1\r\nHost: chat.test\r\n{handshake}{HIDDEN}");
            let reply = gate.raw("chat.test", stream.as_bytes()).await;
            // What follows is another request, and judged as such.
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{protocol}: {reply}");
            assert!(!text(&asked).to_ascii_lowercase().contains("upgrade"), "{}", text(&asked));
            assert_eq!(text(&behind), "", "{protocol}");
        }
    }
}

/// The longest that anything may go on without permission.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e10_a_socket_ends_with_its_permission() {
    for (policy, extension) in [(POLICY, ""), (UNREAD, ""), (UNREAD, DEFLATE)] {
        let upstreams = Upstreams::new();
        let (upstream, _, behind) = upstream(&upstreams, move |head| format!("{}{extension}\r\n", answer(head)));
        let gate = start(policy, &upstreams, &upstream);
        let stream = gate.tls("chat.test", &["http/1.1"]).await;
        let (mut socket, _) = Socket::open_with(stream, "chat.test", "/ws", extension).await.expect("opened");
        socket.send(Opcode::Text, b"hi").await;
        soon("the first message", async {
            while behind.lock().expect("no panic").is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let changed = Instant::now();
        gate.set_policy("version: 1\n");
        let end = socket.next().await;
        assert!(changed.elapsed() < BOUND, "{:?}", changed.elapsed());
        match (end, extension) {
            // Where frames are not read, there is no place for one of our own.
            (None, DEFLATE) => {}
            (Some((Opcode::Close, payload)), "") => {
                assert!(payload.starts_with(&1008_u16.to_be_bytes()), "{payload:?}")
            }
            other => panic!("{other:?}"),
        }
        let outcome = gate.ending(1).await["outcome"].as_str().expect("text").to_owned();
        assert!(outcome.starts_with("cut: "), "{outcome}");
    }
}
