//! The self-proof: what a canary tries inside a finished sandbox, before the agent starts, and how it went.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the canary needs to know of the world outside, none of it secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// A file of the state folder, made for this start, that looks as if it held a credential.
    pub decoy: PathBuf,
    /// Folders that must not be visible: the state folder.
    pub hidden: Vec<PathBuf>,
    /// A name below `.invalid` that nobody can have asked for before.
    pub name: String,
    /// `host:port` of an endpoint that is allowed to somebody, for a tunnel with a false server name.
    pub tunnel: Option<String>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The class of attack, as `M5`.
    pub row: String,
    /// What was tried, as `io_uring_setup(2)`.
    pub what: String,
    /// The protection that has to stop it.
    pub control: String,
    /// How it went.
    pub ending: Ending,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It failed as it must; holds the system's or the gate's answer.
    Stopped(String),
    /// It did not fail, or not in the way that shows the protection at work.
    Surprise(String),
    /// It was not tried, because the protection is missing and allowed to be.
    LeftOut(String),
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { row, what, control, ending } = self;
        match ending {
            Ending::Stopped(answer) => write!(f, "{row} {what}: stopped by {control} ({answer})"),
            Ending::Surprise(answer) => write!(f, "{row} {what}: NOT stopped by {control} ({answer})"),
            Ending::LeftOut(reason) => write!(f, "{row} {what}: not tried ({reason})"),
        }
    }
}
