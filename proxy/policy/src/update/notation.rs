//! How changes are written: `host:port[:access[:protocol[:enforcement[:options]]]]` and `host:port:METHOD:path`.

use tollgate_model::Port;

use super::{Addition, Destination, Operation};
use crate::document::{Access, Cidr, Endpoint, Enforcement, Protocol, Rule, other_spelling};
use crate::glob::PathGlob;
use crate::hosts::HostPattern;

/// Why a text is no change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {why}")]
pub struct NotationError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Operation {
    /// Reads what `--add-endpoint` takes; `entry` is `--rule-name`, `binaries` are `--binary`.
    ///
    /// # Errors
    /// [`NotationError`].
    pub fn add_endpoint(text: &str, entry: Option<&str>, binaries: &[String]) -> Result<Self, NotationError> {
        let endpoint = endpoint(text).map_err(|why| wrong(text, why))?;
        let mut globs: Vec<PathGlob> = Vec::new();
        for binary in binaries {
            let glob = binary_path(binary).map_err(|why| wrong(binary, why))?;
            if globs.iter().all(|known| known.as_str() != glob.as_str()) {
                globs.push(glob);
            }
        }
        Ok(Self::AddEndpoint(Addition { entry: entry.map(Into::into), endpoint, binaries: globs }))
    }

    /// Reads what `--remove-endpoint` takes: `host:port`.
    ///
    /// # Errors
    /// [`NotationError`].
    pub fn remove_endpoint(text: &str) -> Result<Self, NotationError> {
        match text.split(':').collect::<Vec<_>>()[..] {
            [host, port] => destination(host, port).map(Self::RemoveEndpoint),
            _ => Err("write host:port".to_owned()),
        }
        .map_err(|why| wrong(text, why))
    }

    /// What `--remove-rule` takes: the key of an entry.
    #[must_use]
    pub fn remove_entry(key: &str) -> Self {
        Self::RemoveEntry(key.into())
    }

    /// Reads what `--add-allow` takes: `host:port:METHOD:path`.
    ///
    /// # Errors
    /// [`NotationError`].
    pub fn add_allow(text: &str) -> Result<Self, NotationError> {
        rule(text).map(|(destination, rule)| Self::AddAllow(destination, rule)).map_err(|why| wrong(text, why))
    }

    /// Reads what `--add-deny` takes: `host:port:METHOD:path`.
    ///
    /// # Errors
    /// [`NotationError`].
    pub fn add_deny(text: &str) -> Result<Self, NotationError> {
        rule(text).map(|(destination, rule)| Self::AddDeny(destination, rule)).map_err(|why| wrong(text, why))
    }
}

fn wrong(text: &str, why: String) -> NotationError {
    NotationError { text: text.to_owned(), why }
}

fn destination(host: &str, port: &str) -> Result<Destination, String> {
    let host = HostPattern::parse(&host.to_lowercase()).map_err(|e| e.to_string())?;
    let port = port.parse::<Port>().map_err(|_| format!("`{port}` is no port from 1 to 65535"))?;
    Ok(Destination { host, port })
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let parts: Vec<_> = text.split(':').collect();
    let part = |index: usize| parts.get(index).copied().filter(|part| !part.is_empty());
    if !(2..=6).contains(&parts.len()) {
        return Err("write host:port[:access[:protocol[:enforcement[:options]]]]".to_owned());
    }
    if matches!(parts.len(), 3 | 6) && parts.last().is_some_and(|last| last.is_empty()) {
        return Err("there is nothing after the last colon".to_owned());
    }
    let Destination { host, port } = destination(parts[0], parts[1])?;
    let mut endpoint = Endpoint { host: Some(host), ports: vec![port], ..Endpoint::default() };
    endpoint.access = part(2).map(access).transpose()?;
    endpoint.protocol = part(3).map(protocol).transpose()?;
    endpoint.enforcement = part(4).map(enforcement).transpose()?;
    match endpoint.protocol {
        None if endpoint.enforcement.is_some() => return Err("an enforcement needs a protocol".to_owned()),
        Some(Protocol::Tcp) if endpoint.enforcement.is_some() || endpoint.access.is_some() => {
            return Err("tcp has neither access nor enforcement: its bytes are not read".to_owned());
        }
        _ => {}
    }
    for option in part(5).into_iter().flat_map(|options| options.split(',')) {
        set(&mut endpoint, option)?;
    }
    Ok(endpoint)
}

