//! What shells and `man` are taught about a command line, made from the command line itself.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::{Failure, Kind};

/// Arguments of `completions`.
#[derive(Debug, Clone, Copy, Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// The folder to write them to, as /usr/local/share/man/man1; made when it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the script that completes the words of a program for a shell.
pub fn completions<C: CommandFactory>(program: &str, arguments: CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut C::command(), program, &mut script);
    let printed = stdout().write_all(&script);
    printed.map_err(|e| Failure::new(Kind::Other, format!("the script cannot be printed: {e}")))
}

/// Writes a page for a program and for each of its subcommands.
pub fn man<C: CommandFactory>(arguments: &ManArguments) -> Result<(), Failure> {
    let folder: &Path = &arguments.folder;
    let failed = |e: std::io::Error| {
        Failure::new(Kind::Other, format!("the pages cannot be written to {}: {e}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(C::command(), folder).map_err(failed)
}
