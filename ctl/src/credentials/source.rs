//! Where a secret is, in one line: `env:VAR`, `store`, `file:PATH`, `cmd:COMMAND`, `oauth:FILE`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use tollgate_proxy::Pin;
use tollgate_secrets::SecretName;

use super::fetch::{Environment, Fetch, FetchError, FromCommand, FromFile, Stored};
use super::lease::Terms;
use super::network::Network;
use super::oauth::TokenEndpoint;
use super::store::Store;
use crate::failure::Failure;
use crate::home::Home;

/// `NAME` or `NAME=SOURCE` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretArgument {
    /// The secret's name, and the agent's variable that holds the placeholder.
    pub name: SecretName,
    /// Where its value is.
    pub source: Source,
}

/// Where a value is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The variable of that name where it is set, else the store.
    Anywhere(String),
    /// A variable of this process.
    Environment(String),
    /// The store of this user, under this name.
    Store(String),
    /// A file; one line break at its end is not part of the value.
    File(PathBuf),
    /// What `sh -c COMMAND` prints: the value, or JSON with `value` or `token` and `expires_in`. It runs outside the sandbox.
    Command(String),
    /// A token endpoint, described by a file.
    OAuth(PathBuf),
}

impl FromStr for SecretArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, source) = text.split_once('=').map_or((text, None), |(name, source)| (name, Some(source)));
        let parsed = SecretName::parse(name).map_err(|e| e.to_string())?;
        let source = match source {
            None => Source::Anywhere(name.to_owned()),
            Some("store") => Source::Store(name.to_owned()),
            Some(source) => source.parse()?,
        };
        Ok(Self { name: parsed, source })
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':').filter(|(_, rest)| !rest.is_empty()) {
            Some(("env", variable)) => Ok(Self::Environment(variable.to_owned())),
            Some(("store", name)) => Ok(Self::Store(name.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("cmd", command)) => Ok(Self::Command(command.to_owned())),
            Some(("oauth", path)) => Ok(Self::OAuth(path.into())),
            // What stands here may be the secret itself, so it is not repeated.
            _ => Err("the source must be env:VAR, store, file:PATH, cmd:COMMAND or oauth:FILE, never the value itself"
                .to_owned()),
        }
    }
}

/// What sources are opened with.
#[derive(Clone)]
pub struct Access {
    /// Where stored ones are.
    pub store: Store,
    /// The way to token endpoints.
    pub network: Network,
}

impl Access {
    /// For the store of a state folder, with the operator's pins and further authorities.
    pub fn of(home: &Home, pins: &[Pin], upstream_cas: &[PathBuf]) -> Result<Self, Failure> {
        Ok(Self { store: Store::of(home), network: Network::new(pins, upstream_cas)? })
    }
}

/// A source that can be asked, with what was agreed for it.
pub struct Opened {
    pub fetch: Arc<dyn Fetch>,
    pub terms: Terms,
    /// What the store says of it, where it was asked.
    pub noted: Option<Noted>,
    /// Values that it had before.
    pub former: Vec<zeroize::Zeroizing<String>>,
}

/// What the store says of one credential, values left out: when it changes, the source is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    from: Option<String>,
    revoked: bool,
    terms: Terms,
}

impl Source {
    /// The file, where the value or what leads to it is in one that is named on the command line.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::OAuth(path) => Some(path),
            Self::Anywhere(_) | Self::Environment(_) | Self::Store(_) | Self::Command(_) => None,
        }
    }

    /// True where the store is asked for the value, or for where it is.
    pub fn is_in_store(&self) -> bool {
        match self {
            Self::Anywhere(name) => std::env::var_os(name).is_none(),
            Self::Store(_) => true,
            Self::Environment(_) | Self::File(_) | Self::Command(_) | Self::OAuth(_) => false,
        }
    }

    /// Prepares the source.
    pub fn open(&self, access: &Access) -> Result<Opened, FetchError> {
        self.open_at(access, MAX_STEPS)
    }

    fn open_at(&self, access: &Access, steps: u32) -> Result<Opened, FetchError> {
        let fetch: Arc<dyn Fetch> = match self {
            Self::Anywhere(name) if std::env::var_os(name).is_some() => Arc::new(Environment(name.clone())),
            Self::Anywhere(name) | Self::Store(name) => return stored(access, name, steps),
            Self::Environment(variable) => Arc::new(Environment(variable.clone())),
            Self::File(path) => Arc::new(FromFile(path.clone())),
            Self::Command(command) => Arc::new(FromCommand(command.clone())),
            Self::OAuth(path) => Arc::new(TokenEndpoint::open(path, access)?),
        };
        Ok(Opened { fetch, terms: Terms::default(), noted: None, former: Vec::new() })
    }
}

/// An entry of the store may name another entry; more steps than this are a circle.
const MAX_STEPS: u32 = 4;

