//! Attacks on the host's sockets and files, class N, from inside: one test for each row.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};

use tollgate_tests::{Bench, check_stopped};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
";

const REACH: &str = "def reach(path):\n  \
       tried(path, lambda: socket.socket(socket.AF_UNIX).connect(path), 'ENOENT', 'ENOTDIR')\n";

/// A socket that exists on the host, beside the agent's folder, and those of the usual engines.
#[test]
fn n1_container_engines() {
    let bench = Bench::new(POLICY);
    let _engine = UnixListener::bind(bench.path("docker.sock")).expect("bound");
    let own = bench.path("docker.sock").display().to_string();
    let program = format!(
        "{REACH}for path in ['{own}', '/run/docker.sock', '/var/run/docker.sock', '/run/podman/podman.sock', '/run/containerd/containerd.sock',\n\
         '/run/crio/crio.sock', '/run/libvirt/libvirt-sock', '/run/user/%d/podman/podman.sock' % os.getuid(), '/run/docker/metrics.sock']: reach(path)\n"
    );
    check_stopped(&bench, 9, &program);
}

#[test]
fn n2_buses_and_portals() {
    let program = format!(
        "{REACH}run = '/run/user/%d/' % os.getuid()\n\
         for path in ['/run/dbus/system_bus_socket', '/run/systemd/private', run + 'bus', run + 'systemd/private', run + 'at-spi/bus_0',\n\
         run + 'gvfsd/socket', run + 'doc']: reach(path)\n\
         print('ESCAPED' if 'DBUS_SESSION_BUS_ADDRESS' in os.environ or 'XDG_RUNTIME_DIR' in os.environ else 'stopped', 'its address')\n"
    );
    let bench = Bench::new(POLICY);
    check_stopped(&bench, 8, &program);
}

/// An abstract socket of the host, which no mount could hide, and the agents that keep keys.
#[test]
fn n3_abstract_sockets_and_key_agents() {
    let bench = Bench::new(POLICY);
    let name = format!("tollgate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("bound");
    let _key_agent = UnixListener::bind(bench.path("home/agent.sock")).expect("bound");
    let key_agent = bench.path("home/agent.sock").display().to_string();
    let program = format!(
        "{REACH}tried('abstract', lambda: socket.socket(socket.AF_UNIX).connect('\\0{name}'), 'ECONNREFUSED', 'EPERM')\n\
         tried('X11', lambda: socket.socket(socket.AF_UNIX).connect('\\0/tmp/.X11-unix/X0'), 'ECONNREFUSED', 'EPERM')\n\
         run = '/run/user/%d/' % os.getuid()\n\
         for path in ['{key_agent}', '/tmp/.X11-unix/X0', run + 'wayland-0', run + 'pipewire-0', run + 'keyring/ssh', run + 'gnupg/S.gpg-agent']: reach(path)\n\
         found = [v for v in ['SSH_AUTH_SOCK', 'DISPLAY', 'WAYLAND_DISPLAY', 'GPG_AGENT_INFO'] if v in os.environ]\n\
         print('ESCAPED' if found else 'stopped', 'their addresses', found)\n"
    );
    check_stopped(&bench, 9, &program);
}

/// What would be executed outside later: the caller's start-up files, hooks and settings beside the project.
#[test]
fn n4_files_that_are_executed_outside() {
    let bench = Bench::new(POLICY);
    let hook = bench.write("hook", "#!/bin/sh\n");
    let program = format!(
        "def write(path): open(path, 'a').write('x')\n\
         for path in ['/etc/profile', '/etc/bash.bashrc', '/etc/crontab', '/etc/ld.so.preload', '/usr/bin/git', '/root/.bashrc', '/var/spool/cron/x']:\n  \
           tried(path, lambda: write(path), 'EACCES', 'EROFS', 'ENOENT', 'EPERM')\n\
         try: write('{hook}')\n\
         except OSError: pass\n",
        hook = hook.display()
    );
    check_stopped(&bench, 7, &program);
    // Inside, its path is in a folder of the sandbox's own.
    assert_eq!(std::fs::read_to_string(&hook).expect("there"), "#!/bin/sh\n");
}

/// A link that the agent laid leads to no more than the agent sees, and a start does not follow it out.
#[test]
fn n5_links_that_are_laid_for_us() {
    let bench = Bench::new(POLICY);
    let secret = bench.write("elsewhere", "not for the agent");
    symlink(&secret, bench.path("work/link")).expect("laid");
    check_stopped(&bench, 1, "tried('through a link', lambda: open('link').read(), 'ENOENT')\n");
    let granted = bench.path("work/link").display().to_string();
    let through = bench.write(
        "policy-with-link.yaml",
        format!("{POLICY}filesystem_policy: {{include_workdir: true, read_only: [{granted}]}}\n"),
    );
    let refused = tollgate_tests::finish(&mut bench.run_with(&through, &[], &["cat", "link"]));
    assert_eq!((refused.code, refused.stdout.as_str()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("is a link in"), "{refused:?}");
}

#[test]
fn n6_the_journal_lies_outside() {
    let bench = Bench::new(POLICY);
    let home = bench.path("home").display().to_string();
    let program = format!(
        "for path in ['{home}', '{home}/sandboxes', '{home}/journal.key']:\n  \
           tried(path, lambda: os.stat(path), 'ENOENT', 'EACCES')\n\
         found = [name for top in ['/run', '/tmp', '/var', '/home', '/root', '/etc'] for _, _, names in os.walk(top) for name in names if name.endswith('.jsonl')]\n\
         print('ESCAPED' if found else 'stopped', 'journals', found)\n"
    );
    check_stopped(&bench, 4, &program);
    let verified = tollgate_tests::finish(bench.tollgate().args(["audit", "verify"]));
    assert!(verified.succeeded().contains("intact"));
}

#[test]
fn n7_what_is_trusted_cannot_be_changed() {
    let bench = Bench::new(POLICY);
    let program = "def write(path): open(path, 'w').write('x')\n\
         for path in ['/run/tollgate/ca.pem', '/run/tollgate/ca-bundle.pem', '/etc/ssl/certs/ca-certificates.crt', '/etc/resolv.conf', '/etc/hosts']:\n  \
           tried(path, lambda: write(path), 'EACCES', 'EROFS', 'ENOENT')\n\
         tried('remove', lambda: os.unlink('/run/tollgate/ca.pem'), 'EACCES', 'EROFS', 'EBUSY')\n\
         tried('replace', lambda: os.rename('try.py', '/run/tollgate/ca.pem'), 'EACCES', 'EROFS', 'EBUSY', 'EXDEV')\n\
         tried('move the folder', lambda: os.rename('/run/tollgate', '/run/other'), 'EACCES', 'EROFS', 'EBUSY')\n";
    check_stopped(&bench, 8, program);
}
