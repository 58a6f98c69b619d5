use super::*;

/// Entries `e` of both policies; what is gained, lost and flipped in words.
#[track_caller]
fn check(a: &str, b: &str, expected: &[&str]) {
    let policy = |entry: &str| {
        let text = format!("{{version: 1, network_policies: {{{entry}}}}}");
        crate::load(&text).unwrap_or_else(|found| panic!("{found}\n{text}"))
    };
    let diff = diff(&policy(a), &policy(b));
    let reach = |sign: &str, all: &[Reach]| -> Vec<String> {
        all.iter().map(|reach| format!("{sign} {} {}", reach.destination, reach.programs.join(","))).collect()
    };
    let mut seen = reach("+", &diff.reach_gained);
    seen.extend(reach("-", &diff.reach_lost));
    seen.extend(diff.flips.iter().map(ToString::to_string));
    assert_eq!(seen, expected);
}

const CURL: &str = "binaries: [{path: /usr/bin/curl}]";

#[test]
fn meaning_not_text() {
    let one =
        format!("e: {{endpoints: [{{host: x.example.com, port: 443, protocol: rest, access: read-only}}], {CURL}}}");
    let same = format!(
        "other: {{endpoints: [{{host: X.example.com, ports: [443], protocol: rest, rules: [{{allow: {{method: GET}}}}, {{allow: {{method: OPTIONS, path: '**'}}}}]}}], {CURL}}}"
    );
    check(&one, &one, &[]);
    check(&one, &same, &[]);
}

#[test]
fn reach() {
    let one = format!("e: {{endpoints: [{{host: x.example.com, port: 443}}], {CURL}}}");
    check("", &one, &["+ x.example.com:443 /usr/bin/curl"]);
    check(&one, "", &["- x.example.com:443 /usr/bin/curl"]);
    let anybody = "e: {endpoints: [{host: x.example.com, port: 443}]}";
    check(&one, anybody, &["+ x.example.com:443 /any/other/program,an unknown program"]);
    let wide = format!("e: {{endpoints: [{{host: '*.example.com', port: 443}}], {CURL}}}");
    check(&one, &wide, &["+ sample.example.com:443 /usr/bin/curl"]);
}

#[test]
fn requests() {
    let with = |rules: &str| {
        format!("e: {{endpoints: [{{host: x.example.com, port: 443, protocol: rest, {rules}}}], {CURL}}}")
    };
    check(
        &with("rules: [{allow: {method: GET, path: /a}}]"),
        &with("rules: [{allow: {method: GET, path: /a}}, {allow: {method: POST, path: '/b/*'}}]"),
        &["deny → allow  /usr/bin/curl → x.example.com:443 POST /b/sample"],
    );
    check(
        &with("access: full"),
        &with("access: full, deny_rules: [{method: DELETE}]"),
        &["allow → deny  /usr/bin/curl → x.example.com:443 DELETE /"],
    );
    check(
        &with("access: read-only"),
        &with("access: read-only, enforcement: audit"),
        &[
            "deny → audit  /usr/bin/curl → x.example.com:443 DELETE /",
            "deny → audit  /usr/bin/curl → x.example.com:443 POST /",
            "deny → audit  /usr/bin/curl → x.example.com:443 PUT /",
        ],
    );
}

#[test]
fn other_sections() {
    let a = crate::load("{version: 1, filesystem_policy: {read_only: [/usr, /opt]}}").expect("a policy");
    let b = crate::load(
        "{version: 1, filesystem_policy: {read_only: [/usr], read_write: [/opt]}, landlock: {compatibility: strict}}",
    )
    .expect("a policy");
    let seen = diff(&a, &b).sections;
    assert_eq!(seen, ["read_only lost: /opt", "read_write gained: /opt", "landlock: best_effort → hard_requirement"]);
}
