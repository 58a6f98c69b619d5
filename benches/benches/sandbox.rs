//! The sandbox as a whole: how soon an agent runs in it, what it costs to have, and whether work inside is slower than outside.
//!
//! `cargo bench -p tollgate-benches --bench sandbox`. Targets: 30 ms from the command to the agent's first instruction without
//! the self-proof, 50 ms more with it; 20 MB for the idle gate and its supervisor; throughput inside within 3 % of that outside.
//! Files and questions are the worst case: single operations of a few microseconds each, every one of which the kernel checks.
//!
//! The agent is this program again, which says when it began or how long its work took, so that starting is not part of the
//! work. Inside and outside take turns. `TOLLGATE_BENCH_PROGRAM` names the `tollgate` to measure; it is built if absent. Run by
//! root, everything runs as an ordinary user.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::time::{ClockId, clock_gettime};
use tollgate_benches::place::Place;

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints: [{ host: api.example.com, port: 443, protocol: rest, access: read-only }]
";

/// What the agent does, and how much of it in one slice.
const WORK: [(&str, u64); 5] = [("cpu", 1_000_000), ("file", 8), ("loopback", 32), ("files", 50), ("questions", 200)];

/// Slices of work in one measurement, of which the fastest counts: the pace of a shared machine changes within milliseconds, and
/// only ever makes a slice slower.
const SLICES: u64 = 60;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("agent") => agent(&arguments[1..]),
        _ => measure(arguments.iter().any(|argument| argument == "--quick")),
    }
}

fn measure(is_quick: bool) {
    let place = Place::new(POLICY);
    let rounds = if is_quick { 3 } else { 21 };
    starts(&place, rounds);
    memory(&place);
    for (work, count) in WORK {
        throughput(&place, work, count, rounds);
    }
}

fn starts(place: &Place, rounds: usize) {
    let agent = ["now"];
    let mut plain = Vec::new();
    let (mut unproved, mut proved) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(first_instruction(place.outside(&agent)));
        unproved.push(first_instruction(place.inside(&["--no-self-proof"], &agent)));
        proved.push(first_instruction(place.inside(&[], &agent)));
    }
    let [plain, unproved, proved] = [plain, unproved, proved].map(median);
    println!("start/plain fork and exec       {plain:8.2} ms");
    println!("start/sandbox, not proved       {unproved:8.2} ms   target 30");
    println!("start/sandbox, proved           {proved:8.2} ms   the proof takes {:.2}, target 50", proved - unproved);
}

/// Milliseconds from here to the agent's first instruction.
fn first_instruction(mut command: Command) -> f64 {
    let before = now();
    let output = command.output().expect("started");
    let text = String::from_utf8(output.stdout).expect("text");
    let began: u64 = text.trim().parse().unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (began - before) as f64 / 1e6
}

