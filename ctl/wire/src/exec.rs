//! A program to run in a sandbox beside its agent: what a client of `exec` and `connect` asks for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Program and arguments; nothing means a shell.
    pub command: Vec<String>,
    /// Variables beside those that the agent has.
    pub environment: Vec<(String, String)>,
    /// Working directory as seen inside; nothing means the agent's.
    pub workdir: Option<PathBuf>,
    /// A terminal of its own, of this size; nothing means three pipes.
    pub terminal: Option<WindowSize>,
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}
