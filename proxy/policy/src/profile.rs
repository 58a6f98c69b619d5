//! Provider profiles: what a service's credentials look like, where they may go, and what may be asked of the service.
//!
//! The format is OpenShell's. Ours, under `x-tollgate` of a credential: `bindings`, written as in a policy, where one place
//! for each endpoint is not enough; `prefixes`, with one of which a value must begin.
//!
//! ```
//! let profile = tollgate_policy::profile::Profile::read("
//! id: example
//! credentials:
//!   - {name: token, env_vars: [EXAMPLE_TOKEN], required: true, auth_style: bearer}
//! endpoints:
//!   - {host: api.example.com, port: 443, protocol: rest, access: read-only}
//! ").unwrap();
//! assert_eq!(profile.credentials[0].variables, ["EXAMPLE_TOKEN".into()]);
//! assert_eq!(profile.document.credentials.len(), 1);
//! ```

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{self, Dialect, Document, PathTemplate, Slot};
use crate::yaml::reader::{Fields, Reader};
use crate::yaml::{self, Node, Value};

/// A profile, with the policy that it amounts to.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name: lower-case letters, digits and hyphens.
    pub id: Box<str>,
    /// Its name for people.
    pub display_name: Box<str>,
    /// What it is for.
    pub description: Box<str>,
    /// `inference`, `source_control`, `messaging` and so on.
    pub category: Box<str>,
    /// Its credentials.
    pub credentials: Vec<ProfileCredential>,
    /// Its endpoints and programs as one entry, and the bindings of its credentials.
    pub document: Document,
}

/// One credential of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileCredential {
    /// Its name within the profile.
    pub name: Box<str>,
    /// What it is.
    pub description: Box<str>,
    /// Variables that may hold it; the first is its name elsewhere.
    pub variables: Vec<Box<str>>,
    /// True where the service cannot be used without it.
    pub required: bool,
    /// Its place in a request where nothing else is said.
    pub slot: Slot,
    /// With one of these a value begins; none means that nothing is known.
    pub prefixes: Vec<Box<str>>,
}

const PROFILE: &[&str] = &[
    "id",
    "resource_version",
    "annotations",
    "display_name",
    "description",
    "category",
    "inference_capable",
    "credentials",
    "discovery",
    "endpoints",
    "binaries",
    "inference",
];

const CREDENTIAL: &[&str] = &[
    "name",
    "description",
    "env_vars",
    "required",
    "auth_style",
    "header_name",
    "query_param",
    "path_template",
    "refresh",
    "token_grant",
    "x-tollgate",
];

/// `auth_style`, as far as it says where a credential stands.
#[derive(Debug, Clone, Copy)]
enum Style {
    Header,
    Query,
    Path,
}

const AUTH_STYLES: &[(&str, Style)] = &[
    ("", Style::Header),
    ("basic", Style::Header),
    ("bearer", Style::Header),
    ("header", Style::Header),
    ("query", Style::Query),
    ("path", Style::Path),
];

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// Every mistake at once; what would make its policy one that does not load is among them.
    pub fn read(text: &str) -> Result<Self, Diagnostics> {
        let imported = document::import(text)?;
        let tree = yaml::read(text)?;
        if imported.dialect != Dialect::ProviderProfile {
            let error = Diagnostic::error(tree.at, "this is not a provider profile");
            return Err(error.hint("write `id`, `credentials` and `endpoints`").into());
        }
        let mut reader = Reader::default();
        let profile = profile(&mut reader, &tree, imported.document);
        match profile {
            Some(profile) if !reader.found.has_errors() => Ok(profile),
            _ => Err(reader.found),
        }
    }

    /// The credential that a variable holds.
    #[must_use]
    pub fn credential(&self, variable: &str) -> Option<&ProfileCredential> {
        self.credentials.iter().find(|credential| credential.variables.iter().any(|known| **known == *variable))
    }
}

fn profile(reader: &mut Reader, tree: &Node, document: Document) -> Option<Profile> {
    let fields = reader.fields(tree, "a profile", PROFILE)?;
    let id = match fields.get("id") {
        Some(node) => reader.word(node, "`id`")?,
        None => {
            reader.error(fields.at, "a profile needs `id`");
            return None;
        }
    };
    if !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        reader.error(fields.at, format!("`{id}` is no id of a profile")).hint("use lower-case letters, digits and `-`");
    }
    let mut credentials = Vec::new();
    if let Some(list) = fields.get("credentials") {
        credentials = reader.each(list, "`credentials`", credential);
    }
    let display_name = words(reader, &fields, "display_name");
    Some(Profile {
        id: id.into(),
        display_name: if display_name.is_empty() { id.into() } else { display_name },
        description: words(reader, &fields, "description"),
        category: words(reader, &fields, "category"),
        credentials,
        document,
    })
}

fn credential(reader: &mut Reader, node: &Node) -> Option<ProfileCredential> {
    let fields = reader.fields(node, "a credential", CREDENTIAL)?;
    let mut prefixes = Vec::new();
    if let Some(extension) = fields.get("x-tollgate") {
        let extension = reader.fields(extension, "`x-tollgate`", &["bindings", "prefixes"])?;
        if let Some(list) = extension.get("prefixes") {
            prefixes = reader.each(list, "`prefixes`", |reader, item| reader.word(item, "a prefix").map(Box::from));
        }
    }
    let variables = match fields.get("env_vars") {
        Some(list) => reader.each(list, "`env_vars`", |reader, item| reader.word(item, "a variable").map(Box::from)),
        None => Vec::new(),
    };
    if variables.is_empty() {
        reader.error(node.at, "a credential needs `env_vars`").hint("the first of them is its name elsewhere");
    }
    Some(ProfileCredential {
        name: words(reader, &fields, "name"),
        description: words(reader, &fields, "description"),
        variables,
        required: fields.get("required").is_some_and(|node| reader.flag(node, "`required`")),
        slot: slot(reader, &fields),
        prefixes,
    })
}

/// As the translation into a policy reads it: a profile that does not say means a bearer token.
fn slot(reader: &mut Reader, fields: &Fields<'_>) -> Slot {
    let style = fields.get("auth_style").and_then(|style| reader.one_of(style, "`auth_style`", AUTH_STYLES));
    let place = match style {
        Some(Style::Query) => {
            Some(words(reader, fields, "query_param")).filter(|name| !name.is_empty()).map(Slot::Query)
        }
        Some(Style::Path) => fields.get("path_template").and_then(|node| {
            let template = PathTemplate::parse(reader.word(node, "`path_template`")?);
            template.map_err(|e| drop(reader.error(node.at, e.to_string()))).ok().map(Slot::Path)
        }),
        Some(Style::Header) | None => None,
    };
    let header = words(reader, fields, "header_name").to_ascii_lowercase();
    place.unwrap_or_else(|| Slot::Header(if header.is_empty() { "authorization".into() } else { header.into() }))
}

fn words(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Box<str> {
    let node = fields.get(name).filter(|node| node.value != Value::Null);
    node.and_then(|node| reader.text(node, &format!("`{name}`"))).unwrap_or_default().into()
}

impl ProfileCredential {
    /// True where a value may be one of this credential.
    #[must_use]
    pub fn fits(&self, value: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| value.starts_with(&**prefix))
    }
}
