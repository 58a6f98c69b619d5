//! The socket on which `exec` and `connect` ask for programs beside the agent.
//!
//! This process looks at who asks and for what, records it, and hands the client's connection to process 1. No byte of the
//! program's passes here.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use axum::serve::Listener;
use tokio::sync::Semaphore;
use tollgate_audit::Event;
use tollgate_proxy::Journal;
use tollgate_supervisor::{Door, LaunchError, Visitor};
use tollgate_wire::exec::Exec;

use super::environment::belongs_to_gate;
use crate::failure::Failure;
use crate::home::SandboxFolder;
use crate::operator::OwnersOnly;

/// Takes visitors until it is dropped.
pub struct Visitors(tokio::task::JoinHandle<()>);

/// Clients that have connected and not said yet what they want.
const MAX_WAITING: usize = 16;

impl Visitors {
    /// Listens in the sandbox's folder.
    pub fn start(folder: &SandboxFolder, door: &Door, journal: &Arc<Journal>) -> Result<Self, Failure> {
        let listener = OwnersOnly::bind(&folder.visitors_socket())?;
        Ok(Self(tokio::spawn(take(listener, door.clone(), Arc::clone(journal)))))
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn take(mut listener: OwnersOnly, door: Door, journal: Arc<Journal>) {
    let places = Arc::new(Semaphore::new(MAX_WAITING));
    loop {
        let (client, _) = listener.accept().await;
        // Closed never: it is ours.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (door, journal) = (door.clone(), Arc::clone(&journal));
        tokio::task::spawn_blocking(move || {
            let shown = client.into_std().and_then(|client| client.set_nonblocking(false).map(|()| client));
            if let Err(error) = shown.and_then(|client| admit(client, &door, &journal)) {
                tracing::warn!(%error, "a program was asked for in vain");
            }
            drop(place);
        });
    }
}

fn admit(client: UnixStream, door: &Door, journal: &Journal) -> std::io::Result<()> {
    let visitor = Visitor::receive(client)?;
    if let Some((name, _)) = visitor.exec.environment.iter().find(|(name, _)| belongs_to_gate(name)) {
        visitor.refuse(LaunchError::BadOrder(format!("{name} leads through the gate and cannot be set")));
        return Ok(());
    }
    let recorded = journal.record(&Event::Notice { detail: &describe(&visitor.exec) });
    if let Err(error) = recorded.and_then(|()| journal.sync()) {
        visitor.refuse(LaunchError::BadOrder(format!("it cannot be recorded: {error}")));
        return Ok(());
    }
    door.admit(visitor)
}

fn describe(exec: &Exec) -> String {
    let what = if exec.terminal.is_some() { "a program with a terminal" } else { "a program" };
    let command = serde_json::to_string(&exec.command).unwrap_or_default();
    format!("{what} was started beside the agent by its owner: {command}")
}
