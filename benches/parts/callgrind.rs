//! Instructions of every part, as valgrind's callgrind counts them, against those that were saved.
//!
//! Wall time on a shared machine lies; how many instructions a part takes stays within a percent from run to run. Each part is
//! counted in a process of its own, so that nothing depends on what ran before.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use tollgate_benches::baseline::{Baseline, Counts, MeasuredWith};
use tollgate_benches::program;

use crate::Result;
use crate::part::{COUNTED, Part};

/// Counts the instructions of every part of the gate
#[derive(Debug, Parser)]
#[command(bin_name = "cargo instructions")]
pub struct Arguments {
    /// As it is chosen by
    #[arg(long, required = true, hide = true)]
    instructions: bool,
    /// Save what is counted as the new baseline
    #[arg(long)]
    save: bool,
    /// Count only the parts whose names hold this
    #[arg(conflicts_with = "save")]
    filter: Option<String>,
    /// As `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the part alone is asked for by: `--count NAME`.
pub const COUNT: &str = "--count";

/// The profile that the baseline is of.
const PROFILE: &str = "instructions";

pub fn run(arguments: &Arguments, parts: &[Part]) -> Result<()> {
    let own = std::env::current_exe()?;
    if !own.ancestors().nth(2).is_some_and(|folder| folder.ends_with(PROFILE)) {
        return Err(
            format!("{} is not built in the profile `{PROFILE}`: use `cargo instructions`", own.display()).into()
        );
    }
    let is_chosen = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(&**filter));
    let chosen: Vec<_> = parts.iter().filter(|part| part.counted.is_some() && is_chosen(&part.name)).collect();
    let counts = count_all(&chosen)?;
    let measured_with = measured_with()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    if arguments.save {
        print(&counts, &Counts::new());
        let baseline = Baseline { measured_with, instructions: counts };
        return Ok(std::fs::write(file, serde_json::to_string_pretty(&baseline)? + "\n")?);
    }
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut baseline: Baseline = serde_json::from_str(&text)?;
    baseline.instructions.retain(|name, _| is_chosen(name));
    print(&counts, &baseline.instructions);
    judge(&baseline, &counts, &measured_with)
}

/// Says what has changed, and fails where that is for the worse.
fn judge(baseline: &Baseline, counts: &Counts, measured_with: &MeasuredWith) -> Result<()> {
    if *measured_with != baseline.measured_with {
        println!("the baseline was measured with {:?}, this with {measured_with:?}", baseline.measured_with);
    }
    let findings = baseline.compare(counts);
    findings.iter().for_each(|finding| println!("{finding}"));
    match findings.iter().filter(|finding| finding.is_wrong()).count() {
        0 => Ok(()),
        wrong => {
            Err(format!("not as the baseline says: {wrong}; where that is meant, `cargo instructions --save`").into())
        }
    }
}

fn print(counts: &Counts, before: &Counts) {
    for (name, now) in counts {
        match before.get(name) {
            Some(before) => {
                let change = *now as f64 * 100.0 / *before as f64 - 100.0;
                println!("{name:<40} {now:>12} instructions {change:>+7.2} %");
            }
            None => println!("{name:<40} {now:>12} instructions"),
        }
    }
}

/// As many at a time as there are processors.
fn count_all(parts: &[&Part]) -> Result<Counts> {
    let (next, counts) = (AtomicUsize::new(0), Mutex::new(Ok(Counts::new())));
    let folder = program::target()?.join("callgrind");
    std::fs::create_dir_all(&folder)?;
    let work = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let counted = count(part, &folder);
            let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match (counted, &mut *counts) {
                (Ok(count), Ok(counts)) => drop(counts.insert(part.name.clone(), count)),
                (Err(error), Ok(_)) => *counts = Err(format!("{}: {error}", part.name)),
                (_, Err(_)) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    Ok(counts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?)
}

/// Instructions of one repetition. The profile is left in the folder, for `callgrind_annotate`.
fn count(part: &Part, folder: &Path) -> Result<u64> {
    let profile: PathBuf = folder.join(part.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-") + ".callgrind");
    let mut command = if part.alone { crate::alone("valgrind") } else { Command::new("valgrind") };
    command.args(["--tool=callgrind", &format!("--toggle-collect={COUNTED}")]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(std::env::current_exe()?).args([COUNT, &part.name]);
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // `==1234== Collected : 5678`
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim());
    match (output.status.success(), collected.and_then(|count| count.parse::<u64>().ok()), part.counted) {
        (true, Some(collected), Some(repetitions)) if collected > 0 => Ok(collected / repetitions),
        _ => Err(format!("{command:?} counted nothing, {}: {said}", output.status).into()),
    }
}

fn measured_with() -> Result<MeasuredWith> {
    let rustc = said_by("rustc", &["-vV"])?;
    let of_rustc = |key: &str| rustc.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
    let processor = std::fs::read_to_string("/proc/cpuinfo")?;
    let has = |feature: &str| processor.split_whitespace().any(|word| word == feature);
    Ok(MeasuredWith {
        rustc: of_rustc("release: ") + " " + &of_rustc("host: "),
        valgrind: said_by("valgrind", &["--version"])?.trim().to_owned(),
        libc: said_by("getconf", &["GNU_LIBC_VERSION"])?.trim().to_owned(),
        processor: ["aes", "avx2", "rdrand"].map(|name| if has(name) { name } else { "-" }).join(" "),
    })
}

fn said_by(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8(output.stdout)?)
}
