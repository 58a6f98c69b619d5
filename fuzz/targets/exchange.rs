//! Placeholders in headers, targets, bodies and messages.
#![no_main]

use std::sync::{Arc, LazyLock};

use http::{HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Method, Scheme, Unidentified};
use tollgate_policy::{Decision, Policy};
use tollgate_secrets::{Broker, Encoding, Fields, Outbound, Rewriter, Secret, SecretName, Vault, inject};

const POLICY: &str = "
version: 1
network_policies:
  all:
    endpoints:
    - {host: a.test, port: 443, protocol: rest, access: full, request_body_credential_rewrite: true, websocket_credential_rewrite: true}
x-tollgate:
  credentials:
    TOKEN:
      bindings:
      - {host: a.test, port: 443, header: authorization}
      - {host: a.test, port: 443, query: key}
      - {host: a.test, port: 443, cookie: session}
      - {host: a.test, port: 443, path_template: '/bot{credential}/**'}
      - {host: a.test, port: 443, body: token}
      - {host: a.test, port: 443, websocket: token}
";

const REAL: &str = "9d2f-real-\"value\\é&=+/-7c1e";

struct World {
    policy: Policy,
    broker: Broker,
    authority: Authority,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let policy = tollgate_policy::load(POLICY).expect("a policy");
    let name = SecretName::parse("TOKEN").expect("a name");
    let secret = Secret::new(name, REAL.into(), "the-placeholder-0123456789".to_owned()).expect("a value");
    let broker = Broker::new(policy.credentials(), Arc::new(Vault::new(vec![secret])));
    World { policy, broker, authority: Authority::parse("a.test:443").expect("an authority") }
});

fuzz_target!(|bytes: &[u8]| {
    let [how, cut, text @ ..] = bytes else { return };
    match how % 6 {
        0 => check_header("authorization", text),
        1 => check_header("cookie", text),
        2 => check_header("x-other", text),
        3 => check_target(text),
        4 => check_body(Encoding::Json, text, *cut),
        _ => check_body(Encoding::Form, text, *cut),
    }
});

/// What the agent sent must not be the secret itself: the fuzzer sees it in the program. Long enough that no escape and the
/// text behind it make a piece of it.
fn is_known(text: &[u8]) -> bool {
    const PIECE: usize = 10;
    text.windows(PIECE).any(|window| REAL.as_bytes().windows(PIECE).any(|known| known == window))
}

fn send(target: &str, header: Option<(&'static str, HeaderValue)>) -> Option<Outbound> {
    let World { policy, broker, authority } = &*WORLD;
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (method, path) = (Method::parse("POST").ok()?, CanonicalPath::parse(path, EncodedSlash::Refuse).ok()?);
    let caller = Caller::Unknown(Unidentified::Outside);
    let ask = Ask { caller: &caller, authority, scheme: Scheme::Https, method: &method, path: &path, query };
    let Decision::Allow(permit) = policy.decide(&ask) else { return None };
    let written = query.map_or(path.as_str().to_owned(), |query| format!("{}?{query}", path.as_str()));
    let mut request = Request::post(written).header("content-type", "application/json");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).ok()?.into_parts();
    inject(&permit, &ask, &broker.destination(authority), parts).ok()
}

fn check_header(name: &'static str, text: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    let Some(outbound) = send("/", Some((name, value))).filter(|_| !is_known(text)) else { return };
    let is_exchanged = !outbound.exchanged().is_empty();
    assert!(name != "x-other" || !is_exchanged, "no slot");
    let parts = outbound.into_parts();
    let sent = parts.headers.get(name).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    assert!(is_exchanged || !is_known(&sent));
}

fn check_target(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Some(outbound) = send(text, None).filter(|_| !is_known(text.as_bytes())) else { return };
    let is_exchanged = !outbound.exchanged().is_empty();
    let sent = outbound.into_parts().uri.to_string();
    assert!(is_exchanged || !is_known(sent.as_bytes()));
}

/// However the body is cut, it comes out the same, and longer only where something was exchanged.
fn check_body(encoding: Encoding, text: &[u8], cut: u8) {
    let outbound = send("/", None).expect("permitted");
    let fields = outbound.messages().expect("a slot");
    let whole = rewrite(fields, encoding, [text].into_iter());
    let pieces = rewrite(fields, encoding, text.chunks(usize::from(cut).max(1)));
    assert_eq!(whole.is_ok(), pieces.is_ok());
    let (Ok(whole), Ok(pieces)) = (whole, pieces) else { return };
    assert!(whole == pieces, "cut elsewhere, it comes out otherwise");
    assert!(whole.1 || whole.0 == text, "nothing was exchanged, and it is another");
}

fn rewrite<'a>(
    fields: &Arc<Fields>,
    encoding: Encoding,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, bool), ()> {
    let mut rewriter = Rewriter::new(Arc::clone(fields), encoding);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(rewriter.push(piece).map_err(drop)?);
    }
    out.extend(rewriter.finish().map_err(drop)?);
    let is_exchanged = !rewriter.exchanged().is_empty();
    Ok((out, is_exchanged))
}
