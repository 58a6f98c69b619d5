//! Tunnels that idle cost little: as many as a test machine's descriptors allow, or as many as asked for.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Plan, Scripted, Upstreams, soon};

const POLICY: &str = "
version: 1
network_policies: {raw: {endpoints: [{host: raw.test, port: 9000, protocol: tcp}]}}
";

/// All ends of a tunnel are in this process: client, gate, gate, upstream.
const DESCRIPTORS: u64 = 4;

/// What one idle tunnel may hold, all four ends together, in KiB; kernel buffers are not counted.
const KIBIBYTES: u64 = 24;

/// `TOLLGATE_IDLE_TUNNELS=20000` asks for as many; it takes a hard limit of 81,000 descriptors.
fn wanted() -> u64 {
    std::env::var("TOLLGATE_IDLE_TUNNELS").map_or(500, |text| text.parse().expect("a number"))
}

fn resident_kibibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h7_o1_idle_tunnels_cost_little_and_others_are_served() {
    let wanted = wanted();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    assert!(wanted * DESCRIPTORS + 300 <= hard, "{wanted} tunnels need more than {hard} descriptors: ulimit -Hn");
    let upstreams = Upstreams::new();
    let echo = Scripted::serve(|mut stream| async move {
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
    });
    let plan = Plan::new(POLICY).pin("raw.test:9000", echo.address);
    let gate = plan.limit(&format!("connections={}", wanted + 10)).start(&upstreams);
    let before = resident_kibibytes();
    let mut tunnels = Vec::new();
    for _ in 0..wanted {
        tunnels.push(gate.tunnel("raw.test:9000").await);
    }
    let each = resident_kibibytes().saturating_sub(before) / wanted;
    println!("{wanted} idle tunnels: {each} KiB each, {} open", gate.gate.open());
    assert!(each <= KIBIBYTES, "{each} KiB each");
    // Every hundredth still lives, and one more is opened as fast as ever.
    let begun = std::time::Instant::now();
    tunnels.push(gate.tunnel("raw.test:9000").await);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let count = tunnels.len();
    for tunnel in tunnels.iter_mut().step_by(count.div_ceil(100)) {
        tunnel.write_all(b"x").await.expect("sent");
        let mut said = [0];
        soon("the echo", tunnel.read_exact(&mut said)).await.expect("read");
        assert_eq!(&said, b"x");
    }
}
