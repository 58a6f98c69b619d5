//! The way back: send what was admitted, and pass on what the upstream answers.

use std::sync::Arc;

use http::{Response, header};
use hyper::body::Incoming;

use super::{Admitted, Stage, headers, lending};
use crate::body::{Passage, ReplyBody, scrub_headers};
use crate::course::Course;
use crate::exchange::Asking;
use crate::refusal::{Code, Dialect, Refusal};
use crate::search::Search;
use crate::upstream::{DialError, ResolveError, SendError};
use crate::websocket;

impl Stage {
    pub(super) async fn forward(&self, admitted: Admitted) -> Result<Response<ReplyBody>, Refusal> {
        let Admitted { asking, permit, outbound, upgrade, body, key, mut search, course } = admitted;
        if let Some(upgrade) = upgrade {
            let gate = Arc::clone(&self.gate);
            let number = self.number;
            let lends = outbound.messages().is_some();
            let socket = websocket::Socket { gate, number, asking, permit, key, search, lends, course };
            // What is rare has a place of its own: every request would take up its kilobytes as well.
            return Box::pin(websocket::open(socket, upgrade, outbound)).await;
        }
        let sent = tokio::select! {
            biased;
            reason = course.hold.lost() => {
                course.end(format!("cut: {reason}"));
                return Err(lost(&asking, reason));
            }
            sent = self.gate.pool.send(&key, outbound, body) => sent,
        };
        match sent {
            Ok((reply, loan)) => {
                let passage = Passage { search, course, loan: Some(loan), grpc: self.dialect == Dialect::Grpc };
                pass_on(&asking, reply, passage)
            }
            Err(error) => {
                let refusal = match course.note(|notes| notes.unexchanged.take()) {
                    Some(error) => lending::refuse(&asking, &error),
                    None => unsent(&asking, &error, search.as_mut()),
                };
                course.end(format!("{}: {}", refusal.problem().error.name(), refusal.problem().detail));
                Err(refusal)
            }
        }
    }
}

/// Passes a reply on, searched for secrets where the destination may hold some.
pub(crate) fn pass_on(
    asking: &Asking,
    reply: Response<Incoming>,
    mut passage: Passage,
) -> Result<Response<ReplyBody>, Refusal> {
    let (mut parts, body) = reply.into_parts();
    passage.course.note(|notes| notes.status = parts.status.as_u16());
    // The HTTP library keeps the upstream's reason phrase there and would write it out again, unsearched.
    parts.extensions = http::Extensions::new();
    parts.version = http::Version::HTTP_11;
    if let Err(why) = headers::check_framing(parts.status, &parts.headers) {
        passage.course.end(why);
        let detail = format!("the reply of {} cannot be passed on: {why}", asking.place.authority);
        return Err(Refusal::request(Code::UpstreamBroken, detail, asking.asked()));
    }
    let mut coding = None;
    if let Some(search) = &mut passage.search {
        // Before the headers of the hop go: one of them may name what hides the body.
        coding = headers::check_readable(parts.status, &parts.headers).map_err(|why| {
            passage.course.end(why.clone());
            Refusal::request(Code::ReplyNotReadable, why, asking.asked())
        })?;
        let scrubbed = scrub_headers(&mut parts.headers, search);
        passage.course.note(|notes| notes.scrubbed += scrubbed);
        if coding.is_some() {
            headers::mark_decoded(&mut parts.headers);
        } else if !search.keeps_length() {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
    }
    headers::clean_reply(&mut parts.headers);
    Ok(Response::from_parts(parts, ReplyBody::passed(body, coding, passage)))
}

/// The refusal of a request that lost its permission before there was a reply.
pub(crate) fn lost(asking: &Asking, reason: &str) -> Refusal {
    let detail = "the policy changed while this request was under way, and no longer permits it";
    Refusal::request(Code::PolicyDenied, detail, asking.asked()).because(reason.to_owned(), "", String::new())
}

/// What an upstream did wrong, in words that may be its own and so are searched like any reply.
pub(crate) fn unsent(asking: &Asking, error: &SendError, search: Option<&mut Search>) -> Refusal {
    let detail = error.to_string();
    let clean = search.and_then(|search| search.whole(detail.as_bytes()));
    let detail = clean.map_or(detail, |clean| String::from_utf8_lossy(&clean).into_owned());
    Refusal::request(code(error), detail, asking.origin.asked(&asking.place.authority))
}

/// The refusal of a connection whose upstream cannot be reached.
pub(crate) fn code(error: &SendError) -> Code {
    match error {
        SendError::Dial(error) => dial_code(error),
        SendError::Busy(_) => Code::UpstreamBusy,
        SendError::Upload(_) => Code::InvalidRequest,
        SendError::NoHttp2(_) | SendError::Broken { .. } => Code::UpstreamBroken,
    }
}

pub(crate) fn dial_code(error: &DialError) -> Code {
    match error {
        DialError::Resolve(ResolveError::Forbidden { .. }) => Code::SsrfDenied,
        DialError::Resolve(ResolveError::NoAddress(..)) | DialError::Connect { .. } => Code::UpstreamUnreachable,
        DialError::Timeout { .. } => Code::UpstreamTimeout,
        DialError::Full { .. } => Code::UpstreamBusy,
        DialError::Tls { .. } => Code::UpstreamTlsFailed,
    }
}

/// A loan is given back by the body that used it.
impl Passage {
    pub(crate) fn alone(search: Option<Search>, course: Arc<Course>) -> Self {
        Self { search, course, loan: None, grpc: false }
    }
}
