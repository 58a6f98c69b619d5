//! Machines that lack something: nothing starts, one sentence says why and what to do.

use tollgate_wire::cell::Feature;

use crate::bench::Bench;

fn check(feature: &str, said: &[&str]) {
    let ran = Bench::shell("echo ran").without(feature).run();
    assert_eq!((ran.status.code(), ran.output.as_str()), (Some(4), ""), "{feature}: {ran:?}");
    let refusal = ran.refusal.expect("a sentence");
    for part in said {
        assert!(refusal.contains(part), "{feature}: {refusal}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    check("landlock", &["landlock is not available", "lsm=", "--allow-degraded landlock"]);
    check("seccomp", &["seccomp is not available", "CONFIG_SECCOMP_FILTER", "--allow-degraded seccomp"]);
    check("nftables", &["nftables is not available", "modprobe", "--allow-degraded nftables"]);
    check("userns", &["no user namespaces", "security-opt seccomp=unconfined"]);
    check("userns-quota", &["no user namespaces", "sysctl -w user.max_user_namespaces="]);
    check("proc", &["a private /proc cannot be mounted", "systempaths=unconfined"]);
}

#[test]
fn what_may_be_missing_is_reported() {
    for (name, feature) in
        [("landlock", Feature::Landlock), ("seccomp", Feature::Seccomp), ("nftables", Feature::Nftables)]
    {
        let ran = Bench::shell("echo ran").without(name).allowing(feature).run();
        assert_eq!((ran.status.code(), ran.output.as_str()), (Some(0), "ran\n"), "{ran:?}");
        for control in &ran.controls {
            assert_eq!(control.enforced, control.name != name, "{control:?}");
        }
    }
}

#[test]
fn a_hard_requirement_allows_nothing_to_be_missing() {
    let mut bench = Bench::shell("echo ran").without("landlock").allowing(Feature::Landlock);
    bench.cell.files.read_only.retain(|path| path.exists());
    bench.cell.files.hard_requirement = true;
    assert_eq!(bench.run().status.code(), Some(4));
    let mut bench = Bench::shell("echo ran");
    bench.cell.files.hard_requirement = true;
    let ran = bench.run();
    assert!(ran.refusal.is_some_and(|text| text.contains("/does/not/exist is missing")));
}
