//! One event of the Open Cybersecurity Schema Framework, version 1.8.0 (schema.ocsf.io).

use serde_json::{Map, Value, json};

use super::{Record, Severity};

/// The version of the schema.
const VERSION: &str = "1.8.0";

/// Numbers of the schema: a class with its category, and what of it happened.
struct Class {
    uid: u32,
    name: &'static str,
    category: (u32, &'static str),
    activity: (u32, &'static str),
}

const NETWORK: (u32, &str) = (4, "Network Activity");
const SYSTEM: (u32, &str) = (1, "System Activity");
const FINDINGS: (u32, &str) = (2, "Findings");
const DISCOVERY: (u32, &str) = (5, "Discovery");
const APPLICATION: (u32, &str) = (6, "Application Activity");
const OTHER: u32 = 99;

/// SHA-256 among `algorithm_id` of fingerprints.
const SHA_256: u32 = 3;

impl Record {
    /// The record as an OCSF event; `session` is the name of the sandbox or proxy whose journal it stands in.
    ///
    /// `metadata.sequence` and `metadata.uid` are the record's number and hash; what the schema has no field for, the links of
    /// the chain among it, stands in `unmapped` under the names of the journal.
    #[must_use]
    pub fn ocsf(&self, session: &str) -> Value {
        let class = self.class();
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                event.insert(name.to_owned(), value);
            }
        };
        put("class_uid", class.uid.into());
        put("class_name", class.name.into());
        put("category_uid", class.category.0.into());
        put("category_name", class.category.1.into());
        put("activity_id", class.activity.0.into());
        put("activity_name", class.activity.1.into());
        put("type_uid", (class.uid * 100 + class.activity.0).into());
        put("type_name", format!("{}: {}", class.name, class.activity.1).into());
        put("severity_id", (self.severity() as u32).into());
        put("severity", severity_name(self.severity()).into());
        put("time", self.time().map(|micros| micros.div_euclid(1000)).into());
        put("message", self.shorthand().into());
        put("metadata", self.metadata(session));
        let (action, disposition, status) = self.outcome();
        put("action_id", action.map(|(id, _)| id).into());
        put("action", action.map(|(_, name)| name).into());
        put("disposition_id", disposition.map(|(id, _)| id).into());
        put("disposition", disposition.map(|(_, name)| name).into());
        put("status_id", status.map(|(id, _)| id).into());
        put("status", status.map(|(_, name)| name).into());
        put("status_detail", self.filled(&["reason", "detail"]));
        put("status_code", self.filled(&["error"]));
        put("dst_endpoint", self.destination());
        put("src_endpoint", self.source());
        put("actor", self.actor());
        put("firewall_rule", self.firewall_rule());
        put("http_request", self.http_request());
        put("http_response", self.http_response());
        put("traffic", self.traffic());
        put("duration", self.number("milliseconds").into());
        put("query", self.query());
        put("app", self.app(&class));
        put("finding_info", self.finding());
        put("process", self.launched());
        put("unmapped", self.unmapped());
        Value::Object(event)
    }

    fn class(&self) -> Class {
        let class = |uid, name, category, activity| Class { uid, name, category, activity };
        let lifecycle = |activity| class(6002, "Application Lifecycle", APPLICATION, activity);
        match self.event() {
            "connection" if self.decision() == Some("denied") => {
                class(4001, "Network Activity", NETWORK, (5, "Refuse"))
            }
            "connection" => class(4001, "Network Activity", NETWORK, (1, "Open")),
            "tunnel" => class(4001, "Network Activity", NETWORK, (2, "Close")),
            "request" => class(4002, "HTTP Activity", NETWORK, method(self.text("method"))),
            "reply" => class(4002, "HTTP Activity", NETWORK, (OTHER, "Reply")),
            "dns" => class(4003, "DNS Activity", NETWORK, (1, "Query")),
            "agent" => class(1007, "Process Activity", SYSTEM, (1, "Launch")),
            "self-proof" => class(2004, "Detection Finding", FINDINGS, (1, "Create")),
            "policy" | "credential" => class(5019, "Device Config State Change", DISCOVERY, (1, "Log")),
            "open" => lifecycle((3, "Start")),
            "close" => lifecycle((4, "Stop")),
            _ => lifecycle((OTHER, "Other")),
        }
    }

    fn metadata(&self, session: &str) -> Value {
        let mut metadata = json!({
            "version": VERSION,
            "product": { "name": "Tollgate", "vendor_name": "Tollgate" },
            "log_name": session,
            "event_code": self.event(),
        });
        if let (Some(sequence), Some(fields)) = (self.number("seq"), metadata.as_object_mut()) {
            fields.insert("sequence".to_owned(), sequence.into());
            fields.insert("uid".to_owned(), self.text("hash").into());
        }
        metadata
    }

    /// Action, disposition and status.
    fn outcome(&self) -> (Option<Named>, Option<Named>, Option<Named>) {
        let (success, failure) = (Some((1, "Success")), Some((2, "Failure")));
        match (self.decision(), self.event(), self.text("outcome")) {
            (Some("allowed"), ..) => (Some((1, "Allowed")), Some((1, "Allowed")), success),
            (Some("denied"), ..) => (Some((2, "Denied")), Some((2, "Blocked")), failure),
            (Some(_), ..) => (Some((3, "Observed")), Some((17, "Logged")), success),
            (None, "policy", "refused") | (None, "self-proof", "surprised") => (None, None, failure),
            (None, "credential", "unusable" | "not-renewed") => (None, None, failure),
            (None, "reply" | "tunnel", outcome) if outcome != "complete" => (None, None, failure),
            (None, ..) => (None, None, success),
        }
    }

