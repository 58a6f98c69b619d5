//! Names: what the gate's own DNS says, and that a name leads to its own place alone.

use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tollgate_tests::Bench;
use tollgate_tests::loopback::{Plan, Upstreams, soon};

const POLICY: &str = "
version: 1
network_policies:
  all:
    endpoints:
    - {host: '*.pair.test', port: 443, protocol: rest, access: full}
    - {host: api.test, port: 443, protocol: rest, rules: [{allow: {method: '*', path: /v1/**}}]}
    - {host: other.test, port: 443, protocol: rest, access: read-only}
";

/// Asks the gate's own DNS; the code and the number of answers, or nothing where it says nothing.
async fn question(dns: SocketAddr, query: &[u8]) -> Option<(u8, u16)> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    socket.connect(dns).await.expect("connected");
    socket.send(query).await.expect("sent");
    // Behind it one that is certainly answered.
    socket.send(&query_for(2, "api.test", 1, 1)).await.expect("sent");
    let mut reply = [0; 1024];
    let count = soon("an answer", socket.recv(&mut reply)).await.expect("received");
    assert!(count < 512, "{count} bytes");
    (reply[1] == 1).then(|| (reply[3] & 15, u16::from_be_bytes([reply[6], reply[7]])))
}

/// One question (RFC 1035, section 4.1).
fn query_for(id: u8, name: &str, kind: u16, class: u16) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).expect("short");
        std::iter::once(length).chain(label.bytes())
    });
    let head = [0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&head[..], &labels.collect::<Vec<_>>(), &[0], &kind.to_be_bytes(), &class.to_be_bytes()].concat()
}

#[tokio::test]
async fn i1_i3_questions() {
    const NXDOMAIN: u8 = 3;
    const NOTIMP: u8 = 4;
    let upstreams = Upstreams::new();
    let gate = Plan::new(POLICY).start(&upstreams);
    let ask = async |name: &str, kind: u16| question(gate.dns, &query_for(1, name, kind, 1)).await;
    for kind in [1, 28] {
        assert_eq!(ask("api.test", kind).await, Some((0, 1)));
        assert_eq!(ask("data.pair.test", kind).await, Some((0, 1)));
        for name in
            ["evil.test", "x.api.test", "a.b.pair.test", "pair.test", "localhost", "metadata.internal", "8.8.8.8"]
        {
            assert_eq!(ask(name, kind).await, Some((NXDOMAIN, 0)), "{name}");
        }
    }
    // NS, CNAME, SOA, NULL, PTR, MX, TXT, SRV, NAPTR, DNAME, SVCB, HTTPS, AXFR, ANY, CAA, one of no meaning.
    for kind in [2, 5, 6, 10, 12, 15, 16, 33, 35, 39, 64, 65, 252, 255, 257, 65_280] {
        let (_, answers) = ask("api.test", kind).await.expect("an answer");
        assert_eq!(answers, 0, "type {kind}");
        let (_, answers) = ask("evil.test", kind).await.expect("an answer");
        assert_eq!(answers, 0, "type {kind}");
    }
    // Another class, another operation, two questions, none.
    assert_eq!(question(gate.dns, &query_for(1, "api.test", 1, 3)).await, Some((NOTIMP, 0)));
    let changed = |at: usize, to: u8| {
        let mut query = query_for(1, "api.test", 1, 1);
        query[at] = to;
        query
    };
    assert_eq!(question(gate.dns, &changed(2, 0x28)).await, Some((NOTIMP, 0)), "an update");
    let two = [changed(5, 2), b"\x04evil\x04test\x00\x00\x01\x00\x01".to_vec()].concat();
    assert_eq!(question(gate.dns, &two).await, Some((NOTIMP, 0)), "two questions");
    // Answers to nobody's question, names that lead to themselves, and what is no message.
    for (what, query) in [
        ("an answer", changed(2, 0x81)),
        ("a name that is itself", [&query_for(1, "a", 1, 1)[..12], &[0xc0, 12, 0, 1, 0, 1]].concat()),
        ("half a name", query_for(1, "api.test", 1, 1)[..16].to_vec()),
        ("a byte", vec![0]),
        ("nothing", vec![]),
    ] {
        assert_eq!(question(gate.dns, &query).await, None, "{what}");
    }
    let asked = gate.events("dns");
    assert!(asked.iter().all(|event| event["outcome"] != "answered" || event["name"] != "evil.test."), "{asked:?}");
}

/// In a sandbox the client chooses an address and the gate the place: what is dialled is what the name stands for.
#[test]
fn b15_i6_i11_addresses_of_the_clients_choice() {
    let bench = Bench::new(POLICY);
    // An address that nobody has, and that of another name; the names are all right.
    let script = "curl -sS -o /dev/null --noproxy '*' --resolve api.test:443:192.0.2.7 https://api.test/v1/x; echo $?; \
                  other=$(python3 -c 'import socket; print(socket.gethostbyname(\"other.test\"))'); \
                  curl -sS -o /dev/null --noproxy '*' --resolve api.test:443:$other https://api.test/v1/x; echo $?; \
                  python3 -c 'import socket; print(socket.gethostbyname(\"api.test\"))' && \
                  curl -sS -o /dev/null -w '%{http_code}\n' --noproxy '*' https://api.test/v1/x";
    let printed = bench.shell(&[], script).succeeded();
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0] != "0" && lines[1] != "0", "{printed}");
    assert!(lines[2].starts_with("198.18.") || lines[2].starts_with("198.19."), "an address of the sandbox: {printed}");
    assert_eq!(lines[3], "200", "{printed}");
    assert_eq!(bench.origin.lines(), ["GET /v1/x"]);
    let denied: Vec<_> = bench.events("connection").into_iter().filter(|event| event["decision"] == "denied").collect();
    assert!(denied.iter().any(|event| event["authority"] == "192.0.2.7:443"), "{denied:?}");
}

/// Name servers of the agent's choice are not there, in clear or in TLS or in HTTPS.
#[test]
fn i4_other_name_servers() {
    let bench = Bench::new(POLICY);
    let script = "for url in https://1.1.1.1/dns-query https://dns.google/dns-query https://8.8.8.8:853/; do \
                  curl -sS -o /dev/null -w '%{http_connect} ' $url 2>/dev/null; \
                  curl -sSk -o /dev/null -w '%{http_code} ' --noproxy '*' $url 2>/dev/null; done; true";
    let printed = bench.shell(&[], script).succeeded();
    assert_eq!(printed, "403 000 ".repeat(3));
    assert_eq!(bench.origin.connections(), 0);
    let allowed = bench.events("connection").into_iter().filter(|event| event["decision"] == "allowed").count();
    assert_eq!(allowed, 0);
}

/// What passes connections on for others is itself who asks.
#[test]
fn h4_a_relay_lends_nobody_its_name() {
    let policy = POLICY.to_owned() + "    binaries: [{path: /usr/bin/curl}]\n";
    let bench = Bench::new(&policy);
    bench.write(
        "work/relay.py",
        "import socket, threading\n\
         inner = socket.create_server(('127.0.0.1', 9999))\n\
         def copy(a, b):\n  \
           while data := a.recv(4096): b.sendall(data)\n  \
           b.shutdown(1)\n\
         print('ready', flush=True)\n\
         client, _ = inner.accept()\n\
         gate = socket.create_connection(('127.0.0.1', 3128))\n\
         threading.Thread(target=copy, args=(gate, client), daemon=True).start()\n\
         copy(client, gate)\n",
    );
    let script = "mkfifo said; python3 relay.py >said & read line <said; \
                  curl -sS -o /dev/null -w '%{http_connect}\n' -x http://127.0.0.1:9999 https://api.test/v1/x 2>/dev/null; \
                  curl -sS -o /dev/null -w '%{http_code}\n' https://api.test/v1/x";
    assert_eq!(bench.shell(&[], script).succeeded(), "403\n200\n");
    assert_eq!(bench.origin.lines(), ["GET /v1/x"]);
    let connections = bench.events("connection");
    let binary = connections[0]["binary"].as_str().expect("text");
    assert!(binary.contains("python3"), "{connections:?}");
}
