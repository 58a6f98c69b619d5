use super::*;

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.example.com, port: 443, protocol: rest, rules: [{allow: {method: GET, path: /v1/**}}]}
    - {host: api.example.com, port: 443, protocol: graphql, path: /graphql, access: read-only, enforcement: audit}
    binaries: [{path: /usr/bin/curl}]
    x-tollgate: {when: {agent: claude, expires: 2027-01-01T00:00:00Z}}
  mail: {endpoints: [{host: mail.example.com, port: 25}]}
";

#[track_caller]
fn check(cases: &str, expected: &[&str]) {
    let policy = crate::load(POLICY).expect("a policy");
    let cases = read(cases).unwrap_or_else(|found| panic!("{found}"));
    let seen: Vec<String> = run(&policy, &cases).iter().map(ToString::to_string).collect();
    assert_eq!(seen, expected);
}

#[test]
fn outcomes() {
    let common = "host: api.example.com, binary: /usr/bin/curl, agent: claude, time: 2026-05-04T09:00:00Z";
    check(
        &format!(
            "
- {{name: reading, {common}, path: /v1/x, expect: allow, rule: GET /v1/**}}
- {{name: writing, {common}, method: POST, path: /v1/x, expect: deny}}
- {{name: wrong, {common}, method: POST, path: /v1/x, expect: allow, rule: api}}
- {{name: by entry, {common}, path: /v1/x, expect: allow, rule: api}}
- {{name: audited, {common}, path: /graphql, body: {{query: 'mutation {{x}}'}}, expect: audit}}
- {{name: too late, {common}, path: /v1/x, expect: deny}}
- {{host: mail.example.com, port: 25, expect: allow}}
"
        )
        .replace(
            "name: too late, host: api.example.com, binary: /usr/bin/curl, agent: claude, time: 2026",
            "name: too late, host: api.example.com, binary: /usr/bin/curl, agent: claude, time: 2028",
        ),
        &[
            "ok 1 reading",
            "ok 2 writing",
            "not ok 3 wrong: expected Allow by `api`, got Deny: POST /v1/x not permitted by policy",
            "ok 4 by entry",
            "ok 5 audited",
            "ok 6 too late",
            "ok 7 unknown program → mail.example.com:25",
        ],
    );
}

#[test]
fn mistakes() {
    for (cases, expected) in [
        ("{}", "1:1: a case file must be a list, not a map (hint: begin each item with `- `)"),
        ("- {expect: allow}", "1:3: a case needs `host`"),
        ("- {host: x, expect: yes}", "1:21: unknown value `yes` for `expect` (hint: accepted: allow, audit, deny)"),
        ("- {host: x, expect: allow, verb: GET}", "1:28: unknown field `verb` in a case"),
        ("- {host: x, expect: allow, port: 0}", "1:34: `port` must be from 1 to 65535"),
    ] {
        let found = read(cases).expect_err(cases).to_string();
        assert!(found.starts_with(expected), "{found}");
    }
}
