//! How a command ends when it does not end well: one sentence and an exit code.

use std::process::ExitCode;

use tollgate_proxy::JournalError;

/// A failure of ours; the agent's own exit codes pass through untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    message: String,
}

/// What failed, as scripts tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: something that has no code of its own, as a journal that does not verify.
    Other,
    /// 2: the command line.
    Usage,
    /// 3: the policy, or the configuration of a stand-alone proxy.
    Policy,
    /// 4: this machine cannot isolate.
    Isolation,
    /// 5: a credential.
    Credential,
    /// 6: the state folder or the journal cannot be written.
    State,
    /// 124: what was asked takes longer than the caller waits.
    TimedOut,
    /// 126: COMMAND is there and cannot be run.
    NotExecutable,
    /// 127: COMMAND is not there.
    NotFound,
}

impl Failure {
    /// A failure with its sentence. The sentence says what happened, where, and what to do.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A journal that cannot be written.
    pub fn of_journal(error: JournalError) -> Self {
        Self::new(Kind::State, error.to_string())
    }

    /// Says the sentence on stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("tollgate: {}", self.message);
        self.exit_code()
    }

    /// What failed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        CODES.iter().find(|(kind, _)| *kind == self.kind).map_or(1, |(_, code)| *code)
    }

    /// The exit code of a front door: 2 for the command line, 124 for a wait, COMMAND's own as shells say it, 1 for all else.
    pub fn front_door_code(&self) -> ExitCode {
        match self.kind {
            Kind::Usage | Kind::TimedOut | Kind::NotExecutable | Kind::NotFound => self.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

impl Kind {
    /// What an exit code of ours stands for.
    pub fn of_code(code: u8) -> Self {
        CODES.iter().find(|(_, known)| *known == code).map_or(Self::Other, |(kind, _)| *kind)
    }
}

const CODES: &[(Kind, u8)] = &[
    (Kind::Other, 1),
    (Kind::Usage, 2),
    (Kind::Policy, 3),
    (Kind::Isolation, 4),
    (Kind::Credential, 5),
    (Kind::State, 6),
    (Kind::TimedOut, 124),
    (Kind::NotExecutable, 126),
    (Kind::NotFound, 127),
];
