//! Providers: named sets of credentials of a profile. Their values are in the store, under the names of their variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tollgate_policy::document::Attachment;
use tollgate_policy::profile::Profile;
use tollgate_secrets::SecretName;

use super::source::{SecretArgument, Source};
use crate::failure::{Failure, Kind};
use crate::home::{Home, check_name, write_private};
use crate::suggestion::suggest;

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The id of its profile.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of its credentials.
    pub credentials: Vec<String>,
}

/// All providers of a state folder: `providers.json`.
#[derive(Debug)]
pub struct Providers {
    path: PathBuf,
    by_name: BTreeMap<String, Provider>,
}

/// The profiles that come with this program.
const BUILT_IN: &[&str] = &[
    include_str!("../../../presets/providers/anthropic.yaml"),
    include_str!("../../../presets/providers/aws.yaml"),
    include_str!("../../../presets/providers/discord.yaml"),
    include_str!("../../../presets/providers/gemini.yaml"),
    include_str!("../../../presets/providers/generic.yaml"),
    include_str!("../../../presets/providers/github.yaml"),
    include_str!("../../../presets/providers/gitlab.yaml"),
    include_str!("../../../presets/providers/huggingface.yaml"),
    include_str!("../../../presets/providers/jira.yaml"),
    include_str!("../../../presets/providers/nvidia.yaml"),
    include_str!("../../../presets/providers/openai.yaml"),
    include_str!("../../../presets/providers/slack.yaml"),
    include_str!("../../../presets/providers/telegram.yaml"),
];

/// Every profile: those that come with this program, and those in `profiles/*.yaml` of the state folder, which win.
pub fn profiles(home: &Home) -> Result<BTreeMap<String, Profile>, Failure> {
    let mut found = BTreeMap::new();
    for text in BUILT_IN {
        let profile = Profile::read(text).expect("the tests read every profile that comes with this program");
        found.insert(profile.id.to_string(), profile);
    }
    let folder = home.path().join("profiles");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    for path in paths {
        let unusable = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::Policy, format!("the profile {} cannot be used: {e}", path.display()))
        };
        let text = std::fs::read_to_string(&path).map_err(|e| unusable(&e))?;
        let profile = Profile::read(&text).map_err(|e| unusable(&e))?;
        found.insert(profile.id.to_string(), profile);
    }
    Ok(found)
}

/// What providers bring: `secrets` gets those of their credentials that it does not name itself, and the policy is to be given
/// the attachments.
pub fn attach(
    home: &Home,
    providers: &[String],
    secrets: &mut Vec<SecretArgument>,
) -> Result<Vec<Attachment>, Failure> {
    let mut attachments = Vec::new();
    if providers.is_empty() {
        return Ok(attachments);
    }
    let known = Providers::open(home)?;
    for name in providers {
        let provider = known.get(name)?;
        for credential in &provider.credentials {
            let parsed = SecretName::parse(credential).map_err(|e| {
                Failure::new(Kind::State, format!("the provider {name} has the credential {credential}: {e}"))
            })?;
            if secrets.iter().all(|secret| secret.name != parsed) {
                secrets.push(SecretArgument { name: parsed, source: Source::Anywhere(credential.clone()) });
            }
        }
        let credentials = provider.credentials.iter().map(|name| name.as_str().into()).collect();
        let profile = profile(home, &provider.kind)?;
        attachments.push(Attachment { provider: name.as_str().into(), profile, credentials });
    }
    Ok(attachments)
}

/// The profile of an id.
pub fn profile(home: &Home, id: &str) -> Result<Profile, Failure> {
    let mut all = profiles(home)?;
    all.remove(id).ok_or_else(|| {
        let known: Vec<_> = all.into_keys().collect();
        let all = format!("there are {}", known.join(", "));
        let meant = suggest(id, known.iter().map(String::as_str), &all);
        Failure::new(Kind::Usage, format!("there is no profile `{id}`; {meant}"))
    })
}

impl Providers {
    /// Reads them; none where there is no file.
    pub fn open(home: &Home) -> Result<Self, Failure> {
        let path = home.path().join("providers.json");
        let unusable = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::State, format!("the providers in {} cannot be read: {e}", path.display()))
        };
        let by_name = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| unusable(&e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(unusable(&e)),
        };
        Ok(Self { path, by_name })
    }

    /// By name.
    pub fn all(&self) -> &BTreeMap<String, Provider> {
        &self.by_name
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Result<&Provider, Failure> {
        self.by_name.get(name).ok_or_else(|| self.missing(name))
    }

    /// Adds one.
    pub fn create(&mut self, name: &str, provider: Provider) -> Result<(), Failure> {
        check_name(name)?;
        if self.by_name.contains_key(name) {
            let message = format!("there is a provider {name} already; delete it first, or choose another name");
            return Err(Failure::new(Kind::Usage, message));
        }
        self.by_name.insert(name.to_owned(), provider);
        self.write()
    }

    /// Removes one; its credentials stay in the store.
    pub fn delete(&mut self, name: &str) -> Result<(), Failure> {
        if self.by_name.remove(name).is_none() {
            return Err(self.missing(name));
        }
        self.write()
    }

    fn missing(&self, name: &str) -> Failure {
        let known = self.by_name.keys().map(String::as_str);
        let meant = suggest(name, known, "`tollgate provider list` shows them");
        Failure::new(Kind::Usage, format!("there is no provider {name}; {meant}"))
    }

    fn write(&self) -> Result<(), Failure> {
        let unwritten = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::State, format!("the providers in {} cannot be written: {e}", self.path.display()))
        };
        let text = serde_json::to_vec_pretty(&self.by_name).map_err(|e| unwritten(&e))?;
        write_private(&self.path, &text).map_err(|e| unwritten(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_that_comes_with_the_program_is_known() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../presets/providers");
        let files = std::fs::read_dir(folder).expect("readable").flatten();
        let files = files.filter(|file| file.path().extension().is_some_and(|e| e == "yaml")).count();
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("home")).expect("a home");
        assert_eq!(profiles(&home).expect("all readable").len(), files);
        assert_eq!(BUILT_IN.len(), files);
        let own = home.path().join("profiles");
        std::fs::create_dir(&own).expect("made");
        std::fs::write(own.join("own.yaml"), "{id: own, credentials: [{name: t, env_vars: [OWN_TOKEN]}]}")
            .expect("written");
        assert_eq!(profile(&home, "own").expect("found").credentials.len(), 1);
        assert!(profile(&home, "none").expect_err("not there").message().contains("github"));
        std::fs::write(own.join("bad.yaml"), "{id: bad, credentials: [{name: t}]}").expect("written");
        assert!(profiles(&home).expect_err("not valid").message().contains("bad.yaml"));
    }

    #[test]
    fn created_read_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("home")).expect("a home");
        let provider = Provider { kind: "github".to_owned(), credentials: vec!["GITHUB_TOKEN".to_owned()] };
        let mut providers = Providers::open(&home).expect("none");
        providers.create("work", provider.clone()).expect("created");
        assert!(providers.create("work", provider.clone()).is_err());
        assert!(providers.create("Bad Name", provider.clone()).is_err());
        let mut providers = Providers::open(&home).expect("read");
        assert_eq!(providers.get("work"), Ok(&provider));
        providers.delete("work").expect("deleted");
        assert!(providers.delete("work").is_err());
        assert!(Providers::open(&home).expect("read").all().is_empty());
    }
}
