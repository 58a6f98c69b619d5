//! The loads: what clients do to a proxy while its CPU time is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tollgate_benches::job::SERVICE;

use crate::Result;
use crate::client::{Ask, Client, Connection, Protocol};
use crate::measure::Program;
use crate::proxies::Proxy;
use crate::stage;

/// What one round of one load has shown: figure and value.
pub type Round = Vec<(&'static str, f64)>;

/// How long a round lasts, and how long it runs before that uncounted.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub warm: Duration,
    pub counted: Duration,
}

/// Connections and streams of a closed loop, each with one request at a time.
#[derive(Debug, Clone, Copy)]
pub struct Closed {
    pub protocol: Protocol,
    pub connections: usize,
    pub streams: usize,
    pub ask: Ask,
}

/// Connections are opened so many at a time.
const OPENED_AT_A_TIME: usize = 32;

/// A delay that only a fault can explain, as Nagle's algorithm against delayed acknowledgements (40 ms).
const SLOW_MICROSECONDS: u64 = 35_000;

/// What the tasks of a load share.
#[derive(Debug, Default)]
struct Shared {
    counting: AtomicBool,
    stopped: AtomicBool,
    asked: AtomicU64,
    bytes: AtomicU64,
}

type Latencies = Histogram<u64>;

/// Every connection asks as fast as it is answered.
pub async fn closed(proxy: &Proxy, load: Closed, span: Span) -> Result<Round> {
    let shared = Arc::new(Shared::default());
    let mut tasks = JoinSet::new();
    for connection in open_all(&proxy.client, load.protocol, load.connections, false).await? {
        let others: Vec<_> = (1..load.streams).filter_map(|_| connection.another()).collect();
        for stream in std::iter::once(connection).chain(others) {
            let (shared, authorization) = (Arc::clone(&shared), proxy.client.authorization.clone());
            tasks.spawn(ask_until_stopped(stream, load.ask, authorization, shared));
        }
    }
    let counted = count(proxy.program().as_ref(), &shared, span).await;
    let latencies = join(tasks).await?;
    let asked = shared.asked.load(Ordering::Relaxed) as f64;
    let gib = shared.bytes.load(Ordering::Relaxed) as f64 / f64::from(1 << 30);
    let mut round = match load.ask {
        Ask::Small => {
            let mut round = of_latencies(&latencies);
            round.push(("rate", asked / counted.wall));
            round
        }
        Ask::Down(_) | Ask::Up(_) => vec![("rate", gib / counted.wall)],
    };
    if let Some(cpu) = counted.cpu {
        round.push(match load.ask {
            Ask::Small => ("cpu", cpu * 1e6 / asked),
            Ask::Down(_) | Ask::Up(_) => ("cpu", cpu / gib),
        });
    }
    Ok(round)
}

