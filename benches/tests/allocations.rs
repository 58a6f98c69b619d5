//! The way to an allow allocates nothing, whatever the size of the policy.

use tollgate_benches::asks::Asker;
use tollgate_benches::policies;
use tollgate_policy::Policy;

#[track_caller]
fn check(policy: &Policy, host: &str, path: &str) {
    let asker = Asker::new(host, path);
    let mut allowed = false;
    let counted = allocation_counter::measure(|| allowed = asker.is_allowed(policy));
    assert!(allowed, "{host}{path}");
    assert_eq!(counted.count_total, 0, "{host}{path}");
    let counted = allocation_counter::measure(|| allowed = policy.connect(&asker.connect()).is_ok());
    assert!(allowed, "{host}");
    assert_eq!(counted.count_total, 0, "connect {host}");
}

#[test]
fn decisions_allocate_nothing() {
    for rules in [10, 10_000] {
        check(&policies::deep(rules), "host-0.example.com", "/v1/accounts/6/items/1/parts");
        check(&policies::wide(rules), "host-7.example.com", "/v1/orders/7/open/state");
        check(&policies::mixed(rules), "host-0.example.com", "/v1/status/8");
    }
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counted.count_total, 1);
}
