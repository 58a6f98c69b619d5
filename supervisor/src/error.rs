//! Why a sandbox does not start: one sentence each, with what to do.

use serde::{Deserialize, Serialize};

/// Why there is no sandbox. Crosses the hand-over, so it is data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LaunchError {
    /// The kernel gives no user namespace to this user.
    #[error("this kernel gives no user namespaces to this user ({reason}); {remedy}")]
    NoUserNamespace {
        /// What the system said.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A protection is missing and was not allowed to be.
    #[error(
        "{feature} is not available ({reason}); {remedy}, or accept less protection with --allow-degraded {feature}"
    )]
    Missing {
        /// Its name.
        feature: String,
        /// What the system said.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// The kernel gives no `/proc` of the sandbox's own.
    #[error(
        "a private /proc cannot be mounted ({reason}): this container hides parts of its own; start it with --security-opt systempaths=unconfined, or run Tollgate outside it"
    )]
    NoProc {
        /// What the system said.
        reason: String,
    },
    /// A step of the set-up failed.
    #[error("the sandbox cannot be built: {step}: {reason}")]
    Step {
        /// What was being done.
        step: String,
        /// What the system said.
        reason: String,
    },
    /// The working directory is not visible inside.
    #[error("the working directory {0} is not visible in the sandbox; grant it with --read-write or start elsewhere")]
    NoWorkdir(String),
    /// COMMAND is nowhere.
    #[error("COMMAND `{0}` does not exist: no such file in PATH or at that path")]
    NotFound(String),
    /// COMMAND is on the host and not visible inside.
    #[error(
        "COMMAND `{command}` is {host} on this machine, which is not visible in the sandbox; grant its folder with --read-only"
    )]
    NotVisible {
        /// As given.
        command: String,
        /// Where it is.
        host: String,
    },
    /// COMMAND is there and is not a program.
    #[error("COMMAND `{command}` cannot be executed: {reason}")]
    NotExecutable {
        /// As given.
        command: String,
        /// What the system said.
        reason: String,
    },
    /// The order itself makes no sense.
    #[error("{0}")]
    BadOrder(String),
    /// The supervisor ended or went silent.
    #[error("the supervisor {0}; look for a message above, or for a kernel that kills it")]
    Lost(String),
}

impl LaunchError {
    /// The exit code that a command line ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::BadOrder(_) | Self::NoWorkdir(_) => 2,
            Self::NotExecutable { .. } => 126,
            Self::NotFound(_) | Self::NotVisible { .. } => 127,
            Self::NoUserNamespace { .. }
            | Self::NoProc { .. }
            | Self::Missing { .. }
            | Self::Step { .. }
            | Self::Lost(_) => 4,
        }
    }

    /// A failed step.
    pub(crate) fn step(step: impl Into<String>, reason: impl ToString) -> Self {
        Self::Step { step: step.into(), reason: reason.to_string() }
    }
}

/// `map_err` for steps: `mount(..).at("mount /proc")`.
pub(crate) trait At<T> {
    /// Names the step that failed.
    fn at(self, step: &str) -> Result<T, LaunchError>;
}

impl<T, E: ToString> At<T> for Result<T, E> {
    fn at(self, step: &str) -> Result<T, LaunchError> {
        self.map_err(|error| LaunchError::step(step, error.to_string()))
    }
}
