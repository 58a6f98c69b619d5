use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::network::Network;
use super::*;
use crate::home::Home;

/// A description of an endpoint on this machine.
struct Place {
    folder: tempfile::TempDir,
    access: Access,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("home")).expect("a home");
        Self { access: Access::of(&home, &[], &[]).expect("access"), folder }
    }

    fn open(&self, description: &str) -> Result<TokenEndpoint, FetchError> {
        let path = self.folder.path().join("endpoint.json");
        std::fs::write(&path, description).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        TokenEndpoint::open(&path, &self.access)
    }
}

/// Answers one request after another; gives what was asked.
async fn serve(listener: TcpListener, answers: Vec<(&'static str, &'static str)>) -> Vec<String> {
    let mut asked = Vec::new();
    for (status, body) in answers {
        let (stream, _) = listener.accept().await.expect("a client");
        asked.push(answer(stream, status, body).await);
    }
    asked
}

async fn answer(mut stream: impl Io, status: &str, body: &str) -> String {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).await.expect("readable");
        assert!(length > 0, "the request is whole");
        request.extend_from_slice(&piece[..length]);
    }
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.expect("written");
    stream.flush().await.expect("written");
    String::from_utf8(request).expect("text")
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_none_or(|length: usize| body.len() >= length)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("bound"));
    (listener, url)
}

