//! The operator API: HTTP and JSON over a unix socket in the sandbox's folder, for its owner alone.

mod client;
mod policy;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use nix::unistd::Uid;
use tokio::net::UnixListener;
use tollgate_proxy::{Gate, Generation, Rules};
use tollgate_wire::credentials::CredentialState;
use tollgate_wire::status::Status;

pub use client::{ClientError, ask, fetch, send};
pub use policy::{POLICY, REVISIONS, ROLLBACK};

use crate::credentials::Shared as Credentials;
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;
use crate::session::Policies;

/// Where every operator API says how it stands.
pub const STATUS: &str = "/v1/status";

/// Where every operator API takes over what has changed of credentials.
pub const REFRESH_CREDENTIALS: &str = "/v1/credentials/refresh";

/// Serves until it is dropped.
pub struct Server(tokio::task::JoinHandle<()>);

#[derive(Clone)]
struct Shared {
    status: Arc<Status>,
    rules: Arc<Rules>,
    gate: Arc<Gate>,
    credentials: Arc<Credentials>,
}

impl Server {
    /// Answers for a sandbox.
    pub fn start(
        folder: &SandboxFolder,
        status: Status,
        rules: Arc<Rules>,
        gate: Arc<Gate>,
        credentials: Arc<Credentials>,
        policies: Arc<Policies>,
    ) -> Result<Self, Failure> {
        let shared = Shared { status: Arc::new(status), rules, gate, credentials };
        let router = Router::new().route(STATUS, get(show_status)).route(REFRESH_CREDENTIALS, post(refresh));
        Self::listen(folder, router.with_state(shared).merge(policy::router(policies)))
    }

    /// Listens on the socket in a state folder, mode 0600, in a folder of mode 0700.
    pub fn listen(folder: &SandboxFolder, router: Router) -> Result<Self, Failure> {
        let path = folder.socket();
        let failed = |e: std::io::Error| {
            Failure::new(Kind::State, format!("the control socket {} cannot be made: {e}", path.display()))
        };
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(failed)?;
        let service = router.into_make_service_with_connect_info::<policy::Peer>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(OwnersOnly(listener), service).await {
                tracing::error!(%error, "the control socket is closed");
            }
        });
        Ok(Self(task))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn show_status(State(shared): State<Shared>) -> Json<Status> {
    let generation = shared.rules.current();
    Json(Status {
        generation: generation.number,
        policy_sha256: generation.policy_sha256.clone(),
        audit_endpoints: audit_endpoints(&generation),
        open: shared.gate.open(),
        ..Status::clone(&shared.status)
    })
}

async fn refresh(State(shared): State<Shared>) -> Json<Vec<CredentialState>> {
    Json(shared.credentials.refresh().await)
}

/// Endpoints that only audit, as `ENTRY: host:port`.
pub fn audit_endpoints(generation: &Generation) -> Vec<String> {
    let endpoints = generation.policy.audit_endpoints();
    endpoints.into_iter().map(|endpoint| format!("{}: {}", endpoint.policy, endpoint.destination)).collect()
}

/// A listener that closes connections of other users before a byte of theirs is read.
struct OwnersOnly(UnixListener);

impl axum::serve::Listener for OwnersOnly {
    type Io = tokio::net::UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
            let peer = stream.peer_cred().map(|peer| peer.uid());
            if peer.is_ok_and(|uid| uid == Uid::effective().as_raw()) {
                return (stream, address);
            }
            tracing::warn!("a connection of another user to the control socket was closed");
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
