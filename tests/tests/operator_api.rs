//! The operator API as programs meet it: described by itself, on the socket and on an address, for its owner alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use tollgate_tests::{LISTENERS, Proxy, Staying, finish, free_port, two_agents};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints: [{ host: api.test, port: 443, protocol: rest, access: read-only }]
";

/// Far more than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sandbox whose API is on an address as well.
struct Served {
    staying: Staying,
    address: SocketAddr,
}

impl Served {
    fn new() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let staying = Staying::new(POLICY);
        let created = staying.create("watched", &["--api", &address.to_string()], &["sleep", "1000"]);
        assert_eq!(created.code, 0, "{created:?}");
        Self { staying, address }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.staying.0.path("home/sandboxes/watched")
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.folder().join("api.token")).expect("a token")
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Status and body of a request with these headers.
    fn ask(&self, line: &str, headers: &[(&str, &str)]) -> (u16, String) {
        ask(self.connect(), line, headers)
    }

    /// One connection from inside to where the policy allows nothing.
    fn be_denied(&self) {
        let script = "curl -s https://denied.test/; true";
        let (code, _, said) = self.staying.exec(&["watched", "--", "sh", "-c", script], b"");
        assert_eq!(code, 0, "{said}");
    }

    fn ask_as_owner(&self, line: &str) -> (u16, String) {
        let (host, token) = (self.address.to_string(), format!("Bearer {}", self.token()));
        self.ask(line, &[("Host", &host), ("Authorization", &token)])
    }
}

fn ask(mut stream: TcpStream, line: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

#[test]
fn a_proxy_serves_it_on_an_address_as_well() {
    let bench = two_agents(LISTENERS);
    let host = SocketAddr::from(([127, 0, 0, 1], free_port())).to_string();
    let proxy = Proxy::start_as(bench.proxy().args(["--api", &host]));
    let file = bench.path("home/proxies/proxy/api.token");
    let token = format!("Bearer {}", std::fs::read_to_string(&file).expect("a token"));
    let check = |line: &str, headers: &[(&str, &str)], status: u16, said: &str| {
        let answer = ask(TcpStream::connect(&host).expect("it listens"), line, headers);
        assert!(answer.0 == status && answer.1.contains(said), "{line} {headers:?}: {answer:?}");
    };
    let owner = [("Host", host.as_str()), ("Authorization", token.as_str())];
    check("GET /healthz", &owner, 200, "\"is_healthy\":true");
    check("GET /metrics", &owner, 200, "tollgate_limit 4096");
    check("GET /v1/status", &owner, 200, "\"name\":\"alice\"");
    check("GET /v1/status", &owner[..1], 401, "");
    check("GET /v1/status", &[("Host", "evil.test"), owner[1]], 421, "");
    let ended = proxy.stop();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!file.exists(), "the token ends with the proxy");
    let elsewhere = finish(bench.proxy().args(["--api", "0.0.0.0:9180"]));
    assert!(elsewhere.code == 2 && elsewhere.stderr.contains("has to be of the loopback"), "{elsewhere:?}");
}

#[test]
fn it_describes_itself() {
    let served = Served::new();
    let (status, body) = served.ask_as_owner("GET /v1/openapi.json");
    let document: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, document["info"]["title"].as_str()), (200, Some("Operator API of a sandbox")));
    assert_eq!(document["info"]["contact"], Value::Null);
    let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().collect();
    for path in ["/healthz", "/metrics", "/v1/events", "/v1/policy", "/v1/policy/rollback", "/v1/status", "/v1/stop"] {
        assert!(paths.iter().any(|found| *found == path), "{path} of {paths:?}");
    }
    let replacement = &document["components"]["schemas"]["Replacement"];
    assert_eq!(replacement["required"], serde_json::json!(["text"]));
    assert!(document["paths"]["/v1/policy"]["put"]["responses"]["409"].is_object());
}

#[test]
fn s_only_who_has_the_token_and_means_this_host() {
    let served = Served::new();
    let mode = std::fs::metadata(served.folder().join("api.token")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (host, token) = (served.address.to_string(), format!("Bearer {}", served.token()));
    let check = |headers: &[(&str, &str)], expected: u16| {
        assert_eq!(served.ask("GET /v1/status", headers).0, expected, "{headers:?}");
    };
    check(&[("Host", &host), ("Authorization", &token)], 200);
    check(&[("Host", &host)], 401);
    check(&[("Host", &host), ("Authorization", "Bearer ")], 401);
    check(&[("Host", &host), ("Authorization", &token[..token.len() - 1])], 401);
    // A page that was loaded under a name of its own, which leads here now.
    check(&[("Host", "evil.test"), ("Authorization", &token)], 421);
    check(&[("Host", &format!("evil.test:{}", served.address.port())), ("Authorization", &token)], 421);
    assert_eq!(served.ask("POST /v1/stop", &[("Host", &host)]).0, 401);
    assert_eq!(served.ask_as_owner("GET /healthz"), (200, r#"{"is_healthy":true,"reason":""}"#.to_owned()));
}

#[test]
fn what_happens_is_counted() {
    let served = Served::new();
    let count = |name: &str| {
        let (status, text) = served.ask_as_owner("GET /metrics");
        assert_eq!(status, 200);
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.trim().parse::<u64>().expect("a number")
    };
    let before = count(r#"tollgate_connections_total{decision="denied"}"#);
    served.be_denied();
    assert_eq!(count(r#"tollgate_connections_total{decision="denied"}"#), before + 1);
    assert_eq!(count("tollgate_policy_generation"), 1);
}

#[test]
fn what_is_recorded_is_streamed() {
    let served = Served::new();
    let (host, token) = (served.address.to_string(), served.token());
    let follow = |view: &str| {
        let mut stream = served.connect();
        let request = format!("GET /v1/events{view} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("asked");
        let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
        assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
        assert!(
            lines.by_ref().take_while(|line| !line.is_empty()).any(|line| line == "content-type: text/event-stream")
        );
        lines
    };
    let (mut records, mut ocsf) = (follow(""), follow("?view=ocsf"));
    served.be_denied();
    let data = |lines: &mut dyn Iterator<Item = String>| {
        let found = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        let mut found = found.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
        found.find(|record| record.to_string().contains("denied.test:443")).expect("the record")
    };
    let record = data(&mut records);
    assert_eq!((record["event"].as_str(), record["decision"].as_str()), (Some("connection"), Some("denied")));
    assert_eq!(data(&mut ocsf)["class_uid"], 4001);
    assert_eq!(served.ask_as_owner("GET /v1/events?view=all").0, 400);
    // The end of the sandbox is the end of the stream.
    assert_eq!(served.ask_as_owner("POST /v1/stop").0, 200);
    records.for_each(drop);
}
