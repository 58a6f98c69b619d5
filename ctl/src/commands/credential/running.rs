//! Telling what runs that a credential has changed, so that a command returns when the change is in force.

use tollgate_wire::credentials::CredentialState;

use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::operator::{ClientError, REFRESH_CREDENTIALS, ask};

/// Has every sandbox and proxy of this state folder take over what has changed of `name`, and says in which it is in force.
///
/// # Errors
/// Those that run and could not be told. They look at the store themselves every second.
pub fn tell(home: &Home, name: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Kind::Other, format!("the runtime cannot be started: {e}")))?;
    let mut untold = Vec::new();
    for (kind, folders) in [("sandbox", home.sandboxes()), ("proxy", home.proxies())] {
        for folder in folders {
            let socket = folder.socket();
            let asked = ask(&socket, http::Method::POST, REFRESH_CREDENTIALS);
            match runtime.block_on(asked) {
                Ok(states) => {
                    let states: Vec<CredentialState> = states;
                    let own = states.iter().filter(|state| state.name == name);
                    own.for_each(|state| println!("{kind} {}: {}", folder.name, describe(state)));
                }
                Err(ClientError::NotRunning) => {}
                Err(error) => untold.push(format!("{kind} {} ({error})", folder.name)),
            }
        }
    }
    match untold.is_empty() {
        true => Ok(()),
        false => {
            let message = format!(
                "the store has changed, but these could not be told and may use what they have for a moment longer: {}; \
                 end what must not go on, and see `tollgate status`",
                untold.join(", ")
            );
            Err(Failure::new(Kind::Other, message))
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
