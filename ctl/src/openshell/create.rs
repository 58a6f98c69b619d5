//! `openshell sandbox create`.

use std::io::{IsTerminal, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::provider::{missing, plain};
use super::sandbox::done;
use crate::commands::sandbox::{self as life, Tty, run_inside, running};
use crate::definition::Options;
use crate::failure::{Failure, Kind};

/// A new sandbox.
#[derive(Debug, Args)]
pub struct Create {
    /// A name; drawn if absent
    #[arg(long)]
    name: Option<String>,
    /// The policy
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// A provider whose credentials it gets
    #[arg(long = "provider", value_name = "NAME")]
    providers: Vec<String>,
    /// Lead a port of this machine into it
    #[arg(long, value_name = "[HOST:]PORT")]
    forward: Vec<String>,
    /// A variable
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    environment: Vec<String>,
    /// Give the command a terminal
    #[arg(long, conflicts_with = "no_tty")]
    tty: bool,
    /// Give the command no terminal
    #[arg(long)]
    no_tty: bool,
    /// Remove the sandbox when the command has ended
    #[arg(long, conflicts_with = "detach")]
    no_keep: bool,
    /// Make the command the sandbox's own, and return
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// The command and its arguments; a shell if absent, where there is a terminal
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What a sandbox of this machine has no use for: taken to say so.
#[derive(Debug, Args)]
struct Elsewhere {
    #[arg(long, hide = true)]
    from: Option<String>,
    #[arg(long, hide = true)]
    upload: Vec<String>,
    #[arg(long, hide = true)]
    gpu: bool,
    #[arg(long, hide = true)]
    editor: Option<String>,
    #[arg(long, hide = true)]
    cpu: Option<String>,
    #[arg(long, hide = true)]
    memory: Option<String>,
    #[arg(long, hide = true)]
    driver_config_json: Option<String>,
    #[arg(long, hide = true)]
    approval_mode: Option<String>,
    #[arg(long = "label", hide = true)]
    labels: Vec<String>,
    #[arg(long, hide = true)]
    no_git_ignore: bool,
    #[arg(long, hide = true)]
    auto_providers: bool,
    #[arg(long, hide = true)]
    no_credential_warnings: bool,
}

/// Without `--detach` a command runs beside an idle sandbox, which stays for `connect` and `exec` when the command has ended.
pub fn create(arguments: Create) -> Result<ExitCode, Failure> {
    let Create { name, policy, providers, forward, environment, tty, no_tty, no_keep, detach, elsewhere, command } =
        arguments;
    elsewhere.check()?;
    let policy = policy.ok_or_else(|| {
        let message = "name a policy with --policy FILE: there are no images here that bring one; `tollgate provider policy PROFILE` prints one to begin with";
        Failure::new(Kind::Other, message)
    })?;
    let options = Options { policy, providers, forwards: forward, environment, ..Options::default() };
    let (own, beside) = if detach { (command, Vec::new()) } else { (Vec::new(), command) };
    let (name, _) = life::create(name, options, own).map_err(plain)?;
    done("Created", &name);
    let here = stdin().is_terminal() && stdout().is_terminal();
    if detach || (beside.is_empty() && !tty && !here) {
        println!("{name}");
        return Ok(ExitCode::SUCCESS);
    }
    let tty = match (tty || beside.is_empty(), no_tty) {
        (true, _) => Tty::Always,
        (_, true) => Tty::Never,
        _ => Tty::AsHere,
    };
    let ran = run_inside(&running(Some(name.clone()))?, tty, life::plainly(beside));
    if no_keep {
        life::delete(&name)?;
        done("Deleted", &name);
    }
    ran
}

impl Elsewhere {
    /// What would be missed is refused; what only saves trouble is taken.
    fn check(&self) -> Result<(), Failure> {
        let images = "a sandbox here is this machine's own file tree, as far as the policy grants it, so nothing is built or pulled";
        let cgroups = "it takes a delegated cgroup, which sandboxes do not use yet; start the command under `systemd-run --user --scope -p …`";
        let asked = [
            (self.from.is_some(), "--from", images),
            (!self.upload.is_empty(), "--upload", FILES),
            (self.gpu, "--gpu", "it takes the device files of the GPU, which no sandbox is given"),
            (self.editor.is_some(), "--editor", "open the folder that the sandbox was created in with your editor"),
            (self.cpu.is_some(), "--cpu", cgroups),
            (self.memory.is_some(), "--memory", cgroups),
            (self.driver_config_json.is_some(), "--driver-config-json", images),
            (
                self.approval_mode.is_some(),
                "--approval-mode",
                "there are no proposals; edit the policy and `openshell policy set` it",
            ),
        ];
        match asked.iter().find(|(asked, ..)| *asked) {
            Some((_, option, instead)) => Err(missing(&format!("sandbox create {option}"), instead)),
            None => Ok(()),
        }
    }
}

/// Where files are shared.
pub const FILES: &str = "the sandbox's working directory is the folder that it was created in; put files there";
