//! The sections that are fixed when a sandbox starts: `filesystem_policy`, `landlock`, `process`.

use crate::document::{Compatibility, Filesystem, Process};
use crate::yaml::reader::Reader;
use crate::yaml::{Node, Value};

const MAX_PATHS: usize = 256;
const MAX_PATH_BYTES: usize = 4096;

pub(super) fn filesystem(reader: &mut Reader, node: &Node) -> Option<Filesystem> {
    let fields = reader.fields(node, "`filesystem_policy`", &["include_workdir", "read_only", "read_write"])?;
    let flag = fields.get("include_workdir").is_some_and(|node| reader.flag(node, "`include_workdir`"));
    let mut paths = |name: &str| match fields.get(name) {
        Some(node) => reader.each(node, &format!("`{name}`"), |reader, item| path(reader, item, name)),
        None => Vec::new(),
    };
    let section = Filesystem { include_workdir: flag, read_only: paths("read_only"), read_write: paths("read_write") };
    if section.read_only.len() + section.read_write.len() > MAX_PATHS {
        reader.error(node.at, format!("more than {MAX_PATHS} paths in `filesystem_policy`"));
    }
    Some(section)
}

fn path(reader: &mut Reader, node: &Node, list: &str) -> Option<String> {
    let text = reader.word(node, "a path")?;
    let problem = if !text.starts_with('/') {
        "must be absolute"
    } else if text.split('/').any(|part| part == "..") {
        "may not hold `..`"
    } else if text.len() > MAX_PATH_BYTES {
        "is too long"
    } else if text.contains('\0') {
        "holds a NUL character"
    } else if list == "read_write" && text.bytes().all(|b| b == b'/') {
        "would make everything writable"
    } else {
        return Some(text.to_owned());
    };
    reader.error(node.at, format!("the path `{text}` {problem}"));
    None
}

pub(super) fn landlock(reader: &mut Reader, node: &Node) -> Option<Compatibility> {
    let fields = reader.fields(node, "`landlock`", &["compatibility"])?;
    let Some(node) = fields.get("compatibility") else { return Some(Compatibility::BestEffort) };
    let words = [
        ("best_effort", Compatibility::BestEffort),
        ("hard_requirement", Compatibility::HardRequirement),
        // What some presets of the field write for the second.
        ("strict", Compatibility::HardRequirement),
    ];
    reader.one_of(node, "`compatibility`", &words)
}

pub(super) fn process(reader: &mut Reader, node: &Node) -> Option<Process> {
    let fields = reader.fields(node, "`process`", &["run_as_user", "run_as_group"])?;
    let mut who = |name| fields.get(name).and_then(|node| identity(reader, node, name));
    Some(Process { run_as_user: who("run_as_user"), run_as_group: who("run_as_group") })
}

/// `sandbox`, or a number that is neither root nor the reserved last one; nothing is as good as leaving it out.
fn identity(reader: &mut Reader, node: &Node, name: &str) -> Option<String> {
    if node.value == Value::Text("".into()) {
        return None;
    }
    let text = reader.text(node, &format!("`{name}`"))?;
    let plain = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|id| plain && (1..u32::MAX).contains(id));
    if text != "sandbox" && number.is_none() {
        reader
            .error(node.at, format!("`{name}` may not be `{text}`"))
            .hint("write `sandbox` or a number from 1 to 4294967294 in quotes");
        return None;
    }
    Some(text.to_owned())
}
