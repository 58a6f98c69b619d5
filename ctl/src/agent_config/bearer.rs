//! Literal bearer tokens in a piece of configuration: taken out, each with the service that it is for.
//!
//! A token is known by where it stands: an object with `url` and `headers`, in which `Authorization` is `Bearer …` (RFC 6750,
//! section 2.1). What is left in its place refers to a credential by name.

use http::Uri;
use serde_json::{Map, Value};
use tollgate_audit::digest::{hex, sha256};
use tollgate_model::{AddressClass, Authority, Port};
use zeroize::Zeroizing;

/// A token that was taken out.
pub struct Token {
    /// The name that stands in its place.
    pub name: String,
    /// The service.
    pub service: Authority,
    /// The token.
    pub value: Zeroizing<String>,
}

/// Why a piece of configuration is not taken. No message holds a token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// Nobody could say which service it is for.
    #[error("the token of `{0}` stands beside no `url`, so there is no service to bind it to; nothing changed")]
    Homeless(String),
    /// Not an address of a service that tokens may be sent to.
    #[error("`{at}`: {why}; nothing changed")]
    Url { at: String, why: String },
}

/// Tells references from tokens: what is a reference already is left alone.
const REFERENCE: &str = "openshell:resolve:env:";
const ALIAS: &str = "OPENSHELL-RESOLVE-ENV-";

/// Takes every literal token out of what is to stand at `path`, and refuses URLs that lead to places no agent may reach.
/// `owner` sets names of one sandbox apart from those of others.
pub fn take(value: &mut Value, path: &[String], owner: &str) -> Result<Vec<Token>, BearerError> {
    let mut taken = Vec::new();
    walk(value, &mut path.to_vec(), owner, &mut taken)?;
    Ok(taken)
}

fn walk(value: &mut Value, path: &mut Vec<String>, owner: &str, taken: &mut Vec<Token>) -> Result<(), BearerError> {
    match value {
        Value::Object(fields) => {
            check_url(fields, path)?;
            taken.extend(of_headers(fields, path, owner)?);
            for (name, below) in fields {
                path.push(name.clone());
                walk(below, path, owner, taken)?;
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, below) in items.iter_mut().enumerate() {
                path.push(index.to_string());
                walk(below, path, owner, taken)?;
                path.pop();
            }
        }
        _ => {}
    }
    if let Value::Object(fields) = value
        && path.last().is_none_or(|name| name != "headers")
        && let Some((name, _)) = fields.iter().find(|(name, value)| is_authorization(name) && literal(value).is_some())
    {
        return Err(BearerError::Homeless([path.as_slice(), std::slice::from_ref(name)].concat().join(".")));
    }
    Ok(())
}

fn of_headers(fields: &mut Map<String, Value>, path: &[String], owner: &str) -> Result<Option<Token>, BearerError> {
    let url = fields.get("url").and_then(Value::as_str).map(str::to_owned);
    let Some(Value::Object(headers)) = fields.get_mut("headers") else { return Ok(None) };
    let Some((header, value)) = headers.iter_mut().find(|(name, _)| is_authorization(name)) else { return Ok(None) };
    let Some(token) = literal(value) else { return Ok(None) };
    let at = path.join(".");
    let url = url.ok_or_else(|| BearerError::Homeless(format!("{at}.headers.{header}")))?;
    let service = service(&url).map_err(|why| BearerError::Url { at: format!("{at}.url"), why })?;
    let name = name(path, owner);
    *value = Value::String(format!("Bearer {REFERENCE}{name}"));
    Ok(Some(Token { name, service, value: token }))
}

fn is_authorization(name: &str) -> bool {
    name.eq_ignore_ascii_case("authorization")
}

/// The token of `Bearer TOKEN`, unless it is a reference.
fn literal(value: &Value) -> Option<Zeroizing<String>> {
    let (scheme, token) = value.as_str()?.trim().split_once(char::is_whitespace)?;
    let token = token.trim();
    let is_token = scheme.eq_ignore_ascii_case("bearer") && !token.starts_with(REFERENCE) && !token.contains(ALIAS);
    is_token.then(|| Zeroizing::new(token.to_owned()))
}

/// Where a token may go: over TLS alone.
fn service(url: &str) -> Result<Authority, String> {
    let uri: Uri = url.parse().map_err(|e| format!("this is no URL ({e})"))?;
    if uri.scheme_str() != Some("https") {
        return Err("a token is sent over https alone".to_owned());
    }
    let authority = uri.authority().ok_or("the URL names no host")?;
    let https: Port = 443.try_into().expect("443 is a port");
    Authority::parse_with_default(authority.as_str(), https).map_err(|e| e.to_string())
}

