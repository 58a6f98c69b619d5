//! `tollgate run`.

use std::io::IsTerminal;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tollgate_supervisor::Outcome;

use crate::failure::{Failure, Kind};
use crate::session::{Order, Running, Session};

/// Runs COMMAND and ends as it ends.
pub fn run(order: Order, quiet: bool) -> Result<ExitCode, Failure> {
    let session = Session::prepare(order)?;
    for feature in session.degraded() {
        eprintln!("tollgate: running WITHOUT {feature}, as allowed by --allow-degraded");
    }
    if !quiet {
        eprintln!("tollgate: sandbox {}, journal {}", session.name(), session.journal_path().display());
    }
    let outcome = runtime()?.block_on(async {
        let mut running = session.start().await?;
        let outcome = wait(&mut running).await?;
        running.close(&outcome)?;
        Ok(outcome)
    })?;
    Ok(exit_code(&outcome))
}

/// The proxy's runtime.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Kind::Other, format!("the runtime cannot be started: {e}")))
}

/// Waits for the agent and passes signals on to it meanwhile.
async fn wait(running: &mut Running) -> Result<Outcome, Failure> {
    let listen = |kind| signal(kind).map_err(|e| Failure::new(Kind::Other, format!("signals cannot be received: {e}")));
    let [mut terminate, mut hang_up, mut user1, mut user2] = [
        listen(SignalKind::terminate())?,
        listen(SignalKind::hangup())?,
        listen(SignalKind::user_defined1())?,
        listen(SignalKind::user_defined2())?,
    ];
    let [mut interrupt, mut quit] = [listen(SignalKind::interrupt())?, listen(SignalKind::quit())?];
    // From a terminal both reach the agent by themselves; it decides what they mean.
    let by_terminal = std::io::stdin().is_terminal();
    loop {
        let received = tokio::select! {
            outcome = running.ended() => return Ok(outcome),
            kind = next(&mut terminate, SignalKind::terminate()) => Some(kind),
            kind = next(&mut hang_up, SignalKind::hangup()) => Some(kind),
            kind = next(&mut user1, SignalKind::user_defined1()) => Some(kind),
            kind = next(&mut user2, SignalKind::user_defined2()) => Some(kind),
            kind = next(&mut interrupt, SignalKind::interrupt()) => (!by_terminal).then_some(kind),
            kind = next(&mut quit, SignalKind::quit()) => (!by_terminal).then_some(kind),
        };
        if let Some(kind) = received {
            running.signal(kind.as_raw_value());
        }
    }
}

async fn next(stream: &mut Signal, kind: SignalKind) -> SignalKind {
    if stream.recv().await.is_none() {
        // The runtime is going away; the agent's end decides.
        std::future::pending::<()>().await;
    }
    kind
}

fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Exited(code) => ExitCode::from(*code),
        Outcome::Signalled(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    }
}
