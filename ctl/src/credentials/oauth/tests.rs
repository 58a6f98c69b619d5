use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::home::Home;

/// A description of an endpoint on this machine.
struct Place {
    folder: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("home")).expect("a home");
        Self { store: Store::of(&home), folder }
    }

    fn open(&self, description: &str) -> Result<TokenEndpoint, FetchError> {
        let path = self.folder.path().join("endpoint.json");
        std::fs::write(&path, description).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        TokenEndpoint::open(&path, &self.store)
    }
}

/// Answers one request after another; gives what was asked.
async fn serve(listener: TcpListener, answers: Vec<(&'static str, &'static str)>) -> Vec<String> {
    let mut asked = Vec::new();
    for (status, body) in answers {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut piece = [0; 1024];
            let length = stream.read(&mut piece).await.expect("readable");
            assert!(length > 0, "the request is whole");
            request.extend_from_slice(&piece[..length]);
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.expect("written");
        asked.push(String::from_utf8(request).expect("text"));
    }
    asked
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
    let open = TokenEndpoint::open(&place.folder.path().join("endpoint.json"), &place.store);
    assert!(open.err().expect("others may read it").to_string().contains("chmod 600"));
}