async fn ask_until_stopped(
    mut connection: Connection,
    ask: Ask,
    authorization: String,
    shared: Arc<Shared>,
) -> Result<Latencies> {
    let mut latencies = latencies()?;
    while !shared.stopped.load(Ordering::Relaxed) {
        let (begun, counts) = (Instant::now(), shared.counting.load(Ordering::Relaxed));
        let bytes = connection.ask(ask, &authorization).await?;
        if counts && shared.counting.load(Ordering::Relaxed) {
            latencies.saturating_record(microseconds(begun.elapsed()));
            shared.asked.fetch_add(1, Ordering::Relaxed);
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    Ok(latencies)
}

/// So many requests a second whether they are answered or not. Latency counts from when a request was due, so that a proxy
/// which stalls pays for every request that it holds up.
pub async fn at_rate(proxy: &Proxy, per_second: u32, connections: usize, span: Span) -> Result<Round> {
    let shared = Arc::new(Shared::default());
    let (due, queue) = tokio::sync::mpsc::unbounded_channel::<Instant>();
    let queue = Arc::new(tokio::sync::Mutex::new(queue));
    let mut tasks = JoinSet::new();
    for mut connection in open_all(&proxy.client, Protocol::Http1, connections, false).await? {
        let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
        let authorization = proxy.client.authorization.clone();
        tasks.spawn(async move {
            let mut latencies = latencies()?;
            loop {
                let next = queue.lock().await.recv().await;
                let Some(due) = next else { return Ok(latencies) };
                let counts = shared.counting.load(Ordering::Relaxed);
                connection.ask(Ask::Small, &authorization).await?;
                if counts {
                    latencies.saturating_record(microseconds(due.elapsed()));
                    shared.asked.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let schedule = schedule(per_second, due, Arc::clone(&shared));
    let counted = count(proxy.program().as_ref(), &shared, span).await;
    schedule.join().map_err(|_| "the schedule panicked")?;
    let latencies = join(tasks).await?;
    let mut round = of_latencies(&latencies);
    let slow = latencies.len() - latencies.count_between(0, SLOW_MICROSECONDS - 1);
    round.push(("slow", slow as f64));
    if let Some(cpu) = counted.cpu {
        round.push(("cpu", cpu * 1e6 / shared.asked.load(Ordering::Relaxed) as f64));
    }
    Ok(round)
}

/// A thread that says when requests are due: the runtime's own timer is as coarse as a millisecond.
fn schedule(
    per_second: u32,
    due: tokio::sync::mpsc::UnboundedSender<Instant>,
    shared: Arc<Shared>,
) -> std::thread::JoinHandle<()> {
    let step = Duration::from_secs(1) / per_second;
    std::thread::spawn(move || {
        let mut next = Instant::now();
        while !shared.stopped.load(Ordering::Relaxed) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if due.send(next).is_err() {
                return;
            }
            next += step;
        }
    })
}

/// A new connection for every request: tunnel, whole handshake, one request, gone. `names` says where the next one goes.
pub async fn new_connections(proxy: &Proxy, workers: usize, names: &Names, span: Span) -> Result<Round> {
    let shared = Arc::new(Shared::default());
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (shared, client, names) = (Arc::clone(&shared), proxy.client.clone(), names.clone());
        tasks.spawn(async move {
            let mut latencies = latencies()?;
            while !shared.stopped.load(Ordering::Relaxed) {
                let Some(name) = (names.0)() else { break };
                let (begun, counts) = (Instant::now(), shared.counting.load(Ordering::Relaxed));
                let mut connection = client.open(&name, Protocol::Http1).await?;
                connection.ask(Ask::Small, &client.authorization).await?;
                if counts && shared.counting.load(Ordering::Relaxed) {
                    latencies.saturating_record(microseconds(begun.elapsed()));
                    shared.asked.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(latencies)
        });
    }
    let counted = count(proxy.program().as_ref(), &shared, span).await;
    let latencies = join(tasks).await?;
    let asked = shared.asked.load(Ordering::Relaxed) as f64;
    let mut round = of_latencies(&latencies);
    round.push(("rate", asked / counted.wall));
    round.extend(counted.cpu.map(|cpu| ("cpu", cpu * 1e6 / asked)));
    Ok(round)
}

/// Until tunnels that were used a moment ago do nothing any more.
const SETTLING: Duration = Duration::from_secs(1);

/// Open tunnels that do nothing, after one request each. The proxy must have been started for this alone.
pub async fn idle(proxy: &Proxy, direct: &Client, tunnels: usize, clients: usize, span: Span) -> Result<Round> {
    let program = proxy.program().ok_or("there is no proxy to look at")?;
    tokio::time::sleep(span.warm).await;
    let rest = program.resident_kib();
    let before = upstream_connections(direct).await?;
    let mut open = open_all(&proxy.client, Protocol::Http1, clients, true).await?;
    // The question itself takes a connection.
    let upstream = upstream_connections(direct).await? - before - 1.0;
    open.extend(open_all(&proxy.client, Protocol::Http1, tunnels.saturating_sub(clients), true).await?);
    tokio::time::sleep(SETTLING).await;
    let held = program.resident_kib();
    let (cpu, begun) = (program.cpu(), Instant::now());
    tokio::time::sleep(span.counted).await;
    let cores = (program.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let tunnel = (held - rest) / open.len() as f64;
    Ok(vec![
        ("rest", rest / 1024.0),
        ("tunnel", tunnel),
        ("cores", cores),
        ("upstream", upstream),
        ("tunnels", open.len() as f64),
    ])
}

/// Connections that the origin has had, the one that asks included.
async fn upstream_connections(direct: &Client) -> Result<f64> {
    let mut connection = direct.open(SERVICE, Protocol::Http1).await?;
    let text = connection.text("/v1/connections", &direct.authorization).await?;
    let count = text.trim_start_matches("{\"connections\":").trim_end_matches('}');
    Ok(count.parse()?)
}

/// Opens so many connections; where it `asks`, each has one request at once, so that several are under way at a time.
pub async fn open_all(client: &Client, protocol: Protocol, count: usize, asks: bool) -> Result<Vec<Connection>> {
    let mut open = Vec::with_capacity(count);
    let mut tasks: JoinSet<Result<Connection>> = JoinSet::new();
    for _ in 0..count {
        if tasks.len() == OPENED_AT_A_TIME {
            open.extend(tasks.join_next().await.transpose()?.transpose()?);
        }
        let client = client.clone();
        tasks.spawn(async move {
            let mut connection = client.open(SERVICE, protocol).await?;
            if asks {
                connection.ask(Ask::Small, &client.authorization).await?;
            }
            Ok(connection)
        });
    }
    while let Some(opened) = tasks.join_next().await {
        open.push(opened??);
    }
    Ok(open)
}

/// What was counted: seconds of wall time and of CPU time.
struct Counted {
    wall: f64,
    cpu: Option<f64>,
}

/// Lets a load warm up, counts, and stops it.
async fn count(program: Option<&Program>, shared: &Shared, span: Span) -> Counted {
    tokio::time::sleep(span.warm).await;
    let (before, begun) = (program.map(Program::cpu), Instant::now());
    shared.counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(span.counted).await;
    shared.counting.store(false, Ordering::Relaxed);
    let after = program.map(Program::cpu);
    let wall = begun.elapsed().as_secs_f64();
    shared.stopped.store(true, Ordering::Relaxed);
    Counted { wall, cpu: before.zip(after).map(|(before, after)| after.saturating_sub(before).as_secs_f64()) }
}

async fn join(mut tasks: JoinSet<Result<Latencies>>) -> Result<Latencies> {
    let mut all = latencies()?;
    while let Some(ended) = tasks.join_next().await {
        all.add(ended??)?;
    }
    if all.is_empty() { Err("not one request was answered".into()) } else { Ok(all) }
}

/// Up to a minute, with three digits.
pub fn latencies() -> Result<Latencies> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

pub fn of_latencies(latencies: &Latencies) -> Round {
    let at = |quantile| latencies.value_at_quantile(quantile) as f64;
    vec![("p50", at(0.5)), ("p99", at(0.99)), ("p999", at(0.999)), ("max", latencies.max() as f64)]
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Where the next new connection goes; nothing when no name is left.
#[derive(Clone)]
pub struct Names(Arc<dyn Fn() -> Option<String> + Send + Sync>);

impl Names {
    /// Always the same.
    pub fn one(name: &'static str) -> Self {
        Self(Arc::new(move || Some(name.to_owned())))
    }
}

/// Each name once, over all rounds of a proxy.
pub fn fresh_names() -> Names {
    let next = AtomicU64::new(0);
    Names(Arc::new(move || {
        let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
        (number < stage::NAMES).then(|| stage::name(number))
    }))
}
