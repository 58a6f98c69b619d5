//! Rotation and revocation while requests come without pause.
//!
//! `TOLLGATE_ROTATION_SECONDS=60` makes it a minute; a few seconds without it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tollgate_secrets::{Secret, SecretName, Vault};
use tollgate_tests::loopback::{Body, Loopback, Plan, Scripted, Upstreams, soon};

const PLACEHOLDER: &str = "the-placeholder-of-the-rotating-token";

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: full }
x-tollgate:
  credentials:
    TOKEN:
      bindings:
        - { host: api.test, port: 443, header: authorization }
";

const CLIENTS: u64 = 8;
const REQUESTS_PER_SECOND: u64 = 1000;
const ROTATE_EVERY: Duration = Duration::from_millis(100);

fn value(number: u64) -> String {
    format!("the-real-value-{number:08}")
}

fn number(text: &str) -> u64 {
    text.strip_prefix("Bearer the-real-value-").and_then(|digits| digits.parse().ok()).expect("a real value arrived")
}

/// Values of the last rotations are remembered, as a keeper does.
fn vault(number: u64) -> Arc<Vault> {
    let name = SecretName::parse("TOKEN").expect("a name");
    let secret = Secret::new(name, value(number).into(), PLACEHOLDER.to_owned()).expect("a value");
    let former = (number.saturating_sub(4)..number).map(value);
    Arc::new(Vault::new(vec![former.fold(secret, |secret, value| secret.formerly(value.into()).expect("a value"))]))
}

/// Which value came with which request, by the request's own number.
type Arrived = Arc<Mutex<HashMap<u64, u64>>>;

/// An upstream that says back what it was sent.
fn upstream(upstreams: &Upstreams, arrived: &Arrived) -> Scripted {
    let arrived = Arc::clone(arrived);
    upstreams.serve("api.test", &["h2", "http/1.1"], move |stream| {
        let arrived = Arc::clone(&arrived);
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let token = request.headers()["authorization"].to_str().expect("text").to_owned();
                let id = request.headers()["x-number"].to_str().expect("text").parse().expect("a number");
                arrived.lock().expect("nobody panics").insert(id, number(&token));
                async move { Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(token))) }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    })
}

fn request(id: u64) -> Request<Body> {
    let request = Request::get("https://api.test/").header("host", "api.test").header("x-number", id);
    let request = request.header("authorization", format!("Bearer {PLACEHOLDER}"));
    request.body(Full::default().boxed()).expect("valid")
}

fn seconds() -> u64 {
    match std::env::var("TOLLGATE_ROTATION_SECONDS") {
        Ok(text) => text.parse().expect("TOLLGATE_ROTATION_SECONDS is a number"),
        Err(_) => 3,
    }
}

/// One client: a request each 8 ms, on time even where one was late. Gives for each what was in force when it began.
async fn requests(gate: Arc<Loopback>, client: u64, until: Instant, in_force: Arc<AtomicU64>) -> Vec<(u64, u64)> {
    let mut http2 = gate.http2("api.test").await;
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 * CLIENTS / REQUESTS_PER_SECOND));
    let mut begun = Vec::new();
    while Instant::now() < until {
        ticks.tick().await;
        let id = begun.len() as u64 * CLIENTS + client;
        begun.push((id, in_force.load(Ordering::SeqCst)));
        let reply = soon("a reply", http2.send_request(request(id))).await.expect("a reply");
        assert_eq!(reply.status(), StatusCode::OK, "request {id}");
        let body = soon("its body", reply.into_body().collect()).await.expect("whole").to_bytes();
        assert_eq!(body, format!("Bearer {PLACEHOLDER}"), "the reply to {id} is scrubbed");
    }
    begun
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k9_rotation_under_load_costs_no_request_and_is_in_force_at_once() {
    let (upstreams, arrived) = (Upstreams::new(), Arrived::default());
    let server = upstream(&upstreams, &arrived);
    let plan = Plan::new(POLICY).pin("api.test:443", server.address).secret("TOKEN", &value(0), PLACEHOLDER);
    let gate = Arc::new(plan.start(&upstreams));
    let in_force = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds());
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(requests(Arc::clone(&gate), client, until, Arc::clone(&in_force)));
    }
    let mut ticks = tokio::time::interval(ROTATE_EVERY);
    let mut rotations = 0;
    while Instant::now() < until {
        ticks.tick().await;
        rotations += 1;
        gate.rules.replace_vault(vault(rotations));
        // The rotation has returned: from here on no request may carry what was before.
        in_force.store(rotations, Ordering::SeqCst);
    }
    let mut sent = Vec::new();
    while let Some(client) = clients.join_next().await {
        sent.extend(client.expect("no request fails"));
    }
    let took = begun.elapsed();
    let arrived = arrived.lock().expect("nobody panics");
    assert_eq!(arrived.len(), sent.len());
    for (id, least) in &sent {
        assert!(arrived[id] >= *least, "request {id} came with value {} after rotation {least}", arrived[id]);
    }
    let rate = sent.len() as f64 / took.as_secs_f64();
    eprintln!("{} requests, {rate:.0} a second, {rotations} rotations, none failed, none stale", sent.len());
    assert!(rotations >= 20, "{rotations} rotations");
    // A machine that is busy with other tests may be slower; one that is not has to keep up.
    assert!(rate > REQUESTS_PER_SECOND as f64 / 4.0, "{rate:.0} requests a second");
}

