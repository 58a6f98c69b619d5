//! `--rootfs`: the agent sees the tree of an unpacked image, and of this machine only what was granted beside it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tollgate_tests::{Bench, Finished, finish};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
    binaries: [{ path: /bin/fetch }]
";

/// Programs of the image, and where they lie in it.
const PROGRAMS: [(&str, &str); 4] = [
    ("/bin/sh", "usr/bin/sh"),
    ("/bin/cat", "usr/bin/cat"),
    ("/bin/ls", "usr/bin/ls"),
    ("/usr/bin/curl", "opt/tool/curl"),
];

/// An image with a few programs, their libraries, and files of its own.
fn with_image(policy: &str) -> Bench {
    let bench = Bench::new(policy);
    let image = bench.path("image");
    for folder in ["usr/bin", "opt/tool", "etc", "var/data", "var/other", "proc", "root"] {
        std::fs::create_dir_all(image.join(folder)).expect("made");
    }
    for (program, place) in PROGRAMS {
        copy(Path::new(program), &image.join(place));
        for library in libraries(program) {
            copy(Path::new(&library), &image.join(library.trim_start_matches('/')));
        }
    }
    symlink("usr/bin", image.join("bin")).expect("linked");
    symlink("/opt/tool/curl", image.join("usr/bin/fetch")).expect("linked");
    std::fs::write(image.join("etc/os-release"), "NAME=Image\n").expect("written");
    let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(&image).status();
    assert!(!nix::unistd::Uid::effective().is_root() || owned.is_ok_and(|status| status.success()), "given away");
    bench
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
    std::fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
}

/// What ldd(1) says that a program loads.
fn libraries(program: &str) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().expect("ldd(1)");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

fn run(bench: &Bench, script: &str) -> Finished {
    let image = bench.path("image").display().to_string();
    bench.shell(&["--rootfs", &image], script)
}

#[test]
fn the_tree_is_the_images() {
    let bench = with_image(POLICY);
    let seen = run(&bench, "cat /etc/os-release; ls /; ls /usr/share; ls /var").succeeded();
    let (tree, rest) = seen.split_once("var\n").expect("a listing");
    assert!(tree.starts_with("NAME=Image\nbin\ndev\netc\n"), "{seen}");
    assert!(!tree.contains("boot") && !tree.contains("sys\n"), "{seen}");
    assert_eq!(rest, "data\nother\n", "the image has no /usr/share");
}

#[test]
fn programs_are_those_of_the_image() {
    let bench = with_image(POLICY);
    // The name in the policy is a link in the image alone; this machine has no such program.
    let script = "for program in /bin/fetch /opt/tool/curl; do $program -s -o /dev/null -w '%{http_code} ' https://api.test/echo; done";
    assert_eq!(run(&bench, script).succeeded(), "200 200 ");
    let other = with_image(&POLICY.replace("/bin/fetch", "/usr/bin/curl"));
    let refused = run(&other, "/bin/fetch -s -o /dev/null -w '%{http_connect}' https://api.test/echo");
    assert_eq!((refused.stdout.as_str(), other.origin.arrived().len()), ("403", 0), "{refused:?}");
}

#[test]
fn only_what_is_granted_is_changed() {
    let policy = format!("{POLICY}filesystem_policy: {{ read_only: [/opt, /var], read_write: [/var/data] }}\n");
    let bench = with_image(&policy);
    let script = "echo kept > /var/data/file; for path in /usr/x /var/other/x /etc/x /x; do echo no > $path; done; ls /root; cat /var/data/file";
    let finished = run(&bench, script);
    assert_eq!(finished.stdout, "kept\n", "{finished:?}");
    assert_eq!(std::fs::read_to_string(bench.path("image/var/data/file")).expect("there"), "kept\n");
    for path in ["usr/x", "var/other/x", "etc/x", "x"] {
        assert!(!bench.path("image").join(path).exists(), "{path}");
    }
    assert!(finished.stderr.contains("/root"), "not granted, so not visible: {finished:?}");
}

#[test]
fn n_links_of_an_image_stay_in_it() {
    let policy = format!("{POLICY}filesystem_policy: {{ read_only: [/opt, /escape, /up], read_write: [/var/data] }}\n");
    let bench = with_image(&policy);
    let secret = bench.write("secret", "of the host\n");
    symlink(secret.parent().expect("a folder"), bench.path("image/escape")).expect("linked");
    symlink("../../../../../../../etc", bench.path("image/up")).expect("linked");
    let finished = run(&bench, "cat /escape/secret; cat /up/os-release");
    assert_eq!(finished.stdout, "NAME=Image\n", "{finished:?}");
    // What an agent laid in the place of a granted name.
    std::fs::create_dir(bench.path("image/var/data/deep")).expect("made");
    let policy = policy.replace("[/opt, ", "[/opt, /var/data/link, ");
    bench.set_policy(&policy);
    symlink("../../etc", bench.path("image/var/data/link")).expect("linked");
    let refused = run(&bench, "echo started");
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
    assert!(refused.stderr.contains("/var/data/link of the image is a link in /var/data"), "{refused:?}");
}

#[test]
fn what_is_no_image_is_refused() {
    let bench = with_image(POLICY);
    let check = |place: &str, code: i32, expected: &str| {
        let finished = bench.shell(&["--rootfs", place], "echo started");
        assert_eq!((finished.code, finished.stdout.as_str()), (code, ""), "{place}: {finished:?}");
        assert!(finished.stderr.contains(expected), "{place}: {finished:?}");
    };
    check("/does/not/exist", 2, "No such file");
    check("/etc/passwd", 2, "it is no folder; unpack the image first");
    check("/", 2, "this machine's own tree");
    check(&bench.path("work").display().to_string(), 2, "neither usr nor bin");
    // The folder above holds the state folder.
    std::fs::create_dir(bench.path("usr")).expect("made");
    check(&bench.path("").display().to_string(), 3, "where Tollgate keeps its state");
    let inside = bench.path("image/policy.yaml");
    std::fs::copy(bench.path("policy.yaml"), &inside).expect("copied");
    let image = bench.path("image").display().to_string();
    let finished = finish(&mut bench.run_with(&inside, &["--rootfs", &image], &["sh", "-c", "echo started"]));
    assert_eq!((finished.code, finished.stdout.as_str()), (3, ""), "{finished:?}");
    assert!(finished.stderr.contains("lies in the image"), "{finished:?}");
}
