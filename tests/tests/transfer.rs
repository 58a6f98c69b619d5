//! `sandbox upload` and `download`: the sandbox's restrictions hold, and nothing that it sends is written elsewhere.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tollgate_tests::{Finished, Staying, finish};

/// A sandbox whose agent waits, with a folder `files` beside its working directory.
fn staying(options: &[&str]) -> Staying {
    let staying = Staying::new("version: 1\n");
    let created = staying.create("box", options, &["sleep", "1000"]);
    assert_eq!(created.code, 0, "{created:?}");
    let files = staying.0.path("files");
    std::fs::create_dir_all(files.join("deep/er")).expect("made");
    std::fs::write(files.join("deep/er/text"), "some text").expect("written");
    std::fs::write(files.join("-large"), vec![7; 3 << 20]).expect("written");
    std::fs::set_permissions(files.join("-large"), PermissionsExt::from_mode(0o750)).expect("set");
    symlink("deep/er", files.join("link")).expect("linked");
    for name in ["", "deep", "deep/er", "deep/er/text", "-large"] {
        staying.0.give(&files.join(name));
    }
    staying
}

fn transfer(staying: &Staying, what: &str, from: &Path, to: Option<&Path>) -> Finished {
    let mut command = staying.command(&[what, "box"]);
    finish(command.arg(from).args(to))
}

#[test]
fn a_folder_goes_in_and_comes_out_as_it_was() {
    let staying = staying(&[]);
    let sent = transfer(&staying, "upload", &staying.0.path("files"), Some(Path::new("made/here")));
    assert!(sent.code == 0 && sent.stderr.contains("2 files are in made/here/files of box"), "{sent:?}");
    let look = "cd made/here/files && stat -c '%n %a %s' -- -large deep/er/text && readlink link";
    let (code, seen, _) = staying.exec(&["box", "--", "sh", "-c", look], b"");
    assert_eq!(
        (code, String::from_utf8_lossy(&seen).as_ref()),
        (0, "-large 750 3145728\ndeep/er/text 644 9\ndeep/er\n")
    );
    // What is uploaded again replaces what was there.
    assert_eq!(transfer(&staying, "upload", &staying.0.path("files/-large"), None).code, 0);
    let back = staying.0.path("work/back");
    let got = transfer(&staying, "download", Path::new("made/here/files"), Some(&back));
    assert!(got.code == 0 && got.stderr.contains("2 files are in"), "{got:?}");
    let differ = Command::new("diff").arg("-r").arg(staying.0.path("files")).arg(back.join("files")).output();
    let differ = differ.expect("compared");
    assert!(differ.status.success(), "{differ:?}");
    assert_eq!(std::fs::read_link(back.join("files/link")).expect("a link"), Path::new("deep/er"));
}

#[test]
fn the_restrictions_of_the_sandbox_hold() {
    let staying = staying(&[]);
    let refused = transfer(&staying, "upload", &staying.0.path("files"), Some(Path::new("/usr/share")));
    assert!(refused.code == 1 && refused.stderr.contains("in the sandbox box: "), "{refused:?}");
    let hidden = staying.0.path("home/journal.key");
    let hidden = transfer(&staying, "download", &hidden, None);
    assert!(hidden.code == 1 && hidden.stderr.contains("in the sandbox box: "), "{hidden:?}");
    assert!(!staying.0.path("work/journal.key").exists());
    let absent = transfer(&staying, "upload", Path::new("nothing"), None);
    assert!(absent.code == 2 && absent.stderr.contains("nothing cannot be sent"), "{absent:?}");
    let nameless = transfer(&staying, "download", Path::new("/"), None);
    assert!(nameless.code == 2 && nameless.stderr.contains("/ has no name of its own"), "{nameless:?}");
    let unknown = finish(&mut staying.command(&["upload", "bx", "files"]));
    assert!(unknown.code != 0 && unknown.stderr.contains("there is no sandbox bx") || unknown.code == 2, "{unknown:?}");
}

#[test]
fn n_a_hostile_sandbox_writes_nowhere_else() {
    let bin = "/usr/local/bin:/usr/bin:/bin";
    let place = tempfile::tempdir().expect("a folder");
    let staying = Staying::new("version: 1\n");
    let work = staying.0.path("work");
    let path = format!("PATH={}/bin:{bin}", work.display());
    // What answers as `tar` inside sends what the test has put there.
    std::fs::create_dir(work.join("bin")).expect("made");
    std::fs::write(work.join("bin/tar"), format!("#!/bin/sh\ncat {}/sent\n", work.display())).expect("written");
    std::fs::set_permissions(work.join("bin/tar"), PermissionsExt::from_mode(0o755)).expect("set");
    std::fs::write(place.path().join("evil"), "evil").expect("written");
    let created = staying.create("box", &["--env", &path], &["sleep", "1000"]);
    assert_eq!(created.code, 0, "{created:?}");
    let here = work.join("here");
    for (name, transformed, said) in [
        ("evil", "s,^,../,", "which is not below `data`"),
        ("evil", "s,.*,.bashrc,", "which is not below `data`"),
        ("evil", "s,.*,data/../../evil,", "which is not below `data`"),
    ] {
        let mut make = Command::new("tar");
        make.args(["-P", "-c", "--transform", transformed, "-C"]).arg(place.path()).arg("-f").arg(work.join("sent"));
        assert!(make.arg(name).status().expect("made").success());
        let got = transfer(&staying, "download", Path::new("data"), Some(&here));
        assert!(got.code == 1 && got.stderr.contains(said), "{transformed}: {got:?}");
        assert_eq!(std::fs::read_dir(&here).expect("made").count(), 0, "{transformed}");
        assert!(!work.join("evil").exists(), "{transformed}");
    }
}
