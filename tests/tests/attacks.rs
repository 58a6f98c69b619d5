//! Attacks on names, tunnels, TLS and headers, in bytes: each is refused with a reason, and the upstream gets none of it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Plan, soon};
use tollgate_tests::raw::{Raw, client_hello, server_name_extension, statuses, usual_extensions};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, rules: [{allow: {method: GET, path: /v1/**}}, {allow: {method: POST, path: /v1/**}}]}
    - {host: api.test, port: 80, protocol: rest, access: full}
    - {host: '*.github.test', port: 443, protocol: rest, access: full}
";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn raw() -> Raw {
    Raw::new(POLICY, OK)
}

/// A CONNECT to this target gets this status, a record, and no connection.
async fn check_connect(raw: &Raw, target: &str, host: &str, status: &str) {
    let before = raw.denied();
    let stream = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut client = tokio::net::TcpStream::connect(raw.gate.address).await.expect("the gate listens");
    client.write_all(stream.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    soon("a status", client.read_exact(&mut head)).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {status}"), "{target}");
    let mut reply = String::new();
    let _ = soon("the end", client.read_to_string(&mut reply)).await;
    assert!(reply.contains("application/problem+json"), "{target}: {reply}");
    assert_eq!(raw.denied(), before + 1, "{target} is recorded");
    assert_eq!(raw.upstream.connections(), 0, "{target}");
}

#[tokio::test]
async fn a1_a11_targets() {
    let raw = raw();
    for target in [
        // Numbers that some resolvers take for 127.0.0.1.
        "2130706433:443",
        "0x7f000001:443",
        "0177.0.0.1:443",
        "127.1:443",
        "0x7f.1:443",
        "127.0.0.1.:443",
        "256.1.1.1:443",
        "[fe80::1%25eth0]:443",
        "[fe80::1%eth0]:443",
        "user@api.test:443",
        "user:pass@api.test:443",
        "api.test@evil.test:443",
        "api.test..:443",
        ".api.test:443",
        "api..test:443",
        "api.test:0",
        "api.test:65537",
        "api.test:65979",
        "api.test:+443",
        "api.test:0443",
        "api.test::443",
        "api.test:443/",
        "api.test",
        "api.test:",
        ":443",
        "api.test\\evil.test:443",
        "http://api.test:443",
        "%61pi.test:443",
        "api_test!:443",
        "[::1:443",
        "::1:443",
    ] {
        check_connect(&raw, target, "api.test:443", "400").await;
    }
    check_connect(&raw, &format!("{}.test:443", "a".repeat(64)), "api.test", "400").await;
    check_connect(&raw, &format!("{}test:443", "abcdefg.".repeat(40)), "api.test", "400").await;
    // Beyond ASCII: fullwidth letters, a soft hyphen, a zero-width blank.
    for target in ["\u{ff41}pi.test:443", "ap\u{ad}i.test:443", "api\u{200b}.test:443", "api\u{3002}test:443"] {
        check_connect(&raw, target, "api.test:443", "400").await;
    }
}

#[tokio::test]
async fn a2_a8_h1_j1_other_places() {
    let raw = raw();
    for target in [
        "[::ffff:127.0.0.1]:443",
        "[::127.0.0.1]:443",
        "[64:ff9b::7f00:1]:443",
        "127.0.0.1:443",
        "[::1]:443",
        "10.0.0.1:443",
        "169.254.169.254:80",
        "[fd00:ec2::254]:80",
        "0.0.0.0:443",
        "100.64.0.1:443",
        "evilgithub.test:443",
        "github.test:443",
        "a.b.github.test:443",
        "github.test.evil.test:443",
        "api.test:25",
        "api.test:22",
        "api.test:53",
        "api.test:2375",
        "api.test:8443",
        "xn--pi-7ka.test:443",
    ] {
        check_connect(&raw, target, target, "403").await;
    }
}

#[tokio::test]
async fn a5_a6_one_name_in_two_spellings() {
    let raw = raw();
    for target in ["API.Test:443", "api.test.:443"] {
        let mut client = raw.gate.tunnel(target).await;
        let hello = client_hello([3, 3], &[vec![server_name_extension("api.test")], usual_extensions()].concat());
        client.write_all(&hello).await.expect("sent");
        assert_eq!(soon("a server hello", client.read_u8()).await.expect("an answer"), 22, "{target}");
    }
}

#[tokio::test]
async fn a12_authorities_that_differ() {
    let raw = raw();
    check_connect(&raw, "api.test:443", "other.test:443", "400").await;
    for (line, host) in
        [("http://api.test/", "other.test"), ("http://other.test/", "api.test"), ("http://api.test:81/", "api.test")]
    {
        let stream = format!("GET {line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let reply = String::from_utf8_lossy(&raw.send_clear(stream.as_bytes()).await).into_owned();
        assert!(matches!(statuses(&reply)[..], ["421" | "403"]), "{line} {host}: {reply}");
    }
    for host in ["other.test", "api.test:444", "user@api.test", "api.test.evil.test", "api.test, other.test"] {
        let stream = format!("GET /v1/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(statuses(&raw.send(stream.as_bytes()).await), ["421"], "{host}");
    }
    assert_eq!(raw.upstream.connections(), 0);
}

/// A tunnel that was allowed and carries something else: it ends, is recorded, and no upstream is dialled.
async fn check_tunnel(raw: &Raw, stream: &[u8]) {
    let before = raw.denied();
    let reply = raw.send_through("api.test:443", stream).await;
    let is_no = matches!(reply[..], [] | [21, ..]) || reply.starts_with(b"HTTP/1.1 400 ");
    assert!(is_no, "an alert, a refusal or nothing: {reply:?}");
    assert_eq!(raw.denied(), before + 1, "{stream:?} is recorded");
    assert_eq!(raw.upstream.connections(), 0);
}

#[tokio::test]
async fn b1_b3_b6_server_names() {
    let raw = raw();
    let hello = |names: &[&str]| {
        let names = names.iter().map(|name| server_name_extension(name)).collect();
        client_hello([3, 3], &[names, usual_extensions()].concat())
    };
    check_tunnel(&raw, &hello(&["other.test"])).await;
    check_tunnel(&raw, &hello(&[])).await;
    check_tunnel(&raw, &hello(&["127.0.0.1"])).await;
    check_tunnel(&raw, &hello(&["api.test", "other.test"])).await;
    check_tunnel(&raw, &hello(&["*.test"])).await;
    check_tunnel(&raw, &hello(&["api.test\0.evil.test"])).await;
}

#[tokio::test]
async fn b4_a_hello_in_pieces() {
    let raw = raw();
    let hello = client_hello([3, 3], &[vec![server_name_extension("other.test")], usual_extensions()].concat());
    // One record for each byte of the handshake.
    let records: Vec<u8> = hello[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    check_tunnel(&raw, &records).await;
    let mut client = raw.gate.tunnel("api.test:443").await;
    for byte in hello {
        client.write_all(&[byte]).await.expect("sent");
        client.flush().await.expect("sent");
    }
    let mut alert = Vec::new();
    let _ = soon("the end", client.read_to_end(&mut alert)).await;
    assert_eq!(alert.first(), Some(&21));
    // A record that announces more than there may be.
    check_tunnel(&raw, &[&[22, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xff][..], &[0; 70_000]].concat()).await;
}

#[tokio::test]
async fn b5_a_decoy_of_an_encrypted_hello_is_tolerated() {
    let raw = raw();
    let decoy = vec![(0xfe0d, [&[0, 0, 1, 0, 1, 7, 0, 4][..], &[1; 4], &[0, 16], &[2; 16]].concat())];
    let hello = client_hello([3, 3], &[vec![server_name_extension("api.test")], usual_extensions(), decoy].concat());
    let mut client = raw.gate.tunnel("api.test:443").await;
    client.write_all(&hello).await.expect("sent");
    assert_eq!(soon("a server hello", client.read_u8()).await.expect("an answer"), 22);
}

#[tokio::test]
async fn b7_h2_other_protocols() {
    let raw = raw();
    for stream in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"EHLO there\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x13BitTorrent protocol",
        b"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00",
    ] {
        check_tunnel(&raw, stream).await;
    }
    // Requests in clear where TLS was allowed: another scheme, another rule.
    let reply =
        raw.send_through("api.test:443", b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n").await;
    assert!(reply.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&reply));
    assert_eq!(raw.upstream.connections(), 0);
}

#[tokio::test]
async fn h2_a_tunnel_in_a_tunnel() {
    let raw = raw();
    let reply = raw
        .send(
            b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\nGET /v1/x HTTP/1.1\r\nHost: api.test\r\n\r\n",
        )
        .await;
    assert_eq!(statuses(&reply), ["400"], "{reply}");
    assert!(reply.contains("connection: close"), "{reply}");
    assert_eq!(raw.upstream.connections(), 0);
}

#[tokio::test]
async fn b8_old_versions() {
    let raw = raw();
    let extensions = [vec![server_name_extension("api.test")], usual_extensions()].concat();
    for version in [[3, 0], [3, 1], [3, 2]] {
        check_tunnel(&raw, &client_hello(version, &extensions)).await;
    }
}

#[tokio::test]
async fn c12_a_continue_comes_after_the_decision() {
    let raw = raw();
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let reply = raw.send(head("/v2/x").as_bytes()).await;
    assert_eq!(statuses(&reply), ["403"], "{reply}");
    let mut client = raw.gate.tls("api.test", &["http/1.1"]).await;
    client.write_all(head("/v1/x").as_bytes()).await.expect("sent");
    let mut interim = [0; 25];
    soon("leave to go on", client.read_exact(&mut interim)).await.expect("an interim reply");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.expect("sent");
    let mut reply = String::new();
    let _ = soon("the reply", client.read_to_string(&mut reply)).await;
    assert_eq!(statuses(&reply), ["200"], "{reply}");
    assert!(raw.arrived().starts_with("POST /v1/x ") && !raw.arrived().contains("100-continue"), "{}", raw.arrived());
}

#[tokio::test]
async fn c13_g3_g5_f6_headers_that_stay_here() {
    let raw = raw();
    let stream = "GET /v1/x HTTP/1.1\r\nHost: api.test\r\nConnection: close, x-secret, host, content-type\r\nX-Secret: 1\r\nContent-Type: a/b\r\n\
                  Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: gzip\r\nX-HTTP-Method-Override: DELETE\r\n\
                  X_Forwarded_For: 1.2.3.4\r\nX-Original-URL: /admin\r\nForwarded: for=x\r\nX-Real-IP: 1.2.3.4\r\nX-Kept: \u{e4}\r\n\r\n";
    let reply = raw.send(stream.as_bytes()).await;
    assert_eq!(statuses(&reply), ["200"], "{reply}");
    let arrived = raw.arrived().to_ascii_lowercase();
    for gone in ["x-secret", "proxy-", "keep-alive", "te:", "override", "forwarded", "original", "real-ip"] {
        assert!(!arrived.contains(gone), "{gone}: {arrived}");
    }
    for kept in ["host: api.test\r\n", "content-type: a/b\r\n", "x-kept: \u{e4}\r\n"] {
        assert!(arrived.contains(kept), "{kept}: {arrived}");
    }
}

#[tokio::test]
async fn f1_f2_the_path_that_is_judged_is_sent() {
    let raw = raw();
    for path in [
        "/v1/%2e%2e/v2",
        "/v1/../v2",
        "/v1/..%2fv2",
        "/v1/%00",
        "/v1/%c0%af",
        "/v1/%zz",
        "/v1/..;/v2",
        "/v1\\..\\v2",
        "/../v1/x",
        "/v2/x",
    ] {
        let stream = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n");
        let reply = raw.send(stream.as_bytes()).await;
        assert!(matches!(statuses(&reply)[..], ["400" | "403"]), "{path}: {reply}");
    }
    assert_eq!(raw.upstream.connections(), 0);
    raw.send(b"GET /v1//a/./b/../%7Ec HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n").await;
    assert!(raw.arrived().starts_with("GET /v1/a/~c HTTP/1.1\r\n"), "{}", raw.arrived());
}

#[tokio::test]
async fn f6_verbs() {
    let raw = raw();
    for verb in ["TRACE", "TRACK", "DELETE", "PURGE", "GET\0"] {
        let stream = format!("{verb} /v1/x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n");
        let reply = raw.send(stream.as_bytes()).await;
        assert!(matches!(statuses(&reply)[..], ["400" | "403"]), "{verb}: {reply}");
    }
    assert_eq!(raw.upstream.connections(), 0);
}

/// Hints that lead clients past the gate are removed.
#[tokio::test]
async fn d13_other_ways_are_not_shown() {
    let raw = Raw::new(
        POLICY,
        b"HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    let reply =
        raw.send(b"GET /v1/x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n").await.to_ascii_lowercase();
    assert_eq!(statuses(&reply.to_ascii_uppercase()), ["200"]);
    assert!(!reply.contains("alt-svc") && !reply.contains("x-hop"), "{reply}");
}

#[tokio::test]
async fn o1_a_head_that_trickles_is_not_waited_for() {
    let raw = Raw::with(
        Plan::new(POLICY).limit("header_seconds=1").limit("first_bytes_seconds=1").limit("handshake_seconds=1"),
        OK,
    );
    // No head, half a head, no first byte in a tunnel, half a hello: each ends by itself.
    raw.send_clear(b"").await;
    raw.send_clear(b"GET http://api.test/ HTTP/1.1\r\nX: ").await;
    raw.send(b"GET /v1/x HTTP/1.1\r\nX: ").await;
    raw.send_through("api.test:443", b"").await;
    let hello = client_hello([3, 3], &[server_name_extension("api.test")]);
    raw.send_through("api.test:443", &hello[..40]).await;
    assert_eq!(raw.upstream.connections(), 0);
}
