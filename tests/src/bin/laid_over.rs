//! Runs a command for which a folder lies over another: `laid_over FOLDER PLACE COMMAND ARGS`.
//!
//! In namespaces of its own, as the same user, so that nothing of the machine changes.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().unwrap_or_else(|| panic!("{what} is missing"));
    let (folder, place, command) = (next("a folder"), next("a place"), next("a command"));
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).expect("namespaces");
    let write = |file: &str, text: String| std::fs::write(format!("/proc/self/{file}"), text).expect(file);
    write("setgroups", "deny".to_owned());
    write("uid_map", format!("{user} {user} 1"));
    write("gid_map", format!("{group} {group} 1"));
    mount(Some(folder.as_str()), place.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("laid over");
    panic!("{command}: {}", Command::new(&command).args(arguments).exec());
}
