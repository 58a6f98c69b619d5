//! Completion scripts and manual pages: they name what the commands are.

use std::path::Path;
use std::process::Command;

use tollgate_tests::{built, finish, front_door, program};

#[test]
fn completion_scripts_name_the_subcommands() {
    #[track_caller]
    fn check(program: &Path, command: &str, words: &[&str]) {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = finish(Command::new(program).args([command, shell])).succeeded();
            for word in words {
                assert!(script.contains(word), "{shell} of {} does not know {word}", program.display());
            }
        }
        let refused = finish(Command::new(program).args([command, "csh"]));
        assert!(refused.code == 2 && refused.stderr.contains("bash"), "{refused:?}");
    }
    check(program(), "completions", &["sandbox", "audit", "export", "credential", "follow"]);
    check(&front_door(), "completions", &["sandbox", "policy", "provider", "forward"]);
    check(&built("nemoclaw"), "completion", &["list", "credentials", "debug"]);
}

#[test]
fn bash_accepts_the_scripts() {
    for (program, command) in
        [(program().to_owned(), "completions"), (front_door(), "completions"), (built("nemoclaw"), "completion")]
    {
        let script = finish(Command::new(&program).args([command, "bash"])).succeeded();
        let read = finish(Command::new("bash").args(["-n", "-c", &script]));
        assert_eq!((read.code, read.stderr.as_str()), (0, ""), "{}", program.display());
    }
}

/// The subcommands that a page of help lists.
fn listed(words: &[String]) -> Vec<String> {
    let help = finish(Command::new(program()).args(words).arg("--help")).succeeded();
    let commands = help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let named = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_subcommand_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("made/man1");
    let _ = finish(Command::new(program()).arg("man").arg(&pages)).succeeded();
    let mut waiting = vec![Vec::new()];
    let mut seen = 0;
    while let Some(words) = waiting.pop() {
        let name = [&["tollgate".to_owned()], words.as_slice()].concat().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).expect(&name);
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH DESCRIPTION"), "{name}: {page}");
        seen += 1;
        waiting.extend(listed(&words).into_iter().map(|word| [words.as_slice(), &[word]].concat()));
    }
    assert_eq!(std::fs::read_dir(&pages).expect("pages").count(), seen, "a page for each and for nothing else");
    assert!(seen > 40, "{seen} commands: the help is read as it is written");
    let nowhere = finish(Command::new(program()).args(["man", "/dev/null/pages"]));
    assert!(nowhere.code == 1 && nowhere.stderr.contains("cannot be written to /dev/null/pages"), "{nowhere:?}");
}