    fn filled(&self, names: &[&str]) -> Value {
        let texts = names.iter().map(|name| self.text(name));
        texts.into_iter().find(|text| !text.is_empty()).map(Value::from).unwrap_or_default()
    }

    fn destination(&self) -> Value {
        let Some((host, port)) = self.endpoint() else { return Value::Null };
        let name = if host.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "hostname" };
        let mut endpoint = json!({ name: host });
        if let Some(port) = port {
            endpoint["port"] = port.into();
        }
        endpoint
    }

    fn source(&self) -> Value {
        match self.text("client").parse::<std::net::SocketAddr>() {
            Ok(client) => json!({ "ip": client.ip().to_string(), "port": client.port() }),
            Err(_) => Value::Null,
        }
    }

    fn actor(&self) -> Value {
        let mut actor = Map::new();
        if let Some(path) = self.binary() {
            let name = path.rsplit('/').next().unwrap_or(path);
            let mut file = json!({ "path": path, "name": name, "type_id": 1 });
            if !self.text("binary_sha256").is_empty() {
                file["hashes"] = json!([{ "algorithm_id": SHA_256, "value": self.text("binary_sha256") }]);
            }
            actor.insert("process".to_owned(), json!({ "name": name, "pid": self.number("pid"), "file": file }));
        }
        if !self.text("agent").is_empty() {
            actor.insert("app_name".to_owned(), self.text("agent").into());
        }
        if actor.is_empty() { Value::Null } else { actor.into() }
    }

    fn firewall_rule(&self) -> Value {
        let name = self.text("policy");
        let kind = if self.event() == "request" { "l7" } else { "l4" };
        match (self.decision(), name) {
            (None, _) | (_, "") => Value::Null,
            _ => json!({ "name": name, "type": kind, "desc": self.text("rule") }),
        }
    }

    fn http_request(&self) -> Value {
        match self.event() {
            "request" => {
                let (host, port) = self.endpoint().unwrap_or_default();
                let (scheme, path) = (self.text("scheme"), self.text("path"));
                let whole = format!("{scheme}://{}{path}", self.text("authority"));
                let url =
                    json!({ "scheme": scheme, "hostname": host, "port": port, "path": path, "url_string": whole });
                json!({ "http_method": self.text("method"), "url": url, "uid": self.identified() })
            }
            "reply" => json!({ "uid": self.identified() }),
            _ => Value::Null,
        }
    }

    /// The number of the request in its session.
    fn identified(&self) -> String {
        self.number("request").unwrap_or(0).to_string()
    }

    fn http_response(&self) -> Value {
        match (self.event(), self.number("status")) {
            ("reply", Some(status)) => json!({ "code": status, "body_length": self.number("bytes") }),
            _ => Value::Null,
        }
    }

    fn traffic(&self) -> Value {
        let (in_bytes, out_bytes) = match self.event() {
            "reply" => (self.number("bytes"), self.number("sent")),
            "tunnel" => (self.number("down"), self.number("up")),
            _ => return Value::Null,
        };
        let total = in_bytes.unwrap_or(0) + out_bytes.unwrap_or(0);
        json!({ "bytes_in": in_bytes, "bytes_out": out_bytes, "bytes": total })
    }

    fn query(&self) -> Value {
        match self.event() {
            "dns" => json!({ "hostname": self.text("name"), "type": self.text("kind") }),
            _ => Value::Null,
        }
    }

    fn app(&self, class: &Class) -> Value {
        match class.uid {
            6002 => json!({ "name": "Tollgate", "vendor_name": "Tollgate", "version": self.filled(&["version"]) }),
            _ => Value::Null,
        }
    }

    fn finding(&self) -> Value {
        match self.event() {
            "self-proof" => {
                json!({ "title": format!("self-proof {}", self.text("outcome")), "uid": self.text("hash") })
            }
            _ => Value::Null,
        }
    }

    fn launched(&self) -> Value {
        let command = self.texts("command");
        match (self.event(), command.first()) {
            ("agent", Some(program)) => json!({ "name": program, "cmd_line": command.join(" ") }),
            _ => Value::Null,
        }
    }

    fn unmapped(&self) -> Value {
        let rest = self.0.iter().filter(|(name, _)| !MAPPED.contains(&name.as_str()));
        rest.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
    }
}

/// A number of the schema and its name.
type Named = (u32, &'static str);

/// Fields of a record that have a place in the schema, whatever the event.
const MAPPED: &[&str] = &[
    "time",
    "event",
    "authority",
    "binary",
    "pid",
    "binary_sha256",
    "client",
    "agent",
    "policy",
    "rule",
    "error",
    "reason",
    "detail",
    "method",
    "scheme",
    "path",
    "status",
    "bytes",
    "sent",
    "up",
    "down",
    "milliseconds",
    "name",
    "kind",
];

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
    }
}

fn method(method: &str) -> Named {
    const KNOWN: &[(&str, Named)] = &[
        ("CONNECT", (1, "Connect")),
        ("DELETE", (2, "Delete")),
        ("GET", (3, "Get")),
        ("HEAD", (4, "Head")),
        ("OPTIONS", (5, "Options")),
        ("POST", (6, "Post")),
        ("PUT", (7, "Put")),
        ("TRACE", (8, "Trace")),
        ("PATCH", (9, "Patch")),
    ];
    KNOWN.iter().find(|(name, _)| *name == method).map_or((OTHER, "Other"), |(_, activity)| *activity)
}