fn access(text: &str) -> Result<Access, String> {
    let all = [Access::ReadOnly, Access::ReadWrite, Access::Full];
    let found = all.into_iter().find(|access| access.as_str() == text);
    found.ok_or_else(|| format!("`{text}` is no access; write read-only, read-write or full"))
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let all = [Protocol::Tcp, Protocol::Rest, Protocol::Websocket];
    let found = all.into_iter().find(|protocol| protocol.as_str() == text);
    found.ok_or_else(|| {
        format!("`{text}` cannot be added like this; write tcp, rest or websocket, or set the whole policy")
    })
}

fn enforcement(text: &str) -> Result<Enforcement, String> {
    let all = [Enforcement::Enforce, Enforcement::Audit];
    let found = all.into_iter().find(|enforcement| enforcement.as_str() == text);
    found.ok_or_else(|| format!("`{text}` is no enforcement; write enforce or audit"))
}

fn set(endpoint: &mut Endpoint, option: &str) -> Result<(), String> {
    let is_http = matches!(endpoint.protocol, Some(Protocol::Rest | Protocol::Websocket));
    match option.split_once('=').unwrap_or((option, "")) {
        ("allow-uninspected-credentials", "") => endpoint.allow_uninspected_credentials = true,
        ("websocket-credential-rewrite", "") if is_http => endpoint.websocket_credential_rewrite = true,
        ("request-body-credential-rewrite", "") if endpoint.protocol == Some(Protocol::Rest) => {
            endpoint.request_body_credential_rewrite = true;
        }
        ("websocket-credential-rewrite" | "request-body-credential-rewrite", "") => {
            return Err(format!("`{option}` does not go with this protocol"));
        }
        ("allowed-ip", range) => {
            endpoint.allowed_ips.push(range.parse::<Cidr>().map_err(|e| format!("`{range}`: {e}"))?);
        }
        _ => {
            return Err(format!(
                "`{option}` is no option; write allow-uninspected-credentials, websocket-credential-rewrite, \
                 request-body-credential-rewrite or allowed-ip=RANGE"
            ));
        }
    }
    Ok(())
}

fn rule(text: &str) -> Result<(Destination, Rule), String> {
    let parts: Vec<_> = text.split(':').collect();
    let [host, port, method, path] = parts[..] else {
        return Err("write host:port:METHOD:path; a path with a colon takes the whole policy".to_owned());
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    if method.is_empty() || method.len() > MAX_METHOD_BYTES || method.contains(is_odd) {
        return Err("the method is missing, too long or has a blank; write GET, or * for any".to_owned());
    }
    if !path.starts_with('/') && path != "**" && !path.starts_with("**/") {
        return Err("the path has to begin with / or **".to_owned());
    }
    if let Some(canonical) = other_spelling(path) {
        return Err(format!("the path never matches, since paths are compared in canonical form; write `{canonical}`"));
    }
    let glob = PathGlob::parse(path).map_err(|e| format!("the path cannot be read: {e}"))?;
    let rule = Rule { method: Some(method.to_uppercase().into()), path: Some(glob), ..Rule::default() };
    Ok((destination(host, port)?, rule))
}

fn binary_path(text: &str) -> Result<PathGlob, String> {
    if !text.starts_with('/') {
        return Err("a program is named by its absolute path".to_owned());
    }
    if text.contains(['?', '[', '{']) && !text.contains('*') {
        return Err("it looks like a pattern but holds no `*`; name each program, or use `*`".to_owned());
    }
    PathGlob::parse(text).map_err(|e| e.to_string())
}

/// As in a policy that is written.
const MAX_METHOD_BYTES: usize = 128;