fn stored(access: &Access, name: &str, steps: u32) -> Result<Opened, FetchError> {
    let store = &access.store;
    let broken = |message: String| FetchError::Store(message);
    let mut entries = store.read().map_err(|failure| broken(failure.message().to_owned()))?;
    let entry = entries.0.remove(name).ok_or_else(|| FetchError::Nowhere(name.to_owned()))?;
    let terms = entry.terms();
    let noted = Noted { from: entry.from.clone(), revoked: entry.revoked, terms };
    let fetch: Arc<dyn Fetch> = match entry.from.as_deref().filter(|_| !entry.revoked) {
        None => Arc::new(Stored { store: store.clone(), name: name.to_owned() }),
        Some(_) if steps == 0 => return Err(broken(format!("the store leads from {name} back to itself"))),
        Some(from) => {
            let source = from.parse::<Source>().map_err(broken)?;
            source.open_at(access, steps - 1)?.fetch
        }
    };
    Ok(Opened { fetch, terms, noted: Some(noted), former: entry.former })
}

#[cfg(test)]
mod tests {
    use super::super::store::Entry;
    use super::*;
    use secrecy::ExposeSecret;

    #[track_caller]
    fn check(text: &str, expected: Option<Source>) {
        assert_eq!(text.parse::<SecretArgument>().ok().map(|a| a.source), expected, "{text}");
    }

    #[test]
    fn arguments() {
        check("TOKEN", Some(Source::Anywhere("TOKEN".to_owned())));
        check("TOKEN=env:OTHER", Some(Source::Environment("OTHER".to_owned())));
        check("TOKEN=store", Some(Source::Store("TOKEN".to_owned())));
        check("TOKEN=store:OTHER", Some(Source::Store("OTHER".to_owned())));
        check("TOKEN=file:/a=b", Some(Source::File("/a=b".into())));
        check("TOKEN=cmd:pass show x", Some(Source::Command("pass show x".to_owned())));
        check("TOKEN=oauth:/etc/x.json", Some(Source::OAuth("/etc/x.json".into())));
        for bad in ["", "1A", "TO KEN", "TOKEN=", "TOKEN=ghp_value", "TOKEN=env:", "TOKEN=vault:x"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_value_on_the_command_line_is_not_repeated() {
        let error = "TOKEN=ghp_real".parse::<SecretArgument>().expect_err("a value");
        assert!(!error.contains("ghp_real"), "{error}");
    }

    struct Place {
        _folder: tempfile::TempDir,
        access: Access,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let home = Home::open_at(&folder.path().join("home")).expect("a home");
            Self { access: Access::of(&home, &[], &[]).expect("access"), _folder: folder }
        }

        fn set(&self, name: &str, entry: Entry) {
            let name = name.to_owned();
            self.access.store.change(|entries| Ok(entries.0.insert(name, entry))).map(drop).expect("written");
        }

        fn value(&self, source: &str) -> Result<String, String> {
            let source: Source = source.parse().expect("a source");
            let opened = source.open(&self.access).map_err(|e| e.to_string())?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let fetched = runtime.block_on(opened.fetch.fetch()).map_err(|e| e.to_string())?;
            Ok(fetched.value.expose_secret().to_owned())
        }
    }

    #[test]
    fn k27_commands_and_files() {
        let place = Place::new();
        let value = |source: &str| place.value(source);
        assert_eq!(value("cmd:printf 'abc\\n'"), Ok("abc".to_owned()));
        assert_eq!(value("cmd:printf 'a\\n\\n'"), Ok("a\n".to_owned()), "one line break only");
        assert_eq!(value("cmd:echo '{\"token\": \"abc\", \"expires_in\": 60}'"), Ok("abc".to_owned()));
        assert!(value("cmd:echo '{\"other\": 1}'").expect_err("no value").contains("without `value`"));
        assert!(value("cmd:exit 3").expect_err("fails").contains("exit status: 3"));
        assert!(value("file:/nonexistent").expect_err("missing").contains("/nonexistent"));
        assert!(value("env:TOLLGATE_TEST_UNSET").expect_err("unset").contains("TOLLGATE_TEST_UNSET"));
        assert!(value("cmd:head -c 70000 /dev/zero").expect_err("huge").contains("more than"));
    }

    #[test]
    fn k27_the_store() {
        let place = Place::new();
        let kept = |value: &str| Entry { value: Some(zeroize::Zeroizing::new(value.to_owned())), ..Entry::default() };
        let from = |source: &str| Entry { from: Some(source.to_owned()), ..Entry::default() };
        assert!(place.value("store:A").expect_err("not there").contains("tollgate credential set A"));
        place.set("A", kept("the-value"));
        place.set("B", from("store:A"));
        place.set("C", from("store:C"));
        place.set("D", Entry { revoked: true, ..kept("the-value") });
        place.set("E", from("not a source"));
        assert_eq!(place.value("store:A"), Ok("the-value".to_owned()));
        assert_eq!(place.value("store:B"), Ok("the-value".to_owned()));
        assert!(place.value("store:C").expect_err("a circle").contains("back to itself"));
        assert_eq!(place.value("store:D"), Err("it was revoked".to_owned()));
        assert!(place.value("store:E").expect_err("no source").contains("the source must be"));
    }
}
