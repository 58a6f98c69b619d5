//! One line for people: `CLASS:ACTIVITY [SEVERITY] DECISION who -> where [policy:…] [reason:…]`.

use super::{Record, Severity};

impl Record {
    /// The record in one line, without its time. No control character of what a record holds gets through.
    #[must_use]
    pub fn shorthand(&self) -> String {
        let severity = match self.severity() {
            Severity::Informational => "INFO",
            Severity::Low => "LOW",
            Severity::Medium => "MED",
            Severity::High => "HIGH",
        };
        let (class, said) = self.said();
        let decision = self.decision().map(|decision| format!(" {}", decision.to_uppercase())).unwrap_or_default();
        let line = format!("{class} [{severity}]{decision}{}{said}", if said.is_empty() { "" } else { " " });
        line.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
    }

    /// Class and activity, and what there is to say.
    fn said(&self) -> (String, String) {
        let counted = |name: &str| self.number(name).unwrap_or(0);
        match self.event() {
            "connection" => ("NET:OPEN".into(), format!("{}{}", self.towards(), self.why(" engine:tollgate"))),
            "request" => (format!("HTTP:{}", self.text("method")), format!("{}{}", self.asked(), self.why(""))),
            "reply" => {
                let (status, bytes, sent) = (counted("status"), counted("bytes"), counted("sent"));
                let said = format!("{status} request:{} in:{bytes} out:{sent}{}", counted("request"), self.ended());
                ("HTTP:REPLY".into(), said)
            }
            "tunnel" => {
                let (up, down) = (counted("up"), counted("down"));
                let said = format!("connection:{} in:{down} out:{up}{}", counted("connection"), self.ended());
                ("NET:CLOSE".into(), said)
            }
            "dns" => {
                let said = format!("{} {} [{}]", self.text("kind"), self.text("name"), self.text("outcome"));
                ("DNS:QUERY".into(), said)
            }
            "policy" => {
                let outcome = if self.text("outcome") == "refused" { "REFUSED" } else { "LOADED" };
                let hash = self.text("policy_sha256").get(..12).unwrap_or_default();
                let said = format!("policy generation {} ({hash}): {}", counted("generation"), self.text("detail"));
                (format!("CONFIG:{outcome}"), said)
            }
            "credential" => {
                let detail = bracketed("reason", self.text("detail"));
                let said = format!("credential {} {}{detail}", self.text("credential"), self.text("outcome"));
                ("CONFIG:CREDENTIAL".into(), said)
            }
            "self-proof" => {
                let said = format!("self-proof {}, {} attempts", self.text("outcome"), self.texts("attempts").len());
                ("FINDING:CREATE".into(), said)
            }
            "agent" => ("PROC:LAUNCH".into(), self.texts("command").join(" ")),
            "segment" => {
                let (follows, records) = (self.text("follows"), counted("records"));
                ("APP:SEGMENT".into(), format!("follows {follows}, {records} records"))
            }
            "open" => ("APP:START".into(), format!("tollgate {}", self.text("version"))),
            "close" => ("APP:STOP".into(), self.text("reason").to_owned()),
            "notice" => ("APP:NOTICE".into(), self.text("detail").to_owned()),
            other => (format!("APP:{}", other.to_uppercase()), String::new()),
        }
    }

    /// `PROGRAM(PID) -> HOST:PORT`.
    fn towards(&self) -> String {
        match self.who() {
            Some(who) => format!("{who} -> {}", self.text("authority")),
            None => self.text("authority").to_owned(),
        }
    }

    /// `METHOD URL [by:PROGRAM(PID)]`.
    fn asked(&self) -> String {
        let (scheme, authority, path) = (self.text("scheme"), self.text("authority"), self.text("path"));
        let by = self.who().map(|who| bracketed("by", &who)).unwrap_or_default();
        format!("{} {scheme}://{authority}{path}{by}", self.text("method"))
    }

    fn who(&self) -> Option<String> {
        let program = self.binary().map(|path| format!("{path}({})", self.number("pid").unwrap_or(0)));
        let named = |name: &str| Some(self.text(name).to_owned()).filter(|name| !name.is_empty());
        named("agent").or_else(|| named("client")).or(program)
    }

    /// Which entry decided and why it was refused.
    fn why(&self, engine: &str) -> String {
        let policy = Some(self.text("policy")).filter(|name| !name.is_empty()).unwrap_or("-");
        format!(" [policy:{policy}{engine}]{}", bracketed("reason", self.text("reason")))
    }

    fn ended(&self) -> String {
        format!(" {}ms [{}]", self.number("milliseconds").unwrap_or(0), self.text("outcome"))
    }
}

fn bracketed(name: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" [{name}:{text}]") }
}
