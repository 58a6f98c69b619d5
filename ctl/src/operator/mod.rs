//! The operator API: HTTP and JSON over a unix socket in the sandbox's folder, for its owner alone.

mod client;
mod document;
mod network;
mod observing;
mod policy;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Json, Router};
use http::StatusCode;
use nix::unistd::Uid;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tollgate_proxy::{Count, Gate, Generation, Journal, Rules};
use tollgate_secrets::SecretName;
use tollgate_wire::credentials::{Attach, CredentialState};
use tollgate_wire::forward::StartForward;
use tollgate_wire::policy::Problem;
use tollgate_wire::status::Status;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use client::{ClientError, ask, check_socket, fetch, send};
pub use document::documented;
pub use network::{Address, TOKEN_FILE};
pub use observing::Observed;
pub use policy::{POLICY, REVISIONS, ROLLBACK};

use crate::credentials::Shared as Credentials;
use crate::failure::{Failure, Kind};
use crate::forward::{Forward, ForwardError, Forwards};
use crate::home::SandboxFolder;
use crate::policies::Policies;

/// Where every operator API says how it stands.
pub const STATUS: &str = "/v1/status";

/// Where every operator API takes over what has changed of credentials.
pub const REFRESH_CREDENTIALS: &str = "/v1/credentials/refresh";

/// Where a sandbox is given one more credential of the store.
pub const ATTACH_CREDENTIAL: &str = "/v1/credentials/attach";

/// Where a port of this machine is led inside; below it, by its number, it is let go.
pub const FORWARDS: &str = "/v1/forwards";

/// Where a sandbox is told to end.
pub const STOP: &str = "/v1/stop";

/// Serves until it is dropped.
pub struct Server(Vec<tokio::task::JoinHandle<()>>);

/// What a sandbox's operator sees and moves.
#[derive(Clone)]
pub struct Shared {
    /// What does not change.
    pub status: Arc<Status>,
    /// What is in force.
    pub rules: Arc<Rules>,
    /// What is open.
    pub gate: Arc<Gate>,
    /// What is held.
    pub credentials: Arc<Credentials>,
    /// Ends it.
    pub stop: Arc<Notify>,
    /// Which ports lead inside.
    pub forwards: Arc<Forwards>,
    /// What is recorded.
    pub journal: Arc<Journal>,
}

impl Server {
    /// Answers for a sandbox; beside its socket on `address`, where there is one.
    pub fn start(
        folder: &SandboxFolder,
        shared: Shared,
        policies: Arc<Policies>,
        address: Option<Address>,
    ) -> Result<Self, Failure> {
        let router = OpenApiRouter::new()
            .routes(routes!(show_status))
            .routes(routes!(refresh))
            .routes(routes!(attach))
            .routes(routes!(start_forward))
            .routes(routes!(stop_forward))
            .routes(routes!(stop))
            .with_state(shared.clone())
            .merge(policy::router(policies))
            .merge(observed(&shared).router());
        let router = documented(router, "Operator API of a sandbox");
        Self::listen(folder, router, address)
    }

    /// Listens on the socket in a state folder, mode 0600, in a folder of mode 0700; beside it on `address`, where there is one.
    pub fn listen(folder: &SandboxFolder, router: Router, address: Option<Address>) -> Result<Self, Failure> {
        let listener = OwnersOnly::bind(&folder.socket())?;
        let further = address.map(|address| network::serve(folder, address, router.clone())).transpose()?;
        let service = router.into_make_service_with_connect_info::<policy::Peer>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!(%error, "the control socket is closed");
            }
        });
        Ok(Self([task].into_iter().chain(further).collect()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn observed(shared: &Shared) -> Observed {
    let (gate, rules) = (Arc::clone(&shared.gate), Arc::clone(&shared.rules));
    let gauge = |name, help, value| Count { name, help, label: None, value };
    Observed::new(&shared.journal, &shared.status.name, move || {
        vec![
            gauge("tollgate_open", "Connections and requests that are open", gate.open() as u64),
            gauge("tollgate_policy_generation", "The generation of the rules in force", rules.current().number),
        ]
    })
}

/// How the sandbox stands.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, description = "All of it", body = Status)))]
async fn show_status(State(shared): State<Shared>) -> Json<Status> {
    let generation = shared.rules.current();
    Json(Status {
        generation: generation.number,
        policy_sha256: generation.policy_sha256.clone(),
        audit_endpoints: audit_endpoints(&generation),
        open: shared.gate.open(),
        forwards: shared.forwards.list(),
        ..Status::clone(&shared.status)
    })
}

/// Takes over what has changed of credentials in the store.
#[utoipa::path(post, path = "/v1/credentials/refresh", responses((status = 200, description = "How each stands now", body = Vec<CredentialState>)))]
async fn refresh(State(shared): State<Shared>) -> Json<Vec<CredentialState>> {
    Json(shared.credentials.refresh().await)
}

/// Gives the sandbox one more credential of the store.
#[utoipa::path(post, path = "/v1/credentials/attach", request_body = Attach, responses(
    (status = 200, description = "It holds it now", body = ()),
    (status = 400, description = "Not a request", body = Problem),
    (status = 413, description = "The request is too large", body = Problem),
    (status = 422, description = "There is no such credential, or its value cannot be had", body = Problem),
))]
async fn attach(State(shared): State<Shared>, body: Bytes) -> policy::Answer<()> {
    let Attach { name } = policy::read(&body)?;
    let refused = |message: &str| policy::answer(StatusCode::UNPROCESSABLE_ENTITY, message);
    let name = SecretName::parse(&name).map_err(|error| refused(&error.to_string()))?;
    shared.credentials.attach(&name).await.map(Json).map_err(|failure| refused(failure.message()))
}

