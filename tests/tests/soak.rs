//! Full load while the rules change every second: no request fails, and nothing grows.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tollgate_tests::loopback::{Body, Loopback, Plan, Scripted, Upstreams};

/// Clients of each kind.
const CLIENTS: usize = 8;

/// Requests after which a client opens another connection.
const REQUESTS: usize = 50;

/// What a run may end with above its second quarter: allocators give memory back late.
const MEMORY: usize = 24 * 1024 * 1024;
const DESCRIPTORS: usize = 4 * CLIENTS;

fn policy(round: u64) -> String {
    format!(
        "
version: 1
network_policies:
  api:
    endpoints:
    - {{host: '*.api.test', port: 443, protocol: rest, rules: [{{allow: {{method: '*', path: /kept/**}}}}, {{allow: {{method: GET, path: /round/{round}}}}}]}}
"
    )
}

/// An upstream that says back what it is sent.
fn echo(upstreams: &Upstreams, name: &str, protocol: &str) -> Scripted {
    upstreams.serve(name, &[protocol], |stream| async move {
        let service = service_fn(|request: Request<Incoming>| async {
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response::new(Full::new(body)))
        });
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        // Clients go when they like.
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    })
}

/// A request of some size, whose reply must be the same.
async fn ask<F>(name: &str, number: usize, send: impl FnOnce(Request<Body>) -> F)
where
    F: Future<Output = hyper::Result<Response<Incoming>>>,
{
    let body = Bytes::from(vec![u8::try_from(number % 251).expect("a byte"); number * 997 % 65_536]);
    let request = Request::post(format!("https://{name}/kept/x")).header("host", name);
    let request = request.body(Full::new(body.clone()).map_err(|never: Infallible| match never {}).boxed());
    let reply = send(request.expect("a request")).await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.into_body().collect().await.expect("a whole reply").to_bytes(), body);
}

async fn load(gate: Arc<Loopback>, until: Instant, count: Arc<AtomicU64>, number: usize) {
    let (is_http2, name) = (number.is_multiple_of(2), if number % 4 < 2 { "new.api.test" } else { "old.api.test" });
    while Instant::now() < until {
        let mut http1 = if is_http2 { None } else { Some(gate.http1(name).await) };
        let mut http2 = if is_http2 { Some(gate.http2(name).await) } else { None };
        for number in 0..REQUESTS {
            match (&mut http1, &mut http2) {
                (Some(client), _) => ask(name, number, |request| client.send_request(request)).await,
                (_, Some(client)) => ask(name, number, |request| client.send_request(request)).await,
                _ => unreachable!("one of the two"),
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Bytes in memory, and open descriptors.
fn held() -> (usize, usize) {
    let text = std::fs::read_to_string("/proc/self/statm").expect("readable");
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    (pages * 4096, std::fs::read_dir("/proc/self/fd").expect("readable").count())
}

/// `TOLLGATE_SOAK_SECONDS` says how long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_load_while_the_rules_change() {
    let seconds = std::env::var("TOLLGATE_SOAK_SECONDS").map_or(30, |text| text.parse().expect("a number of seconds"));
    let whole = Duration::from_secs(seconds);
    let upstreams = Upstreams::new();
    let (new, old) = (echo(&upstreams, "new.api.test", "h2"), echo(&upstreams, "old.api.test", "http/1.1"));
    let plan = Plan::new(&policy(0)).pin("new.api.test:443", new.address).pin("old.api.test:443", old.address);
    let gate = Arc::new(plan.start(&upstreams));
    let (begun, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..2 * CLIENTS {
        clients.spawn(load(Arc::clone(&gate), begun + whole, Arc::clone(&count), client));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let (mut rounds, mut early, mut late) = (0, (0, 0), (0, 0));
    while !clients.is_empty() {
        tokio::select! {
            _ = ticks.tick() => {
                rounds += 1;
                gate.set_policy(&policy(rounds));
                let phase = if begun.elapsed() < whole / 2 { &mut early } else { &mut late };
                let now = held();
                *phase = (now.0.max(phase.0), now.1.max(phase.1));
            }
            done = clients.join_next() => done.expect("one").expect("no failure"),
        }
    }
    let count = count.load(Ordering::Relaxed);
    println!(
        "{count} requests in {seconds} s, {rounds} policies; memory {} then {} KiB, descriptors {} then {}, upstream connections {} and {}",
        early.0 / 1024,
        late.0 / 1024,
        early.1,
        late.1,
        new.connections(),
        old.connections(),
    );
    assert!(count > 20 * seconds && rounds >= seconds, "{count} requests, {rounds} policies");
    assert!(late.0 < early.0 + MEMORY, "memory: {} bytes, then {}", early.0, late.0);
    assert!(late.1 < early.1 + DESCRIPTORS, "descriptors: {}, then {}", early.1, late.1);
}
