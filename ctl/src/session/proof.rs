//! The self-proof, seen from outside: what the canary is told, and what its report means.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use tollgate_audit::Event;
use tollgate_audit::digest::hex;
use tollgate_policy::Policy;
use tollgate_proxy::Journal;
use tollgate_supervisor::Confined;
use tollgate_wire::cell::Control;
use tollgate_wire::proof::{Attempt, Ending, Proof};

use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, random};

/// The control's name in status and journal.
const NAME: &str = "self-proof";

/// Lays a decoy out and says what to try.
pub fn order(home: &Home, folder: &SandboxFolder, policy: &Policy) -> Result<Proof, Failure> {
    let decoy = folder.path.join("decoy.token");
    let mut file = std::fs::OpenOptions::new();
    file.write(true).create(true).truncate(true).mode(0o600);
    let token = hex(&random::<16>()?);
    let written = file.open(&decoy).and_then(|mut file| file.write_all(token.as_bytes()));
    written.map_err(|e| Failure::new(Kind::State, format!("{} cannot be written: {e}", decoy.display())))?;
    Ok(Proof {
        decoy,
        hidden: vec![home.path().to_owned()],
        name: format!("proof-{}.invalid", hex(&random::<8>()?)),
        tunnel: policy.terminated_endpoint(),
    })
}

/// Sends the canary in, records what it says, and fails where it was surprised. The gate must serve.
pub fn run(confined: &Confined, journal: &Journal, off: bool) -> Result<Control, Failure> {
    if off {
        record(journal, "off", &[], 0)?;
        return Ok(control(false, "switched off by --no-self-proof".to_owned()));
    }
    let began = Instant::now();
    let attempts = confined.prove().map_err(|e| Failure::new(Kind::Isolation, e.to_string()))?;
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let surprises: Vec<_> = attempts.iter().filter(|a| matches!(a.ending, Ending::Surprise(_))).collect();
    let outcome = if surprises.is_empty() && !attempts.is_empty() { "passed" } else { "surprised" };
    record(journal, outcome, &attempts, milliseconds)?;
    match surprises.first() {
        Some(first) => Err(Failure::new(Kind::Isolation, explain(first, surprises.len()))),
        None if attempts.is_empty() => Err(Failure::new(Kind::Isolation, "the self-proof tried nothing".to_owned())),
        None => Ok(control(true, summary(&attempts, milliseconds))),
    }
}

fn record(journal: &Journal, outcome: &str, attempts: &[Attempt], milliseconds: u64) -> Result<(), Failure> {
    let attempts: Vec<_> = attempts.iter().map(ToString::to_string).collect();
    journal.record(&Event::SelfProof { outcome, attempts: &attempts, milliseconds }).map_err(Failure::of_journal)
}

fn control(enforced: bool, detail: String) -> Control {
    Control { name: NAME.to_owned(), enforced, detail }
}

fn summary(attempts: &[Attempt], milliseconds: u64) -> String {
    let stopped = attempts.iter().filter(|a| matches!(a.ending, Ending::Stopped(_))).count();
    let left_out = match attempts.len() - stopped {
        0 => String::new(),
        number => format!(", {number} not tried"),
    };
    format!("{stopped} attacks tried and stopped{left_out}, {milliseconds} ms")
}

/// One sentence for the first surprise: what, which protection, what to do.
fn explain(attempt: &Attempt, all: usize) -> String {
    let Attempt { row, what, control, ending } = attempt;
    let answer = match ending {
        Ending::Surprise(answer) | Ending::Stopped(answer) | Ending::LeftOut(answer) => answer,
    };
    let more = if all > 1 { format!(" and {} more, listed in the journal", all - 1) } else { String::new() };
    format!(
        "the self-proof was surprised, and the agent was not started: {row}, {what}, should be stopped by {control}, but {answer}{more}; {}, \
         or accept it with --no-self-proof",
        remedy(control)
    )
}

fn remedy(control: &str) -> &'static str {
    match control {
        "files" => {
            "look for a grant that shows it, in filesystem_policy, --read-only and --read-write, and take it back"
        }
        "gate" | "dns" => "look at what the policy and --resolve allow there, and run with TOLLGATE_LOG=debug",
        _ => "run `tollgate doctor` for what this kernel gives",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(control: &str, ending: Ending) -> Attempt {
        Attempt { row: "N1".to_owned(), what: "reach /run/docker.sock".to_owned(), control: control.to_owned(), ending }
    }

    #[test]
    fn a_surprise_names_the_control_and_what_to_do() {
        let text = explain(&attempt("files", Ending::Surprise("it succeeded".to_owned())), 3);
        for part in [
            "N1, reach /run/docker.sock",
            "stopped by files",
            "it succeeded and 2 more",
            "--read-write",
            "--no-self-proof",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(explain(&attempt("seccomp", Ending::Surprise(String::new())), 1).contains("tollgate doctor"));
    }

    #[test]
    fn what_was_not_tried_is_counted() {
        let stopped = attempt("files", Ending::Stopped("x".to_owned()));
        let left_out = attempt("seccomp", Ending::LeftOut("x".to_owned()));
        assert_eq!(summary(&[stopped.clone(), left_out], 7), "1 attacks tried and stopped, 1 not tried, 7 ms");
        assert_eq!(summary(&[stopped.clone(), stopped], 7), "2 attacks tried and stopped, 7 ms");
    }
}
