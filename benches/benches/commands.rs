//! The commands: how soon each is done, and how soon a policy of 1,000 rules is in force while requests flow.
//!
//! `cargo bench -p tollgate-benches --bench commands`. Targets: 10 ms for a command from its start to its end; 20 ms for
//! `policy set` of 1,000 rules, of which none is in force yet, with 1,000 requests a second through the same gate, none of them
//! lost. The agent is this program again. `TOLLGATE_BENCH_PROGRAM` names the `tollgate` to measure; it is built if absent.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tollgate_benches::place::Place;

/// Connections of the agent, and requests that each makes in a second.
const CLIENTS: u64 = 8;
const REQUESTS_PER_SECOND: u64 = 125;

/// From one policy to the next.
const SET_EVERY: Duration = Duration::from_millis(100);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("agent") => agent(),
        _ => measure(arguments.iter().any(|argument| argument == "--quick")),
    }
}

fn measure(is_quick: bool) {
    let place = Place::new(&policy(1000, "first"));
    for name in ["even", "odd"] {
        std::fs::write(place.path(name), policy(1000, name)).expect("written");
    }
    let pin = format!("api.test:80:{}", origin());
    let mut running =
        place.inside(&["--name", "box", "--resolve", &pin], &[]).stdin(Stdio::piped()).spawn().expect("run");
    let mut said = BufReader::new(running.stdout.take().expect("a pipe"));
    said.read_line(&mut String::new()).expect("the agent speaks");
    let rounds = if is_quick { 10 } else { 100 };
    let took = set(&place, rounds);
    let [lost, asked] = end(running, said);
    let (median, most) = (took[took.len() / 2], took[took.len() * 95 / 100]);
    println!("policy set/1,000 rules, median         {median:8.2} ms   target 20");
    println!("policy set/1,000 rules, 95th of 100    {most:8.2} ms");
    println!(
        "policy set/requests lost               {lost:5} of {asked} at {} a second   target 0",
        CLIENTS * REQUESTS_PER_SECOND
    );
    starts(&place, if is_quick { 5 } else { 51 });
}

/// Rules in three shapes in turn, and one for what the agent asks.
fn policy(rules: usize, name: &str) -> String {
    let mut text =
        "version: 1\nnetwork_policies:\n  api:\n    endpoints:\n      - host: api.test\n        port: 80\n        \
                    protocol: rest\n        rules:\n          - allow: { method: GET, path: /asked }\n"
            .to_owned();
    for number in 1..rules {
        let path = match number % 3 {
            0 => format!("/{name}/repos/r{number}/**"),
            1 => format!("/{name}/orgs/*/r{number}/items"),
            _ => format!("/{name}/exact/path/number/{number}"),
        };
        let _ = writeln!(text, "          - allow: {{ method: GET, path: \"{path}\" }}");
    }
    text
}

/// How long each change took, in milliseconds, the shortest first.
fn set(place: &Place, rounds: usize) -> Vec<f64> {
    let mut took = Vec::new();
    for round in 0..rounds {
        let next = Instant::now() + SET_EVERY;
        let file = place.path(["even", "odd"][round % 2]);
        let mut set = place.tollgate();
        set.args(["policy", "set", "box", "--policy"]).arg(file);
        took.push(milliseconds(set));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    took.sort_by(f64::total_cmp);
    took
}

fn milliseconds(mut command: std::process::Command) -> f64 {
    let begun = Instant::now();
    let output = command.output().expect("started");
    let took = begun.elapsed().as_secs_f64() * 1e3;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

/// Tells the agent to end, and gives what it counted.
fn end(mut running: Child, mut said: impl BufRead) -> [u64; 2] {
    drop(running.stdin.take());
    let mut counted = String::new();
    said.read_line(&mut counted).expect("the agent speaks");
    running.wait().expect("ended");
    let mut counted = counted.split_whitespace().map(|number| number.parse().expect("a number"));
    [(); 2].map(|()| counted.next().expect("two numbers"))
}

fn starts(place: &Place, rounds: usize) {
    let mut waiting = place.inside(&["--name", "still"], &["wait"]).stdin(Stdio::piped()).spawn().expect("run");
    let mut said = BufReader::new(waiting.stdout.take().expect("a pipe"));
    said.read_line(&mut String::new()).expect("the agent speaks");
    let commands: [&[&str]; 8] = [
        &["--version"],
        &["--help"],
        &["status"],
        &["sandbox", "list"],
        &["policy", "get", "still"],
        &["policy", "list", "still"],
        &["logs", "still", "-n", "1"],
        &["audit", "verify", "still"],
    ];
    for arguments in commands {
        let mut took: Vec<_> = (0..rounds)
            .map(|_| {
                let mut command = place.tollgate();
                command.args(arguments);
                milliseconds(command)
            })
            .collect();
        took.sort_by(f64::total_cmp);
        println!("command/{:<30} {:8.2} ms   target 10", arguments.join(" "), took[took.len() / 2]);
    }
    drop(waiting.stdin.take());
    waiting.wait().expect("ended");
}

/// A server that answers every request with two bytes.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut client = BufReader::new(stream);
                while head(&mut client).is_some() {
                    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    // A gate that has gone asks nothing more.
                    let _ = client.get_mut().write_all(reply);
                }
            });
        }
    });
    address
}

/// The first line of a head that has come as a whole.
fn head(stream: &mut impl BufRead) -> Option<String> {
    let mut first = String::new();
    stream.read_line(&mut first).ok().filter(|length| *length > 0)?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
    }
    Some(first)
}

/// Asks until its standard input ends, and says how many requests were lost, and how many there were.
fn agent() {
    let asking = std::env::args().nth(2).is_none();
    println!("ready");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(!asking));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || ask(&stop))
        })
        .collect();
    std::io::stdin().read_to_end(&mut Vec::new()).expect("readable");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let counted = clients.into_iter().map(|client| client.join().expect("counted"));
    let [lost, asked] = counted.fold([0, 0], |[lost, asked], (l, a)| [lost + l, asked + a]);
    println!("{lost} {asked}");
}

/// One client: a request each 8 ms, on time even where one was late.
fn ask(stop: &std::sync::atomic::AtomicBool) -> (u64, u64) {
    let proxy = std::env::var("HTTP_PROXY").expect("set by the gate");
    let proxy = proxy.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let connect = || BufReader::new(TcpStream::connect(&proxy).expect("the gate"));
    let (mut stream, mut due) = (connect(), Instant::now());
    let (mut lost, mut asked) = (0, 0);
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        due += Duration::from_micros(1_000_000 / REQUESTS_PER_SECOND);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        asked += 1;
        let request = b"GET http://api.test/asked HTTP/1.1\r\nhost: api.test\r\n\r\n";
        let sent = stream.get_mut().write_all(request);
        let reply = sent.ok().and_then(|()| head(&mut stream));
        let is_whole =
            reply.is_some_and(|first| first.starts_with("HTTP/1.1 200")) && stream.read_exact(&mut [0; 2]).is_ok();
        if !is_whole {
            lost += 1;
            stream = connect();
        }
    }
    (lost, asked)
}
