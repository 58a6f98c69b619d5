//! WebSocket messages that are compressed (RFC 7692) are judged, filled and searched like any other.

use std::sync::{Arc, Mutex};

use tollgate_inspect::websocket::{Header, Opcode, mask};
use tollgate_tests::loopback::{Loopback, Plan, Scripted, Upstreams};
use tollgate_tests::websocket::{Socket, deflate};

const POLICY: &str = "
version: 1
network_policies:
  chat:
    endpoints:
    - {host: chat.test, port: 443, protocol: websocket, websocket_credential_rewrite: true, rules: [{allow: {method: GET, path: /ws}}, {allow: {method: WEBSOCKET_TEXT, path: /ws}}]}
x-tollgate:
  credentials:
    TOKEN: {bindings: [{host: chat.test, header: authorization}]}
";

const VALUE: &str = "the-real-value-0123456789";
const PLACEHOLDER: &str = "the-placeholder-012345678";

const OFFER: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=10\r\n";

type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// An upstream that compresses, and says back each message.
fn echo(upstreams: &Upstreams) -> (Scripted, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let upstream = upstreams.serve("chat.test", &["http/1.1"], move |stream| {
        let seen = Arc::clone(&kept);
        async move {
            let keep = |message: &[u8]| {
                seen.lock().expect("no panic").push(message.to_vec());
                message.to_vec()
            };
            Socket::accept_deflated(stream).await.answer_all(keep).await;
        }
    });
    (upstream, seen)
}

fn start(upstreams: &Upstreams, upstream: &Scripted) -> Loopback {
    Plan::new(POLICY).secret("TOKEN", VALUE, PLACEHOLDER).pin("chat.test:443", upstream.address).start(upstreams)
}

async fn open(gate: &Loopback) -> Socket<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + use<>> {
    let stream = gate.tls("chat.test", &["http/1.1"]).await;
    let (socket, agreed) = Socket::open_with(stream, "chat.test", "/ws", OFFER).await.expect("opened");
    let agreed = agreed.to_ascii_lowercase();
    assert_eq!(agreed.matches("sec-websocket-extensions").count(), 1, "{agreed}");
    assert!(agreed.contains("client_no_context_takeover; server_max_window_bits=10\r\n"), "{agreed}");
    socket.deflated()
}

fn hello(token: &str) -> Vec<u8> {
    format!(r#"{{"op":2,"token":"{token}","say":"{}"}}"#, "and so on ".repeat(50)).into_bytes()
}

#[tokio::test]
async fn e6_compressed_messages_get_their_credentials_and_give_none_back() {
    let upstreams = Upstreams::new();
    let (upstream, seen) = echo(&upstreams);
    let gate = start(&upstreams, &upstream);
    let mut socket = open(&gate).await;
    for _ in 0..3 {
        socket.send(Opcode::Text, &hello(PLACEHOLDER)).await;
        assert_eq!(socket.next().await, Some((Opcode::Text, hello(PLACEHOLDER))));
    }
    assert_eq!(seen.lock().expect("no panic")[..], [(); 3].map(|()| hello(VALUE)));
    // Long enough to come in many pieces, and hard to compress; bytes and nothing at all as well.
    let long: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&long[..], b""] {
        socket.send(Opcode::Binary, bytes).await;
        assert!(socket.next().await == Some((Opcode::Binary, bytes.to_vec())), "{} bytes", bytes.len());
    }
    socket.send(Opcode::Ping, b"there?").await;
    assert_eq!(socket.next().await, Some((Opcode::Ping, b"there?".to_vec())));
    drop(socket);
    let ended = gate.ending(1).await;
    assert_eq!((&ended["exchanged"], &ended["scrubbed"]), (&serde_json::json!(["TOKEN"]), &3.into()));
}

/// A frame of a client, compressed or not.
fn frame(fin: bool, compressed: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let key = [7, 0, 9, 1];
    let mut frame = Vec::new();
    Header { fin, compressed, opcode, mask: Some(key), payload: payload.len() as u64 }.write(&mut frame);
    let start = frame.len();
    frame.extend_from_slice(payload);
    mask(&mut frame[start..], key, 0);
    frame
}

/// What a client sends ends the socket with this code, and nothing of it has arrived.
async fn check_refused(frames: &[Vec<u8>], code: u16) {
    let upstreams = Upstreams::new();
    let (upstream, seen) = echo(&upstreams);
    let gate = start(&upstreams, &upstream);
    let mut socket = open(&gate).await;
    socket.write(&frames.concat()).await;
    let (opcode, payload) = socket.next().await.expect("a close");
    assert_eq!((opcode, &payload[..2]), (Opcode::Close, &code.to_be_bytes()[..]));
    assert!(gate.ending(1).await["outcome"].as_str().expect("text").contains(&code.to_string()));
    // A ping and the close may have.
    let seen = seen.lock().expect("no panic").clone();
    assert!(seen.iter().all(|one| one == b"x" || one.starts_with(&code.to_be_bytes())), "{seen:?}");
}

#[tokio::test]
async fn e6_compression_hides_nothing() {
    use Opcode::{Continuation, Ping, Text};
    let unknown = deflate(br#"{"token":"openshell:resolve:env:NOBODY"}"#);
    check_refused(&[frame(true, true, Text, &unknown)], 1008).await;
    let (first, second) = unknown.split_at(9);
    let pieces =
        [frame(false, true, Text, first), frame(true, false, Ping, b"x"), frame(true, false, Continuation, second)];
    check_refused(&pieces, 1008).await;
    // Not compressed at all: nobody has to.
    check_refused(&[frame(true, false, Text, br#"{"token":"openshell:resolve:env:NOBODY"}"#)], 1008).await;
    // A reference into a message before, which was promised not to be made.
    check_refused(&[frame(true, true, Text, &[0x4a, 0x04, 0x93, 0x00])], 1007).await;
    check_refused(&[frame(true, true, Text, &deflate(b"\xff\xfe"))], 1007).await;
    // Spaces, a thousand in each byte.
    let bomb = deflate(&vec![b' '; 64 * 1024 * 1024]);
    check_refused(&[frame(true, true, Text, &bomb)], 1009).await;
    // Bits where none may be: in the middle of a message, in a control frame, and those of no extension.
    check_refused(&[frame(false, true, Text, first), frame(true, true, Continuation, second)], 1002).await;
    check_refused(&[frame(true, true, Ping, b"")], 1002).await;
    check_refused(&[vec![0xa1, 0x80, 0, 0, 0, 0]], 1002).await;
    check_refused(&[frame(false, true, Text, first), frame(true, true, Text, &unknown)], 1002).await;
}