/// The rules of the other test and 1,000 that nobody asks for.
fn large_policy(number: u64) -> String {
    let rules: String =
        (0..1000).map(|rule| format!("\n          - allow: {{ method: GET, path: /{number}/*/{rule} }}")).collect();
    let more = format!("\n      - host: other.test\n        port: 443\n        protocol: rest\n        rules:{rules}");
    POLICY.replacen("access: full }", &format!("access: full }}{more}"), 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_of_1000_rules_under_load_cost_no_request() {
    let (upstreams, arrived) = (Upstreams::new(), Arrived::default());
    let server = upstream(&upstreams, &arrived);
    let plan = Plan::new(POLICY).pin("api.test:443", server.address).secret("TOKEN", &value(0), PLACEHOLDER);
    let gate = Arc::new(plan.start(&upstreams));
    let until = Instant::now() + Duration::from_secs(1);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(requests(Arc::clone(&gate), client, until, Arc::default()));
    }
    let mut policies = 0;
    while Instant::now() < until {
        policies += 1;
        let rules = Arc::clone(&gate.rules);
        let put = move || rules.replace_policy(tollgate_policy::load(&large_policy(policies)).expect("a policy"));
        let put = tokio::task::spawn_blocking(put).await.expect("put in force");
        assert!(put.is_some_and(|now| now.number == policies + 1), "each is another one");
    }
    let mut sent = 0;
    while let Some(client) = clients.join_next().await {
        sent += client.expect("no request fails").len();
    }
    assert_eq!(arrived.lock().expect("nobody panics").len(), sent, "every request came, and once");
    assert!(policies >= 3 && sent > 100, "{policies} policies, {sent} requests");
}

/// The reply to a request is searched for the value that the request carried, however many others came meanwhile.
#[tokio::test]
async fn k9_a_slow_reply_is_searched_for_the_value_that_it_was_sent() {
    let (upstreams, held) = (Upstreams::new(), Arc::new(tokio::sync::Notify::new()));
    let wait = Arc::clone(&held);
    let server = upstreams.serve("api.test", &["h2"], move |stream| {
        let wait = Arc::clone(&wait);
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (wait, token) = (Arc::clone(&wait), request.headers()["authorization"].clone());
                async move {
                    wait.notified().await;
                    Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(token.as_bytes().to_vec())))
                }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    });
    let plan = Plan::new(POLICY).pin("api.test:443", server.address).secret("TOKEN", &value(0), PLACEHOLDER);
    let gate = plan.start(&upstreams);
    let mut client = gate.http2("api.test").await;
    let reply = tokio::spawn(async move { client.send_request(request(0)).await });
    while gate.events("request").is_empty() {
        tokio::task::yield_now().await;
    }
    for round in 1..20 {
        gate.rules.replace_vault(vault(round));
    }
    held.notify_one();
    let reply = soon("the reply", reply).await.expect("joined").expect("a reply");
    let body = reply.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(body, format!("Bearer {PLACEHOLDER}"));
}