/// A literal address that the gate never leads to, such as the one where clouds hand out credentials. Loopback is the sandbox's
/// own.
fn check_url(fields: &Map<String, Value>, path: &[String]) -> Result<(), BearerError> {
    let Some(url) = fields.get("url").and_then(Value::as_str) else { return Ok(()) };
    let Some(host) = url.parse::<Uri>().ok().and_then(|uri| tollgate_model::Host::parse(uri.host()?).ok()) else {
        return Ok(());
    };
    match host.address().map(AddressClass::of) {
        Some(class) if class.is_never_allowed() && class != AddressClass::Loopback => {
            let why = format!("{host} is a {} address, which the gate does not lead to; name a host", class.name());
            Err(BearerError::Url { at: [path, &["url".to_owned()]].concat().join("."), why })
        }
        _ => Ok(()),
    }
}

/// A name that says where the token stood, and that no other place of any sandbox has.
fn name(path: &[String], owner: &str) -> String {
    let place = path.join(".");
    let digest = hex(&sha256(format!("{owner}\0{place}").as_bytes()));
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let tail = place.char_indices().rev().nth(MAX_PLACE_CHARACTERS - 1).map_or(0, |(at, _)| at);
    let readable: String = place[tail..].chars().map(plain).collect();
    format!("AGENT_{readable}_{}", digest[..8].to_ascii_uppercase())
}

/// Names of credentials are at most 128 bytes long.
const MAX_PLACE_CHARACTERS: usize = 80;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is left, and `name service` of what was taken.
    #[track_caller]
    fn check(mut value: Value, left: Value, expected: &[(&str, &str, &str)]) {
        let path = ["mcp".to_owned(), "servers".to_owned()];
        let taken = take(&mut value, &path, "box").map_err(|e| e.to_string()).expect("taken");
        let shown: Vec<_> = taken.iter().map(|t| (t.name.as_str(), t.service.to_string(), t.value.as_str())).collect();
        let shown: Vec<_> = shown.iter().map(|(name, service, value)| (*name, service.as_str(), *value)).collect();
        assert_eq!(shown, expected);
        assert_eq!(value, left);
    }

    #[track_caller]
    fn check_refused(mut value: Value, expected: &str) {
        let Err(refused) = take(&mut value, &["mcp".to_owned()], "box") else { panic!("taken: {value}") };
        let said = refused.to_string();
        assert!(said.contains(expected) && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn a_token_becomes_a_reference() {
        const NAME: &str = "AGENT_MCP_SERVERS_LINEAR_0E2D3E3F";
        let name = name(&["mcp".into(), "servers".into(), "linear".into()], "box");
        assert!(name.starts_with("AGENT_MCP_SERVERS_LINEAR_") && name.len() == NAME.len(), "{name}");
        let server = |value: &str| json!({"linear": {"type": "http", "url": "https://mcp.test/a", "headers": {"Authorization": value}}});
        let reference = format!("Bearer openshell:resolve:env:{name}");
        check(server("Bearer s3cret"), server(&reference), &[(&name, "mcp.test:443", "s3cret")]);
        check(server("bearer   s3cret"), server(&reference), &[(&name, "mcp.test:443", "s3cret")]);
        check(server(&reference), server(&reference), &[]);
        check(server("Bearer xoxb-OPENSHELL-RESOLVE-ENV-A"), server("Bearer xoxb-OPENSHELL-RESOLVE-ENV-A"), &[]);
        check(server("Basic eDp5"), server("Basic eDp5"), &[]);
        check(json!("Bearer of news"), json!("Bearer of news"), &[]);
    }

    #[test]
    fn names_are_apart() {
        let path = |last: &str| ["mcp".to_owned(), last.to_owned()];
        assert_ne!(name(&path("a-b"), "box"), name(&path("a_b"), "box"));
        assert_ne!(name(&path("a"), "box"), name(&path("a"), "other"));
        let long = name(&path(&"ü".repeat(500)), "box");
        assert!(tollgate_secrets::SecretName::parse(&long).is_ok(), "{long}");
    }

    #[test]
    fn what_could_go_astray_is_refused() {
        let server = |url: &str| json!({"a": {"url": url, "headers": {"authorization": "Bearer s3cret"}}});
        check_refused(server("http://mcp.test/"), "over https alone");
        check_refused(server("mcp.test"), "over https alone");
        check_refused(server("https://x@mcp.test/"), "`mcp.a.url`");
        check_refused(server("https://mcp.test:0/"), "`mcp.a.url`");
        check_refused(server("https://169.254.169.254/"), "address");
        check_refused(json!({"a": {"headers": {"Authorization": "Bearer s3cret"}}}), "`mcp.a.headers.Authorization`");
        check_refused(json!({"a": {"Authorization": "Bearer s3cret"}}), "`mcp.a.Authorization`");
        check_refused(json!([{"url": "http://[fe80::1]:8080/"}]), "link-local");
        check(json!([{"url": "http://127.0.0.1:8080/"}]), json!([{"url": "http://127.0.0.1:8080/"}]), &[]);
    }
}
