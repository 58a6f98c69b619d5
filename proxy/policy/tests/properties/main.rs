//! What holds for every request, not only for those in tables: what is judged is what is sent, and spelling a request
//! differently never changes the verdict.

use proptest::prelude::*;
use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Method, Program, Scheme, Unidentified};
use tollgate_policy::glob::PathGlob;
use tollgate_policy::{Decision, Policy};

const POLICY: &str = "
version: 1
network_policies:
  p:
    endpoints:
    - host: x.example.com
      port: 443
      protocol: rest
      rules: [{allow: {method: GET, path: '/pub/**'}}, {allow: {path: '/v?/*/[a-c]*'}}, {allow: {path: '/'}}]
      deny_rules: [{path: '/pub/secret/**'}, {path: '/**/*.key'}]
";

fn policy() -> Policy {
    tollgate_policy::load(POLICY).expect("a policy")
}

fn allows(policy: &Policy, path: &CanonicalPath<'_>) -> bool {
    let caller = Caller::Unknown(Unidentified::Outside);
    let authority = Authority::parse("x.example.com:443").expect("an authority");
    let method = Method::parse("GET").expect("a method");
    let ask = Ask { caller: &caller, authority: &authority, scheme: Scheme::Https, method: &method, path, query: None };
    matches!(policy.decide(&ask), Decision::Allow(_))
}

/// Paths in which every trick of spelling is frequent.
fn raw_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just("pub"),
        Just("secret"),
        Just("%73ecret"),
        Just(".."),
        Just("%2e%2e"),
        Just("."),
        Just(""),
        Just("v1"),
        Just("a.key"),
        Just("abc"),
        Just("x;y"),
        Just("..;z"),
        Just("%61bc"),
        Just("a%2Fb"),
        Just("%5c"),
        Just("é"),
    ];
    prop::collection::vec(segment, 0..7).prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #[test]
    fn canonical_is_a_fixed_point(raw in raw_path()) {
        for slash in [EncodedSlash::Refuse, EncodedSlash::Keep] {
            let Ok(path) = CanonicalPath::parse(&raw, slash) else { continue };
            let again = CanonicalPath::parse(path.as_str(), slash).expect("a canonical path is a path");
            prop_assert_eq!(again.as_str(), path.as_str());
            prop_assert!(path.as_str().split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(!path.as_str().contains("//"));
        }
    }

    #[test]
    fn what_is_judged_is_what_is_sent(raw in raw_path()) {
        let policy = policy();
        if let Ok(path) = CanonicalPath::parse(&raw, EncodedSlash::Refuse) {
            let sent = CanonicalPath::parse(path.as_str(), EncodedSlash::Refuse).expect("it was sent");
            prop_assert_eq!(allows(&policy, &path), allows(&policy, &sent));
            prop_assert!(!(allows(&policy, &path) && path.as_str().starts_with("/pub/secret/")), "{}", path);
            prop_assert!(!(allows(&policy, &path) && path.as_str().ends_with(".key")), "{}", path);
        }
    }

    #[test]
    fn escaping_a_letter_changes_nothing(raw in "/(pub|v1|secret)(/[a-z.]{1,5}){0,3}", at in 1_usize..30) {
        let policy = policy();
        let escaped: String = raw
            .char_indices()
            .map(|(index, c)| if index == at && c != '/' { format!("%{:02x}", u32::from(c)) } else { c.to_string() })
            .collect();
        let parse = |text: &str| CanonicalPath::parse(text, EncodedSlash::Refuse).map(CanonicalPath::into_owned);
        match (parse(&raw), parse(&escaped)) {
            (Ok(plain), Ok(spelled)) => {
                prop_assert_eq!(plain.as_str(), spelled.as_str());
                prop_assert_eq!(allows(&policy, &plain), allows(&policy, &spelled));
            }
            (plain, spelled) => prop_assert_eq!(plain.is_err(), spelled.is_err()),
        }
    }

    #[test]
    fn many_globs_match_as_each_does(
        patterns in prop::collection::vec("(/(\\*\\*|\\*|a|b|a\\*|\\?|[ab]c)){1,4}", 1..6),
        path in "(/(a|b|ac|bc|aa)?){1,5}",
    ) {
        let globs: Vec<PathGlob> = patterns.iter().map(|pattern| PathGlob::parse(pattern).expect("a glob")).collect();
        let rules: Vec<String> = patterns.iter().map(|pattern| format!("{{allow: {{path: '{pattern}'}}}}")).collect();
        let text = format!(
            "{{version: 1, network_policies: {{p: {{endpoints: [{{host: x.example.com, port: 443, protocol: rest, rules: [{}]}}]}}}}}}",
            rules.join(", ")
        );
        let policy = tollgate_policy::load(&text).expect("a policy");
        if let Ok(path) = CanonicalPath::parse(&path, EncodedSlash::Refuse) {
            prop_assert_eq!(allows(&policy, &path), globs.iter().any(|glob| glob.matches(path.as_str())), "{}", path);
        }
    }

    #[test]
    fn a_glob_agrees_with_the_definition(pattern in "(/(\\*\\*|\\*|a|b|a\\*|\\?)){1,5}", path in "(/(a|b|ab)?){1,6}") {
        let glob = PathGlob::parse(&pattern).expect("a glob");
        let (pattern_parts, path_parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
        prop_assert_eq!(glob.matches(&path), by_definition(&pattern_parts, &path_parts), "{} on {}", pattern, path);
    }

    #[test]
    fn an_unknown_program_never_passes_where_programs_are_named(binary in "/[a-z/*]{0,8}") {
        let text = format!(
            "{{version: 1, network_policies: {{p: {{endpoints: [{{host: x.example.com, port: 443}}], binaries: [{{path: '{binary}'}}]}}}}}}"
        );
        if let Ok(policy) = tollgate_policy::load(&text) {
            let path = CanonicalPath::parse("/", EncodedSlash::Refuse).expect("a path");
            prop_assert!(!allows(&policy, &path));
        }
    }
}

/// The dialect said once more, slowly: `**` takes any segments, at the end at least one.
fn by_definition(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], rest) => !rest.is_empty(),
        (["**", after @ ..], rest) => (0..=rest.len()).any(|taken| by_definition(after, &rest[taken..])),
        ([first, pattern @ ..], [segment, path @ ..]) => {
            let fits = match *first {
                "*" => true,
                "?" => segment.chars().count() == 1,
                "a*" => segment.starts_with('a'),
                literal => literal == *segment,
            };
            fits && by_definition(pattern, path)
        }
        _ => false,
    }
}

#[test]
fn a_known_program_passes() {
    let policy = tollgate_policy::load(
        "{version: 1, network_policies: {p: {endpoints: [{host: x.example.com, port: 443}], binaries: [{path: '/**'}]}}}",
    )
    .expect("a policy");
    let program = |path: &str| Program { path: path.into(), sha256: [0; 32], changed: false };
    let caller = Caller::Known { pid: 1, program: program("/a"), ancestors: Vec::new() };
    let authority = Authority::parse("x.example.com:443").expect("an authority");
    let ask = tollgate_model::ConnectAsk { caller: &caller, authority: &authority };
    assert!(policy.connect(&ask).is_ok());
}
