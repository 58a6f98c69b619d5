use std::time::{Duration, Instant};

use super::*;

#[track_caller]
fn check(input: &str, expected: &str) {
    let seen = match read(input) {
        Ok(node) => node.value.to_json().to_string(),
        Err(found) => found.to_string(),
    };
    assert_eq!(seen, expected, "{input:?}");
}

#[test]
fn scalars() {
    for (input, expected) in [
        ("a", r#""a""#),
        ("no", r#""no""#),
        ("~", "null"),
        ("", "null"),
        ("true", "true"),
        ("443", "443"),
        ("-1", "-1"),
        ("0x1F", "31"),
        ("0443", r#""0443""#),
        ("1_000", r#""1_000""#),
        ("1.0", "1.0"),
        ("10.0.0.1", r#""10.0.0.1""#),
        ("'443'", r#""443""#),
        ("\"a\\tb\"", r#""a\tb""#),
        ("{\"a\": [1, null]}", r#"{"a":[1,null]}"#),
        ("a: &x [1]\nb: *x\n", r#"{"a":[1],"b":[1]}"#),
    ] {
        check(input, expected);
    }
}

#[test]
fn mistakes_have_a_place() {
    check(
        "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n",
        "4:3: the key `c` stands twice in this map (hint: remove one of them)\n5:1: the key `a` stands twice in this map (hint: remove one of them)",
    );
    let many: String = (0..40).map(|number| format!("k{number}: 1\n")).collect();
    check(
        &format!("{many}k39: 1\nk0: 1\nk0: 1\n"),
        "41:1: the key `k39` stands twice in this map (hint: remove one of them)\n42:1: the key `k0` stands twice in this map (hint: remove one of them)\n43:1: the key `k0` stands twice in this map (hint: remove one of them)",
    );
    check("a: 1\n---\nb: 1\n", "2:1: a second document begins here (hint: keep one document in a file)");
    check("a: !!str 1\n", "1:10: tags are not allowed (hint: remove the word that begins with `!`)");
    check("1: a\n", "1:1: a key must be text, this is a number (hint: put the key in quotes)");
    check("a: &x\n  b: *x\n", "2:6: an alias may not stand inside what it repeats");
    assert!(read("a: [1\n").is_err());
    assert!(read("a: b: c\n").is_err());
    assert!(read("a:\n\tb: 1\n").is_err());
    assert!(read("%YAML 1.1\n---\na: 1\n").is_err());
}

#[test]
fn bombs_are_refused_quickly() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let repeated = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{repeated}]\n"));
    }
    let mut ladder = String::from("a0: &a0 [x]\n");
    for level in 1..2_000 {
        ladder.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    for (name, text) in [
        ("laughs", laughs),
        ("ladder", ladder),
        ("flow nesting", "[".repeat(20_000)),
        ("map nesting", "{a: ".repeat(20_000)),
        ("block nesting", "- ".repeat(20_000)),
        ("large", "a".repeat(5 << 20)),
        ("long list", format!("[{}a]", "a,".repeat(400_000))),
    ] {
        let start = Instant::now();
        assert!(read(&text).is_err(), "{name}");
        assert!(start.elapsed() < Duration::from_secs(2), "{name}: {:?}", start.elapsed());
    }
}
