//! Credentials in what streams: request bodies, messages, replies that outlive a rotation, streams of what was revoked.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_stream::wrappers::ReceiverStream;
use tollgate_inspect::websocket::Opcode;
use tollgate_tests::loopback::{Body, Loopback, Plan, Scripted, Upstreams, soon};
use tollgate_tests::websocket::Socket;

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, request_body_credential_rewrite: true, rules: [{allow: {method: '*', path: /v1/**}}]}
    - {host: chat.test, port: 443, protocol: websocket, websocket_credential_rewrite: true, rules: [{allow: {method: GET, path: /ws}}, {allow: {method: WEBSOCKET_TEXT, path: /ws}}]}
x-tollgate:
  credentials:
    TOKEN:
      bindings:
      - {host: api.test, header: authorization}
      - {host: chat.test, header: authorization}
";

const VALUE: &str = "the-real-value-0123456789";
const PLACEHOLDER: &str = "the-placeholder-012345678";
const SECOND: &str = "a-second-value-0123456789";

/// The longest that anything may go on with what was revoked.
const BOUND: Duration = Duration::from_secs(1);

/// What an upstream was sent.
type Seen = Arc<Mutex<Vec<String>>>;

/// An upstream that says back the body that it was sent.
fn echo(upstreams: &Upstreams) -> (Scripted, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let upstream = upstreams.serve("api.test", &["h2", "http/1.1"], move |stream| {
        let seen = Arc::clone(&kept);
        async move {
            let service = service_fn(|request: Request<Incoming>| {
                let seen = Arc::clone(&seen);
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    seen.lock().expect("no panic").push(String::from_utf8_lossy(&body).into_owned());
                    Ok::<_, hyper::Error>(Response::new(Full::new(body)))
                }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    });
    (upstream, seen)
}

/// A socket that answers each message.
fn chat(upstreams: &Upstreams, answer: fn(&[u8]) -> Vec<u8>) -> (Scripted, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let upstream = upstreams.serve("chat.test", &["http/1.1"], move |stream| {
        let seen = Arc::clone(&kept);
        Socket::serve(stream, move |message| {
            seen.lock().expect("no panic").push(String::from_utf8_lossy(message).into_owned());
            answer(message)
        })
    });
    (upstream, seen)
}

/// An upstream whose every reply streams what is in `words` for as long as it is listened to.
fn streaming(upstreams: &Upstreams, words: &Arc<Mutex<String>>) -> Scripted {
    let words = Arc::clone(words);
    upstreams.serve("api.test", &["h2", "http/1.1"], move |stream| {
        let words = Arc::clone(&words);
        async move {
            let service = service_fn(|_: Request<Incoming>| {
                let (sender, receiver) =
                    tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::convert::Infallible>>(1);
                let words = Arc::clone(&words);
                tokio::spawn(async move {
                    let mut ticks = tokio::time::interval(Duration::from_millis(10));
                    loop {
                        ticks.tick().await;
                        let said = format!("data: {}\n\n", words.lock().expect("no panic"));
                        if sender.send(Ok(Frame::data(said.into()))).await.is_err() {
                            return;
                        }
                    }
                });
                async move {
                    Ok::<_, std::convert::Infallible>(Response::new(StreamBody::new(ReceiverStream::new(receiver))))
                }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    })
}

fn plan(upstream: &Scripted) -> Plan {
    let plan = Plan::new(POLICY).secret("TOKEN", VALUE, PLACEHOLDER);
    plan.pin("api.test:443", upstream.address).pin("chat.test:443", upstream.address)
}

fn request(authorization: Option<&str>, body: Body) -> Request<Body> {
    let request = Request::post("https://api.test/v1/x").header("host", "api.test");
    let request = request.header("content-type", "application/json");
    let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
    request.body(body).expect("valid")
}

fn json(token: &str) -> String {
    format!(r#"{{"token": "{token}", "say": "the {token} is a placeholder"}}"#)
}

/// A body of unknown length that comes in pieces.
fn pieces(pieces: Vec<String>) -> Body {
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece.into())));
    StreamBody::new(tokio_stream::iter(frames.collect::<Vec<_>>())).boxed()
}

async fn text(reply: Response<Incoming>) -> String {
    let body = soon("the reply", reply.into_body().collect()).await.expect("whole").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn k1_a_body_gets_its_credential_where_fields_are_open() {
    let upstreams = Upstreams::new();
    let (upstream, seen) = echo(&upstreams);
    let gate = plan(&upstream).start(&upstreams);
    let mut client = gate.http2("api.test").await;
    let small = request(None, Full::from(json(PLACEHOLDER)).boxed());
    let reply = text(client.send_request(small).await.expect("a reply")).await;
    assert_eq!(reply, json(PLACEHOLDER));
    let filler = "x".repeat(200_000);
    let streamed = vec![format!(r#"{{"filler": "{filler}", "token": "the-place"#), r#"holder-012345678"}"#.to_owned()];
    let reply = text(client.send_request(request(None, pieces(streamed))).await.expect("a reply")).await;
    assert!(reply.ends_with(&format!(r#""token": "{PLACEHOLDER}"}}"#)), "{}", &reply[200_000..]);
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!(seen[0], format!(r#"{{"token": "{VALUE}", "say": "the {PLACEHOLDER} is a placeholder"}}"#));
    assert!(seen[1].ends_with(&format!(r#""token": "{VALUE}"}}"#)), "{}", &seen[1][200_000..]);
    assert_eq!(gate.events("request")[0]["exchanged"], serde_json::json!(["TOKEN"]));
    assert_eq!(gate.ending(2).await["exchanged"], serde_json::json!(["TOKEN"]));
}

#[tokio::test]
async fn k27_a_body_that_asks_for_what_is_not_there_is_refused() {
    let upstreams = Upstreams::new();
    let (upstream, seen) = echo(&upstreams);
    let gate = plan(&upstream).start(&upstreams);
    let mut client = gate.http1("api.test").await;
    let unknown = json("openshell:resolve:env:NOBODY");
    let reply = client.send_request(request(None, Full::from(unknown.clone()).boxed())).await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let problem: serde_json::Value = serde_json::from_str(&text(reply).await).expect("a problem document");
    assert_eq!(problem["error"], "credential_unavailable");
    assert_eq!(upstream.connections(), 0, "nothing is sent");
    assert_eq!(gate.events("request")[0]["decision"], "denied");
    let filler = format!(r#"{{"filler": "{}", "#, "x".repeat(100_000));
    let mut client = gate.http1("api.test").await;
    let reply =
        client.send_request(request(None, pieces(vec![filler, unknown[1..].to_owned()]))).await.expect("a reply");
    let problem: serde_json::Value = serde_json::from_str(&text(reply).await).expect("a problem document");
    assert_eq!(problem["error"], "credential_unavailable");
    assert!(gate.ending(2).await["outcome"].as_str().expect("text").contains("NOBODY"));
    assert_eq!(seen.lock().expect("no panic").len(), 0, "no whole request arrived");
}

#[tokio::test]
async fn e5_messages_get_their_credentials_and_give_none_back() {
    let upstreams = Upstreams::new();
    let (upstream, seen) = chat(&upstreams, <[u8]>::to_vec);
    let gate = plan(&upstream).start(&upstreams);
    let stream = gate.tls("chat.test", &["http/1.1"]).await;
    let mut socket = Socket::open(stream, "chat.test", "/ws").await.expect("opened");
    for token in [PLACEHOLDER, "openshell:resolve:env:TOKEN"] {
        socket.send(Opcode::Text, format!(r#"{{"op":2,"token":"{token}"}}"#).as_bytes()).await;
        let (_, said) = socket.next().await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&said), format!(r#"{{"op":2,"token":"{PLACEHOLDER}"}}"#));
    }
    assert_eq!(seen.lock().expect("no panic")[..], [(); 2].map(|()| format!(r#"{{"op":2,"token":"{VALUE}"}}"#)));
    socket.send(Opcode::Text, br#"{"token":"openshell:resolve:env:NOBODY"}"#).await;
    let (opcode, payload) = socket.next().await.expect("a close");
    assert_eq!((opcode, &payload[..2]), (Opcode::Close, &1008_u16.to_be_bytes()[..]));
    assert_eq!(seen.lock().expect("no panic").iter().filter(|text| text.contains("NOBODY")).count(), 0);
    let ended = gate.ending(1).await;
    assert_eq!((&ended["exchanged"], &ended["scrubbed"]), (&serde_json::json!(["TOKEN"]), &2.into()));
}

async fn open(gate: &Loopback, authorization: Option<&str>) -> Incoming {
    let mut client = gate.http1("api.test").await;
    let reply = client.send_request(request(authorization, Full::default().boxed())).await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::OK);
    reply.into_body()
}

async fn next(body: &mut Incoming) -> Option<String> {
    let frame = soon("an event", body.frame()).await?.ok()?;
    Some(String::from_utf8(frame.into_data().ok()?.to_vec()).expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k9_what_is_revoked_ends_the_streams_that_it_opened() {
    let upstreams = Upstreams::new();
    let upstream = streaming(&upstreams, &Arc::new(Mutex::new("x".to_owned())));
    let gate = plan(&upstream).start(&upstreams);
    let bearer = format!("Bearer {PLACEHOLDER}");
    let (mut with, mut without) = (open(&gate, Some(&bearer)).await, open(&gate, None).await);
    assert!(next(&mut with).await.is_some() && next(&mut without).await.is_some());
    let revoked = Instant::now();
    gate.set_secrets(&[("TOKEN", Err("it was revoked"), PLACEHOLDER)]);
    while next(&mut with).await.is_some() {}
    assert!(revoked.elapsed() < BOUND, "{:?}", revoked.elapsed());
    assert!(gate.ending(1).await["outcome"].as_str().expect("text").contains("it was revoked"));
    for _ in 0..3 {
        assert!(next(&mut without).await.is_some(), "it needed none");
    }
    let mut client = gate.http1("api.test").await;
    let reply = client.send_request(request(Some(&bearer), Full::default().boxed())).await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::INTERNAL_SERVER_ERROR, "refused at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_a_stream_that_outlives_rotations_gives_neither_old_nor_new_values_back() {
    let upstreams = Upstreams::new();
    let words = Arc::new(Mutex::new(format!("<{VALUE}>")));
    let upstream = streaming(&upstreams, &words);
    let gate = plan(&upstream).start(&upstreams);
    let mut body = open(&gate, Some(&format!("Bearer {PLACEHOLDER}"))).await;
    let mut said = next(&mut body).await.expect("an event");
    for _ in 0..6 {
        gate.set_secrets(&[("TOKEN", Ok(SECOND), PLACEHOLDER)]);
    }
    *words.lock().expect("no panic") = format!("<{VALUE} {SECOND}>");
    while !said.contains(&format!("<{PLACEHOLDER} {PLACEHOLDER}>")) {
        said += &next(&mut body).await.expect("it goes on");
    }
    assert!(!said.contains(VALUE) && !said.contains(SECOND), "{said}");
}

/// What is open and unread ends when the policy begins to read there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_what_passes_unread_ends_where_it_would_now_be_read() {
    let upstreams = Upstreams::new();
    let upstream = streaming(&upstreams, &Arc::new(Mutex::new("x".to_owned())));
    let unbound = POLICY.split("x-tollgate").next().expect("a part").to_owned();
    let gate = Plan::new(&unbound).pin("api.test:443", upstream.address).start(&upstreams);
    let mut body = open(&gate, None).await;
    assert!(next(&mut body).await.is_some());
    gate.set_secrets(&[("TOKEN", Ok(VALUE), PLACEHOLDER)]);
    for _ in 0..3 {
        assert!(next(&mut body).await.is_some(), "held, and bound nowhere");
    }
    let bound = Instant::now();
    gate.set_policy(POLICY);
    while next(&mut body).await.is_some() {}
    assert!(bound.elapsed() < BOUND, "{:?}", bound.elapsed());
    assert!(gate.ending(1).await["outcome"].as_str().expect("text").contains("not searched"));
}

/// An upload whose reply has ended is still judged, and recorded when both have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_an_upload_does_not_outlive_its_permission() {
    let upstreams = Upstreams::new();
    let arrived = Arc::new(Mutex::new(0_usize));
    let counted = Arc::clone(&arrived);
    let upstream = upstreams.serve("api.test", &["h2"], move |stream| {
        let arrived = Arc::clone(&counted);
        async move {
            let service = service_fn(|request: Request<Incoming>| {
                let arrived = Arc::clone(&arrived);
                // Answers at once and goes on reading.
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    while let Some(Ok(frame)) = body.frame().await {
                        *arrived.lock().expect("no panic") += frame.data_ref().map_or(0, Bytes::len);
                    }
                });
                async { Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("early"))) }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    });
    let unbound = POLICY.split("x-tollgate").next().expect("a part").to_owned();
    let gate = Plan::new(&unbound).pin("api.test:443", upstream.address).start(&upstreams);
    let mut client = gate.http2("api.test").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::convert::Infallible>>(1);
    let sent = client.send_request(request(None, StreamBody::new(ReceiverStream::new(receiver)).boxed()));
    sender.send(Ok(Frame::data("12345".into()))).await.expect("taken");
    assert_eq!(text(sent.await.expect("a reply")).await, "early");
    while *arrived.lock().expect("no panic") < 5 {
        tokio::task::yield_now().await;
    }
    assert!(gate.events("reply").is_empty(), "the upload goes on");
    gate.set_policy("version: 1\n");
    let ended = gate.ending(1).await;
    assert_eq!((&ended["sent"], &ended["outcome"]), (&5.into(), &"complete".into()));
    let refused = async { while sender.send(Ok(Frame::data("more".into()))).await.is_ok() {} };
    soon("the end of the upload", refused).await;
    assert_eq!(*arrived.lock().expect("no panic"), 5);
}

/// A message is filled by the rules of its own moment, and a socket that could carry what is revoked ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k9_messages_follow_rotation_and_revocation() {
    let upstreams = Upstreams::new();
    let (upstream, seen) = chat(&upstreams, |_| b"{}".to_vec());
    let gate = plan(&upstream).start(&upstreams);
    let stream = gate.tls("chat.test", &["http/1.1"]).await;
    let mut socket = Socket::open(stream, "chat.test", "/ws").await.expect("opened");
    let message = format!(r#"{{"token":"{PLACEHOLDER}"}}"#);
    for value in [VALUE, SECOND] {
        gate.set_secrets(&[("TOKEN", Ok(value), PLACEHOLDER)]);
        socket.send(Opcode::Text, message.as_bytes()).await;
        assert_eq!(socket.next().await, Some((Opcode::Text, b"{}".to_vec())));
        assert_eq!(seen.lock().expect("no panic").pop(), Some(format!(r#"{{"token":"{value}"}}"#)));
    }
    let revoked = Instant::now();
    gate.set_secrets(&[("TOKEN", Err("it was revoked"), PLACEHOLDER)]);
    assert_eq!(socket.next().await.expect("a close").0, Opcode::Close);
    assert!(revoked.elapsed() < BOUND, "{:?}", revoked.elapsed());
    assert!(seen.lock().expect("no panic").iter().all(|text| !text.contains("token")));
}

/// What was sent is recorded even where the body never comes to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_what_a_broken_body_carried_is_recorded() {
    let upstreams = Upstreams::new();
    let (upstream, _) = echo(&upstreams);
    let gate = plan(&upstream).start(&upstreams);
    let mut client = gate.http1("api.test").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::convert::Infallible>>(1);
    let body = StreamBody::new(ReceiverStream::new(receiver)).boxed();
    let sent = tokio::spawn(async move { client.send_request(request(None, body)).await });
    sender.send(Ok(Frame::data(json(PLACEHOLDER).into()))).await.expect("taken");
    while gate.events("request").is_empty() || gate.gate.open() < 2 {
        tokio::task::yield_now().await;
    }
    // The second piece is taken once the first has gone on.
    sender.send(Ok(Frame::data(" ".into()))).await.expect("taken");
    sender.send(Ok(Frame::data(" ".into()))).await.expect("taken");
    sent.abort();
    let ended = gate.ending(1).await;
    assert_eq!(ended["exchanged"], serde_json::json!(["TOKEN"]), "{ended}");
}
