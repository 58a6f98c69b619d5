//! `tollgate proxy`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::run::runtime;
use crate::failure::{Failure, Kind};
use crate::operator::Address;
use crate::output::{Output, print_json};
use crate::standalone::{ConfigFile, Ending, Prepared, Running, ServiceManager, State, exports};

/// The arguments of `tollgate proxy`.
#[derive(Debug, Args)]
#[command(after_help = SAMPLE)]
pub struct ProxyArguments {
    /// The configuration; it and every file that it names are followed while the proxy runs
    #[arg(long, global = true, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
    /// Serve the operator API on this address of the loopback as well, for whoever has the token in the file api.token of the
    /// proxy's folder
    #[arg(long, value_name = "ADDRESS:PORT")]
    api: Option<Address>,
    /// Say nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
    #[command(subcommand)]
    command: Option<ProxyCommand>,
}

#[derive(Debug, Subcommand)]
enum ProxyCommand {
    /// Read everything that a start would read, say what is wrong with it, and end
    Check {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print what an agent needs in its environment: the proxy with its token, what to trust, its placeholders
    Env {
        /// The agent, as the configuration calls it
        agent: String,
        /// Where the agent finds the proxy; the first explicit listener if absent
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// The folder in which the agent finds ca.pem and ca-bundle.pem; the one in the state folder if absent
        #[arg(long, value_name = "PATH")]
        ca_folder: Option<PathBuf>,
        /// Lines for a shell, or JSON
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

const SAMPLE: &str = r#"A configuration:

  version: 1
  listeners:
    - { address: "127.0.0.1:3128" }                     # CONNECT and absolute-form requests
    - { address: "0.0.0.0:3129", tls: { certificate: proxy.pem, key: proxy.key } }
    - { address: "127.0.0.1:3130", transparent: true }  # what your packet filter redirects
    - { systemd: proxy }                                # FileDescriptorName of a socket unit
  authority: { certificate: ca.pem, key: ca.key }       # one is made and kept if absent
  upstream: { ca: [extra.pem] }
  resolve: ["api.example.com:443:127.0.0.1:8443"]
  agents:
    - { name: alice, token_file: alice.token, policy: alice.yaml, secrets: { GITHUB_TOKEN: "env:GITHUB_TOKEN" } }
    - { name: ci, sources: ["10.1.0.0/16"], policy: ci.yaml }
  limits: { connections: 4096, connections_per_agent: 1024, streams: 128, stall_seconds: 120, drain_seconds: 30 }  # and more: `tollgate status`

SIGHUP reads everything again. SIGTERM takes no more connections, waits drain_seconds for those that are open, and ends
with 0; a second one does not wait. Sockets and readiness follow sd_listen_fds(3) and sd_notify(3)."#;

/// Does what `tollgate proxy` was told.
pub fn proxy(arguments: ProxyArguments) -> Result<ExitCode, Failure> {
    let file = ConfigFile::new(&arguments.config)?;
    match arguments.command {
        None => serve(file, arguments.api, arguments.quiet),
        Some(ProxyCommand::Check { output }) => check(&file, output),
        Some(ProxyCommand::Env { agent, address, ca_folder, output }) => {
            print_environment(&exports(&file, &agent, address.as_deref(), ca_folder.as_deref())?, output);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn serve(file: ConfigFile, api: Option<Address>, quiet: bool) -> Result<ExitCode, Failure> {
    let prepared = Prepared::new(file)?;
    warn(prepared.warnings());
    let lines = prepared.describe();
    let manager = ServiceManager::from_environment();
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let running = prepared.serve(api)?;
        if !quiet {
            lines.iter().for_each(|line| eprintln!("tollgate: {line}"));
            eprintln!("tollgate: ready: {}", running.summary());
        }
        manager.tell(State::Ready(&running.summary()));
        tokio::select! {
            ended = follow(running, &mut signals, &manager) => ended,
            () = keep_alive(&manager) => Err(Failure::new(Kind::Other, "the watchdog ended")),
        }
    });
    // What still waits for a name server has nobody left to answer.
    runtime.shutdown_background();
    if ended? == Ending::Cut && !quiet {
        eprintln!("tollgate: connections that were left after drain_seconds were cut");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reloads until a signal ends it, then drains.
async fn follow(mut running: Running, signals: &mut Signals, manager: &ServiceManager) -> Result<Ending, Failure> {
    let signal = loop {
        let ending = tokio::select! {
            () = running.changed() => None,
            signal = signals.next() => signal,
        };
        if let Some(signal) = ending {
            break signal;
        }
        manager.tell(State::Reloading);
        tokio::task::block_in_place(|| running.reload());
        manager.tell(State::Ready(&running.summary()));
    };
    manager.tell(State::Stopping);
    running.end(signal, signals.ending()).await
}

/// Tells the service manager that this runtime still runs, as often as it wants to hear it.
async fn keep_alive(manager: &ServiceManager) {
    let Some(period) = ServiceManager::watchdog() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        manager.tell(State::Watchdog);
    }
}

fn check(file: &ConfigFile, output: Output) -> Result<ExitCode, Failure> {
    let found = file.check();
    if output == Output::Json {
        let (errors, warnings) = match &found {
            Ok(warnings) => (Vec::new(), warnings.as_slice()),
            Err(failure) => (failure.message().lines().collect(), [].as_slice()),
        };
        print_json(&json!({ "valid": found.is_ok(), "errors": errors, "warnings": warnings }));
        return found.map(|_| ExitCode::SUCCESS);
    }
    warn(&found?);
    println!("the configuration and everything that it names can be used");
    Ok(ExitCode::SUCCESS)
}

fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprintln!("tollgate: warning: {warning}"));
}

fn print_environment(variables: &[(String, String)], output: Output) {
    match output {
        Output::Text => {
            variables.iter().for_each(|(name, value)| println!("export {name}='{}'", value.replace('\'', r"'\''")));
        }
        Output::Json => {
            let map: std::collections::BTreeMap<_, _> = variables.iter().map(|(name, value)| (name, value)).collect();
            print_json(&map);
        }
    }
}

/// The signals that a proxy listens for.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|e| Failure::new(Kind::Other, format!("signals cannot be received: {e}")));
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// The name of the one that ends the proxy; nothing for one that makes it read its files again.
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.hangup.recv() => None,
            _ = self.terminate.recv() => Some("SIGTERM"),
            _ = self.interrupt.recv() => Some("SIGINT"),
        }
    }

    /// Returns when somebody does not want to wait any longer.
    async fn ending(&mut self) {
        while self.next().await.is_none() {}
    }
}
