//! The one spelling of a document: fields in schema order, keys sorted, what is empty or default left out.
//!
//! Stable byte for byte, so that equal text means equal documents, and readable again. YAML and JSON have the same shape.

mod layout;
#[cfg(test)]
mod tests;
mod value;

use value::{Fields, Value, single, text};

use super::{
    AnyOf, ArgumentMatcher, Clock, CredentialBinding, Document, Endpoint, Entry, Filesystem, Middleware, OnError,
    Process, RegisteredQuery, Rule, Slot, TimeWindow, VERSION, When,
};
use crate::document::{Compatibility, McpOptions};
use crate::glob::{PathGlob, TextGlob};

impl Document {
    /// The canonical YAML text.
    #[must_use]
    pub fn canonical(&self) -> String {
        layout::yaml(&self.canonical_value().into())
    }

    /// The canonical JSON text, indented.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        serde_json::to_string_pretty(&Value::from(self.canonical_value()))
            .expect("maps with text keys can always be written")
    }

    fn canonical_value(&self) -> Fields<'_> {
        let mut fields = Fields::default();
        fields.put("version", VERSION);
        fields.some("filesystem_policy", self.filesystem_policy.as_ref().map(filesystem));
        fields.some("landlock", self.landlock.map(landlock));
        fields.full("process", self.process.as_ref().map(process).unwrap_or_default());
        fields.full("network_policies", self.network_policies.iter().map(|(key, one)| (&**key, entry(one))).collect());
        let stages = self.network_middlewares.iter();
        fields.full("network_middlewares", stages.map(|(key, one)| (&**key, middleware(key, one))).collect());
        fields.full("x-tollgate", credentials(&self.credentials));
        fields
    }
}

/// One entry as a document of its own, for previews and hints.
#[must_use]
pub fn fragment(key: &str, one: &Entry) -> String {
    let mut fields = Fields::default();
    fields.put("network_policies", Fields::from_iter([(key, entry(one))]));
    layout::yaml(&fields.into())
}

fn filesystem(section: &Filesystem) -> Fields<'_> {
    let mut fields = Fields::default();
    fields.flag("include_workdir", section.include_workdir);
    fields.list("read_only", &section.read_only, text);
    fields.list("read_write", &section.read_write, text);
    fields
}

fn landlock(compatibility: Compatibility) -> Fields<'static> {
    let mut fields = Fields::default();
    fields.put("compatibility", compatibility.as_str());
    fields
}

fn process(section: &Process) -> Fields<'_> {
    let mut fields = Fields::default();
    fields.some("run_as_user", section.run_as_user.as_deref());
    fields.some("run_as_group", section.run_as_group.as_deref());
    fields
}

fn entry(entry: &Entry) -> Value<'_> {
    let mut fields = Fields::default();
    fields.put("name", &*entry.name);
    fields.list("endpoints", &entry.endpoints, endpoint);
    // An empty list means nobody, which leaving it out would not.
    fields.some(
        "binaries",
        entry
            .binaries
            .as_ref()
            .map(|binaries| Value::List(binaries.iter().map(|binary| single("path", binary.path.as_str())).collect())),
    );
    let mut extension = Fields::default();
    extension.some("when", entry.when.as_ref().map(when));
    extension.some("upgrades", entry.upgrades.then_some(true));
    fields.full("x-tollgate", extension);
    fields.into()
}

