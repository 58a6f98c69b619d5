//! How far long work is, on a terminal and nowhere else.

use std::path::Path;

use tollgate_audit::digest::hex;
use tollgate_audit::{Event, SigningKey};
use tollgate_proxy::{Journal, Rotation};
use tollgate_tests::{AtTerminal, Bench, through};

/// Some ten megabytes of journal: a program that is not optimised reads them for longer than a tenth of a second.
fn large(folder: &Path) -> SigningKey {
    let key = || SigningKey::from_seed(&[1; 32]).expect("32 bytes");
    let journal = Journal::open(folder, "box", key(), Rotation::default()).expect("opened");
    let detail = "some text of a hundred bytes ".repeat(4);
    for _ in 0..40 {
        for _ in 0..1000 {
            journal.record(&Event::Notice { detail: &detail }).expect("queued");
        }
        journal.sync().expect("written");
    }
    journal.close("done").expect("closed");
    key()
}

/// The bar's states, each behind a return; what remains on the screen once it is gone.
fn bars(seen: &str, what: &str) -> (Vec<String>, String) {
    let (bars, rest): (Vec<_>, Vec<_>) = seen.split('\r').partition(|part| part.starts_with(what));
    (bars.into_iter().map(str::to_owned).collect(), rest.concat().replace("\u{1b}[K", ""))
}

#[test]
fn long_reading_shows_how_far_it_is() {
    let bench = Bench::new("version: 1\n");
    let journal = bench.path("large.journal");
    std::fs::create_dir(&journal).expect("made");
    let key = bench.write("key", hex(&large(&journal).public()));
    bench.give(&journal);
    std::fs::read_dir(&journal).expect("there").for_each(|entry| bench.give(&entry.expect("readable").path()));
    let of_journal = |verb: &str| {
        let mut command = bench.tollgate();
        command.args(["audit", verb]).arg(&journal);
        command
    };
    let mut verify = of_journal("verify");
    verify.arg("--key").arg(key);
    let (seen, code) = AtTerminal::start(verify).watch();
    let (steps, rest) = bars(&seen, "verifying");
    assert!(code == 0 && !steps.is_empty() && steps.iter().all(|bar| bar.contains(" MiB of ")), "{seen}");
    assert!(rest.contains("intact, 40001 records"), "{seen}");

    // What it prints goes elsewhere, so that there is room for the bar.
    let export = through(&["sh", "-c", "\"$0\" \"$@\" > /dev/null"], &of_journal("export"));
    let (seen, code) = AtTerminal::start(export).watch();
    let (steps, rest) = bars(&seen, "exporting");
    assert!(code == 0 && !steps.is_empty() && rest.trim().is_empty(), "{seen}");
    let mut export = of_journal("export");
    export.args(["--since", "2999-01-01T00:00:00Z"]);
    assert_eq!(AtTerminal::start(export).watch(), (String::new(), 0), "a bar would stand among what it prints");
}
