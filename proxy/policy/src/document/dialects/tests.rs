use super::*;

/// What a text imports to: its canonical form, or what is wrong with it.
#[track_caller]
fn check(text: &str, dialect: Dialect, expected: &str) {
    let imported = import(text).unwrap_or_else(|found| panic!("{found}\n{text}"));
    assert_eq!(imported.dialect, dialect);
    assert_eq!(imported.document.canonical(), expected);
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let found = import(text).err().unwrap_or_else(|| panic!("it loads:\n{text}")).to_string();
    assert!(found.contains(expected), "{found}");
}

const WHOLE_HOST: &str = "version: 1
network_policies:
  allow_api_example_com_443:
    name: allow_api_example_com_443
    endpoints:
    - host: api.example.com
      port: 443
      protocol: rest
      enforcement: enforce
      access: full
    binaries:
    - path: /**
";

#[test]
fn hosts() {
    let allow = "network: {default: deny, allow: [{domain: api.example.com, ports: [443], protocol: https}]}";
    check(allow, Dialect::Allow, WHOLE_HOST);
    check("network: {egress: [{host: api.example.com, port: 443}]}", Dialect::Egress, WHOLE_HOST);
    check(
        "{name: api, egress: [{host: api.example.com}], merge_strategy: additive, requires_approval: false}",
        Dialect::EgressPreset,
        WHOLE_HOST,
    );
    let imported = import("network: {allow: [{domain: a.example.com}, {domain: a-example.com}]}").expect("imports");
    assert_eq!(imported.document.network_policies.len(), 2);
    assert_eq!(imported.document.warnings.iter().count(), 2, "broad grants are named");
}

#[test]
fn sections() {
    check(
        "
filesystem: {default: deny, allow: [{path: /work, permissions: [read, write]}, {path: /etc, permissions: [read]}], deny: [{path: /etc, permissions: [write]}, /root]}
process: {default: deny, allow: [{command: git}]}
",
        Dialect::Allow,
        "version: 1\nfilesystem_policy:\n  read_only:\n  - /etc\n  read_write:\n  - /work\n",
    );
    check(
        "{filesystem: {writable: [/tmp], readonly: [/usr]}, process: {allow_escalation: false}}",
        Dialect::Egress,
        "version: 1\nfilesystem_policy:\n  read_only:\n  - /usr\n  read_write:\n  - /tmp\n",
    );
}

#[test]
fn what_cannot_be_said() {
    refused("network: {default: allow}", "1:20: `network.default` must be `deny`");
    refused("{network: {}, filesystem: {default: allow}}", "`filesystem.default` must be `deny`");
    refused("process: {allow_escalation: true}", "gaining privileges is never allowed");
    refused(
        "filesystem: {allow: [{path: /home, permissions: [read]}], deny: [/home/me/.ssh]}",
        "cannot be denied below `/home`",
    );
    refused("network: {allow: [{domain: 'https://x'}]}", "without scheme or path");
    refused("network: {allow: [{domain: x.example.com, protocol: gopher}]}", "unknown protocol");
    refused("network: {allow: [{host: x.example.com}]}", "did you mean");
    refused("{name: x, egress: [], merge_strategy: replace}", "can only add");
    refused("routes: []", "this is not a policy");
}

#[test]
fn presets_and_profiles() {
    let preset = import(
        "{preset: {name: p, description: d}, network_policies: {p: {endpoints: [{host: x.example.com, port: 443}]}}}",
    )
    .expect("imports");
    assert_eq!((preset.dialect, preset.name.as_deref()), (Dialect::Preset, Some("p")));
    let approval = import("{name: x, egress: [{host: a.example.com}], requires_approval: true}").expect("imports");
    assert!(approval.requires_approval);
    check(
        "{id: api, credentials: [], endpoints: [{host: x.example.com, port: 443}], binaries: [/usr/bin/curl]}",
        Dialect::ProviderProfile,
        "version: 1\nnetwork_policies:\n  api:\n    name: api\n    endpoints:\n    - host: x.example.com\n      port: 443\n    binaries:\n    - path: /usr/bin/curl\n",
    );
    refused("{components: {policy: {additions: {a: {endpoints: [], binaries: []}}}}}", "may not name programs");
}
