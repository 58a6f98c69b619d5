//! The canonical text: stable, and read back as the same document.

#[track_caller]
fn check(written: &str, expected: &str) {
    let policy = tollgate_policy::load(written).unwrap_or_else(|found| panic!("{found}\n{written}"));
    let seen = policy.canonical();
    assert_eq!(seen, expected);
    let again = tollgate_policy::load(&seen).unwrap_or_else(|found| panic!("{found}\n{seen}"));
    assert_eq!(again.canonical(), expected, "not stable");
}

#[test]
fn minimal() {
    check("{\"version\": 1, \"network_policies\": {}}", "version: 1\n");
    check("version: 1\nprocess: {run_as_user: '', run_as_group: ''}\n", "version: 1\n");
}

#[test]
fn fields_keep_the_order_of_the_schema() {
    check(
        r#"
network_policies:
  b:
    binaries: [{path: /usr/bin/curl, harness: true}]
    endpoints:
    - ports: [443]
      host: Api.Example.com
      rules:
      - allow: {path: "/v1/**", method: GET, query: {tag: {any: [a*, b]}, q: x}}
      deny_rules: [{method: "*", path: /v1/admin}]
      protocol: REST
      tls: terminate
      allow_encoded_slash: false
    - {host: db.example.com, ports: [5432, 5433, 5432], protocol: tcp}
  a:
    name: shown
    endpoints:
    - host: mcp.example.com
      port: 443
      protocol: mcp
      enforcement: audit
      rules:
      - allow: {method: tools/call, params: {name: search, arguments: {owner: {name: acme, id: 7}}}}
      mcp: {max_body_bytes: 0, strict_tool_names: true}
    binaries: []
landlock: {compatibility: strict}
filesystem_policy: {read_only: [/usr], include_workdir: true}
process: {run_as_user: sandbox}
version: 1
"#,
        r#"version: 1
filesystem_policy:
  include_workdir: true
  read_only:
  - /usr
landlock:
  compatibility: hard_requirement
process:
  run_as_user: sandbox
network_policies:
  a:
    name: shown
    endpoints:
    - host: mcp.example.com
      port: 443
      protocol: mcp
      enforcement: audit
      rules:
      - allow:
          method: tools/call
          tool: search
          params:
            arguments.owner.id: 7
            arguments.owner.name: acme
    binaries: []
  b:
    name: b
    endpoints:
    - host: Api.Example.com
      port: 443
      protocol: rest
      tls: terminate
      rules:
      - allow:
          method: GET
          path: /v1/**
          query:
            q: x
            tag:
              any:
              - a*
              - b
      deny_rules:
      - method: '*'
        path: /v1/admin
    - host: db.example.com
      ports:
      - 5432
      - 5433
      - 5432
      protocol: tcp
    binaries:
    - path: /usr/bin/curl
"#,
    );
}

#[test]
fn extensions_come_last() {
    check(
        r#"
version: 1
x-tollgate:
  credentials:
    TOKEN:
      bindings: [{host: api.example.com, header: Authorization, method: get}]
network_policies:
  api:
    endpoints: [{host: api.example.com, port: 443, protocol: rest, access: full}]
    x-tollgate:
      when:
        agent: claude
        time: {days: [mon, fri], from: "08:00", to: "18:30", utc_offset: "-05:30"}
        expires: 2027-01-01T00:00:00Z
"#,
        r"version: 1
network_policies:
  api:
    name: api
    endpoints:
    - host: api.example.com
      port: 443
      protocol: rest
      access: full
    x-tollgate:
      when:
        agent:
        - claude
        time:
          days:
          - mon
          - fri
          from: 08:00
          to: 18:30
          utc_offset: -05:30
        expires: 2027-01-01T00:00:00Z
x-tollgate:
  credentials:
    TOKEN:
      bindings:
      - host: api.example.com
        port: 443
        header: authorization
        method:
        - GET
",
    );
}
