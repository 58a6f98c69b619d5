//! `sandbox upload` and `sandbox download`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use clap::Args;
use serde_json::json;
use tollgate_supervisor::{Ends, Executing, Outcome, Visit};
use tollgate_wire::exec::Exec;

use super::exec::{knock, lost, refused};
use super::running;
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;
use crate::output::Output;
use crate::progress::Progress;
use crate::transfer::{PackError, UnpackError, pack, size, unpack};

/// Arguments of `upload`.
#[derive(Debug, Args)]
pub struct UploadArguments {
    /// The sandbox
    pub name: String,
    /// A file or folder of this machine
    pub local: PathBuf,
    /// The folder inside that it is put into, made if it is missing; the agent's working directory if absent
    pub remote: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `download`.
#[derive(Debug, Args)]
pub struct DownloadArguments {
    /// The sandbox
    pub name: String,
    /// A file or folder inside
    pub remote: PathBuf,
    /// The folder of this machine that it is put into, made if it is missing; the working directory if absent
    pub local: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// What is said of a program that fails is cut off here.
const MAX_ERROR_BYTES: u64 = 1024;

/// Copies a file or folder into a sandbox.
pub fn upload(arguments: UploadArguments) -> Result<(), Failure> {
    let UploadArguments { name, local, remote, output } = arguments;
    let usage =
        |e: &dyn std::fmt::Display| Failure::new(Kind::Usage, format!("{} cannot be sent: {e}", local.display()));
    // So that `.` has a name as well.
    let source = local.canonicalize().map_err(|e| usage(&e))?;
    let base = source.file_name().ok_or_else(|| usage(&"it has no name of its own"))?;
    let remote = remote.unwrap_or_else(|| ".".into());
    let script = "mkdir -p -- \"$1\" && exec tar -x -o -f - -C \"$1\"";
    let sandbox = running(Some(name))?;
    let Beside { visit, input, error, .. } = Beside::start(&sandbox, script, &[remote.as_os_str()])?;
    let mut progress = Progress::new(&base.to_string_lossy(), Some(size(&source)));
    let sent = pack(&source, base, input, &mut progress);
    drop(progress);
    // Its own words say more than that it takes no more.
    let ended = end(&sandbox, &visit, error);
    let files = match sent {
        Err(PackError::Refused(_)) if ended.is_err() => return ended,
        sent => sent.map_err(|e| Failure::new(Kind::Other, e.to_string()))?,
    };
    ended?;
    let place = remote.join(base);
    output.done(&json!({ "sandbox": sandbox.name, "path": place, "files": files }), || {
        eprintln!("tollgate: {files} files are in {} of {}", place.display(), sandbox.name);
    });
    Ok(())
}

/// Copies a file or folder out of a sandbox.
pub fn download(arguments: DownloadArguments) -> Result<(), Failure> {
    let DownloadArguments { name, remote, local, output: how } = arguments;
    let nameless =
        || Failure::new(Kind::Usage, format!("{} has no name of its own; name a file or folder", remote.display()));
    let base = remote.file_name().ok_or_else(nameless)?;
    let parent = remote.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let local = local.unwrap_or_else(|| ".".into());
    std::fs::create_dir_all(&local)
        .map_err(|e| Failure::new(Kind::Usage, format!("{} cannot be made: {e}", local.display())))?;
    let script = "exec tar -c -f - -C \"$1\" -- \"$2\"";
    let sandbox = running(Some(name))?;
    let Beside { visit, output, error, .. } = Beside::start(&sandbox, script, &[parent.as_os_str(), base])?;
    let mut progress = Progress::new(&base.to_string_lossy(), None);
    let got = unpack(output, &local, base, &mut progress);
    drop(progress);
    let got = match (got, end(&sandbox, &visit, error)) {
        // One that failed sends no whole archive, and says why.
        (Ok(_) | Err(UnpackError::Malformed(_)), Err(failure)) => return Err(failure),
        (got, _) => got.map_err(|e| Failure::new(Kind::Other, format!("the sandbox {}: {e}", sandbox.name)))?,
    };
    let place = local.join(base);
    let object = json!({ "sandbox": sandbox.name, "path": place, "files": got.files, "left_out": got.left_out });
    how.done(&object, || {
        got.left_out.iter().for_each(|left| eprintln!("tollgate: left out: {}", left.escape_debug()));
        eprintln!("tollgate: {} files are in {}", got.files, place.display());
    });
    match got.left_out.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Kind::Other, "some of it was left out")),
    }
}

/// A program beside the agent, and the ends of its pipes that are used.
struct Beside {
    visit: Visit,
    input: File,
    output: File,
    error: JoinHandle<Vec<u8>>,
}

impl Beside {
    fn start(sandbox: &SandboxFolder, script: &str, arguments: &[&OsStr]) -> Result<Self, Failure> {
        let mut command = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        for argument in arguments {
            let text = argument.to_str().ok_or_else(|| Failure::new(Kind::Usage, "a path has to be UTF-8"))?;
            command.push(text.to_owned());
        }
        let exec = Exec { command, ..Exec::default() };
        let Executing { visit, ends } = Executing::start(knock(sandbox)?, &exec).map_err(refused)?;
        let Ends::Pipes { input, output, error } = ends else { return Err(lost(&"it was given a terminal")) };
        let error = thread::spawn(move || {
            let mut said = Vec::new();
            let mut error = File::from(error);
            // What it says beyond that is read as well, so that it does not wait.
            let _ = (&mut error).take(MAX_ERROR_BYTES).read_to_end(&mut said);
            let _ = std::io::copy(&mut error, &mut std::io::sink());
            said
        });
        Ok(Self { visit, input: input.into(), output: output.into(), error })
    }
}

/// Waits for its end; fails as it failed.
fn end(sandbox: &SandboxFolder, visit: &Visit, error: JoinHandle<Vec<u8>>) -> Result<(), Failure> {
    let outcome = visit.wait();
    match outcome {
        Ok(Outcome::Exited(0)) => Ok(()),
        Ok(outcome) => {
            let said = error.join().unwrap_or_default();
            let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
            let said = if said.is_empty() { ended_silently(outcome) } else { said };
            Err(Failure::new(Kind::Other, format!("in the sandbox {}: {}", sandbox.name, said.escape_debug())))
        }
        Err(_) => Err(Failure::new(Kind::Other, format!("the sandbox {} has ended meanwhile", sandbox.name))),
    }
}

fn ended_silently(outcome: Outcome) -> String {
    match outcome {
        Outcome::Exited(code) => format!("tar ended with code {code} and said nothing"),
        Outcome::Signalled(signal) => format!("tar was ended by signal {signal}"),
    }
}
