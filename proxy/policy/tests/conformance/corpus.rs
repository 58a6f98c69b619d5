//! Measured verdicts and real documents, all Apache-2.0 or our own (see `corpus/LICENSES.md`).

use std::path::Path;

use tollgate_policy::Severity;
use tollgate_policy::document::import;
use tollgate_policy::glob::{PathGlob, TextGlob};
use tollgate_policy::hosts::HostPattern;

use crate::ask::{Request, judge};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn random_policies_decide_as_measured() {
    let mut wrong = Vec::new();
    for (line, text) in read("decisions.jsonl").lines().enumerate() {
        let case: serde_json::Value = serde_json::from_str(text).expect("one JSON object a line");
        let policy = tollgate_policy::load(&case["policy"].to_string())
            .unwrap_or_else(|found| panic!("line {}: {found}", line + 1));
        for request in case["requests"].as_array().expect("requests") {
            let text = |index: usize| request[index].as_str().expect("text");
            let ancestors: Vec<&str> =
                request[3].as_array().expect("ancestors").iter().filter_map(|path| path.as_str()).collect();
            let asked = Request {
                host: text(0),
                port: u16::try_from(request[1].as_u64().expect("a port")).expect("a port"),
                binary: text(2),
                ancestors: &ancestors,
                method: text(4),
                target: text(5),
                body: None,
            };
            let expected = if text(6) == "allow" { "allow" } else { ANY_REASON };
            if let Err(why) = judge(&policy, asked, expected) {
                wrong.push(format!("line {}: {why}", line + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The corpus tells no reasons for its refusals.
const ANY_REASON: &str = "";

/// Rows of kind `name` where our text globs differ on purpose: there `*` stops at a dot, here it matches any text.
const DOTS: &[(&str, &str)] = &[("v1.*", "v1.2.3")];

#[test]
fn globs_match_as_measured() {
    let mut wrong = Vec::new();
    let mut dots = Vec::new();
    let text = read("glob-vectors.tsv");
    for row in text.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [kind, pattern, input, expected] = columns[..] else { panic!("{row}") };
        let seen = match kind {
            "path" | "binary" => PathGlob::parse(pattern).map(|glob| glob.matches(input)).ok(),
            "name" => TextGlob::parse(pattern).map(|glob| glob.matches(input)).ok(),
            "host" => {
                let host = tollgate_model::Host::parse(input);
                HostPattern::parse(pattern).map(|glob| host.is_ok_and(|host| glob.matches(&host))).ok()
            }
            other => panic!("{other}"),
        };
        let seen = seen.map_or("error".to_owned(), |matches| matches.to_string());
        if seen != expected {
            match kind {
                "name" => dots.push((pattern, input)),
                _ => wrong.push(format!("{row}: got {seen}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(dots, DOTS);
}

/// Every document of the corpus: it loads in this dialect, or it is refused for this reason.
const DOCUMENTS: &[(&str, &str)] = &[
    ("nemoclaw/head/blueprint.yaml", "63:13: the endpoint allows nothing"),
    ("nemoclaw/head/policies/presets/discord.yaml", "Preset"),
    ("nemoclaw/head/policies/presets/docker.yaml", "Preset"),
    ("nemoclaw/head/policies/presets/huggingface.yaml", "Preset"),
    ("nemoclaw/head/policies/presets/jira.yaml", "Preset"),
    ("nemoclaw/head/policies/presets/outlook.yaml", "Preset"),
    ("nemoclaw/head/policies/presets/slack.yaml", "Preset"),
    ("nemoclaw/head/policies/presets/telegram.yaml", "Preset"),
    ("openshell/crates/openshell-prover/registry/apis/github.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/claude.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/curl.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/gh.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/git.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/nc.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/node.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/python3.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/ssh.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/registry/binaries/wget.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/testdata/accepted-risks.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/testdata/credentials.yaml", "4:1: this is not a policy"),
    ("openshell/crates/openshell-prover/testdata/empty-policy.yaml", "Schema"),
    ("openshell/crates/openshell-prover/testdata/policy.yaml", "Schema"),
    ("openshell/crates/openshell-supervisor-network/testdata/sandbox-policy.yaml", "Schema"),
    ("openshell/e2e/mcp-conformance/policy-template.yaml", "37:1: not readable as YAML"),
    ("openshell/e2e/policy-advisor/policy.template.yaml", "Schema"),
    ("openshell/examples/agent-driven-policy-management/policy.template.yaml", "Schema"),
    ("openshell/examples/governance-interceptor/policy.yaml", "Schema"),
    ("openshell/examples/governance-interceptor/profiles/github.yaml", "ProviderProfile"),
    ("openshell/examples/governance-interceptor/profiles/slack.yaml", "ProviderProfile"),
    ("openshell/examples/local-inference/routes.yaml", "13:1: this is not a policy"),
    ("openshell/examples/multi-agent-notepad/policy.template.yaml", "Schema"),
    ("openshell/examples/policy-advisor/sandbox-policy.yaml", "Schema"),
    ("openshell/examples/sandbox-policy-quickstart/policy.yaml", "Schema"),
    ("openshell/examples/spiffe-token-grant-demo/provider-profile.yaml", "34:10: unknown value `none` for `tls`"),
    ("openshell/examples/supervisor-middleware-content-guard/policy.yaml", "Schema"),
    ("openshell/examples/transparent-tcp-redis/policy.yaml", "Schema"),
    ("openshell/providers/aws-bedrock.yaml", "ProviderProfile"),
    // `s3.s3.amazonaws.com` would be signed for two regions.
    (
        "openshell/providers/aws-s3.yaml",
        "92:5: network policies 'aws-s3' endpoint[0] (*.s3.amazonaws.com:443) and 'aws-s3' endpoint[3] (s3.*.amazonaws.com:443) overlap",
    ),
    ("openshell/providers/aws.yaml", "ProviderProfile"),
    ("openshell/providers/claude-code.yaml", "ProviderProfile"),
    ("openshell/providers/codex.yaml", "ProviderProfile"),
    ("openshell/providers/copilot.yaml", "ProviderProfile"),
    ("openshell/providers/cursor.yaml", "ProviderProfile"),
    ("openshell/providers/deepinfra.yaml", "ProviderProfile"),
    ("openshell/providers/github.yaml", "ProviderProfile"),
    ("openshell/providers/google-cloud.yaml", "ProviderProfile"),
    ("openshell/providers/google-vertex-ai.yaml", "ProviderProfile"),
    ("openshell/providers/nvidia.yaml", "ProviderProfile"),
    ("openshell/scripts/agents/gator/policy.yaml", "Schema"),
    ("openshell/scripts/agents/gator/providers/codex-gator.yaml", "ProviderProfile"),
    ("openshell/scripts/agents/gator/providers/github-gator.yaml", "ProviderProfile"),
];

#[test]
fn every_document_loads_or_is_refused_for_a_reason() {
    for (name, expected) in DOCUMENTS {
        match import(&read(name)) {
            Ok(imported) => {
                assert_eq!(&format!("{:?}", imported.dialect), expected, "{name}");
                // What loads can be shown, and what is shown loads as the same.
                let canonical = imported.document.canonical();
                let again = import(&canonical).unwrap_or_else(|found| panic!("{name}: {found}\n{canonical}"));
                assert_eq!(again.document.canonical(), canonical, "{name}");
            }
            Err(found) => {
                let errors: Vec<String> =
                    found.iter().filter(|d| d.severity == Severity::Error).map(ToString::to_string).collect();
                assert!(errors[0].starts_with(expected), "{name}: {errors:?}");
            }
        }
    }
}

#[test]
fn no_document_of_the_corpus_is_forgotten() {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")];
    let mut count = 0;
    while let Some(folder) = open.pop() {
        for item in std::fs::read_dir(&folder).expect("a folder") {
            let path = item.expect("an item").path();
            match path.is_dir() {
                true => open.push(path),
                false => count += usize::from(path.extension().is_some_and(|extension| extension == "yaml")),
            }
        }
    }
    assert_eq!(count, DOCUMENTS.len());
}