/// What stays in memory of everything that is not the agent. Pages that processes share count once, where that may be read: the
/// gate hides its memory from all but root.
fn memory(place: &Place) {
    let mut child = place.inside(&[], &["wait"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("the agent speaks");
    let mut all = Vec::new();
    let mut family = vec![child.id()];
    while let Some(process) = family.pop() {
        family.extend(children(process));
        all.push(process);
    }
    let of_agent = |process: &u32| name(*process).starts_with("agent");
    let own: Vec<_> = all.into_iter().filter(|process| !of_agent(process)).collect();
    let shares: Option<Vec<_>> = own.iter().map(|process| proportional(*process)).collect();
    let (how, sizes) = match shares {
        Some(shares) => ("shared once", shares),
        None => ("shared each time", own.iter().map(|process| resident(*process)).collect()),
    };
    let megabytes = sizes.iter().sum::<u64>() as f64 / 1e6;
    println!("memory/{} processes, {how:<16} {megabytes:6.1} MB   target 20", own.len());
    end(child);
}

fn throughput(place: &Place, work: &str, count: u64, rounds: usize) {
    let count = count.to_string();
    let agent = [work, count.as_str()];
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        outside.push(said(place.outside(&agent)));
        inside.push(said(place.inside(&["--no-self-proof"], &agent)));
    }
    let [inside, outside] = [inside, outside].map(median);
    println!("work/{work:<9} inside to outside   {:8.3}      target 1.03", inside / outside);
}

fn said(mut command: Command) -> f64 {
    let output = command.output().expect("started");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().parse().unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// Nanoseconds of the clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).expect("after the start of the machine")
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn children(process: u32) -> Vec<u32> {
    // A supervisor is a child of the thread that started it.
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

fn name(process: u32) -> String {
    std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default()
}

fn proportional(process: u32) -> Option<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    Some(bytes(&maps, "Pss:"))
}

fn resident(process: u32) -> u64 {
    bytes(&std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs"), "VmRSS:")
}

fn bytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().expect("ended");
}

fn agent(arguments: &[String]) {
    let began = now();
    let count = arguments.get(1).map_or(0, |count| count.parse().expect("a number"));
    match arguments[0].as_str() {
        "now" => println!("{began}"),
        "wait" => {
            println!("ready");
            std::io::stdin().read_to_end(&mut Vec::new()).expect("readable");
        }
        "cpu" => timed(|| compute(count)),
        "files" => timed(|| (0..count).for_each(write_and_read)),
        "questions" => timed(|| converse(count)),
        "file" => timed(|| write_and_read_much(count)),
        "loopback" => timed(|| stream(count)),
        other => panic!("no such work: {other}"),
    }
}

/// Says the nanoseconds of the fastest slice.
fn timed(work: impl Fn()) {
    let slice = |_| {
        let before = Instant::now();
        work();
        before.elapsed().as_nanos()
    };
    println!("{}", (0..SLICES).map(slice).min().expect("slices"));
}

fn compute(count: u64) {
    let sum = (0..count).fold(1_u64, |sum, number| sum.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    std::hint::black_box(sum);
}

/// What builds and tests do: make a file, look at it, read it, move it, remove it.
fn write_and_read(number: u64) {
    let (draft, file) = (format!("file-{number}.new"), format!("file-{number}"));
    std::fs::write(&draft, [7; 4096]).expect("written");
    std::fs::rename(&draft, &file).expect("moved");
    assert_eq!(std::fs::metadata(&file).expect("there").len(), 4096);
    assert_eq!(std::fs::read(&file).expect("there").len(), 4096);
    std::fs::remove_file(&file).expect("removed");
}

/// One large file, written and read in pieces of a mebibyte.
fn write_and_read_much(pieces: u64) {
    let mut piece = vec![7; 1 << 20];
    let mut file = std::fs::File::create("large").expect("made");
    (0..pieces).for_each(|_| file.write_all(&piece).expect("written"));
    let mut file = std::fs::File::open("large").expect("there");
    (0..pieces).for_each(|_| file.read_exact(&mut piece).expect("read"));
    std::fs::remove_file("large").expect("removed");
}

/// Mebibytes over the agent's own loopback, one way, in pieces that fit into the buffers of a connection. One thread, so that the
/// scheduler has no part in it.
fn stream(mebibytes: u64) {
    const PIECE: usize = 32 << 10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let mut sender = TcpStream::connect(listener.local_addr().expect("bound")).expect("a server");
    let (mut receiver, _) = listener.accept().expect("a client");
    let mut piece = vec![7; PIECE];
    for _ in 0..mebibytes * (1 << 20) / PIECE as u64 {
        sender.write_all(&piece).expect("room for a piece");
        receiver.read_exact(&mut piece).expect("a piece");
    }
}

/// A server of the agent's own on loopback, which is not the gate's business: questions and answers, and now and then another
/// connection. One thread, so that the scheduler has no part in it.
fn converse(count: u64) {
    const QUESTIONS: u64 = 20;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut buffer = [7; 1024];
    for _ in 0..count / QUESTIONS {
        let mut client = TcpStream::connect(address).expect("a server");
        let (mut server, _) = listener.accept().expect("a client");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("set");
        }
        for _ in 0..QUESTIONS {
            client.write_all(&buffer).and_then(|()| server.read_exact(&mut buffer)).expect("a question");
            server.write_all(&buffer).and_then(|()| client.read_exact(&mut buffer)).expect("an answer");
        }
    }
}
