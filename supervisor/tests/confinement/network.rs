//! Where packets go: to the launcher, or nowhere.

use tollgate_wire::cell::Feature;

use crate::bench::Bench;

/// What comes back from one connection.
fn connect(address: &str, port: u16) -> String {
    format!("exec 3<>/dev/tcp/{address}/{port} && head -1 <&3; exec 3>&-; ")
}

#[track_caller]
fn check_captured(prepare: impl FnOnce(Bench) -> Bench, how: &str) {
    let places =
        [("93.184.216.34", 443), ("10.0.0.1", 1), ("169.254.169.254", 80), ("8.8.8.8", 65535), ("2001:db8::1", 443)];
    let ran = prepare(Bench::shell(&places.map(|(address, port)| connect(address, port)).concat())).run();
    assert_eq!(
        ran.output,
        "captured 93.184.216.34:443\ncaptured 10.0.0.1:1\ncaptured 169.254.169.254:80\ncaptured 8.8.8.8:65535\n\
         captured [2001:db8::1]:443\n",
        "{ran:?}"
    );
    let control = ran.controls.iter().find(|control| control.name == "nftables").expect("said");
    assert_eq!((control.enforced, control.detail.as_str()), (true, how));
}

#[test]
fn every_port_of_every_address_is_captured() {
    check_captured(|bench| bench, "every TCP port is captured");
}

/// As on kernels that cannot give a listener connections that are for another address.
#[test]
fn every_port_is_captured_by_redirection_too() {
    check_captured(|bench| bench.without("tproxy"), "every TCP port is captured, by redirection");
}

#[test]
fn dns_reaches_us_whoever_is_asked() {
    let tcp = connect("9.9.9.9", 53) + &connect("2001:db8::53", 53);
    let udp = ["8.8.8.8", "127.0.0.53", "2001:db8::53", "::1"]
        .map(|server| format!("exec 3<>/dev/udp/{server}/53; echo question >&3; head -1 <&3; exec 3>&-; "))
        .concat();
    assert_eq!(
        Bench::shell(&(tcp + &udp)).says(),
        "dns 9.9.9.9:53\ndns [2001:db8::53]:53\nasked 8.8.8.8\nasked 127.0.0.53\nasked 2001:db8::53\nasked ::1"
    );
}

#[test]
fn other_datagrams_fail_at_once() {
    for address in ["8.8.8.8", "2001:db8::1"] {
        let bench = Bench::shell(&format!(
            "exec 3<>/dev/udp/{address}/443; echo x >&3; read -r line <&3 && echo answered; exit 0"
        ));
        let ran = bench.run();
        assert_eq!(ran.output, "", "{ran:?}");
        assert!(ran.errors.contains("Connection refused"), "{ran:?}");
    }
}

#[test]
fn the_loopback_is_the_sandboxs_own() {
    let says = Bench::command(&[
        "/usr/bin/perl",
        "-MIO::Socket::INET",
        "-e",
        "$l = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 8080) or die; \
         if (!fork) { $c = $l->accept; print $c \"own server\\n\"; exit } \
         $s = IO::Socket::INET->new('127.0.0.1:8080') or die; print <$s>",
    ]);
    assert_eq!(says.says(), "own server");
    let refused = Bench::shell("exec 3<>/dev/tcp/127.0.0.1/9999").run();
    assert!(refused.errors.contains("Connection refused"), "{refused:?}");
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
