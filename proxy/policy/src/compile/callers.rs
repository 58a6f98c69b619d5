//! Who an entry is for.

use tollgate_model::{Caller, Program};

use crate::document::Entry;
use crate::glob::{GlobMap, PathGlob};

/// The programs of an entry, compiled.
#[derive(Debug, Clone)]
pub(crate) enum CallerSet {
    /// The entry names no programs: anybody, known or not.
    Anyone,
    /// One of these, or a child of one of these.
    Programs {
        /// All of them.
        globs: GlobMap<()>,
        /// Those without anything special.
        literal: Vec<String>,
        /// Whether they may be other files than at first.
        upgrades: bool,
    },
}

impl CallerSet {
    pub(crate) fn new(entry: &Entry) -> Self {
        match &entry.binaries {
            None => Self::Anyone,
            Some(binaries) => {
                let mut globs = GlobMap::default();
                binaries.iter().for_each(|binary| globs.insert(&binary.path, ()));
                let literal = binaries.iter().filter_map(|binary| binary.path.literal()).collect();
                Self::Programs { globs, literal, upgrades: entry.upgrades }
            }
        }
    }

    /// Adds the program that each name leads to.
    pub(crate) fn follow(&mut self, resolve: &dyn Fn(&str, bool) -> Option<String>) {
        if let Self::Programs { globs, literal, upgrades } = self {
            targets(literal, |name| resolve(name, *upgrades)).for_each(|target| globs.insert(&target, ()));
        }
    }

    /// True where the entry is for this caller.
    pub(crate) fn matches(&self, caller: &Caller) -> bool {
        match (self, caller) {
            (Self::Anyone, _) => true,
            (Self::Programs { .. }, Caller::Unknown(_)) => false,
            (Self::Programs { globs, upgrades, .. }, Caller::Known { program, ancestors, .. }) => {
                let is_one =
                    |program: &Program| (*upgrades || program.name().is_some()) && globs.contains(&program.path);
                is_one(program) || ancestors.iter().any(is_one)
            }
        }
    }
}

/// What the links among some names lead to.
pub(super) fn targets(names: &[String], resolve: impl Fn(&str) -> Option<String>) -> impl Iterator<Item = PathGlob> {
    let target = move |name: &String| resolve(name).filter(|target| target != name);
    names.iter().filter_map(target).map(|target| PathGlob::exact(&target))
}
