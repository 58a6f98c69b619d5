//! Adding an endpoint: to the entry that it belongs to, or as an entry of its own.

use super::{Addition, UpdateError};
use crate::diagnostic::Position;
use crate::document::{Binary, Document, Endpoint, Entry};
use crate::glob::PathGlob;

/// Adds a destination. Where no entry is named, it joins the one that has the destination already, unless somebody would get
/// more by that than the addition says.
pub fn add(document: &mut Document, addition: &Addition, told: &mut Vec<String>) -> Result<(), UpdateError> {
    let generated = generated_key(&addition.endpoint);
    let wanted = addition.entry.as_deref().unwrap_or(&generated);
    let entries = &document.network_policies;
    let target = match entries.contains_key(wanted) {
        true => Some(wanted.to_owned()),
        false => entries.iter().find(|(_, entry)| shares(entry, &addition.endpoint)).map(|(key, _)| key.to_string()),
    };
    let Some(target) = target else {
        return own_entry(document, wanted, addition, told);
    };
    let entry = document.network_policies.get_mut(target.as_str()).expect("it was found");
    match implicit_grant(entry, addition) {
        None => {
            join(entry, addition, told);
            Ok(())
        }
        Some(reason) if addition.entry.as_deref() == Some(&*target) => {
            Err(UpdateError::Grants { reason: format!("in the entry `{target}` {reason}") })
        }
        Some(reason) => {
            let key = free_key(document, wanted);
            told.push(format!("it stands in an entry of its own, `{key}`, since in `{target}` {reason}"));
            own_entry(document, &key, addition, told)
        }
    }
}

fn own_entry(
    document: &mut Document,
    key: &str,
    addition: &Addition,
    told: &mut Vec<String>,
) -> Result<(), UpdateError> {
    if addition.binaries.is_empty() {
        told.push(format!("no program may use the entry `{key}` yet; name some with --binary"));
    }
    let entry = Entry {
        at: Position::default(),
        name: key.into(),
        endpoints: vec![addition.endpoint.clone()],
        binaries: Some(addition.binaries.iter().map(binary).collect()),
        when: None,
        upgrades: false,
    };
    document.network_policies.insert(key.into(), entry);
    Ok(())
}

/// Why joining the entry would give somebody more than the addition says; nothing where it would not.
fn implicit_grant(entry: &Entry, addition: &Addition) -> Option<String> {
    let known = entry.endpoints.iter().find(|known| is_same(known, &addition.endpoint));
    let changes = known.is_none_or(|known| changed(known, &addition.endpoint));
    if changes && known.is_some_and(|known| known.ports != addition.endpoint.ports) {
        return Some("the endpoint has other ports as well".to_owned());
    }
    let Some(binaries) = &entry.binaries else {
        return changes.then(|| "any program could use it".to_owned());
    };
    let left_out =
        binaries.iter().find(|known| addition.binaries.iter().all(|one| one.as_str() != known.path.as_str()));
    if let Some(program) = left_out.filter(|_| changes) {
        return Some(format!("`{}` could use it as well", program.path.as_str()));
    }
    let joins = addition.binaries.iter().find(|one| binaries.iter().all(|known| known.path.as_str() != one.as_str()));
    let others = entry.endpoints.iter().find(|known| !is_same(known, &addition.endpoint));
    let more_ports = known.filter(|known| known.ports != addition.endpoint.ports);
    match (joins, others.or(more_ports)) {
        (Some(program), Some(other)) => Some(format!("`{}` could use {} as well", program.as_str(), other.describe())),
        _ => None,
    }
}

fn join(entry: &mut Entry, addition: &Addition, told: &mut Vec<String>) {
    match entry.endpoints.iter_mut().find(|known| is_same(known, &addition.endpoint)) {
        Some(known) => fold(known, &addition.endpoint, told),
        None => entry.endpoints.push(addition.endpoint.clone()),
    }
    let Some(binaries) = &mut entry.binaries else { return };
    for one in &addition.binaries {
        if binaries.iter().all(|known| known.path.as_str() != one.as_str()) {
            binaries.push(binary(one));
        }
    }
}

/// What is there stays; what is not is filled in.
fn fold(known: &mut Endpoint, added: &Endpoint, told: &mut Vec<String>) {
    let place = known.describe();
    let mut keep = |what: &str, differs: bool| {
        if differs {
            told.push(format!("the {what} of {place} stays as it is"));
        }
    };
    keep("protocol", added.protocol.is_some() && known.protocol.is_some() && known.protocol != added.protocol);
    keep(
        "enforcement",
        added.enforcement.is_some() && known.enforcement.is_some_and(|one| Some(one) != added.enforcement),
    );
    let has_access = known.access.is_some() || !known.rules.is_empty();
    keep("access", added.access.is_some() && has_access && known.access != added.access);
    known.protocol = known.protocol.or(added.protocol);
    known.enforcement = known.enforcement.or(added.enforcement);
    if !has_access {
        known.access = added.access;
    }
    for range in &added.allowed_ips {
        if !known.allowed_ips.contains(range) {
            known.allowed_ips.push(*range);
        }
    }
    known.allow_uninspected_credentials |= added.allow_uninspected_credentials;
    known.websocket_credential_rewrite |= added.websocket_credential_rewrite;
    known.request_body_credential_rewrite |= added.request_body_credential_rewrite;
}

/// True where folding would leave another endpoint than before.
fn changed(known: &Endpoint, added: &Endpoint) -> bool {
    let mut folded = known.clone();
    fold(&mut folded, added, &mut Vec::new());
    (folded.protocol, folded.enforcement, folded.access) != (known.protocol, known.enforcement, known.access)
        || folded.allowed_ips != known.allowed_ips
        || folded.allow_uninspected_credentials != known.allow_uninspected_credentials
        || folded.rewrites() != known.rewrites()
}

fn shares(entry: &Entry, endpoint: &Endpoint) -> bool {
    entry.endpoints.iter().any(|known| is_same(known, endpoint))
}

/// The same host and path, and a port in common.
fn is_same(known: &Endpoint, added: &Endpoint) -> bool {
    let path = |endpoint: &Endpoint| endpoint.path.as_ref().map(|path| path.as_str().to_owned());
    known.host == added.host && path(known) == path(added) && known.ports.iter().any(|port| added.ports.contains(port))
}

fn binary(path: &PathGlob) -> Binary {
    Binary { at: Position::default(), path: path.clone() }
}

/// `allow_HOST_PORT`, dots and hyphens of the host as underscores, all else of it but letters and digits left out.
fn generated_key(endpoint: &Endpoint) -> String {
    let host = endpoint.host.as_ref().map_or("", |host| host.as_str());
    let plain = |c: char| match c {
        '.' | '-' => Some('_'),
        c if c.is_ascii_alphanumeric() || c == '_' => Some(c),
        _ => None,
    };
    let host: String = host.chars().filter_map(plain).collect();
    let port = endpoint.ports.first().map(ToString::to_string).unwrap_or_default();
    format!("allow_{host}_{port}")
}

fn free_key(document: &Document, wanted: &str) -> String {
    let candidates = std::iter::once(wanted.to_owned()).chain((2..).map(|n: u32| format!("{wanted}_{n}")));
    let mut free = candidates.filter(|key| !document.network_policies.contains_key(key.as_str()));
    free.next().expect("there are more numbers than entries")
}
