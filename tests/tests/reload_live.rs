//! A change of the rules ends exactly what has lost its permission, within a second, and leaves everything else alone.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Body, Plan, Scripted, Upstreams, soon};

/// The longest that anything may go on without permission.
const BOUND: Duration = Duration::from_secs(1);

fn policy(paths: &[&str], tunnels: bool) -> String {
    let rules: Vec<_> = paths.iter().map(|path| format!("{{allow: {{method: '*', path: {path}}}}}")).collect();
    let mut text = format!(
        "version: 1\nnetwork_policies:\n  api:\n    endpoints:\n    - {{host: api.test, port: 443, protocol: rest, rules: [{}]}}\n",
        rules.join(", ")
    );
    if tunnels {
        text += "    - {host: raw.test, port: 9000, protocol: tcp}\n";
    }
    text
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("https://api.test{path}"))
        .header("host", "api.test")
        .body(Full::default().boxed())
        .expect("valid")
}

/// An upstream that streams for as long as it is listened to.
fn streaming(upstreams: &Upstreams) -> Scripted {
    upstreams.serve("api.test", &["h2", "http/1.1"], |stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            drop(request);
            let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::convert::Infallible>>(1);
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(20));
                loop {
                    ticks.tick().await;
                    if sender.send(Ok(Frame::data(Bytes::from_static(b"data: x\n\n")))).await.is_err() {
                        return;
                    }
                }
            });
            let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
            let reply = Response::builder().header("content-type", "text/event-stream").body(body);
            Ok::<_, std::convert::Infallible>(reply.expect("a reply"))
        });
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    })
}

/// Reads events until the stream ends or breaks, and says when.
async fn until_the_end(mut body: Incoming) -> Instant {
    while let Some(Ok(_)) = body.frame().await {}
    Instant::now()
}

async fn some(body: &mut Incoming) {
    for _ in 0..3 {
        soon("an event", body.frame()).await.expect("more").expect("whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_streams_that_lost_their_permission_end_and_others_go_on() {
    let upstreams = Upstreams::new();
    let upstream = streaming(&upstreams);
    let gate =
        Plan::new(&policy(&["/kept/**", "/lost/**"], false)).pin("api.test:443", upstream.address).start(&upstreams);
    let (mut http1, mut lost1) = (gate.http1("api.test").await, gate.http1("api.test").await);
    let mut http2 = gate.http2("api.test").await;
    let mut kept = Vec::new();
    kept.push(http1.send_request(get("/kept/1")).await.expect("a reply").into_body());
    kept.push(http2.send_request(get("/kept/2")).await.expect("a reply").into_body());
    let mut lost = Vec::new();
    lost.push(lost1.send_request(get("/lost/1")).await.expect("a reply").into_body());
    lost.push(http2.send_request(get("/lost/2")).await.expect("a reply").into_body());
    for body in kept.iter_mut().chain(&mut lost) {
        some(body).await;
    }
    let changed = Instant::now();
    gate.set_policy(&policy(&["/kept/**"], false));
    for body in lost {
        let ended = soon("the end of a lost stream", until_the_end(body)).await;
        assert!(ended - changed < BOUND, "{:?}", ended - changed);
    }
    for body in &mut kept {
        assert!(!body.is_end_stream());
        some(body).await;
    }
    for number in [3, 4] {
        let said = gate.ending(number).await["outcome"].as_str().expect("text").to_owned();
        assert!(said.starts_with("cut: "), "{said}");
    }
    let reply = http2.send_request(get("/lost/3")).await.expect("the connection lives");
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_tunnels_and_idle_connections_end_with_their_permission() {
    let upstreams = Upstreams::new();
    let echo = Scripted::serve(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let upstream = streaming(&upstreams);
    let plan = Plan::new(&policy(&["/kept/**"], true)).pin("raw.test:9000", echo.address);
    let gate = plan.pin("api.test:443", upstream.address).start(&upstreams);
    let mut tunnel = gate.tunnel("raw.test:9000").await;
    tunnel.write_all(b"ping").await.expect("sent");
    let mut said = [0; 4];
    soon("the echo", tunnel.read_exact(&mut said)).await.expect("read");
    let mut idle = gate.tls("api.test", &["h2"]).await;
    let changed = Instant::now();
    gate.set_policy("version: 1\n");
    assert_eq!(soon("the end of the tunnel", tunnel.read(&mut said)).await.unwrap_or(0), 0);
    let mut rest = Vec::new();
    let _ = soon("the end of the connection", idle.read_to_end(&mut rest)).await;
    assert!(changed.elapsed() < BOUND, "{:?}", changed.elapsed());
    assert!(gate.gate.open() <= 1, "{}", gate.gate.open());
}

/// A request whose upstream has not answered yet is ended as well, and told why.
#[tokio::test]
async fn h8_a_request_that_waits_is_refused() {
    let upstreams = Upstreams::new();
    let silent = upstreams.serve("api.test", &["http/1.1"], |mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    });
    let gate = Plan::new(&policy(&["/lost/**"], false)).pin("api.test:443", silent.address).start(&upstreams);
    let mut client = gate.http2("api.test").await;
    let reply = tokio::spawn(async move { client.send_request(get("/lost/1")).await });
    while gate.events("request").is_empty() {
        tokio::task::yield_now().await;
    }
    gate.set_policy(&policy(&["/kept/**"], false));
    let reply = soon("the refusal", reply).await.expect("joined").expect("a reply");
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
    let body = reply.into_body().collect().await.expect("a body").to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).expect("a problem document");
    assert_eq!(problem["error"], "policy_denied");
    assert!(problem["detail"].as_str().expect("text").contains("the policy changed"), "{problem}");
}

/// One connection after another, requests without pause, and a reload every few milliseconds that takes nothing away:
/// nothing fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_cost_no_request() {
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("api.test", &["h2", "http/1.1"], |stream| async move {
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("ok")))
        });
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    });
    let gate = Plan::new(&policy(&["/kept/**"], false)).pin("api.test:443", upstream.address).start(&upstreams);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut http2 = gate.http2("api.test").await;
        let mut http1 = gate.http1("api.test").await;
        clients.spawn(async move {
            for _ in 0..200 {
                assert_eq!(http2.send_request(get("/kept/x")).await.expect("a reply").status(), StatusCode::OK);
                let reply = http1.send_request(get("/kept/x")).await.expect("a reply");
                assert_eq!(reply.status(), StatusCode::OK);
                let _ = reply.into_body().collect().await.expect("a body");
            }
        });
    }
    let mut round = 0_u32;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !clients.is_empty() {
        tokio::select! {
            _ = ticks.tick() => {
                round += 1;
                gate.set_policy(&policy(&["/kept/**", &format!("/other/{round}")], false));
            }
            done = clients.join_next() => done.expect("one").expect("no failure"),
        }
    }
    assert!(round > 5, "{round} reloads");
    assert!(upstream.connections() <= 2, "{} connections: they outlive a reload", upstream.connections());
}
