//! What was probably meant by a word that nothing is called.

use tollgate_policy::diagnostic::closest;

/// `did you mean …?` where some known word is near, else what to do.
pub fn suggest<'w>(written: &str, known: impl IntoIterator<Item = &'w str>, otherwise: &str) -> String {
    match closest(written, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => otherwise.to_owned(),
    }
}

/// The names of a command's subcommands that are shown, and their aliases.
pub fn subcommands(command: &clap::Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    shown
        .flat_map(|one| {
            std::iter::once(one.get_name()).chain(one.get_visible_aliases()).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// The sentence for a subcommand that is not known.
pub fn unrecognized(word: &str, command: &clap::Command, others: &[&str], help: &str) -> String {
    let own = subcommands(command);
    let known = own.iter().map(String::as_str).chain(others.iter().copied());
    format!("unrecognized subcommand '{word}'; {}", suggest(word, known, &format!("see `{help}`")))
}
