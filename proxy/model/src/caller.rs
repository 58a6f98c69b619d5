//! Who is asking: a program and the programs that started it.

/// One executable file, as the kernel names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// Absolute path as the sandbox sees it (`/proc/<pid>/exe`).
    pub path: Box<str>,
    /// SHA-256 of the file that is running, which need not be the one now at `path`.
    pub sha256: [u8; 32],
    /// Another file was known by this path before, so that the path proves nothing any more.
    pub changed: bool,
}

/// The process behind a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Found and read completely.
    Known {
        /// Process id inside the sandbox.
        pid: u32,
        /// The executable.
        program: Program,
        /// Parent first, up to the first process of the sandbox.
        ancestors: Vec<Program>,
    },
    /// Not found: a rule that names binaries never matches.
    Unknown(Unidentified),
}

/// Why a caller could not be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// The connection does not come from a sandbox that we can look into.
    #[error("the connection comes from outside any sandbox")]
    Outside,
    /// No socket, or no process holding it, was found.
    #[error("no process holds the socket any more")]
    Gone,
    /// Several processes hold the socket and their programs differ.
    #[error("processes of different programs share the socket")]
    Shared,
    /// The executable was deleted or exists only in memory.
    #[error("the executable has been deleted or lives only in memory")]
    Deleted,
    /// The kernel refused or the process changed while it was being read.
    #[error("the process could not be read")]
    Unreadable,
}

impl Program {
    /// The path, where rules may know the program by it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.changed).then_some(&self.path)
    }
}

impl Caller {
    /// The path of the program, where it is known.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Known { program, .. } => Some(&program.path),
            Self::Unknown(_) => None,
        }
    }
}
