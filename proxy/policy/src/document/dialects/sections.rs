//! `filesystem` and `process` of the sketched dialects.

use super::{Report, text_of, tree, unknown_fields};
use crate::diagnostic::Diagnostics;
use crate::yaml::{Node, Value};

/// `filesystem` to `filesystem_policy`.
pub(super) fn filesystem(node: &Node, found: &mut Diagnostics) -> Node {
    unknown_fields(node, "`filesystem`", &["default", "allow", "deny", "writable", "readonly"], found);
    closed_by_default(node, "filesystem", found);
    let mut lists = Lists::default();
    for (field, writable) in [("writable", true), ("readonly", false)] {
        for path in tree::field(node, field).map(tree::items).unwrap_or_default() {
            lists.add(path.clone(), writable);
        }
    }
    for grant in tree::field(node, "allow").map(tree::items).unwrap_or_default() {
        unknown_fields(grant, "a grant", &["path", "permissions", "description"], found);
        match tree::field(grant, "path") {
            Some(path) => lists.add(path.clone(), may(grant, "write", found)),
            None => found.error(grant.at, "a grant needs `path`"),
        }
    }
    for denied in tree::field(node, "deny").map(tree::items).unwrap_or_default() {
        lists.refuse(denied, found);
    }
    let list = |paths| tree::list(node.at, paths);
    tree::map(node.at, vec![("read_only", list(lists.read_only)), ("read_write", list(lists.read_write))])
}

/// `process`: nothing of it is in the schema, so it is accepted only where nothing is lost.
pub(super) fn process(node: &Node, found: &mut Diagnostics) {
    unknown_fields(node, "`process`", &["default", "allow", "deny", "allow_escalation"], found);
    closed_by_default(node, "process", found);
    if let Some(flag) = tree::field(node, "allow_escalation")
        && flag.value != Value::Bool(false)
    {
        let hint = "write `allow_escalation: false`";
        found.error_with(flag.at, "gaining privileges is never allowed", hint);
    }
    for field in ["allow", "deny"] {
        if let Some(commands) = tree::field(node, field) {
            found.warning(
                commands.at,
                "which commands run is not limited by a policy; only what they may reach is",
                "name programs in `binaries` of the entries that they need",
            );
        }
    }
}

/// `default: deny` says what is so anyway; `default: allow` cannot be said.
pub(super) fn closed_by_default(node: &Node, section: &str, found: &mut Diagnostics) {
    if let Some(default) = tree::field(node, "default")
        && default.value != Value::Text("deny".into())
    {
        found.error_with(default.at, format!("`{section}.default` must be `deny`"), "list what is allowed");
    }
}

#[derive(Default)]
struct Lists {
    read_only: Vec<Node>,
    read_write: Vec<Node>,
}

impl Lists {
    fn add(&mut self, path: Node, writable: bool) {
        match writable {
            true => self.read_write.push(path),
            false => self.read_only.push(path),
        }
    }

    /// Grants only add up, so a denied path must lie outside all of them.
    fn refuse(&self, denied: &Node, found: &mut Diagnostics) {
        let path = text_of(denied, "path").or_else(|| match &denied.value {
            Value::Text(path) => Some(path.to_string()),
            _ => None,
        });
        let Some(path) = path else {
            return found.error(denied.at, "a denied path must be text, or a map with `path`");
        };
        let only_write = tree::field(denied, "permissions").is_some_and(|list| {
            tree::items(list).iter().all(|permission| permission.value == Value::Text("write".into()))
        });
        let readable = self.read_only.iter().filter(|_| !only_write);
        let mut grants = self.read_write.iter().chain(readable);
        if let Some(grant) = grants.find(|grant| covers(grant, &path)) {
            let Value::Text(parent) = &grant.value else { return };
            let message = format!("`{path}` cannot be denied below `{parent}`, which is allowed");
            found.error_with(denied.at, message, "allow the other paths below it one by one");
        }
    }
}

/// True where a grant holds the path or anything below it.
fn covers(grant: &Node, path: &str) -> bool {
    let Value::Text(parent) = &grant.value else { return false };
    let (parent, path) = (parent.trim_end_matches('/'), path.trim_end_matches('/'));
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(path, parent) || inside(parent, path)
}

fn may(grant: &Node, wanted: &str, found: &mut Diagnostics) -> bool {
    let Some(permissions) = tree::field(grant, "permissions") else { return false };
    let mut granted = false;
    for permission in tree::items(permissions) {
        match &permission.value {
            Value::Text(word) if ["read", "write", "execute"].contains(&&**word) => granted |= &**word == wanted,
            _ => found.error_with(permission.at, "unknown permission", "accepted: read, write, execute"),
        }
    }
    granted
}