/// Leads a port of this machine's loopback inside.
#[utoipa::path(post, path = "/v1/forwards", request_body = StartForward, responses(
    (status = 200, description = "All that there are now", body = Vec<String>),
    (status = 400, description = "Not a request", body = Problem),
    (status = 413, description = "The request is too large", body = Problem),
    (status = 422, description = "The port cannot be had", body = Problem),
))]
async fn start_forward(State(shared): State<Shared>, body: Bytes) -> policy::Answer<Vec<String>> {
    let StartForward { ports } = policy::read(&body)?;
    let refused = |message: &str| policy::answer(StatusCode::UNPROCESSABLE_ENTITY, message);
    let forward: Forward = ports.parse().map_err(|error: ForwardError| refused(&error.to_string()))?;
    shared.forwards.add(&forward).map_err(|failure| refused(failure.message()))?;
    Ok(Json(shared.forwards.list()))
}

/// Lets a port of this machine go.
#[utoipa::path(delete, path = "/v1/forwards/{port}", params(("port" = u16, Path, description = "The port of this machine")), responses(
    (status = 200, description = "All that there are now", body = Vec<String>),
    (status = 400, description = "No port", body = Problem),
    (status = 404, description = "It leads nowhere", body = Problem),
))]
async fn stop_forward(State(shared): State<Shared>, Path(port): Path<String>) -> policy::Answer<Vec<String>> {
    let not_a_port =
        || policy::answer(StatusCode::BAD_REQUEST, &format!("`{port}` is no port; it is a number up to 65535"));
    let port = port.parse().map_err(|_| not_a_port())?;
    let removed = shared.forwards.remove(port);
    removed.map_err(|failure| policy::answer(StatusCode::NOT_FOUND, failure.message()))?;
    Ok(Json(shared.forwards.list()))
}

/// Has the sandbox end. Returns its process id: when that process has ended, the sandbox has.
#[utoipa::path(post, path = "/v1/stop", responses((status = 200, description = "It was told; the process id", body = u32)))]
async fn stop(State(shared): State<Shared>) -> Json<u32> {
    shared.stop.notify_one();
    Json(shared.status.pid)
}

/// Endpoints that only audit, as `ENTRY: host:port`.
pub fn audit_endpoints(generation: &Generation) -> Vec<String> {
    let endpoints = generation.policy.audit_endpoints();
    endpoints.into_iter().map(|endpoint| format!("{}: {}", endpoint.policy, endpoint.destination)).collect()
}

/// A listener that closes connections of other users before a byte of theirs is read.
pub struct OwnersOnly(UnixListener);

impl OwnersOnly {
    /// Listens on a path, mode 0600, in a folder of mode 0700. A socket that is there is nobody's: its owner has ended.
    pub fn bind(path: &std::path::Path) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| {
            Failure::new(Kind::State, format!("the control socket {} cannot be made: {e}", path.display()))
        };
        // Under its name it has its mode from the beginning: clients look at it.
        let draft = path.with_extension("new");
        match std::fs::remove_file(&draft) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let listener = UnixListener::bind(&draft).map_err(failed)?;
        std::fs::set_permissions(&draft, PermissionsExt::from_mode(0o600)).map_err(failed)?;
        std::fs::rename(&draft, path).map_err(failed)?;
        Ok(Self(listener))
    }
}

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
