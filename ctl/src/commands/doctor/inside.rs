//! `tollgate doctor --inside`: each runtime that is present opens a TLS connection through the gate, to a name that is the
//! doctor's own. Outside a sandbox it starts one for this, with a service on loopback behind the gate.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tollgate_proxy::Pin;
use tollgate_supervisor::Outcome;

use super::runtimes::{Judged, RUNTIMES, Runtime};
use super::{DoctorArguments, Finding, Report, State, in_force, missing, trial};
use crate::commands::runtime;
use crate::demo::{Service, Way, https};
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::progress::Progress;
use crate::session::Session;

/// The name that is asked for; no name server knows it.
const HOST: &str = "check.tollgate.test";

const POLICY: &str = "version: 1\nnetwork_policies:\n  check:\n    endpoints:\n    - {host: check.tollgate.test, port: 443, protocol: rest, access: full}\n";

/// Compilers take their time.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks every runtime, here or in a sandbox of its own.
pub fn inside(arguments: &DoctorArguments) -> Result<ExitCode, Failure> {
    match (&arguments.host, std::env::var_os("TOLLGATE_SANDBOX")) {
        (Some(host), _) => report(arguments, host),
        (None, Some(_)) => Err(Failure::new(
            Kind::Usage,
            "this is a sandbox already: name a host that its policy allows, with --host NAME, or run it outside"
                .to_owned(),
        )),
        (None, None) => enter(arguments),
    }
}

/// A sandbox whose policy allows the doctor's name, and `doctor --inside --host` in it.
fn enter(arguments: &DoctorArguments) -> Result<ExitCode, Failure> {
    let broken = |e: &dyn std::fmt::Display| Failure::new(Kind::Other, format!("the trial cannot be set up: {e}"));
    let folder = tempfile::Builder::new().prefix("tollgate-doctor-").tempdir().map_err(|e| broken(&e))?;
    let ca = folder.path().join("service-ca.pem");
    let service = Service::bind(&ca, &[HOST]).map_err(|e| broken(&e))?;
    let mut order = trial(&folder, POLICY).map_err(|e| broken(&e))?;
    let pin = format!("{HOST}:443:{}", service.address()).parse::<Pin>();
    order.pins = vec![pin.map_err(|e| broken(&e))?];
    order.upstream_cas = vec![ca];
    let program = std::env::current_exe().map_err(|e| broken(&e))?;
    order.command = [&program.display().to_string(), "doctor", "--inside", "--host", HOST].map(str::to_owned).to_vec();
    if arguments.output == Output::Json {
        order.command.extend(["-o".to_owned(), "json".to_owned()]);
    }
    let session = Session::prepare(order)?;
    let outcome = runtime()?.block_on(async {
        let _seen = service.serve(None).map_err(|e| broken(&e))?;
        let mut running = session.start().await?;
        let outcome = running.ended().await;
        running.close(&outcome).await?;
        Ok(outcome)
    })?;
    match outcome {
        Outcome::Exited(code) => Ok(ExitCode::from(code)),
        Outcome::Signalled(signal) => Err(Failure::new(Kind::Other, format!("the trial was ended by signal {signal}"))),
    }
}

/// Asks and prints. Ends with 1 where one that is present could not be helped.
fn report(arguments: &DoctorArguments, host: &str) -> Result<ExitCode, Failure> {
    let mut controls = vec![own(host)];
    let mut progress = Progress::of_steps(RUNTIMES.len());
    controls.extend(RUNTIMES.iter().map(|runtime| {
        progress.step(runtime.name);
        examine(runtime, host)
    }));
    drop(progress);
    let ready = controls.iter().all(|finding| finding.state != State::Missing);
    Report { ready, controls }.print(arguments.output);
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Rust, by this program itself: rustls with the bundle that `SSL_CERT_FILE` names.
fn own(host: &str) -> Finding {
    let ways = [(Way::Proxy, "by the proxy variables"), (Way::Direct, "knowing of no proxy")];
    for (way, how) in ways {
        if let Err(error) = https(way, "GET", host, "/", None) {
            return missing("Rust", format!("{how}: {error}"), "");
        }
    }
    in_force("Rust", "trusts the gate, by the proxy variables and knowing of no proxy")
}

fn examine(runtime: &Runtime, host: &str) -> Finding {
    let Some(program) = find(runtime.program).filter(|program| is_present(runtime, program)) else {
        return Finding {
            name: runtime.name.to_owned(),
            state: State::Optional,
            detail: "not installed".to_owned(),
            remedy: String::new(),
        };
    };
    match ask(runtime, &program, host) {
        Ok(()) => in_force(runtime.name, "trusts the gate"),
        Err(reason) => missing(runtime.name, reason, runtime.remedy),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_present(runtime: &Runtime, program: &Path) -> bool {
    runtime.presence.is_empty()
        || run(Command::new(program).args(runtime.presence)).is_ok_and(|(code, _)| code == Some(0))
}

fn ask(runtime: &Runtime, program: &Path, host: &str) -> Result<(), String> {
    let fill = |text: &str| text.replace("{url}", &format!("https://{host}/")).replace("{host}", host);
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    if let Some((name, text)) = runtime.source {
        std::fs::write(folder.path().join(name), fill(text)).map_err(|e| e.to_string())?;
    }
    let arguments = runtime.arguments.iter().map(|argument| fill(argument));
    let (code, said) = run(Command::new(program).args(arguments).current_dir(folder.path()))?;
    let trusted = match runtime.judged {
        Judged::Exit => code == Some(0),
        Judged::Words => !["certificate", "SSL", "TLS", "CAfile"].iter().any(|word| said.contains(word)),
    };
    if trusted { Ok(()) } else { Err(telling_line(&said)) }
}

/// Runs a command to its end or to the end of patience: its exit code, and what it said on stderr.
fn run(command: &mut Command) -> Result<(Option<i32>, String), String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("it cannot be started: {e}"))?;
    let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(|e| e.to_string())?;
    let (ended, end) = channel::<()>();
    let watch = std::thread::spawn(move || {
        if end.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // Not waited for yet, so the id is still its own.
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(MAX_SAID).read_to_end(&mut said).map_err(|e| e.to_string())?;
    }
    drop(ended);
    let _ = watch.join();
    let status = child.wait().map_err(|e| e.to_string())?;
    Ok((status.code(), String::from_utf8_lossy(&said).into_owned()))
}

/// More than any of them says of a certificate.
const MAX_SAID: u64 = 64 << 10;

/// The line that says why: the first that names an error, else the last; without what a terminal would obey.
fn telling_line(said: &str) -> String {
    let lines = || said.lines().filter(|line| !line.trim().is_empty());
    let names_it = |line: &&str| ["rror", "xception", "ertificate"].iter().any(|word| line.contains(word));
    let line = lines().find(names_it).or_else(|| lines().next_back()).unwrap_or("it failed without a word");
    line.trim().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_what_a_runtime_says() {
        for (said, expected) in [
            ("", "it failed without a word"),
            ("one\ntwo\n\n", "two"),
            ("Note: x\nException in thread: PKIX path\n\tat x\n\t... 30 more\n", "Exception in thread: PKIX path"),
            ("curl: (60) SSL certificate problem\x1b[31m\nMore details\n", "curl: (60) SSL certificate problem[31m"),
        ] {
            assert_eq!(telling_line(said), expected);
        }
    }
}
