//! Trust on first use: which file each path stood for when it was first seen.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tollgate_model::Program;

/// The first hash of each path, for as long as the sandbox lives.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<Box<str>, [u8; 32]>>);

/// Different programs that make connections in one sandbox. Beyond, a program counts as changed, since nobody can say.
const MAX_PINS: usize = 4096;

impl Pins {
    /// Marks a program whose path stood for another file before.
    pub(super) fn check(&self, program: Program) -> Program {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match pins.get(&program.path) {
            Some(first) => *first != program.sha256,
            None if pins.len() >= MAX_PINS => true,
            None => {
                pins.insert(program.path.clone(), program.sha256);
                false
            }
        };
        Program { changed, ..program }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_counts() {
        let pins = Pins::default();
        let program = |path: &str, byte| Program { path: path.into(), sha256: [byte; 32], changed: false };
        for (path, byte, changed) in
            [("/a", 1, false), ("/b", 2, false), ("/a", 1, false), ("/a", 2, true), ("/a", 1, false)]
        {
            assert_eq!(pins.check(program(path, byte)).changed, changed, "{path} {byte}");
        }
        (0..MAX_PINS - 2).for_each(|number| assert!(!pins.check(program(&format!("/{number}"), 0)).changed));
        assert!(pins.check(program("/one-more", 0)).changed && !pins.check(program("/b", 2)).changed);
    }
}
