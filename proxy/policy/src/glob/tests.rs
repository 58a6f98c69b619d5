use super::*;

#[track_caller]
fn check(pattern: &str, path: &str, expected: bool) {
    let glob = PathGlob::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    assert_eq!(glob.matches(path), expected, "{pattern} on {path}");
}

#[track_caller]
fn table(rows: &[(&str, &[&str], &[&str])]) {
    for (pattern, matching, other) in rows {
        matching.iter().for_each(|path| check(pattern, path, true));
        other.iter().for_each(|path| check(pattern, path, false));
    }
}

#[test]
fn paths() {
    table(&[
        ("/repos/*/issues", &["/repos/a/issues"], &["/repos/a/b/issues", "/repos/issues", "/x/repos/a/issues"]),
        ("/repos/**", &["/repos/", "/repos/a/b"], &["/repos", "/reposx"]),
        ("/a/**/z", &["/a/z", "/a/b/c/z"], &["/a/bz", "/a/z/"]),
        ("/**/info/refs*", &["/info/refs", "/o/r/info/refsX"], &["/o/r/info/refs/x"]),
        ("**/x", &["/x", "/a/b/x"], &["/a/x/b", "/ax"]),
        ("/a**z", &["/az", "/abz"], &["/a/z"]),
        ("/a/***/b", &["/a/x/b"], &["/a/b", "/a/x/y/b"]),
        ("/*", &["/", "/a"], &["/a/b", ""]),
        ("/**", &["/", "/a", "/a/b/"], &["", "a"]),
        ("**", &["/", "/a/b", "", "a"], &[]),
        ("*", &["", "a"], &["/a"]),
        ("/v?/x", &["/v1/x"], &["/v12/x", "/v/x", "/v//x"]),
        ("/v[0-9]/x", &["/v1/x"], &["/va/x"]),
        ("/n[!0-9]x", &["/nax"], &["/n1x", "/n/x"]),
        ("/n[^0-9]x", &["/nax"], &["/n1x", "/n/x"]),
        ("/{foo,bar}/x", &["/foo/x", "/bar/x"], &["/baz/x", "/foo,bar/x"]),
        ("/a{/b,/c/d}/e", &["/a/b/e", "/a/c/d/e"], &["/a/e", "/a/b/c/d/e"]),
        ("/a{b,{c,d}e}", &["/ab", "/ace", "/ade"], &["/ac", "/abe"]),
        ("/a/", &["/a/"], &["/a"]),
        ("/a/**/", &["/a/", "/a/b/"], &["/a", "/a/b"]),
        ("/**/**/x/**/**", &["/x/", "/a/x/b"], &["/x", "/a"]),
        ("/a\\*b", &["/a*b"], &["/axb"]),
        ("/bot*/**", &["/bot/x", "/bot1:AAE/getMe", "/botX/"], &["/bot1:AAE"]),
        ("/[]a]", &["/]", "/a"], &["/b"]),
        ("/[a-]", &["/a", "/-"], &["/b"]),
    ]);
}

#[test]
fn text() {
    for (pattern, input, expected) in [
        ("foo-*", "foo-a.b", true),
        ("foo-*", "foo-a/b", true),
        ("*", "a.b/c", true),
        ("**", "a.b/c", true),
        ("1.*", "1.2.3", true),
        ("read_*", "read_a.b", true),
        ("a?c", "aéc", true),
        ("[!.]", ".", false),
        ("{a,b}*", "bx", true),
        ("{a,b}*", "cx", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-b-", false),
    ] {
        assert_eq!(TextGlob::parse(pattern).expect(pattern).matches(input), expected, "{pattern} on {input}");
    }
}

#[test]
fn mistakes() {
    for (pattern, error) in [
        ("", GlobError::Empty),
        ("/a[", GlobError::OpenClass),
        ("/a[]", GlobError::OpenClass),
        ("/a{b", GlobError::OpenBrace),
        ("/a}", GlobError::StrayBrace),
        ("/{}", GlobError::EmptyAlternative),
        ("/{,a}", GlobError::EmptyAlternative),
        ("/{a,}", GlobError::EmptyAlternative),
        ("/[z-a]", GlobError::BackwardRange),
        ("/[/]", GlobError::SlashInClass),
        ("/a\\", GlobError::DanglingEscape),
        ("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", GlobError::TooManyAlternatives),
        (&"a".repeat(MAX_GLOB_BYTES + 1), GlobError::TooLong),
    ] {
        assert_eq!(PathGlob::parse(pattern).map(|_| ()), Err(error), "{pattern}");
    }
}

#[test]
fn many_stars_stay_cheap() {
    let glob = PathGlob::parse(&"/**/a*a*a*a*b".repeat(20)).expect("readable");
    assert!(!glob.matches(&"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(60)));
}

#[test]
fn overlaps() {
    for (a, b, expected) in [
        ("/a/**", "/a/b", true),
        ("/a/**", "/a", false),
        ("/a/**", "/b/**", false),
        ("/**", "/b/**", true),
        ("/**/x", "/a/**", true),
        ("/**/x", "/a/b/y", false),
        ("/a/*/c", "/a/b/*", true),
        ("/a/*/c", "/a/b/d", false),
        ("/v[12]/x", "/v2/x", true),
        ("/{a,b}", "/{b,c}", true),
        ("/{a,b}", "/{c,d}", false),
    ] {
        let (a, b) = (PathGlob::parse(a).expect(a), PathGlob::parse(b).expect(b));
        assert_eq!((a.overlaps(&b), b.overlaps(&a)), (expected, expected), "{a} {b}");
    }
    let many = PathGlob::parse(&"/**/a".repeat(500)).expect("readable");
    assert!(many.overlaps(&many));
}
