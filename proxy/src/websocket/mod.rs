//! WebSocket (RFC 6455; over HTTP/2: RFC 8441): two handshakes, one with the client and one with the upstream, and frames
//! passed on between them: judged where the policy judges messages, searched where the destination may hold a secret.
//!
//! Extensions are negotiated end to end where frames pass unread. Where they are read, compression is agreed on with each side
//! apart, where both want it, and no other extension.

mod frames;
mod handshake;
mod relay;

use std::sync::Arc;

use http::Response;
use tollgate_policy::Permit;
use tollgate_secrets::Outbound;

pub(crate) use handshake::{Upgrade, read_upgrade};

use crate::Gate;
use crate::body::{Passage, ReplyBody};
use crate::course::Course;
use crate::exchange::reply::{lost, pass_on, unsent};
use crate::exchange::{Asking, lending, record_message};
use crate::refusal::{Code, Refusal};
use crate::search::Search;
use crate::upstream::{Key, SendError};
use handshake::Opened;

/// A socket that may be opened, and what belongs to it as long as it lives.
pub(crate) struct Socket {
    pub(crate) gate: Arc<Gate>,
    pub(crate) number: u64,
    pub(crate) asking: Arc<Asking>,
    pub(crate) permit: Permit,
    pub(crate) key: Key,
    pub(crate) search: Option<Search>,
    /// Whether credentials are exchanged in messages.
    pub(crate) lends: bool,
    pub(crate) course: Arc<Course>,
}

impl Socket {
    /// Whether frames have to be read.
    fn is_read(&self) -> bool {
        self.reads_messages() || self.search.is_some()
    }

    /// Whether the client's messages have to be whole before they may go on.
    fn reads_messages(&self) -> bool {
        self.permit.requires_upgrade() || self.lends
    }

    /// What goes up in the place of one text message; nothing where it is the message itself. Judged by the rules in force
    /// now and recorded where the policy judges messages.
    fn read(&self, text: &str) -> Result<Option<Vec<u8>>, Refusal> {
        if self.permit.requires_upgrade() {
            record_message(&self.gate, &self.asking, self.number, text)?;
        }
        let filled = lending::fill_message(&self.gate.rules.current(), &self.asking, text)?;
        let Some((filled, exchanged)) = filled else { return Ok(None) };
        self.course.note(|notes| {
            let new = exchanged.into_iter().filter(|name| !notes.exchanged.contains(name)).collect::<Vec<_>>();
            notes.exchanged.extend(new);
        });
        Ok(Some(filled))
    }
}

/// Opens the socket: asks the upstream, and if it agrees answers the client and leaves a task that passes frames on.
pub(crate) async fn open(
    mut socket: Socket,
    upgrade: Upgrade,
    outbound: Outbound,
) -> Result<Response<ReplyBody>, Refusal> {
    let read = socket.is_read();
    let opening = handshake::open(&socket.gate.pool, &socket.key, outbound.into_parts(), &upgrade, read);
    let opened = tokio::select! {
        biased;
        reason = socket.course.hold.lost() => Err(lost(&socket.asking, reason)),
        opened = opening => opened.map_err(|error| unsent(&socket.asking, &error, socket.search.as_mut())),
    };
    let opened = opened.inspect_err(|refusal| {
        let problem = refusal.problem();
        socket.course.end(format!("{}: {}", problem.error.name(), problem.detail));
    })?;
    let (reply, upstream_turn) = match opened {
        Opened::Refused(reply) if upgrade.is_opened_by(reply.status()) => {
            return Err(broken(&socket, format!("it answered {} and did not switch", reply.status())));
        }
        Opened::Refused(reply) => {
            let Socket { asking, search, course, .. } = socket;
            return pass_on(&asking, *reply, Passage::alone(search, course));
        }
        Opened::Switched(reply, turn) => (*reply, turn),
    };
    let answered = handshake::answer(reply, &upgrade, read, socket.search.as_mut(), &socket.course);
    let (mut head, upstream, extensions) = answered.map_err(|reason| broken(&socket, reason))?;
    head.version = http::Version::HTTP_11;
    tokio::spawn(async move {
        // Held on both connections for as long as the socket is open.
        let _turns = (upstream_turn, upgrade.turn.clone());
        match upgrade.into_stream().await {
            Ok(client) => {
                let gate = Arc::clone(&socket.gate);
                let relayed = Box::pin(relay::run(socket, client, upstream, extensions));
                gate.capacity.unless_cut(relayed).await;
            }
            Err(error) => socket.course.end(format!("the client left before its socket was open: {error}")),
        }
    });
    Ok(Response::from_parts(head, ReplyBody::empty()))
}

fn broken(socket: &Socket, reason: String) -> Refusal {
    let error = SendError::Broken { authority: socket.key.place.authority.clone(), reason };
    socket.course.end(error.to_string());
    Refusal::request(Code::UpstreamBroken, error.to_string(), socket.asking.asked())
}
