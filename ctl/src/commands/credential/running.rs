//! Telling what runs that a credential has changed, so that a command returns when the change is in force.

use serde_json::json;
use tollgate_wire::credentials::CredentialState;

use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::operator::{ClientError, REFRESH_CREDENTIALS, ask};
use crate::output::Output;

/// Who was told, and how it stands with the credential there.
pub struct Told {
    states: Vec<(&'static str, String, CredentialState)>,
    untold: Vec<String>,
}

/// Has every sandbox and proxy of this state folder take over what has changed of `name`.
pub fn tell(home: &Home, name: &str) -> Result<Told, Failure> {
    let runtime = crate::commands::asking_runtime()?;
    let mut told = Told { states: Vec::new(), untold: Vec::new() };
    for (kind, folders) in [("sandbox", home.sandboxes()), ("proxy", home.proxies())] {
        for folder in folders {
            let socket = folder.socket();
            let asked = ask::<Vec<CredentialState>>(&socket, http::Method::POST, REFRESH_CREDENTIALS);
            match runtime.block_on(asked) {
                Ok(states) => {
                    let own = states.into_iter().filter(|state| state.name == name);
                    told.states.extend(own.map(|state| (kind, folder.name.clone(), state)));
                }
                Err(ClientError::NotRunning) => {}
                Err(error) => told.untold.push(format!("{kind} {} ({error})", folder.name)),
            }
        }
    }
    Ok(told)
}

impl Told {
    /// One object for each sandbox, and each agent of a proxy.
    pub fn rows(&self) -> Vec<serde_json::Value> {
        let row = |(kind, name, state): &(&str, String, CredentialState)| {
            let in_force = state.failure.is_none() && !state.is_awaited;
            json!({ "kind": kind, "name": name, "agent": state.agent, "in_force": in_force, "state": describe(state) })
        };
        self.states.iter().map(row).collect()
    }

    /// Says to people in which it is in force.
    ///
    /// # Errors
    /// Those that run and could not be told. They look at the store themselves every second.
    pub fn say(&self, output: Output) -> Result<(), Failure> {
        if output == Output::Text {
            self.states.iter().for_each(|(kind, name, state)| println!("{kind} {name}: {}", describe(state)));
        }
        match self.untold.is_empty() {
            true => Ok(()),
            false => {
                let message = format!(
                    "the store has changed, but these could not be told and may use what they have for a moment longer: {}; \
                     end what must not go on, and see `tollgate status`",
                    self.untold.join(", ")
                );
                Err(Failure::new(Kind::Other, message))
            }
        }
    }
}

fn describe(state: &CredentialState) -> String {
    let whose = if state.agent.is_empty() { String::new() } else { format!("agent {}: ", state.agent) };
    match (&state.failure, state.is_awaited) {
        (_, true) => format!("{whose}its source was asked and has not answered yet"),
        (None, false) => format!("{whose}in force"),
        (Some(reason), false) => format!("{whose}refused: {reason}"),
    }
}
