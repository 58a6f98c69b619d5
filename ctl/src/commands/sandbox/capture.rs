//! A short script beside the agent, for what it prints.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tollgate_supervisor::{Ends, Executing, Outcome, Visit};
use tollgate_wire::exec::Exec;

use super::exec::{knock, lost, refused};
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;

/// Such a script reads or writes a file; one that waits for something has been given something else than a file.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said of a script that fails is cut off here.
const MAX_ERROR_BYTES: u64 = 1024;

/// Runs `sh -c SCRIPT` beside the agent, with `input` on its standard input, and gives what it prints: at most `max` bytes.
pub fn capture(sandbox: &SandboxFolder, script: &str, input: &[u8], max: usize) -> Result<Vec<u8>, Failure> {
    let connection = knock(sandbox)?;
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let exec = Exec { command, ..Exec::default() };
    let Executing { visit, ends } = Executing::start(connection, &exec).map_err(refused)?;
    let Ends::Pipes { input: feed, output, error } = ends else { return Err(lost(&"it was given a terminal")) };
    let input = input.to_vec();
    // One that does not read it says so by how it ends.
    thread::spawn(move || drop(File::from(feed).write_all(&input)));
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        File::from(error).take(MAX_ERROR_BYTES).read_to_end(&mut said).map(|_| said)
    });
    let (done, ended) = channel();
    let limit = max as u64 + 1;
    thread::spawn(move || {
        let mut printed = Vec::new();
        let read = File::from(output).take(limit).read_to_end(&mut printed);
        // Nobody is there to hear it after the patience.
        let _ = done.send((read.map(|_| printed), wait(&visit)));
    });
    // What has not ended by then ends with the connection, when this process does.
    let late =
        |_| Failure::new(Kind::TimedOut, format!("a program in the sandbox {} has not ended in time", sandbox.name));
    let (printed, outcome) = ended.recv_timeout(PATIENCE).map_err(late)?;
    let printed = printed.map_err(|e| lost(&e))?;
    if printed.len() > max {
        return Err(lost(&format!("it prints more than {max} bytes")));
    }
    match outcome {
        Ok(Outcome::Exited(0)) => Ok(printed),
        outcome => {
            let said = said.join().ok().and_then(Result::ok).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).trim().escape_debug().to_string();
            Err(lost(&format!("a program in the sandbox {} failed ({outcome:?}): {said}", sandbox.name)))
        }
    }
}

fn wait(visit: &Visit) -> std::io::Result<Outcome> {
    visit.wait()
}
