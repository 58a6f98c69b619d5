//! What of the host's file tree is there, and what can be changed.

use crate::bench::{Bench, is_root};

#[test]
fn only_granted_folders_exist() {
    let says = Bench::shell("ls -A /; ls -A /home /run /tmp /home/agent").says();
    for hidden in ["root", "work", "boot", "sys", "opt", "mnt", ".host", "srv"] {
        assert!(says.lines().all(|name| name != hidden), "{hidden} in {says}");
    }
    assert!(says.lines().any(|name| name == "usr"), "{says}");
    assert!(says.contains("/run:\n\n"), "{says}");
}

#[test]
fn a_grant_of_the_root_leaves_the_hosts_own_out() {
    let mut bench = Bench::shell("ls -A /tmp; ls /run /sys 2>&1; ls /proc | grep -c '^[0-9]'; test -w /usr || echo ro");
    bench.cell.files.read_only = vec!["/".into()];
    let says = bench.says();
    assert!(!says.contains("cell"), "the host's /tmp is visible: {says}");
    assert!(says.contains("/run:\n") && says.contains("cannot access '/sys'"), "{says}");
    assert!(says.ends_with("ro"), "{says}");
}

#[test]
fn read_only_is_read_only() {
    let mut bench = Bench::shell("");
    let folder = bench.host_folder("granted");
    std::fs::write(folder.join("file"), "content").expect("a file");
    bench.cell.files.read_only.push(folder.clone());
    let path = folder.display();
    let script = format!(
        "cat {path}/file; echo; for try in 'echo x > {path}/file' 'touch {path}/new' 'rm {path}/file' 'mkdir {path}/d' 'mv {path}/file /tmp/' \
         'chmod 777 {path}/file' 'ln {path}/file /tmp/l' 'touch /new' 'touch /usr/new' 'touch /dev/new' 'rm /dev/null'; do \
         bash -c \"$try\" 2>/dev/null && echo \"done: $try\"; done; true"
    );
    bench.cell.command[2] = script;
    assert_eq!(bench.says(), "content");
}

#[test]
fn read_write_reaches_the_host() {
    let mut bench = Bench::shell("echo changed > file && mkdir d && touch d/x && mv d e && ls -R");
    let folder = bench.host_folder("granted");
    bench.cell.files.read_write.push(folder.clone());
    bench.cell.workdir = folder.clone();
    assert_eq!(bench.says(), ".:\ne\nfile\n\n./e:\nx");
    assert_eq!(std::fs::read_to_string(folder.join("file")).expect("the file"), "changed\n");
}

#[test]
fn a_read_only_folder_in_a_writable_one_stays_so() {
    let mut bench = Bench::shell("touch ok; touch hooks/x 2>/dev/null || mv hooks h 2>/dev/null || echo kept");
    let folder = bench.host_folder("project");
    std::fs::create_dir(folder.join("hooks")).expect("a folder");
    bench.cell.files.read_write.push(folder.clone());
    bench.cell.files.read_only.push(folder.join("hooks"));
    bench.cell.workdir = folder.clone();
    assert_eq!(bench.says(), "kept");
    assert!(folder.join("ok").exists());
}

#[test]
fn an_overlay_covers_for_reading_only() {
    let mut bench = Bench::shell(
        "cat /run/tollgate/ca.pem /etc/hosts /etc/mtab /home/agent/x; for f in /run/tollgate/ca.pem /etc/hosts; do \
         echo x 2>/dev/null > $f || rm $f 2>/dev/null || mv $f /tmp/ 2>/dev/null || umount $f 2>/dev/null || echo kept; done",
    );
    let file = bench.host_file("overlay", "laid over\n");
    for inside in ["/run/tollgate/ca.pem", "/etc/hosts", "/home/agent/x"] {
        bench.cell.files.overlays.push((file.clone(), inside.into()));
    }
    // A link on many machines, to what is not granted on others.
    let linked = bench.host_folder("links");
    std::os::unix::fs::symlink("/run/not/there/resolv.conf", linked.join("resolv.conf")).expect("a link");
    bench.cell.files.read_only.push(linked.clone());
    bench.cell.files.overlays.push((file, linked.join("resolv.conf")));
    bench.cell.command[2] =
        bench.cell.command[2].replace("/etc/mtab", &linked.join("resolv.conf").display().to_string());
    assert_eq!(bench.says(), "laid over\nlaid over\nlaid over\nlaid over\nkept\nkept");
    assert_eq!(std::fs::read_to_string(bench.cell.files.overlays[0].0.clone()).expect("the file"), "laid over\n");
}

