//! Policy DNS: names that the policy can reach get an address of the sandbox's own; every other name does not exist.
//!
//! No query ever leaves: real resolution happens at the gate, when a request to the name has been allowed. HTTPS and SVCB
//! questions are answered empty, so that clients do not turn to QUIC or Encrypted Client Hello.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket as StdUdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UdpSocket;
use tollgate_audit::Event;
use tollgate_model::Host;

use super::accept::Accepted;
use super::names;
use crate::Gate;

/// Answers one question; nothing for bytes that are no question, and nothing when it cannot be recorded.
fn answer(gate: &Gate, query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok().filter(|m| m.metadata.message_type == MessageType::Query)?;
    let mut reply = Message::error_msg(query.metadata.id, query.metadata.op_code, ResponseCode::NoError);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    if query.edns.is_some() {
        reply.set_edns(Edns::new());
    }
    match query.queries.as_slice() {
        [question] if query.metadata.op_code == OpCode::Query && question.query_class() == DNSClass::IN => {
            reply.add_query(question.clone());
            let outcome = resolve(gate, question.name(), question.query_type(), &mut reply);
            let name: String = question.name().to_string().chars().take(MAX_SHOWN_NAME).collect();
            let kind = question.query_type().to_string();
            gate.journal.record(&Event::Dns { name: &name, kind: &kind, outcome }).ok()?;
        }
        _ => reply.metadata.response_code = ResponseCode::NotImp,
    }
    reply.to_vec().ok()
}

fn resolve(gate: &Gate, name: &Name, kind: RecordType, reply: &mut Message) -> &'static str {
    let asked = name.to_ascii();
    let host = Host::parse(&asked).ok().filter(|host| gate.rules.current().policy.admits_host(host));
    let Some(host) = host.as_ref().and_then(Host::name) else {
        return refuse(reply, ResponseCode::NXDomain, "no policy entry covers this name");
    };
    if !matches!(kind, RecordType::A | RecordType::AAAA) {
        return "empty";
    }
    let Some(number) = gate.names.number(host) else {
        return refuse(reply, ResponseCode::ServFail, "this sandbox has asked for too many names");
    };
    let data = match kind {
        RecordType::A => RData::A(A(names::v4(number))),
        _ => RData::AAAA(AAAA(names::v6(number))),
    };
    reply.add_answer(Record::from_rdata(name.clone(), TTL_SECONDS, data));
    "answered"
}

fn refuse(reply: &mut Message, code: ResponseCode, why: &str) -> &'static str {
    reply.metadata.response_code = code;
    if let Some(edns) = reply.edns.as_mut() {
        let mut option = EDE_BLOCKED.to_be_bytes().to_vec();
        option.extend_from_slice(why.as_bytes());
        edns.options_mut().insert(EdnsOption::Unknown(EDE_OPTION, option));
    }
    "refused"
}

/// Answers datagrams for as long as the runtime lives.
pub(super) fn spawn_udp(gate: &Arc<Gate>, socket: StdUdpSocket) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        loop {
            match receive(&socket).await {
                Ok(datagram) => {
                    if let Some(reply) = answer(&gate, &datagram.bytes) {
                        send(&socket, &datagram, &reply).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "a DNS datagram could not be read"),
            }
        }
    });
    Ok(())
}

/// A datagram and the two addresses it travelled between: the answer must come from where the question went.
struct Datagram {
    bytes: Vec<u8>,
    client: SockaddrStorage,
    server: Option<ControlMessageOwned>,
}

async fn receive(socket: &UdpSocket) -> std::io::Result<Datagram> {
    socket
        .async_io(Interest::READABLE, || {
            let mut bytes = vec![0; MAX_DATAGRAM];
            let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let message =
                recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
            let client = message.address.ok_or(std::io::ErrorKind::InvalidData)?;
            let server = message.cmsgs()?.next();
            let read = message.bytes;
            bytes.truncate(read);
            Ok(Datagram { bytes, client, server })
        })
        .await
}

async fn send(socket: &UdpSocket, datagram: &Datagram, reply: &[u8]) {
    let sent = socket
        .async_io(Interest::WRITABLE, || {
            let parts = [IoSlice::new(reply)];
            let (v4, v6);
            let from = match &datagram.server {
                Some(ControlMessageOwned::Ipv4PacketInfo(info)) => {
                    v4 = nix::libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ..*info };
                    Some(ControlMessage::Ipv4PacketInfo(&v4))
                }
                Some(ControlMessageOwned::Ipv6PacketInfo(info)) => {
                    v6 = nix::libc::in6_pktinfo { ipi6_ifindex: 0, ..*info };
                    Some(ControlMessage::Ipv6PacketInfo(&v6))
                }
                _ => None,
            };
            let control = from.as_slice();
            sendmsg(socket.as_raw_fd(), &parts, control, MsgFlags::empty(), Some(&datagram.client)).map_err(Into::into)
        })
        .await;
    if let Err(error) = sent {
        tracing::debug!(%error, "a DNS answer could not be sent");
    }
}

/// Questions over TCP: two bytes of length before each message (RFC 1035, section 4.2.2).
pub(super) async fn serve_tcp(gate: Arc<Gate>, accepted: Accepted) {
    let Accepted { mut stream, slot: _slot, .. } = accepted;
    while let Ok(Ok(length)) = tokio::time::timeout(TCP_IDLE, stream.read_u16()).await {
        let mut query = vec![0; usize::from(length)];
        let read = tokio::time::timeout(TCP_IDLE, stream.read_exact(&mut query)).await;
        if !matches!(read, Ok(Ok(_))) {
            return;
        }
        let Some(reply) = answer(&gate, &query) else { return };
        let Ok(length) = u16::try_from(reply.len()) else { return };
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        let written = tokio::time::timeout(TCP_IDLE, stream.write_all(&framed)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// A question fits well below this even with EDNS padding.
const MAX_DATAGRAM: usize = 4096;

/// A client that says nothing for this long has its connection closed (RFC 7766, section 6.2.3).
const TCP_IDLE: Duration = Duration::from_secs(10);

/// An answer stays true as long as the sandbox lives; this bounds what a client keeps after a policy was narrowed.
const TTL_SECONDS: u32 = 30;

/// Extended DNS Errors (RFC 8914): the option, and info code 15, "Blocked".
const EDE_OPTION: u16 = 15;
const EDE_BLOCKED: u16 = 15;

/// Longest name that the journal shows; valid ones fit.
const MAX_SHOWN_NAME: usize = 255;
