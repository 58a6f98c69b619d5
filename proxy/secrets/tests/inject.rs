//! Injection against a real policy: what is exchanged, what is refused, what stays as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Method, Program, Scheme};
use tollgate_policy::{Decision, Policy};
use tollgate_secrets::{InjectError, Outbound, Secret, SecretName, Vault, inject};

const POLICY: &str = "
version: 1
network_policies:
  services:
    endpoints:
    - {host: api.example.com, port: 443, protocol: rest, access: full}
    - {host: git.example.com, port: 443, protocol: rest, access: full}
    - {host: other.example.com, port: 443, protocol: rest, access: full}
    - {host: api.example.com, port: 80, protocol: rest, access: full}
    binaries:
    - path: /usr/bin/curl
x-tollgate:
  credentials:
    API_TOKEN:
      bindings:
      - {host: api.example.com, port: 443, header: authorization}
      - {host: api.example.com, port: 80, header: authorization}
    GIT_TOKEN:
      bindings:
      - {host: git.example.com, port: 443, header: authorization, path: /team/**, method: [GET]}
      - {host: git.example.com, port: 443, header: private-token, binaries: [/usr/bin/git]}
";

const API: (&str, &str, &str) = ("API_TOKEN", "the-real-api-token", "placeholder-of-the-api-token");
const GIT: (&str, &str, &str) = ("GIT_TOKEN", "the-real-git-token", "placeholder-of-the-git-token");

struct Sent {
    headers: HeaderMap,
    exchanged: Vec<String>,
    inert: Vec<String>,
    scrubbed: bool,
}

fn vault() -> Vault {
    let secret = |(name, value, placeholder): (&str, &str, &str)| {
        let name = SecretName::parse(name).expect("a name");
        Secret::new(name, value.into(), placeholder.to_owned()).expect("a value")
    };
    Vault::new(vec![secret(API), secret(GIT)])
}

fn send(scheme: Scheme, authority: &str, target: &str, headers: &[(&str, &str)]) -> Result<Sent, InjectError> {
    let policy: Policy = tollgate_policy::load(POLICY).expect("a valid policy");
    let program = Program { path: "/usr/bin/curl".into(), sha256: [0; 32] };
    let caller = Caller::Known { pid: 7, program, ancestors: Vec::new() };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let authority = Authority::parse(authority).expect("an authority");
    let (method, path) =
        (Method::parse("GET").expect("a method"), CanonicalPath::parse(path, EncodedSlash::Refuse).expect("a path"));
    let ask = Ask { caller: &caller, authority: &authority, scheme, method: &method, path: &path, query };
    let Decision::Allow(permit) = policy.decide(&ask) else { panic!("the policy allows this") };
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let outbound: Outbound = inject(&permit, &ask, &vault(), policy.credentials(), parts)?;
    Ok(Sent {
        exchanged: outbound.exchanged().to_vec(),
        inert: outbound.inert().to_vec(),
        scrubbed: outbound.scrub().is_some(),
        headers: outbound.into_parts().headers,
    })
}

#[track_caller]
fn check(authority: &str, target: &str, header: (&str, &str), expected: &str) {
    let sent = send(Scheme::Https, authority, target, &[header]).expect("allowed");
    let values: Vec<_> = sent.headers.get_all(header.0).iter().collect();
    assert_eq!(values, [expected]);
    assert_eq!(sent.exchanged.len(), 1);
}

#[track_caller]
fn check_refused(authority: &str, target: &str, header: (&str, &str)) {
    let refused = send(Scheme::Https, authority, target, &[header]).err().expect("refused");
    assert!(matches!(refused, InjectError::Unbound { .. } | InjectError::Misplaced { .. }), "{refused:?}");
    assert!(!refused.to_string().contains("the-real"), "{refused}");
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

#[test]
fn a_placeholder_in_its_slot_is_exchanged() {
    let token = format!("Bearer {}", API.2);
    check("api.example.com:443", "/", ("authorization", &token), "Bearer the-real-api-token");
    check("api.example.com:443", "/", ("authorization", API.2), "the-real-api-token");
    check("api.example.com:443", "/", ("authorization", &format!("token {}", API.2)), "token the-real-api-token");
    let reference = "Bearer openshell:resolve:env:API_TOKEN";
    check("api.example.com:443", "/", ("authorization", reference), "Bearer the-real-api-token");
    let (asked, sent) = (basic(&format!("x:{}", GIT.2)), basic("x:the-real-git-token"));
    check("git.example.com:443", "/team/a", ("authorization", &asked), &sent);
    let (asked, sent) = (basic(&format!("{}:", GIT.2)), basic("the-real-git-token:"));
    check("git.example.com:443", "/team/a", ("authorization", &asked), &sent);
}

#[test]
fn k1_another_destination_gets_nothing() {
    let token = format!("Bearer {}", API.2);
    check_refused("other.example.com:443", "/", ("authorization", &token));
    check_refused("other.example.com:443", "/", ("x-api-key", API.2));
    check_refused("git.example.com:443", "/team/a", ("authorization", &token));
    check_refused("other.example.com:443", "/", ("authorization", &basic(&format!("x:{}", API.2))));
}

#[test]
fn a_binding_counts_as_a_whole() {
    let token = format!("Bearer {}", GIT.2);
    check("git.example.com:443", "/team/a", ("authorization", &token), "Bearer the-real-git-token");
    check_refused("git.example.com:443", "/elsewhere", ("authorization", &token));
    // curl asks, the binding is for git.
    check_refused("git.example.com:443", "/team/a", ("private-token", GIT.2));
}

#[test]
fn k6_a_placeholder_that_is_not_alone_is_refused() {
    for value in [
        format!("Bearer x{}", API.2),
        format!("Bearer {}x", API.2),
        format!("Bearer {0} {0}", API.2),
        format!("Bearer {0}{0}", API.2),
        basic(&format!("a:b{}", API.2)),
        basic(&format!("{}x:b", API.2)),
    ] {
        check_refused("api.example.com:443", "/", ("authorization", &value));
    }
}

#[test]
fn k2_never_in_clear() {
    let refused = send(Scheme::Http, "api.example.com:80", "/", &[("authorization", API.2)]).err();
    assert!(matches!(refused, Some(InjectError::Cleartext { .. })), "{refused:?}");
}

#[test]
fn k7_elsewhere_it_is_inert_and_reported() {
    let sent = send(Scheme::Https, "other.example.com:443", "/", &[("x-note", API.2)]).expect("allowed");
    assert_eq!(sent.headers.get("x-note"), Some(&HeaderValue::from_static(API.2)));
    assert_eq!((sent.exchanged.len(), sent.inert), (0, vec!["API_TOKEN".to_owned()]));
    let target = format!("/?q={}", API.2);
    let sent = send(Scheme::Https, "other.example.com:443", &target, &[]).expect("allowed");
    assert_eq!(sent.inert, ["API_TOKEN"]);
}

#[test]
fn g1_what_the_agent_puts_into_a_slot_is_removed() {
    let stuffed = [("authorization", "Bearer stolen-elsewhere"), ("accept", "*/*")];
    let sent = send(Scheme::Https, "api.example.com:443", "/", &stuffed).expect("allowed");
    let names: Vec<_> = sent.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["accept"]);
}

#[test]
fn k5_every_reply_of_a_bound_destination_is_scrubbed() {
    assert!(send(Scheme::Https, "api.example.com:443", "/", &[]).expect("allowed").scrubbed);
    assert!(!send(Scheme::Https, "other.example.com:443", "/", &[]).expect("allowed").scrubbed);
}

#[test]
fn k10_an_injected_value_does_not_print() {
    let sent = send(Scheme::Https, "api.example.com:443", "/", &[("authorization", API.2)]).expect("allowed");
    assert!(!format!("{:?}", sent.headers).contains("the-real"), "{:?}", sent.headers);
}
