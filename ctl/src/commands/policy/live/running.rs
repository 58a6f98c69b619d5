//! A running sandbox whose policy is asked for and changed.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tollgate_policy::Document;
use tollgate_policy::document::read;
use tollgate_wire::policy::{Applied, Problem, Replacement, Shown};

use super::only_one;
use super::print::mistake;
use crate::commands::asking_runtime;
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder};
use crate::operator::{ClientError, POLICY, fetch, send};

/// A sandbox that is asked.
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: SandboxFolder,
    runtime: tokio::runtime::Runtime,
}

/// Writers that are always a little faster have to end some time.
const MAX_TRIES: usize = 16;

impl Running {
    /// The one of this name; without a name the only one that runs.
    pub fn find(name: Option<String>) -> Result<Self, Failure> {
        let home = Home::open()?;
        let name = name.map_or_else(|| only_one(&home), Ok)?;
        let runtime = asking_runtime()?;
        if home.proxies().iter().any(|folder| folder.name == name) {
            let message = format!("{name} is a proxy: edit the policy files of its agents, which are followed");
            return Err(Failure::new(Kind::Other, message));
        }
        Ok(Self { folder: home.sandbox(&name)?, name, runtime })
    }

    /// `GET path`.
    pub fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.runtime.block_on(fetch(&self.folder.socket(), path)).map_err(|error| self.failure(error, ""))
    }

    /// `METHOD path` with a JSON body; `shown` is the name of the policy in it.
    pub fn change<T: DeserializeOwned>(
        &self,
        to: (Method, &str),
        body: &impl Serialize,
        patience: Duration,
        shown: &str,
    ) -> Result<T, Failure> {
        self.send(to, body, patience).map_err(|error| self.failure(error, shown))
    }

    /// Changes the policy as it was accepted, without what providers bring, and puts it in force. Where somebody else was
    /// faster, the change is made anew to what is in force then.
    pub fn edit(
        &self,
        patience: Duration,
        mut change: impl FnMut(Document) -> Result<Document, Failure>,
    ) -> Result<Applied, Failure> {
        let mut tries = 0;
        loop {
            let Shown { revision, text, .. } = self.fetch(&format!("{POLICY}?text=base"))?;
            let document = read(&text.unwrap_or_default())
                .map_err(|e| Failure::new(Kind::Policy, format!("the policy in force cannot be read: {e}")))?;
            let body = Replacement { text: change(document)?.canonical(), expected: Some(revision.sha256) };
            tries += 1;
            match self.send((Method::PUT, POLICY), &body, patience) {
                Err(ClientError::Refused(StatusCode::CONFLICT, _)) if tries < MAX_TRIES => {}
                sent => return sent.map_err(|error| self.failure(error, "the changed policy")),
            }
        }
    }

    fn send<T: DeserializeOwned>(
        &self,
        to: (Method, &str),
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, ClientError> {
        self.runtime.block_on(send(&self.folder.socket(), to, body, patience))
    }

    fn failure(&self, error: ClientError, shown: &str) -> Failure {
        let name = &self.name;
        match error {
            ClientError::Refused(StatusCode::UNPROCESSABLE_ENTITY, Problem { message, mistakes })
                if !mistakes.is_empty() =>
            {
                let lines: Vec<_> = mistakes.iter().map(|one| mistake(one, shown)).collect();
                Failure::new(Kind::Policy, [&[format!("{message}:")], &lines[..]].concat().join("\n"))
            }
            ClientError::Refused(_, problem) => Failure::new(Kind::Other, problem.message),
            ClientError::TimedOut if !shown.is_empty() => {
                let message = format!(
                    "Timeout waiting for the sandbox {name} to load the policy; `policy get {name}` says what is in force"
                );
                Failure::new(Kind::TimedOut, message)
            }
            other => Failure::new(Kind::Other, format!("sandbox {name}: {other}")),
        }
    }
}
