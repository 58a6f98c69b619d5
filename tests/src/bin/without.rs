//! Runs a command on a kernel that seems to lack something: `without FEATURE COMMAND ARGS`.
//!
//! A system call filter answers as such a kernel would. FEATURE is `user-namespaces`, `landlock`, `seccomp` or `nftables`.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let feature = arguments.next().expect("a feature");
    let command = arguments.next().expect("a command");
    let (rules, errno) = missing(&feature);
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
    let errno = SeccompAction::Errno(u32::try_from(errno).expect("positive"));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).expect("a filter");
    apply_filter(&BpfProgram::try_from(filter).expect("a program")).expect("applied");
    panic!("{command}: {}", Command::new(&command).args(arguments).exec());
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn missing(feature: &str) -> (Rules, i32) {
    match feature {
        "user-namespaces" => {
            let flag = libc::CLONE_NEWUSER as u64;
            (Rules::from([(libc::SYS_unshare, vec![rule(0, SeccompCmpOp::MaskedEq(flag), flag)])]), libc::EPERM)
        }
        "landlock" => (Rules::from([(libc::SYS_landlock_create_ruleset, Vec::new())]), libc::ENOSYS),
        "seccomp" => {
            let by_prctl = rule(0, SeccompCmpOp::Eq, libc::PR_SET_SECCOMP as u64);
            (Rules::from([(libc::SYS_seccomp, Vec::new()), (libc::SYS_prctl, vec![by_prctl])]), libc::EINVAL)
        }
        "nftables" => {
            let netfilter = rule(2, SeccompCmpOp::Eq, libc::NETLINK_NETFILTER as u64);
            (Rules::from([(libc::SYS_socket, vec![netfilter])]), libc::EPROTONOSUPPORT)
        }
        other => panic!("{other} is not a feature"),
    }
}

fn rule(argument: u8, how: SeccompCmpOp, value: u64) -> SeccompRule {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value).expect("a condition");
    SeccompRule::new(vec![condition]).expect("a rule")
}
