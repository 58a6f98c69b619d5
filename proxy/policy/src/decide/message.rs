//! Text messages of a WebSocket that was opened with a permit.

use tollgate_inspect::graphql::{self, Message};
use tollgate_model::Ask;

use super::reason::{Reason, Unreadable};
use super::request::Judged;
use super::verdict::Decision;
use super::{Circumstances, Conditions};
use crate::compile::{HttpAsk, Policy, Scope};
use crate::document::Protocol;

/// What stands for the method of a text message in rules.
const TEXT_MESSAGE: &str = "WEBSOCKET_TEXT";

impl Policy {
    /// May the client send this text message? `ask` is the upgrade. Never answers that it needs a body.
    #[must_use]
    pub fn decide_message(&self, ask: &Ask<'_>, text: &str) -> Decision {
        self.decide_message_when(ask, text, &Circumstances::default())
    }

    /// The same under these circumstances.
    #[must_use]
    pub fn decide_message_when(&self, ask: &Ask<'_>, text: &str, conditions: &dyn Conditions) -> Decision {
        self.judge(ask, conditions, |judged, first| match first.reading.protocol {
            Some(Protocol::Websocket) => judged.message(first, text),
            // Other endpoints let an upgrade pass as the request that it is, and its messages unread.
            _ => judged.request(first, None),
        })
    }
}

impl Judged<'_, '_> {
    fn message(&self, first: &Scope, text: &str) -> Decision {
        let ask = HttpAsk { method: TEXT_MESSAGE, ..self.http_ask() };
        if let Some(rule) = self.readers().find_map(|scope| scope.deny.refusing(ask)) {
            let reason = Reason::DenyRule { operation: self.in_words_as(TEXT_MESSAGE), rule: rule.text.clone() };
            return self.refuse(first, reason);
        }
        let by_http = self.authoritative().find_map(|scope| scope.allow.allowing(ask));
        let not_permitted = || Reason::NotPermitted { operation: self.in_words_as(TEXT_MESSAGE) };
        if self.readers().all(|scope| scope.graphql.is_empty()) {
            return match by_http {
                Some(rule) => self.allow(first, rule),
                None => self.refuse(first, not_permitted()),
            };
        }
        match (graphql::from_message(text), by_http) {
            (Err(why), _) => {
                let why = Unreadable::from(why);
                self.deny(Reason::Unreadable { protocol: Protocol::Websocket, why })
            }
            (Ok(Message::Control), _) => self.allow(first, &first.own_origin("graphql: control message")),
            (Ok(Message::Operation(request)), by_http) => match (self.graphql_request(&request), by_http) {
                (Ok(rule), _) => self.allow(first, rule),
                // Only deny rules speak of operations here; what they let through is a message like any other.
                (Err(Reason::GraphqlNotPermitted { .. }), Some(rule)) if !self.graphql_allows() => {
                    self.allow(first, rule)
                }
                (Err(reason), _) => self.refuse(first, reason),
            },
        }
    }

    fn graphql_allows(&self) -> bool {
        self.authoritative().any(|scope| scope.graphql.allows_any())
    }
}
