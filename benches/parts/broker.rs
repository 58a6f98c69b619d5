//! Placeholders into secrets on the way out, secrets out of replies on the way back.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use http::request::Parts;
use tollgate_benches::job::{placeholder, value};
use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Method, Scheme, Unidentified};
use tollgate_policy::{Decision, Policy};
use tollgate_secrets::{Broker, Coding, Decoder, Needles, Scrubber, Secret, SecretName, Vault, inject};

use crate::part::{Part, Run, measured, repeat};

const CREDENTIALS: usize = 50;

/// What a reply that is searched holds.
const SEARCHED: usize = 1 << 20;

/// What a socket gives at a time.
const PIECE: usize = 16 * 1024;

pub fn parts() -> Vec<Part> {
    vec![
        Part::new("exchange/20 headers, 50 credentials", exchange).counted(500),
        Part::new("scrub/1 credentials", || scrub(1)).bytes(SEARCHED),
        Part::new("scrub/50 credentials", || scrub(CREDENTIALS)).bytes(SEARCHED).counted(4),
        Part::new("decode/gzip and scrub", decode).bytes(SEARCHED).counted(2),
    ]
}

/// One placeholder among 20 headers, 50 credentials loaded.
fn exchange() -> Run {
    let policy = policy();
    let broker = Broker::new(policy.credentials(), Arc::new(vault()));
    let authority = Authority::parse("api.example.com:443").expect("valid");
    let method = Method::parse("GET").expect("valid");
    let path = CanonicalPath::parse("/v1/things", EncodedSlash::Refuse).expect("valid");
    let caller = Caller::Unknown(Unidentified::Outside);
    let request = request();
    Box::new(move |count| {
        let ask = Ask {
            caller: &caller,
            authority: &authority,
            scheme: Scheme::Https,
            method: &method,
            path: &path,
            query: None,
        };
        let Decision::Allow(permit) = policy.decide(&ask) else { panic!("the policy allows this") };
        in_batches(count, &request, |parts| {
            inject(&permit, &ask, &broker.destination(&authority), parts).expect("exchanged")
        })
    })
}

/// Each repetition has a request of its own. Few at once: the headers of a request have just been parsed and lie in the cache.
fn in_batches<T>(count: u64, request: &Parts, mut work: impl FnMut(Parts) -> T) -> Duration {
    const BATCH: u64 = 16;
    let batches = (0..count).step_by(BATCH as usize).map(|begun| BATCH.min(count - begun));
    batches
        .map(|size| {
            let mut batch: Vec<_> = (0..size).map(|_| request.clone()).collect();
            let mut done = Vec::with_capacity(batch.len());
            let took = measured(&mut || done.extend(batch.drain(..).map(&mut work)));
            black_box(done);
            took
        })
        .sum()
}

fn request() -> Parts {
    let mut request = Request::get("/v1/things");
    for number in 0..19 {
        request = request.header(format!("x-header-{number}"), "some quite ordinary header value");
    }
    request = request.header("authorization", format!("Bearer {}", placeholder(CREDENTIALS / 2)));
    request.body(()).expect("valid").into_parts().0
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

fn needles(credentials: usize) -> Arc<Needles> {
    let pairs: Vec<_> = (0..credentials).map(|n| (value(n), placeholder(n))).collect();
    Arc::new(Needles::new(pairs.iter().map(|(v, p)| (v.as_str(), p.as_str()))))
}

/// A plain body without a match.
fn body() -> Vec<u8> {
    let text = "{\"id\": 1234, \"name\": \"a quite ordinary JSON reply\", \"tags\": [\"ghost\", \"other\"]}\n";
    text.repeat(SEARCHED / text.len() + 1).into_bytes()[..SEARCHED].to_vec()
}

fn scrub(credentials: usize) -> Run {
    let (body, needles) = (body(), needles(credentials));
    repeat(move || {
        let mut scrubber = Scrubber::new(Arc::clone(&needles));
        for piece in body.chunks(PIECE) {
            black_box(scrubber.push(piece));
        }
        scrubber.finish()
    })
}

/// What taking the coding off costs, beside [`scrub`].
fn decode() -> Run {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&body()).expect("a Vec takes everything");
    let packed = encoder.finish().expect("a Vec takes everything");
    let needles = needles(1);
    repeat(move || {
        let (mut decoder, mut scrubber) = (Decoder::new(Coding::Gzip), Scrubber::new(Arc::clone(&needles)));
        let mut input = &packed[..];
        while let Some(piece) = decoder.next(&mut input).expect("valid") {
            black_box(scrubber.push(&piece));
        }
        scrubber.finish()
    })
}
