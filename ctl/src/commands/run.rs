//! `tollgate run`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::task::Poll;

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
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut running = session.start().await?;
        let outcome = wait(&mut running, &mut signals).await;
        running.close(&outcome).await?;
        Ok(outcome)
    });
    // What still reads an executable or waits for a name server has nobody left to answer.
    runtime.shutdown_background();
    Ok(exit_code(&outcome?))
}

/// The proxy's runtime.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    built(tokio::runtime::Builder::new_multi_thread())
}

/// That of a command that asks others and ends, without a thread of its own: starting some takes longer than many a question.
pub fn asking_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    built(tokio::runtime::Builder::new_current_thread())
}

fn built(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    let built = builder.enable_all().build();
    built.map_err(|e| Failure::new(Kind::Other, format!("the runtime cannot be started: {e}")))
}

/// Waits for the end of a sandbox in the background; SIGTERM stops it in order, and other signals do nothing.
pub async fn wait_for(running: &mut Running, signals: &mut Signals) -> Outcome {
    loop {
        tokio::select! {
            outcome = running.ended() => return outcome,
            kind = signals.next() => if kind == SignalKind::terminate() { running.stop() },
        }
    }
}

/// The signals that are passed on. They are listened for before the agent starts, so that none ends us in its place.
pub struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// Listens from now on. Needs a runtime.
    pub fn listen() -> Result<Self, Failure> {
        let mut kinds = vec![
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        let from_terminal = [SignalKind::interrupt(), SignalKind::quit()];
        // From a terminal these reach the agent by themselves; it decides what they mean.
        let ignored = std::io::stdin().is_terminal();
        kinds.extend(from_terminal);
        let listen = |kind| {
            let stream = signal(kind);
            stream.map_err(|e| Failure::new(Kind::Other, format!("signals cannot be received: {e}")))
        };
        let mut streams = Vec::new();
        for kind in kinds {
            let stream = listen(kind)?;
            // Having listened once is enough to keep a signal from ending us (tokio never restores the default action).
            if !ignored || !from_terminal.contains(&kind) {
                streams.push((kind, stream));
            }
        }
        Ok(Self(streams))
    }

    /// The next one.
    async fn next(&mut self) -> SignalKind {
        std::future::poll_fn(|context| {
            let ready =
                |(kind, stream): &mut (SignalKind, Signal)| stream.poll_recv(context).is_ready().then_some(*kind);
            self.0.iter_mut().find_map(ready).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Waits for the agent and passes signals on to it meanwhile.
async fn wait(running: &mut Running, signals: &mut Signals) -> Outcome {
    loop {
        tokio::select! {
            outcome = running.ended() => return outcome,
            kind = signals.next() => running.signal(kind.as_raw_value()),
        }
    }
}

/// The exit code of a command that ends as its agent ended.
pub fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Exited(code) => ExitCode::from(*code),
        Outcome::Signalled(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    }
}
