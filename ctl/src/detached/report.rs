//! What a command and the sandbox's process that it starts say to each other: one JSON document each way.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::definition::Definition;

/// What is to be started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// The sandbox's name.
    pub name: String,
    /// Its definition.
    pub definition: Definition,
    /// True where it was kept before and is started again.
    pub exists: bool,
}

/// A sandbox that is ready.
#[derive(Debug, Serialize, Deserialize)]
pub struct Started {
    /// Process id of its proxy on this machine.
    pub pid: u32,
    /// Its journal.
    pub journal: String,
    /// Protections that are missing because that was allowed.
    pub degraded: Vec<String>,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// It is ready.
    Started(Started),
    /// It is not there.
    Failed {
        /// The exit code that tells the kinds of failures apart.
        code: u8,
        /// The sentence.
        message: String,
    },
}

/// A definition fits well below this.
const MAX_DOCUMENT_BYTES: u64 = 8 << 20;

/// Sends one document.
pub fn send(mut socket: &UnixStream, document: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Receives one document.
pub fn receive<T: DeserializeOwned>(socket: &UnixStream) -> Result<T> {
    let mut line = Vec::new();
    BufReader::new(socket.take(MAX_DOCUMENT_BYTES)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}
