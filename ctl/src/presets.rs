//! Ready-made policy entries: those that come with this program, and files of the same shape.

use std::path::Path;

use tollgate_policy::Document;
use tollgate_policy::document::{Dialect, fragment, import};

use crate::failure::{Failure, Kind};
use crate::suggestion::suggest;

/// A preset.
#[derive(Debug, Clone)]
pub struct Preset {
    /// An RFC 1123 label.
    pub name: String,
    /// What it is for.
    pub description: String,
    document: Document,
}

/// How a preset stands to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Every entry of it is there, as it is in the preset.
    Applied,
    /// Entries of its keys are there, and say something else.
    Changed,
    /// None is there.
    Absent,
}

/// Larger files are no presets.
const MAX_BYTES: u64 = 1 << 20;

/// Those that come with this program.
const BUILT_IN: &[&str] = &[
    include_str!("../../presets/discord.yaml"),
    include_str!("../../presets/docker.yaml"),
    include_str!("../../presets/huggingface.yaml"),
    include_str!("../../presets/jira.yaml"),
    include_str!("../../presets/npm.yaml"),
    include_str!("../../presets/outlook.yaml"),
    include_str!("../../presets/pypi.yaml"),
    include_str!("../../presets/slack.yaml"),
    include_str!("../../presets/telegram.yaml"),
];

/// Those that come with this program, by name.
pub fn built_in() -> Vec<Preset> {
    BUILT_IN
        .iter()
        .map(|text| Preset::read(text).expect("the tests read every preset that comes with this program"))
        .collect()
}

/// The one of this name.
pub fn named(name: &str) -> Result<Preset, Failure> {
    let all = built_in();
    let names: Vec<_> = all.iter().map(|preset| preset.name.clone()).collect();
    let meant = suggest(name, names.iter().map(String::as_str), &format!("there are {}", names.join(", ")));
    all.into_iter()
        .find(|preset| preset.name == name)
        .ok_or_else(|| Failure::new(Kind::Usage, format!("there is no preset `{name}`; {meant}")))
}

/// A file.
pub fn of_file(path: &Path) -> Result<Preset, Failure> {
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Policy, format!("the preset {} cannot be used: {why}", path.display()))
    };
    let metadata = std::fs::metadata(path).map_err(|e| unusable(&e))?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(unusable(&format!("it is no file of at most {MAX_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unusable(&e))?;
    let preset = Preset::read(&text).map_err(|e| unusable(&e))?;
    match path.file_stem().is_some_and(|stem| stem == preset.name.as_str()) {
        true => Ok(preset),
        false => Err(unusable(&format!("its name is `{}`, which is not that of its file", preset.name))),
    }
}

impl Preset {
    fn read(text: &str) -> Result<Self, String> {
        let imported = import(text).map_err(|e| e.to_string())?;
        if !matches!(imported.dialect, Dialect::Preset | Dialect::EgressPreset) {
            return Err("it is a policy and no preset: it has no `preset` with a name".to_owned());
        }
        if imported.requires_approval {
            return Err("its entries wait for an approval, which there is not".to_owned());
        }
        let name = imported.name.ok_or("it has no name")?;
        crate::home::check_name(&name)
            .map_err(|_| format!("`{name}` is no name of a preset; use letters, digits and hyphens"))?;
        Ok(Self { name, description: imported.description.unwrap_or_default(), document: imported.document })
    }

    /// Puts its entries into a policy, in place of entries of the same keys.
    pub fn add_to(&self, document: &mut Document) {
        document.network_policies.extend(self.document.network_policies.clone());
    }

    /// Takes its entries out of a policy, whatever they say there.
    pub fn remove_from(&self, document: &mut Document) {
        document.network_policies.retain(|key, _| !self.document.network_policies.contains_key(key));
    }

    /// How it stands to a policy.
    pub fn standing(&self, document: &Document) -> Standing {
        let own = &self.document.network_policies;
        let there = || own.iter().filter_map(|(key, entry)| Some((key, entry, document.network_policies.get(key)?)));
        match there().count() {
            0 => Standing::Absent,
            _ if there().filter(|(key, own, found)| fragment(key, own) == fragment(key, found)).count()
                == own.len() =>
            {
                Standing::Applied
            }
            _ => Standing::Changed,
        }
    }

    /// The keys of its entries.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.document.network_policies.keys().map(|key| &**key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../presets");
        let files = std::fs::read_dir(folder).expect("readable").flatten();
        let files = files.filter(|file| file.path().extension().is_some_and(|e| e == "yaml")).count();
        assert_eq!(built_in().len(), files);
        let refused = named("slak").expect_err("there is none");
        assert!(refused.message().contains("slack"), "{}", refused.message());
    }

    #[test]
    fn added_and_removed() {
        let preset = named("slack").expect("there");
        let mut document = tollgate_policy::document::read("version: 1\n").expect("a policy");
        assert_eq!(preset.standing(&document), Standing::Absent);
        preset.add_to(&mut document);
        let once = document.canonical();
        preset.add_to(&mut document);
        assert_eq!((document.canonical(), preset.standing(&document)), (once, Standing::Applied));
        document.network_policies.values_mut().for_each(|entry| entry.binaries = None);
        assert_eq!(preset.standing(&document), Standing::Changed);
        preset.remove_from(&mut document);
        assert_eq!(preset.standing(&document), Standing::Absent);
    }
}