#[tokio::test]
async fn client_credentials() {
    let (listener, url) = listen().await;
    let place = Place::new();
    let text = format!(r#"{{"token_url": "{url}", "client_id": "me", "client_secret": "s:1", "scope": "read all"}}"#);
    let endpoint = place.open(&text).expect("described");
    let answers = vec![("200 OK", r#"{"access_token": "the-token", "expires_in": 60}"#)];
    let (asked, fetched) = tokio::join!(serve(listener, answers), endpoint.fetch());
    let fetched = fetched.expect("granted");
    assert_eq!((fetched.value.expose_secret(), fetched.life), ("the-token", Some(Duration::from_secs(60))));
    assert!(asked[0].ends_with("grant_type=client_credentials&scope=read%20all"), "{}", asked[0]);
    let basic = format!("authorization: Basic {}", STANDARD.encode("me:s%3A1"));
    assert!(asked[0].contains(&basic), "{}", asked[0]);
}

#[tokio::test]
async fn a_refresh_token_that_is_renewed_is_used_next() {
    let (listener, url) = listen().await;
    let place = Place::new();
    let text = format!(
        r#"{{"token_url": "{url}", "client_id": "me", "client_secret": "s", "refresh_token": "r1", "client_auth": "post"}}"#
    );
    let endpoint = place.open(&text).expect("described");
    let answer = ("200 OK", r#"{"access_token": "the-token", "refresh_token": "r2"}"#);
    let asking = async {
        endpoint.fetch().await.expect("granted");
        endpoint.fetch().await.expect("granted")
    };
    let (asked, _) = tokio::join!(serve(listener, vec![answer, answer]), asking);
    assert!(
        asked[0].ends_with("grant_type=refresh_token&refresh_token=r1&client_id=me&client_secret=s"),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("refresh_token=r2"), "{}", asked[1]);
}

#[tokio::test]
async fn k27_failures_have_reasons_without_secrets() {
    for (status, body, expected) in [
        ("400 Bad Request", r#"{"error": "invalid_grant"}"#, "answered with 400 Bad Request, invalid_grant"),
        ("500 Oops", "you sent s-of-the-client", "answered with 500 Internal Server Error"),
        ("200 OK", r#"{"token": "x"}"#, "answered without an access token"),
    ] {
        let (listener, url) = listen().await;
        let text = format!(r#"{{"token_url": "{url}", "client_id": "me", "client_secret": "s-of-the-client"}}"#);
        let endpoint = Place::new().open(&text).expect("described");
        let (_, fetched) = tokio::join!(serve(listener, vec![(status, body)]), endpoint.fetch());
        let error = fetched.expect_err("refused").to_string();
        assert!(error.ends_with(expected), "{error}");
        assert!(!error.contains("s-of-the-client"), "{error}");
    }
    let (listener, url) = listen().await;
    drop(listener);
    let endpoint = Place::new().open(&format!(r#"{{"token_url": "{url}", "client_id": "me"}}"#)).expect("described");
    let error = endpoint.fetch().await.expect_err("down").to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}

#[test]
fn descriptions() {
    let place = Place::new();
    let refused = |text: &str| place.open(text).err().expect(text).to_string();
    assert!(refused(r#"{"token_url": "http://id.example.com/", "client_id": "me"}"#).contains("https://"));
    assert!(refused(r#"{"token_url": "https://id.example.com/"}"#).contains("line 1"));
    assert!(
        refused(r#"{"token_url": "https://id.example.com/", "client_id": "a", "client_secret_from": "x"}"#)
            .contains("source")
    );
    let adc = r#"{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}"#;
    assert_eq!(place.open(adc).expect("described").url.host(), Some("oauth2.googleapis.com"));
    std::fs::set_permissions(place.folder.path().join("endpoint.json"), PermissionsExt::from_mode(0o644)).expect("set");
    let open = TokenEndpoint::open(&place.folder.path().join("endpoint.json"), &place.access);
    assert!(open.err().expect("others may read it").to_string().contains("chmod 600"));
}

/// The description of a refresh-token grant.
fn refreshing(url: &str, token: &str) -> String {
    format!(r#"{{"token_url": "{url}", "client_id": "me", "refresh_token": "{token}"}}"#)
}

/// What is asked with, one process after another.
async fn asked_with(place: &Place, url: &str, listener: TcpListener, processes: &[&str]) -> Vec<String> {
    let answers = [
        ("200 OK", r#"{"access_token": "the-token", "refresh_token": "r2"}"#),
        ("200 OK", r#"{"access_token": "the-token", "refresh_token": "r3"}"#),
        ("200 OK", r#"{"access_token": "the-token", "refresh_token": "r4"}"#),
    ];
    let asking = async {
        for token in processes {
            place.open(&refreshing(url, token)).expect("described").fetch().await.expect("granted");
        }
    };
    let (asked, ()) = tokio::join!(serve(listener, answers[..processes.len()].to_vec()), asking);
    let token = |asked: &String| asked.rsplit_once("refresh_token=").map(|(_, rest)| rest[..2].to_owned());
    asked.iter().filter_map(token).collect()
}

#[tokio::test]
async fn a_refresh_token_outlives_the_process_that_was_given_it() {
    let (listener, url) = listen().await;
    let place = Place::new();
    assert_eq!(asked_with(&place, &url, listener, &["r1", "r1", "r1"]).await, ["r1", "r2", "r3"]);
    let text = std::fs::read_to_string(place.access.store.path()).expect("kept");
    assert!(text.contains("r4"), "the last one is kept");
}

#[tokio::test]
async fn a_refresh_token_that_the_operator_puts_in_is_a_new_beginning() {
    let (listener, url) = listen().await;
    assert_eq!(asked_with(&Place::new(), &url, listener, &["r1", "s1", "s1"]).await, ["r1", "s1", "r3"]);
}

/// Two at once would each spend the token that the other needs.
#[tokio::test]
async fn two_processes_take_turns() {
    let (listener, url) = listen().await;
    let place = Place::new();
    let (one, other) =
        (place.open(&refreshing(&url, "r1")).expect("one"), place.open(&refreshing(&url, "r1")).expect("other"));
    let answers = vec![
        ("200 OK", r#"{"access_token": "the-token", "refresh_token": "r2"}"#),
        ("200 OK", r#"{"access_token": "the-token", "refresh_token": "r3"}"#),
    ];
    let (asked, first, second) = tokio::join!(serve(listener, answers), one.fetch(), other.fetch());
    assert!(first.is_ok() && second.is_ok());
    assert!(asked[0].contains("refresh_token=r1") && asked[1].contains("refresh_token=r2"), "{asked:?}");
}

#[tokio::test]
async fn pins_and_authorities_are_the_gates() {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let key = || rcgen::KeyPair::generate().expect("a key");
    let issuer = rcgen::CertifiedIssuer::self_signed(params, key()).expect("an authority");
    let leaf_key = key();
    let leaf = rcgen::CertificateParams::new(vec!["id.test".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&leaf_key, &issuer).expect("a certificate");
    let leaf_key = rustls::pki_types::PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![leaf.der().clone()], leaf_key).expect("usable");
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));

    let mut place = Place::new();
    let ca = place.folder.path().join("ca.pem");
    std::fs::write(&ca, issuer.pem()).expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let pin = format!("id.test:443:{}", listener.local_addr().expect("bound")).parse().expect("a pin");
    let text = r#"{"token_url": "https://id.test/token", "client_id": "me"}"#;
    let serve = async {
        let (stream, _) = listener.accept().await.expect("a client");
        assert!(acceptor.accept(stream).await.is_err(), "nobody believes this authority");
        let (stream, _) = listener.accept().await.expect("a client");
        let stream = acceptor.accept(stream).await.expect("a handshake");
        answer(stream, "200 OK", r#"{"access_token": "the-token"}"#).await
    };
    let asking = async {
        place.access.network = Network::new(std::slice::from_ref(&pin), &[]).expect("a network");
        let error = place.open(text).expect("described").fetch().await.expect_err("not trusted").to_string();
        assert!(error.contains("https://id.test/token has no acceptable TLS"), "{error}");
        place.access.network = Network::new(&[pin], &[ca]).expect("a network");
        place.open(text).expect("described").fetch().await.expect("granted")
    };
    let (asked, fetched) = tokio::join!(serve, asking);
    assert!(asked.starts_with("POST /token "), "{asked}");
    assert_eq!(fetched.value.expose_secret(), "the-token");
}
