//! What of a policy is applied when a sandbox starts, and so cannot change while it runs.

use tollgate_policy::{Document, Filesystem};

/// Why `after` cannot take the place of what a sandbox started with; nothing where it can.
///
/// `landlock` and `process` have to be the same, the section being there or not included. `filesystem_policy` may grant
/// more paths, which the sandbox has after its next start.
pub fn changes(before: &Document, after: &Document) -> Vec<String> {
    let mut found = Vec::new();
    if before.landlock != after.landlock {
        found.push(fixed("landlock"));
    }
    if before.process != after.process {
        found.push(fixed("process"));
    }
    let default = || Filesystem { include_workdir: true, ..Filesystem::default() };
    match (&before.filesystem_policy, &after.filesystem_policy) {
        (None, None) => {}
        (Some(_), None) => found.push(fixed("filesystem_policy")),
        (before, Some(after)) => found.extend(files(before.as_ref().unwrap_or(&default()), after)),
    }
    found
}

fn files(before: &Filesystem, after: &Filesystem) -> Vec<String> {
    let mut found = Vec::new();
    if before.include_workdir != after.include_workdir {
        found.push(fixed("filesystem_policy.include_workdir"));
    }
    let lists =
        [("read_only", &before.read_only, &after.read_only), ("read_write", &before.read_write, &after.read_write)];
    for (name, before, after) in lists {
        let lost = before.iter().filter(|path| !after.contains(path));
        found.extend(lost.map(|path| {
            format!("{path} cannot be removed from `filesystem_policy.{name}` while the sandbox runs: it was granted at the start")
        }));
    }
    found
}

fn fixed(section: &str) -> String {
    format!("`{section}` was applied when the sandbox started and cannot change while it runs; keep it as it is")
}

#[cfg(test)]
mod tests {
    use tollgate_policy::document::read;

    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, expected: &[&str]) {
        let document = |text: &str| read(&format!("version: 1\n{text}")).expect("a policy");
        let found = changes(&document(before), &document(after));
        let fits = found.len() == expected.len() && found.iter().zip(expected).all(|(said, text)| said.contains(text));
        assert!(fits, "{before:?} to {after:?}: {found:?}");
    }

    #[test]
    fn sections_of_the_start() {
        const FILES: &str = "filesystem_policy: {include_workdir: true, read_only: [/a, /b], read_write: [/c]}";
        check("", "network_policies: {}", &[]);
        check(FILES, FILES, &[]);
        check(FILES, "filesystem_policy: {include_workdir: true, read_only: [/b, /a, /d], read_write: [/c]}", &[]);
        check(FILES, "filesystem_policy: {read_only: [/b], read_write: [/c]}", &["include_workdir", "/a cannot"]);
        check(FILES, "filesystem_policy: {include_workdir: true, read_only: [/a, /b]}", &["/c cannot"]);
        check(FILES, "", &["`filesystem_policy` was"]);
        check("", "filesystem_policy: {include_workdir: true, read_only: [/a]}", &[]);
        check("", "filesystem_policy: {read_only: [/a]}", &["include_workdir"]);
        check("", "landlock: {compatibility: best_effort}", &["`landlock`"]);
        check("landlock: {compatibility: best_effort}", "landlock: {compatibility: hard_requirement}", &["`landlock`"]);
        check("process: {run_as_user: '7'}", "process: {run_as_user: '8'}", &["`process`"]);
        check("process: {run_as_user: '7'}", "", &["`process`"]);
    }
}
