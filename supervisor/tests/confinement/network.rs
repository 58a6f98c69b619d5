//! Where packets go: to the launcher, or nowhere.

use tollgate_wire::cell::Feature;

use crate::bench::{Bench, Ran};

/// What comes back from one connection.
fn connect(address: &str, port: u16) -> String {
    format!("exec 3<>/dev/tcp/{address}/{port} && head -1 <&3; exec 3>&-; ")
}

/// Agent and gate in networks of their own, in one, and in one whose kernel cannot give a listener what is for others.
const WAYS: [(Option<&str>, &str, &str); 3] = [
    (None, "IPv4 and IPv6, no way out but the gate", "every TCP port is captured"),
    (
        Some("second-network"),
        "IPv4 and IPv6, no way out but the gate; loopback takes a little longer: the gate has no network of its own (no second \
         network: EPERM: Operation not permitted)",
        "every TCP port is captured",
    ),
    (
        Some("tproxy"),
        "IPv4 and IPv6, no way out but the gate; loopback takes a little longer: the gate has no network of its own (this kernel \
         cannot give connections on as they are)",
        "every TCP port is captured, by redirection",
    ),
];

/// Runs the script in each way, and gives what came of it.
fn in_each_way(script: &str) -> impl Iterator<Item = Ran> {
    WAYS.map(|(without, ..)| without.iter().fold(Bench::shell(script), |bench, what| bench.without(what)).run())
        .into_iter()
}

#[test]
fn every_port_of_every_address_is_captured() {
    let places = [
        "93.184.216.34:443",
        "10.0.0.1:1",
        "169.254.169.254:80",
        "8.8.8.8:65535",
        // The gate's own port and end.
        "1.1.1.1:15001",
        "192.0.0.2:3128",
        "[2001:db8::1]:443",
        "[fd74:6f6c:6c67::2]:22",
    ];
    let script = places.map(|place| {
        let (address, port) = place.rsplit_once(':').expect("with a port");
        connect(address.trim_matches(['[', ']']), port.parse().expect("a port"))
    });
    for (ran, (_, network, captured)) in in_each_way(&script.concat()).zip(WAYS) {
        assert_eq!(ran.output, places.map(|place| format!("captured {place}\n")).concat(), "{ran:?}");
        for (name, detail) in [("network-namespace", network), ("nftables", captured)] {
            let control = ran.controls.iter().find(|control| control.name == name).expect("said");
            assert_eq!((control.enforced, control.detail.as_str()), (true, detail));
        }
    }
}

#[test]
fn dns_reaches_us_whoever_is_asked() {
    let tcp = connect("9.9.9.9", 53) + &connect("127.0.0.53", 53) + &connect("2001:db8::53", 53);
    let udp = ["8.8.8.8", "127.0.0.53", "2001:db8::53", "::1"]
        .map(|server| format!("exec 3<>/dev/udp/{server}/53; echo question >&3; head -1 <&3; exec 3>&-; "))
        .concat();
    for ran in in_each_way(&(tcp + &udp)) {
        assert_eq!(
            ran.output,
            "dns 9.9.9.9:53\ndns 127.0.0.53:53\ndns [2001:db8::53]:53\n\
             asked 8.8.8.8\nasked 127.0.0.53\nasked 2001:db8::53\nasked ::1\n",
            "{ran:?}"
        );
    }
}

#[test]
fn other_datagrams_fail_at_once() {
    for address in ["8.8.8.8", "2001:db8::1"] {
        let script = format!(
            "for i in {{1..20}}; do exec 3<>/dev/udp/{address}/443; echo x >&3; read -r line <&3 && echo answered; done; exit 0"
        );
        for ran in in_each_way(&script) {
            assert_eq!(ran.output, "", "{ran:?}");
            assert_eq!(ran.errors.matches("Connection refused").count(), 20, "{ran:?}");
        }
    }
}

/// A source of one's own choosing needs no privilege (`IP_FREEBIND`, ip(7)); nobody answers to it.
#[test]
fn another_source_gets_no_answer() {
    let script = "for (['203.0.113.7', '198.51.100.1', AF_INET, 0, 15], ['2001:db8::7', '2001:db8::1', AF_INET6, 41, 78]) { \
                  my ($from, $to, $family, $level, $freebind) = @$_; \
                  my $at = sub { $family == AF_INET ? pack_sockaddr_in($_[0], inet_aton($_[1])) \
                  : pack_sockaddr_in6($_[0], inet_pton(AF_INET6, $_[1])) }; \
                  socket(my $s, $family, SOCK_STREAM, 0) or die; \
                  setsockopt($s, $level, $freebind, 1) or die; bind($s, $at->(0, $from)) or die \"bind: $!\"; \
                  $SIG{ALRM} = sub {}; alarm 1; print connect($s, $at->(443, $to)) ? 'connected ' : 'stopped '; alarm 0 }";
    assert_eq!(Bench::command(&["/usr/bin/perl", "-MSocket=:all", "-e", script]).says(), "stopped stopped");
}

#[test]
fn the_loopback_is_the_sandboxs_own() {
    let script = "$l = IO::Socket::INET->new(Listen => 1, LocalAddr => $ARGV[0], LocalPort => 8080) or die; \
                  if (!fork) { $c = $l->accept; print $c \"own server\\n\"; exit } \
                  $s = IO::Socket::INET->new(\"$ARGV[0]:8080\") or die; print <$s>";
    for address in ["127.0.0.1", "192.0.0.1"] {
        let says = Bench::command(&["/usr/bin/perl", "-MIO::Socket::INET", "-e", script, address]).says();
        assert_eq!(says, "own server", "{address}");
    }
    for ran in in_each_way("exec 3<>/dev/tcp/127.0.0.1/9999") {
        assert!(ran.errors.contains("Connection refused"), "{ran:?}");
    }
}

#[test]
fn processes_can_be_looked_at_from_outside() {
    let script = "$s = IO::Socket::INET->new('127.0.0.1:3128') or die; print <$s>";
    let says = Bench::command(&["/usr/bin/perl", "-MIO::Socket::INET", "-e", script]).says();
    // Process 1 hides its descriptors and memory from the agent, and so from everybody else of this user.
    assert_eq!(says, "1 Err(EACCES) Err(EACCES) true;2 Ok(\"/usr/bin/perl\") Ok(4) true;");
}

#[test]
fn without_nf_tables_the_policys_ports_are_captured() {
    let script = connect("93.184.216.34", 443)
        + &connect("2001:db8::1", 8443)
        + &connect("9.9.9.9", 53)
        + &connect("1.2.3.4", 80);
    let mut bench = Bench::shell(&script).without("nftables").allowing(Feature::Nftables);
    bench.cell.ports = vec![443, 8443, 443, 53, 3128];
    let ran = bench.run();
    assert_eq!(ran.output, "captured 93.184.216.34:443\ncaptured [2001:db8::1]:8443\ndns 9.9.9.9:53\n", "{ran:?}");
    assert!(ran.errors.contains("Connection refused"), "{ran:?}");
    let control = ran.controls.iter().find(|control| control.name == "nftables").expect("the control");
    assert!(!control.enforced && control.detail.contains("only the policy's ports"), "{control:?}");
}
