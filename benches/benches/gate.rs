//! What the gate itself adds to a request: exchange, scrub, record, mint.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use tollgate_audit::{Chain, Event, Program, SigningKey, Verdict};
use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Host, Method, Scheme};
use tollgate_policy::{Decision, Policy};
use tollgate_proxy::{CertificateAuthority, Limits};
use tollgate_secrets::{Broker, Coding, Decoder, Needles, Scrubber, Secret, SecretName, Vault, inject};

const CREDENTIALS: usize = 50;

fn placeholder(number: usize) -> String {
    format!("ghp_placeholder{number:04}AAAAAAAAAAAAAAAAAAAAA")
}

fn value(number: usize) -> String {
    format!("ghp_therealvalue{number:04}Zm9vYmFyYmF6cXV4MDEy")
}

fn vault() -> Vault {
    let secret = |number| {
        let name = SecretName::parse(&format!("TOKEN_{number}")).expect("a name");
        Secret::new(name, value(number).into(), placeholder(number)).expect("a value")
    };
    Vault::new((0..CREDENTIALS).map(secret).collect())
}

fn policy() -> Policy {
    let mut text = "version: 1\nnetwork_policies:\n  api:\n    endpoints:\n    - {host: api.example.com, port: 443, \
         protocol: rest, access: full}\nx-tollgate:\n  credentials:\n"
        .to_owned();
    for number in 0..CREDENTIALS {
        text += &format!(
            "    TOKEN_{number}:\n      bindings:\n      - {{host: api.example.com, port: 443, header: authorization}}\n"
        );
    }
    tollgate_policy::load(&text).expect("a valid policy")
}

/// One placeholder among 20 headers, 50 credentials loaded.
fn exchange(c: &mut Criterion) {
    let policy = policy();
    let broker = Broker::new(policy.credentials(), Arc::new(vault()));
    let (authority, method) =
        (Authority::parse("api.example.com:443").expect("valid"), Method::parse("GET").expect("valid"));
    let path = CanonicalPath::parse("/v1/things", EncodedSlash::Refuse).expect("valid");
    let caller = Caller::Unknown(tollgate_model::Unidentified::Outside);
    let ask = Ask {
        caller: &caller,
        authority: &authority,
        scheme: Scheme::Https,
        method: &method,
        path: &path,
        query: None,
    };
    let Decision::Allow(permit) = policy.decide(&ask) else { panic!("the policy allows this") };
    let mut request = Request::get("/v1/things");
    for number in 0..19 {
        request = request.header(format!("x-header-{number}"), "some quite ordinary header value");
    }
    request = request.header("authorization", format!("Bearer {}", placeholder(CREDENTIALS / 2)));
    let (parts, ()) = request.body(()).expect("valid").into_parts();
    c.bench_function("exchange/20 headers, 50 credentials", |b| {
        b.iter_batched(
            || parts.clone(),
            |parts| inject(&permit, &ask, &broker.destination(&authority), parts).expect("exchanged"),
            // Few at once: the headers of a request have just been parsed and lie in the cache.
            BatchSize::NumIterations(16),
        );
    });
}

/// A plain body without a match, in the pieces that a socket gives.
fn scrub(c: &mut Criterion) {
    let text = "{\"id\": 1234, \"name\": \"a quite ordinary JSON reply\", \"tags\": [\"ghost\", \"other\"]}\n";
    let body = text.repeat(1 << 20).into_bytes()[..1 << 20].to_vec();
    let mut group = c.benchmark_group("scrub");
    group.throughput(Throughput::Bytes(body.len() as u64));
    for credentials in [1, CREDENTIALS] {
        let pairs: Vec<_> = (0..credentials).map(|n| (value(n), placeholder(n))).collect();
        let needles = Arc::new(Needles::new(pairs.iter().map(|(v, p)| (v.as_str(), p.as_str()))));
        group.bench_function(format!("{credentials} credentials"), |b| {
            b.iter(|| {
                let mut scrubber = Scrubber::new(Arc::clone(&needles));
                for piece in body.chunks(16 * 1024) {
                    black_box(scrubber.push(piece));
                }
                scrubber.finish()
            });
        });
    }
    group.finish();
}

/// What taking the coding off costs, beside [`scrub`].
fn decode(c: &mut Criterion) {
    let text = "{\"id\": 1234, \"name\": \"a quite ordinary JSON reply\", \"tags\": [\"ghost\", \"other\"]}\n";
    let body = text.repeat(1 << 20).into_bytes()[..1 << 20].to_vec();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&body).expect("a Vec takes everything");
    let packed = encoder.finish().expect("a Vec takes everything");
    let needles = Arc::new(Needles::new([(&*value(0), &*placeholder(0))]));
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("gzip and scrub", |b| {
        b.iter(|| {
            let (mut decoder, mut scrubber) = (Decoder::new(Coding::Gzip), Scrubber::new(Arc::clone(&needles)));
            let mut input = &packed[..];
            while let Some(piece) = decoder.next(&mut input).expect("valid") {
                black_box(scrubber.push(&piece));
            }
            scrubber.finish()
        });
    });
    group.finish();
}

fn journal(c: &mut Criterion) {
    let verdict = Verdict { decision: "allowed", policy: "api", rule: "GET /v1/**", error: "", reason: "" };
    let caller = Program { binary: "/usr/bin/curl", pid: 42, binary_sha256: "0123456789abcdef", ..Program::default() };
    let event = Event::Request {
        connection: 7,
        request: 11,
        method: "GET",
        scheme: "https",
        authority: "api.example.com:443",
        path: "/v1/things",
        caller,
        generation: 1,
        verdict,
        exchanged: &[],
        inert: &[],
    };
    c.bench_function("journal/serialise a request", |b| b.iter(|| black_box(&event).to_body()));
    let body = event.to_body();
    let (mut chain, mut out) = (Chain::new("bench"), Vec::new());
    c.bench_function("journal/append a request", |b| {
        b.iter(|| {
            out.clear();
            chain.append(1_700_000_000_000_000, black_box(&body), &mut out);
        });
    });
    let key = SigningKey::from_seed(&[7; 32]).expect("32 bytes");
    c.bench_function("journal/sign a head", |b| b.iter(|| key.sign(black_box(&chain), false)));
}

fn leaf(c: &mut Criterion) {
    let authority = CertificateAuthority::new("bench", &Limits::default()).expect("made");
    let known = Host::parse("api.example.com").expect("valid");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    c.bench_function("leaf/known name", |b| {
        b.iter(|| runtime.block_on(authority.server_config(black_box(&known))).expect("minted"));
    });
    let mut number = 0u64;
    c.bench_function("leaf/new name", |b| {
        b.iter(|| {
            number += 1;
            let host = Host::parse(&format!("n{number}.example.com")).expect("valid");
            authority.mint(&host).expect("minted")
        });
    });
}

criterion_group!(benches, exchange, scrub, decode, journal, leaf);
criterion_main!(benches);
