//! The file in which the agent finds its configuration: inside, in its home, written and read by programs that run beside it.
//!
//! What it holds may be the agent's doing, so it is read as anything that comes from inside: bounded, and as data.

use serde_json::{Map, Value};

use crate::commands::sandbox::capture;
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;

/// Below the agent's home.
const PLACE: &str = ".openclaw/openclaw.json";

/// Larger files are no configuration.
const MAX_BYTES: usize = 4 << 20;

/// Reads it; empty where there is none.
pub fn read(sandbox: &SandboxFolder) -> Result<Map<String, Value>, Failure> {
    let script = format!("cd \"${{HOME:?}}\" && if [ -f {PLACE} ]; then exec cat {PLACE}; fi");
    let text = capture(sandbox, &script, &[], MAX_BYTES)?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    serde_json::from_slice(&text).map_err(|e| {
        let name = &sandbox.name;
        let message = format!(
            "~/{PLACE} in the sandbox {name} is no JSON object ({e}); correct it there, as with `tollgate sandbox connect {name}`"
        );
        Failure::new(Kind::Other, message)
    })
}

/// Replaces it as a whole. It is the agent's own, since agents write to theirs as well.
pub fn write(sandbox: &SandboxFolder, document: &Map<String, Value>) -> Result<(), Failure> {
    let text = format!("{:#}\n", Value::Object(document.clone()));
    let script = format!(
        "umask 077 && cd \"${{HOME:?}}\" && mkdir -p \"$(dirname {PLACE})\" && cat > {PLACE}.$$ && mv {PLACE}.$$ {PLACE}"
    );
    capture(sandbox, &script, text.as_bytes(), MAX_BYTES).map(drop)
}
