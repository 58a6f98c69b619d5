//! Server-sent events: each carries the time at which it was sent, and what counts is how late it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use http::Method;
use http_body_util::{BodyExt, Either, Full};
use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Client, Protocol};
use crate::loads::{Round, Span, latencies, of_latencies, open_all};
use crate::proxies::Proxy;

/// What stands before the time.
const MARK: &[u8] = b"\"sent_at\":";

/// So many streams, each with an event every `pause` milliseconds.
pub async fn events(proxy: &Proxy, streams: usize, pause: u64, span: Span) -> Result<Round> {
    let all = (span.warm + span.counted).as_millis() as u64 / pause;
    let counted = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for connection in open_all(&proxy.client, Protocol::Http1, streams).await? {
        let (client, counted) = (proxy.client.clone(), Arc::clone(&counted));
        tasks.spawn(async move { follow(connection, &client, all, pause, &counted).await });
    }
    tokio::time::sleep(span.warm).await;
    let program = proxy.program();
    let (cpu, before) = (program.as_ref().map(|program| program.cpu()), counted.load(Ordering::Relaxed));
    // The last ones come a little later; they are not waited for, so that only events cost.
    tokio::time::sleep(span.counted.mul_f64(0.9)).await;
    let passed = counted.load(Ordering::Relaxed) - before;
    let cpu = cpu.zip(program.as_ref().map(|program| program.cpu())).map(|(before, after)| after - before);
    let mut delays = latencies()?;
    while let Some(ended) = tasks.join_next().await {
        delays.add(ended??)?;
    }
    let mut round = of_latencies(&delays);
    round.extend(cpu.map(|cpu| ("cpu", cpu.as_secs_f64() * 1e6 / passed as f64)));
    Ok(round)
}

async fn follow(
    mut connection: crate::client::Connection,
    client: &Client,
    count: u64,
    pause: u64,
    counted: &AtomicU64,
) -> Result<Histogram<u64>> {
    let path = format!("/v1/events/{count}/{pause}");
    let reply = connection.begin(Method::GET, &path, Either::Left(Full::default()), &client.authorization).await?;
    let (mut body, mut delays, mut text) = (reply.into_body(), latencies()?, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
        text.extend_from_slice(&data);
        while let Some(sent) = next_event(&mut text) {
            delays.saturating_record(now.saturating_sub(sent).max(1));
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }
    if delays.len() == count { Ok(delays) } else { Err(format!("{} of {count} events came", delays.len()).into()) }
}

/// Takes one whole event off the text and says when it was sent.
fn next_event(text: &mut Vec<u8>) -> Option<u64> {
    let end = text.windows(2).position(|pair| pair == b"\n\n")? + 2;
    let event: Vec<u8> = text.drain(..end).collect();
    let at = event.windows(MARK.len()).position(|part| part == MARK)? + MARK.len();
    let digits: Vec<u8> = event[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}