fn endpoint(endpoint: &Endpoint) -> Value<'_> {
    let mut fields = Fields::default();
    fields.some("host", endpoint.host.as_ref().map(|host| host.as_str()));
    fields.some("path", endpoint.path.as_ref().map(PathGlob::as_str));
    match &endpoint.ports[..] {
        [one] => fields.put("port", one.get()),
        many => fields.list("ports", many, |port| port.get().into()),
    }
    fields.some("protocol", endpoint.protocol.map(|protocol| protocol.as_str()));
    fields.some("tls", endpoint.tls.map(|tls| tls.as_str()));
    fields.some("enforcement", endpoint.enforcement.map(|enforcement| enforcement.as_str()));
    fields.some("access", endpoint.access.map(|access| access.as_str()));
    fields.list("rules", &endpoint.rules, |one| single("allow", rule(one)));
    fields.list("allowed_ips", &endpoint.allowed_ips, |range| range.to_string().into());
    fields.list("deny_rules", &endpoint.deny_rules, rule);
    fields.flag("allow_encoded_slash", endpoint.allow_encoded_slash);
    fields.flag("websocket_credential_rewrite", endpoint.websocket_credential_rewrite);
    fields.flag("request_body_credential_rewrite", endpoint.request_body_credential_rewrite);
    fields.flag("allow_uninspected_credentials", endpoint.allow_uninspected_credentials);
    graphql_options(endpoint, &mut fields);
    fields.some("credential_signing", endpoint.credential_signing.map(|signing| signing.as_str()));
    fields.some("signing_service", endpoint.signing_service.as_deref());
    fields.some("signing_region", endpoint.signing_region.as_deref());
    fields.some("credential_binding", endpoint.credential_binding.as_deref().map(|name| single("provider", name)));
    let limit = |bytes| single("max_body_bytes", bytes);
    fields.some("json_rpc", endpoint.json_rpc_max_body_bytes.map(limit));
    fields.full("mcp", endpoint.mcp.map(mcp).unwrap_or_default());
    fields.into()
}

fn graphql_options<'d>(endpoint: &'d Endpoint, fields: &mut Fields<'d>) {
    fields.some("persisted_queries", endpoint.persisted_queries.map(|persisted| persisted.as_str()));
    let registry = endpoint.graphql_persisted_queries.iter();
    fields.full("graphql_persisted_queries", registry.map(|(id, query)| (&**id, registered(query))).collect());
    fields.some("graphql_max_body_bytes", endpoint.graphql_max_body_bytes);
}

fn registered(query: &RegisteredQuery) -> Value<'_> {
    let mut fields = Fields::default();
    fields.put("operation_type", query.operation_type.as_str());
    fields.some("operation_name", query.operation_name.as_deref());
    fields.list("fields", &query.fields, text);
    fields.into()
}

fn mcp(options: McpOptions) -> Fields<'static> {
    let mut fields = Fields::default();
    fields.some("max_body_bytes", options.max_body_bytes);
    fields.some("strict_tool_names", (!options.strict_tool_names).then_some(false));
    fields.flag("allow_all_known_mcp_methods", options.allow_all_known_mcp_methods);
    fields
}

fn rule(rule: &Rule) -> Value<'_> {
    let mut fields = Fields::default();
    fields.some("method", rule.method.as_deref());
    fields.some("path", rule.path.as_ref().map(PathGlob::as_str));
    fields.full("query", rule.query.iter().map(|(name, globs)| (&**name, any_of(globs))).collect());
    fields.some("operation_type", rule.operation_type.map(|kind| kind.as_str()));
    fields.some("operation_name", rule.operation_name.as_ref().map(TextGlob::as_str));
    fields.list("fields", &rule.fields, |glob| text(glob.as_str()));
    fields.some("tool", rule.tool.as_ref().map(any_of));
    let arguments = rule.arguments.iter();
    fields.full("params", arguments.map(|(path, one)| (format!("arguments.{path}"), argument(one))).collect());
    fields.into()
}

fn any_of(globs: &AnyOf) -> Value<'_> {
    match &globs.globs[..] {
        [one] => text(one.as_str()),
        many => single("any", Value::List(many.iter().map(|glob| text(glob.as_str())).collect())),
    }
}

