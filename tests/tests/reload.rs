//! Editing the policy file changes what the running agent may do.

use tollgate_tests::{ASKING, Bench, Finished, Started, policy_for};

fn start(bench: &Bench) -> Started {
    let mut agent = Started::new(&mut bench.run(&[], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    agent
}

fn statuses(finished: &Finished) -> Vec<&str> {
    finished.stdout.lines().collect()
}

#[test]
fn an_edit_in_place_is_in_force_without_a_restart() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    agent.ask("/a");
    agent.ask("/b");
    bench.set_policy(&policy_for("/b"));
    agent.wait_for("generation 2 is in force");
    agent.ask("/a");
    agent.ask("/b");
    assert_eq!(statuses(&agent.end()), ["200", "403", "403", "200"]);
    let policies = bench.events("policy");
    assert_eq!((&policies[0]["outcome"], &policies[0]["generation"]), (&"in-force".into(), &2.into()));
}

#[test]
fn a_file_that_is_replaced_is_followed() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    for (generation, path) in [(2, "/b"), (3, "/c")] {
        let draft = bench.write("draft", policy_for(path));
        std::fs::rename(draft, bench.path("policy.yaml")).expect("replaced");
        agent.wait_for(&format!("generation {generation} is in force"));
        agent.ask(path);
    }
    assert_eq!(statuses(&agent.end()), ["200", "200"]);
}

#[test]
fn p2_an_invalid_edit_keeps_the_old_policy_and_says_where() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    bench.set_policy(&policy_for("/a").replace("protocol: rest", "protocol: rets"));
    let said = agent.wait_for("policy.yaml:7:");
    assert!(said.contains("generation 1 stays in force"), "{said}");
    agent.ask("/a");
    bench.set_policy("network_policies: [");
    agent.wait_for("stays in force");
    bench.set_policy(&policy_for("/b"));
    agent.wait_for("generation 2 is in force");
    agent.ask("/b");
    assert_eq!(statuses(&agent.end()), ["200", "200"]);
    let outcomes: Vec<_> = bench.events("policy").iter().map(|r| r["outcome"].to_string()).collect();
    assert_eq!(outcomes, ["\"refused\"", "\"refused\"", "\"in-force\""]);
}

/// A policy that lies in the agent's own folder.
fn inside() -> Bench {
    let bench = Bench::new(&policy_for("/a"));
    std::fs::create_dir(bench.path("work/deep")).expect("made");
    bench.write("work/deep/policy.yaml", policy_for("/a"));
    bench
}

fn start_inside(bench: &Bench, script: &str) -> Started {
    Started::new(&mut bench.run_with(&bench.path("work/deep/policy.yaml"), &[], &["sh", "-c", script]))
}

#[test]
fn k14_the_agent_cannot_edit_its_own_policy() {
    let bench = inside();
    let script = "echo x >> deep/policy.yaml; echo x > deep/policy.yaml; rm -f deep/policy.yaml; mv deep other; \
                  echo evil > deep/new; mv deep/new deep/policy.yaml; ln deep/policy.yaml link; chmod 777 deep/policy.yaml; \
                  cat deep/policy.yaml";
    let finished = start_inside(&bench, script).end();
    assert_eq!(finished.stdout, policy_for("/a"));
    assert_eq!(std::fs::read_to_string(bench.path("work/deep/policy.yaml")).expect("there"), policy_for("/a"));
}

#[test]
fn k14_a_policy_in_the_agents_folder_is_edited_in_place_only() {
    let bench = inside();
    let mut agent = start_inside(&bench, ASKING);
    agent.wait_for("ready");
    std::fs::write(bench.path("work/deep/policy.yaml"), policy_for("/b")).expect("edited in place");
    agent.wait_for("generation 2 is in force");
    agent.ask("/b");
    let draft = bench.write("work/draft", policy_for("/c"));
    std::fs::rename(draft, bench.path("work/deep/policy.yaml")).expect("replaced");
    let said = agent.wait_for("stays in force");
    assert!(said.contains("not trusted"), "{said}");
    agent.ask("/c");
    assert_eq!(statuses(&agent.end()), ["200", "403"]);
}