#[test]
fn an_overlay_never_creates_a_file_on_the_host() {
    let mut bench = Bench::shell("true");
    let folder = bench.host_folder("project");
    let file = bench.host_file("overlay", "");
    bench.cell.files.read_write.push(folder.clone());
    bench.cell.files.overlays.push((file, folder.join("new")));
    let ran = bench.run();
    assert_eq!(ran.status.code(), Some(4), "{ran:?}");
    assert!(ran.refusal.is_some_and(|text| text.contains("would change the host")));
    assert!(!folder.join("new").exists());
}

#[test]
fn links_lead_where_they_lead_outside() {
    let mut bench = Bench::shell("");
    let folder = bench.host_folder("real");
    std::fs::write(folder.join("file"), "content").expect("a file");
    let link = folder.with_file_name("link");
    std::os::unix::fs::symlink("real", &link).expect("a link");
    bench.cell.files.read_only.extend([link.join("file"), link.clone()]);
    bench.cell.command[2] = format!("cat {}/file", link.display());
    assert_eq!(bench.says(), "content");
}

#[test]
fn private_folders_are_writable_and_empty() {
    let says = Bench::shell(
        "ls -A /tmp /var/tmp /dev/shm ~; for d in /tmp /var/tmp /dev/shm ~; do touch $d/x || echo failed; done; \
         printf '#!/bin/sh\\necho runs' > ~/p && chmod +x ~/p && ~/p",
    );
    assert!(says.says().ends_with("runs"));
}

#[test]
fn roots_sandboxes_have_the_same_folders() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::shell("cat file; touch ~/x /tmp/x new && stat -c %u ~; ls /root 2>&1").by_root();
    let folder = bench.host_folder("granted");
    std::fs::write(folder.join("file"), "content\n").expect("a file");
    bench.cell.files.read_write.push(folder.clone());
    bench.cell.workdir = folder;
    assert!(bench.run().output.starts_with(&format!("content\n{}\n", crate::bench::USER)));
}

#[test]
fn devices_are_few_and_work() {
    let says = Bench::shell(
        "ls /dev | tr '\\n' ' '; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; \
         (echo out > /dev/stdout) | cat; (echo err > /dev/stderr) 2>&1 | cat; cat <(echo sub)",
    );
    assert_eq!(
        says.says(),
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero 3\n3\nout\nerr\nsub"
    );
}

#[test]
fn standard_streams_on_the_host_can_be_opened_anew() {
    let bench = Bench::shell("echo first; echo second >> /dev/stdout; cat /dev/stdin");
    let (input, output) = (bench.host_file("in", "third\n"), bench.host_file("out", ""));
    let open = |path| std::fs::OpenOptions::new().append(true).open(path).expect("the file");
    let mut launcher = bench.launcher();
    let input = std::fs::File::open(input).expect("the file");
    assert!(launcher.stdin(input).stdout(open(&output)).status().expect("the launcher").success());
    assert_eq!(std::fs::read_to_string(output).expect("the file"), "first\nsecond\nthird\n");
}

#[test]
fn proc_shows_the_sandbox_alone_and_no_lever() {
    let says = Bench::shell(
        "ls /proc | grep -c '^[0-9]*$'; cat /proc/sys/kernel/hostname; hostname; \
         for f in sys/kernel/hostname sys/kernel/core_pattern sysrq-trigger sys/net/ipv4/ip_forward; do echo 1 2>/dev/null > /proc/$f && echo wrote $f; done; \
         cat /proc/kcore 2>/dev/null | wc -c; cat /proc/keys /proc/kallsyms /proc/modules 2>/dev/null; ls /proc/scsi /proc/acpi 2>/dev/null | grep -v :; \
         head -c 4 /proc/meminfo; echo; cat /proc/1/environ /proc/1/mem 2>/dev/null; ls /proc/1/fd /proc/1/root 2>/dev/null; true",
    );
    let says = says.says();
    let lines: Vec<_> = says.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines[0].parse::<u32>().is_ok_and(|count| count < 6), "{says}");
    assert_eq!(&lines[1..], ["cell", "cell", "0", "MemT"], "{says}");
}
