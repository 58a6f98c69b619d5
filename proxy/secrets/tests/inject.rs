//! Injection against a real policy: what is exchanged, what is refused, what stays as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use std::sync::Arc;
use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Method, Program, Scheme};
use tollgate_policy::{Decision, Policy};

use tollgate_secrets::{Broker, Encoding, InjectError, Outbound, Secret, SecretName, Vault, inject};

const POLICY: &str = "
version: 1
network_policies:
  services:
    endpoints:
    - {host: api.example.com, port: 443, protocol: rest, access: full}
    - {host: git.example.com, port: 443, protocol: rest, access: full}
    - {host: other.example.com, port: 443, protocol: rest, access: full}
    - {host: api.example.com, port: 80, protocol: rest, access: full}
    - {host: '*.wild.example.com', port: 443, protocol: rest, access: full}
    - {host: bot.example.com, port: 443, protocol: rest, access: full, request_body_credential_rewrite: true, websocket_credential_rewrite: true}
    binaries:
    - path: /usr/bin/curl
x-tollgate:
  credentials:
    API_TOKEN:
      bindings:
      - {host: api.example.com, port: 443, header: authorization}
      - {host: api.example.com, port: 80, header: authorization}
      - {host: api.example.com, port: 80, header: x-open, allow_cleartext: true}
      - {host: '*.wild.example.com', port: 443, header: x-wild}
      - {host: a.wild.example.com, port: 443, header: x-exact}
    GIT_TOKEN:
      bindings:
      - {host: git.example.com, port: 443, header: authorization, path: /team/**, method: [GET]}
      - {host: git.example.com, port: 443, header: private-token, binaries: [/usr/bin/git]}
    BOT_TOKEN:
      bindings:
      - {host: bot.example.com, port: 443, path_template: '/bot{credential}/**'}
      - {host: bot.example.com, port: 443, path_template: '/file/bot{credential}/**'}
      - {host: bot.example.com, port: 443, query: key, path: /v1/**}
      - {host: bot.example.com, port: 443, cookie: session}
      - {host: bot.example.com, port: 443, body: token}
      - {host: bot.example.com, port: 443, websocket: token, path: /socket}
    ODD_TOKEN:
      bindings:
      - {host: bot.example.com, port: 443, path_template: '/odd/{credential}'}
      - {host: bot.example.com, port: 443, cookie: odd}
      - {host: bot.example.com, port: 443, query: odd}
    LOST_TOKEN:
      bindings:
      - {host: api.example.com, port: 443, header: x-lost}
";

const API: (&str, &str, &str) = ("API_TOKEN", "the-real-api-token", "placeholder-of-the-api-token");
const GIT: (&str, &str, &str) = ("GIT_TOKEN", "the-real-git-token", "placeholder-of-the-git-token");
const BOT: (&str, &str, &str) = ("BOT_TOKEN", "1234567:the-real_bot", "7654321:placeholder-of-bot-token");
const ODD: (&str, &str, &str) = ("ODD_TOKEN", "the-real;odd/to ken", "placeholder-of-the-odd-token");
const LOST: &str = "placeholder-of-the-lost-token";

struct Sent {
    target: String,
    body: Option<Encoding>,
    messages: bool,
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
    let lost =
        Secret::unavailable(SecretName::parse("LOST_TOKEN").expect("a name"), LOST.to_owned(), "the vault is down");
    Vault::new(vec![secret(API), secret(GIT), secret(BOT), secret(ODD), lost])
}

fn send(scheme: Scheme, authority: &str, target: &str, headers: &[(&str, &str)]) -> Result<Sent, InjectError> {
    let policy: Policy = tollgate_policy::load(POLICY).expect("a valid policy");
    let program = Program { path: "/usr/bin/curl".into(), sha256: [0; 32], changed: false };
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
    let broker = Broker::new(policy.credentials(), Arc::new(vault()));
    let outbound: Outbound = inject(&permit, &ask, &broker.destination(&authority), parts)?;
    assert!(!format!("{outbound:?}").contains("the-real"), "{outbound:?}");
    let (exchanged, inert) = (outbound.exchanged().to_vec(), outbound.inert().to_vec());
    let scrubbed = outbound.scrub().is_some();
    let body = outbound.body().map(|(_, encoding)| encoding);
    let messages = outbound.messages().is_some();
    let parts = outbound.into_parts();
    Ok(Sent { target: parts.uri.to_string(), headers: parts.headers, exchanged, inert, scrubbed, body, messages })
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

#[track_caller]
fn check_target(target: &str, expected: &str) {
    let sent = send(Scheme::Https, "bot.example.com:443", target, &[]).expect("allowed");
    assert_eq!(sent.target, expected);
}

#[track_caller]
fn check_error(authority: &str, target: &str, headers: &[(&str, &str)], expected: &str) {
    let refused = send(Scheme::Https, authority, target, headers).err().expect("refused");
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn a_placeholder_in_the_path() {
    check_target(&format!("/bot{}/getMe", BOT.2), "/bot1234567:the-real_bot/getMe");
    check_target(&format!("/file/bot{}/photos/1.jpg?x=1", BOT.2), "/file/bot1234567:the-real_bot/photos/1.jpg?x=1");
    check_target("/botopenshell:resolve:env:v3_BOT_TOKEN/getMe", "/bot1234567:the-real_bot/getMe");
    let bot = "bot.example.com:443";
    let foreign = "the path takes the placeholder of its credential here and nothing else";
    check_error(bot, "/bot1:own-bot-of-the-agent/getMe", &[], foreign);
    check_error(bot, &format!("/botx{}/getMe", BOT.2), &[], foreign);
    check_error(
        bot,
        &format!("/bot{}/getMe", API.2),
        &[],
        "credential API_TOKEN is not bound to the path of this destination",
    );
    check_error(
        "other.example.com:443",
        &format!("/bot{}/getMe", BOT.2),
        &[],
        "credential BOT_TOKEN is not bound to the path of this destination",
    );
    check_error(
        bot,
        &format!("/odd/{}", ODD.2),
        &[],
        "the value of credential ODD_TOKEN has characters that the path cannot hold",
    );
    let unknown = "there is no credential NOPE, which the path refers to";
    check_error(bot, "/botopenshell:resolve:env:NOPE/getMe", &[], unknown);
}

#[test]
fn a_placeholder_in_the_query() {
    check_target(&format!("/v1/x?a=b&key={}&c", BOT.2), "/v1/x?a=b&key=1234567%3Athe-real_bot&c");
    check_target(&format!("/v1/x?k%65y={}", BOT.2.replace(':', "%3A")), "/v1/x?k%65y=1234567%3Athe-real_bot");
    check_target(&format!("/v1/x?odd={}", ODD.2), "/v1/x?odd=the-real%3Bodd%2Fto%20ken");
    // Not the declared parameter, and only talked about.
    check_target(&format!("/v1/x?q={}&q=a%20b", BOT.2), &format!("/v1/x?q={}&q=a%20b", BOT.2));
    let bot = "bot.example.com:443";
    let foreign = "query parameter `key` takes the placeholder of its credential here and nothing else";
    check_error(bot, "/v1/x?key=own", &[], foreign);
    check_error(bot, &format!("/v1/x?key={}&key=own", BOT.2), &[], foreign);
    let unbound = "credential BOT_TOKEN is not bound to query parameter `key` of this destination";
    check_error(bot, &format!("/v2/x?key={}", BOT.2), &[], unbound);
    check_error("other.example.com:443", &format!("/v1/x?key={}", BOT.2.replace(':', "%3a")), &[], unbound);
}

#[test]
fn a_placeholder_in_a_cookie() {
    let send = |line: &str| send(Scheme::Https, "bot.example.com:443", "/", &[("cookie", line)]);
    let cookie = |line: &str| send(line).expect("allowed").headers.get("cookie").cloned();
    let text = |value: &'static str| Some(HeaderValue::from_static(value));
    assert_eq!(cookie(&format!("a=1; session={}; b", BOT.2)), text("a=1; session=1234567:the-real_bot; b"));
    assert_eq!(cookie("a=1; session=own"), text("a=1"));
    assert_eq!(cookie("session=own"), None);
    assert_eq!(cookie(&format!("a={}", BOT.2)), Some(HeaderValue::try_from(format!("a={}", BOT.2)).expect("a value")));
    let unfit = send(&format!("odd={}", ODD.2)).err().expect("refused");
    assert!(matches!(unfit, InjectError::Unfit { .. }), "{unfit}");
    check_error(
        "other.example.com:443",
        "/",
        &[("cookie", &format!("session={}", BOT.2))],
        "credential BOT_TOKEN is not bound to cookie `session` of this destination",
    );
}

#[test]
fn bodies_and_messages_by_declaration() {
    let send = |target: &str, headers: &[(&str, &str)]| {
        send(Scheme::Https, "bot.example.com:443", target, headers).expect("allowed")
    };
    let json = send("/", &[("content-type", "application/json"), ("content-length", "10")]);
    assert_eq!((json.body, json.headers.get("content-length")), (Some(Encoding::Json), None));
    let coded =
        send("/", &[("content-type", "application/json"), ("content-encoding", "gzip"), ("content-length", "10")]);
    assert_eq!((coded.body, coded.headers.contains_key("content-length")), (None, true));
    assert_eq!(send("/", &[("content-type", "text/plain")]).body, None);
    assert!(send("/socket", &[]).messages);
    // No binding names a field of this host, and its endpoint opens none.
    let headers = [("content-type", "application/json")];
    let closed = self::send(Scheme::Https, "api.example.com:443", "/", &headers).expect("allowed");
    assert_eq!((closed.body, closed.messages), (None, false));
}

#[test]
fn wildcards_and_exact_hosts_both_count() {
    check("a.wild.example.com:443", "/", ("x-exact", API.2), "the-real-api-token");
    check("a.wild.example.com:443", "/", ("x-wild", API.2), "the-real-api-token");
    check("b.wild.example.com:443", "/", ("x-wild", API.2), "the-real-api-token");
    check_refused("b.wild.example.com:443", "/", ("x-exact", API.2));
}

#[test]
fn k2_in_clear_only_where_the_binding_says_so() {
    let sent = send(Scheme::Http, "api.example.com:80", "/", &[("x-open", API.2)]).expect("allowed");
    assert_eq!(sent.headers.get("x-open"), Some(&HeaderValue::from_static("the-real-api-token")));
}

#[test]
fn k27_each_failure_has_its_own_reason() {
    let api = "api.example.com:443";
    check_error(api, "/", &[("x-lost", LOST)], "credential LOST_TOKEN is not available: the vault is down");
    let unknown = "there is no credential NOPE, which header `authorization` refers to";
    check_error(api, "/", &[("authorization", "Bearer openshell:resolve:env:NOPE")], unknown);
    check_error("other.example.com:443", "/", &[("authorization", "Bearer openshell:resolve:env:NOPE")], unknown);
}

#[test]
fn k3_reflected_headers_never_hold_a_value() {
    for name in
        ["origin", "referer", "range", "if-match", "access-control-request-headers", "sec-websocket-key", "user-agent"]
    {
        let sent = send(Scheme::Https, "api.example.com:443", "/", &[(name, API.2)]).expect("allowed");
        assert_eq!(sent.headers.get(name), Some(&HeaderValue::from_static(API.2)), "{name}");
        assert_eq!(sent.inert, ["API_TOKEN"]);
    }
}