fn argument(matcher: &ArgumentMatcher) -> Value<'_> {
    match matcher {
        ArgumentMatcher::Text(globs) => any_of(globs),
        ArgumentMatcher::Bool(flag) => (*flag).into(),
        ArgumentMatcher::Number(number) => match number.as_i64() {
            Some(whole) => Value::Whole(whole),
            None => Value::Fraction(number.as_f64().unwrap_or_default()),
        },
    }
}

fn middleware<'d>(key: &str, stage: &'d Middleware) -> Value<'d> {
    let mut fields = Fields::default();
    fields.some("name", (*stage.name != *key).then_some(&*stage.name));
    fields.put("middleware", &*stage.middleware);
    fields.some("order", (stage.order != 0).then_some(stage.order));
    let has_fields = stage.config.as_object().is_some_and(|map| !map.is_empty());
    fields.some("config", has_fields.then_some(Value::Free(&stage.config)));
    fields.some(
        "on_error",
        stage.on_error.map(|on_error| match on_error {
            OnError::FailClosed => "fail_closed",
            OnError::FailOpen => "fail_open",
        }),
    );
    let mut endpoints = Fields::default();
    endpoints.list("include", &stage.include, text);
    endpoints.list("exclude", &stage.exclude, text);
    fields.full("endpoints", endpoints);
    fields.into()
}

fn credentials(bindings: &[CredentialBinding]) -> Fields<'_> {
    let mut names: Vec<&str> = bindings.iter().map(|binding| &*binding.credential).collect();
    names.sort_unstable();
    names.dedup();
    let of = |name: &str| {
        let own = bindings.iter().filter(|one| &*one.credential == name);
        single("bindings", Value::List(own.map(binding).collect()))
    };
    let mut extension = Fields::default();
    extension.full("credentials", names.into_iter().map(|name| (name, of(name))).collect());
    extension
}

fn binding(binding: &CredentialBinding) -> Value<'_> {
    let mut fields = Fields::default();
    fields.put("host", binding.host.as_str());
    fields.put("port", binding.port.get());
    let (name, place) = match &binding.slot {
        Slot::Header(name) => ("header", &**name),
        Slot::Query(name) => ("query", &**name),
        Slot::Path(template) => ("path_template", template.as_str()),
        Slot::Cookie(name) => ("cookie", &**name),
        Slot::Body(name) => ("body", name.as_deref().unwrap_or("*")),
        Slot::WebSocket(name) => ("websocket", name.as_deref().unwrap_or("*")),
    };
    fields.put(name, place);
    fields.some("path", binding.path.as_ref().map(PathGlob::as_str));
    fields.list("method", &binding.methods, text);
    fields.some(
        "binaries",
        binding
            .binaries
            .as_ref()
            .map(|binaries| Value::List(binaries.iter().map(|path| text(path.as_str())).collect())),
    );
    fields.flag("allow_cleartext", binding.allow_cleartext);
    fields.into()
}

fn when(when: &When) -> Value<'_> {
    let mut fields = Fields::default();
    fields.list("agent", &when.agent, |glob| text(glob.as_str()));
    fields.list("user", &when.user, |glob| text(glob.as_str()));
    fields.list("sensitivity", &when.sensitivity, text);
    fields.some("time", when.time.as_ref().map(window));
    fields.some("not_before", when.not_before.map(instant));
    fields.some("expires", when.expires.map(instant));
    fields.into()
}

fn window(window: &TimeWindow) -> Value<'_> {
    let mut fields = Fields::default();
    fields.list("days", &window.days, |day| format!("{day:?}").to_lowercase().into());
    fields.put("from", clock(window.from));
    fields.put("to", clock(window.to));
    if window.utc_offset != 0 {
        let sign = if window.utc_offset < 0 { '-' } else { '+' };
        let minutes = window.utc_offset.unsigned_abs() / 60;
        fields.put("utc_offset", format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
    }
    fields.into()
}

fn clock(Clock(minutes): Clock) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn instant(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|instant| instant.to_string()).unwrap_or_default()
}
