//! Who an entry is for.

use tollgate_model::Caller;

use crate::document::Binary;
use crate::glob::GlobMap;

/// The programs of an entry, compiled.
#[derive(Debug, Clone)]
pub(crate) enum CallerSet {
    /// The entry names no programs: anybody, known or not.
    Anyone,
    /// One of these, or a child of one of these.
    Programs(GlobMap<()>),
}

impl CallerSet {
    pub(crate) fn new(binaries: Option<&[Binary]>) -> Self {
        match binaries {
            None => Self::Anyone,
            Some(binaries) => {
                let mut programs = GlobMap::default();
                binaries.iter().for_each(|binary| programs.insert(&binary.path, ()));
                Self::Programs(programs)
            }
        }
    }

    /// True where the entry is for this caller.
    pub(crate) fn matches(&self, caller: &Caller) -> bool {
        match (self, caller) {
            (Self::Anyone, _) => true,
            (Self::Programs(_), Caller::Unknown(_)) => false,
            (Self::Programs(programs), Caller::Known { program, ancestors, .. }) => {
                programs.contains(&program.path) || ancestors.iter().any(|ancestor| programs.contains(&ancestor.path))
            }
        }
    }
}
