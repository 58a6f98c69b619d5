//! WebSocket (RFC 6455; over HTTP/2: RFC 8441): two handshakes, one with the client and one with the upstream, and frames
//! passed on between them: judged where the policy judges messages, searched where the destination may hold a secret.
//!
//! Extensions are negotiated end to end where frames pass unread. Where they are read, none is offered to the upstream, so
//! every frame is plain.

mod frames;
mod handshake;
mod relay;

use std::sync::Arc;

use http::Response;
use tollgate_policy::Permit;
use tollgate_secrets::{Needles, Outbound};

pub(crate) use handshake::{Upgrade, read_upgrade};

use crate::Gate;
use crate::body::{Passage, Record, ReplyBody};
use crate::exchange::reply::{lost, pass_on, unsent};
use crate::exchange::{Asking, record_message};
use crate::live::Hold;
use crate::refusal::{Code, Refusal};
use crate::upstream::{Key, SendError};
use handshake::Opened;

/// A socket that may be opened, and what belongs to it as long as it lives.
pub(crate) struct Socket {
    pub(crate) gate: Arc<Gate>,
    pub(crate) number: u64,
    pub(crate) asking: Arc<Asking>,
    pub(crate) permit: Permit,
    pub(crate) key: Key,
    pub(crate) needles: Option<Arc<Needles>>,
    pub(crate) hold: Hold,
    pub(crate) record: Record,
}

impl Socket {
    /// Whether frames have to be read.
    fn is_read(&self) -> bool {
        self.is_judged() || self.needles.is_some()
    }

    /// Whether text messages are judged.
    fn is_judged(&self) -> bool {
        self.permit.requires_upgrade()
    }

    /// Judges one text message by the rules in force now, and records the judgement.
    fn judge(&self, text: &str) -> Result<(), Refusal> {
        record_message(&self.gate, &self.asking, self.number, text)
    }
}

/// Opens the socket: asks the upstream, and if it agrees answers the client and leaves a task that passes frames on.
pub(crate) async fn open(
    mut socket: Socket,
    upgrade: Upgrade,
    outbound: Outbound,
) -> Result<Response<ReplyBody>, Refusal> {
    let opening = handshake::open(&socket.gate.pool, &socket.key, outbound.into_parts(), socket.is_read());
    let opened = tokio::select! {
        biased;
        reason = socket.hold.lost() => Err(lost(&socket.asking, reason)),
        opened = opening => opened.map_err(|error| unsent(&socket.asking, &error, socket.needles.as_deref())),
    };
    let opened = opened.inspect_err(|refusal| {
        let problem = refusal.problem();
        socket.record.end(format!("{}: {}", problem.error.name(), problem.detail));
    })?;
    let reply = match opened {
        Opened::Refused(reply) => {
            let Socket { asking, needles, record, hold, .. } = socket;
            return pass_on(&asking, *reply, Passage::alone(needles, record, hold));
        }
        Opened::Switched(reply) => *reply,
    };
    let read = socket.is_read();
    let (mut head, upstream) = handshake::answer(reply, &upgrade, read, socket.needles.as_deref(), &mut socket.record)
        .map_err(|reason| {
            let error = SendError::Broken { authority: socket.key.authority.clone(), reason };
            Refusal::request(Code::UpstreamBroken, error.to_string(), socket.asking.asked())
        })?;
    let opaque = head.headers.contains_key(http::header::SEC_WEBSOCKET_EXTENSIONS);
    head.version = http::Version::HTTP_11;
    tokio::spawn(async move {
        match upgrade.into_stream().await {
            Ok(client) => relay::run(socket, client, upstream, opaque).await,
            Err(error) => socket.record.end(format!("the client left before its socket was open: {error}")),
        }
    });
    Ok(Response::from_parts(head, ReplyBody::empty()))
}
