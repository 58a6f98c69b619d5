use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::SecretName;

const PLACEHOLDER: &str = "xoxb-AAAAAAAAAAAAAAAAAAAAAAAA";
const VALUE: &str = "xoxb-\"real\\value&=é+/";
const OTHER: &str = "another-placeholder-of-24";

fn fields(name: Option<&str>) -> Arc<Fields> {
    let secret = |name: &str, value: &str, placeholder: &str| {
        let name = SecretName::parse(name).expect("a name");
        Secret::new(name, value.into(), placeholder.to_owned()).expect("a value")
    };
    let vault = Vault::new(vec![secret("TOKEN", VALUE, PLACEHOLDER), secret("OTHER", "another-value", OTHER)]);
    Arc::new(Fields::new(Arc::new(vault), vec![(name.map(Box::from), 0)]))
}

fn rewrite(name: Option<&str>, encoding: Encoding, pieces: &[&[u8]]) -> Result<Vec<u8>, InjectError> {
    let mut rewriter = Rewriter::new(fields(name), encoding);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(rewriter.push(piece)?);
    }
    out.extend(rewriter.finish()?);
    Ok(out)
}

/// Checks a body in one piece and in pieces of every length.
#[track_caller]
fn check(name: Option<&str>, encoding: Encoding, body: &str, expected: &str) {
    for length in 1..=body.len() {
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(length).collect();
        let out = rewrite(name, encoding, &pieces).expect("nothing to refuse");
        assert_eq!(String::from_utf8_lossy(&out), expected, "{body} in pieces of {length}");
    }
}

#[test]
fn json_members() {
    let real = serde_json::to_string(VALUE).expect("text");
    let token = Some("token");
    for (body, expected) in [
        (format!(r#"{{"token":"{PLACEHOLDER}"}}"#), format!(r#"{{"token":{real}}}"#)),
        (
            format!(r#"{{"d": {{"token" : "{PLACEHOLDER}", "op":2}}}}"#),
            format!(r#"{{"d": {{"token" : {real}, "op":2}}}}"#),
        ),
        (r#"{"token":"openshell:resolve:env:TOKEN"}"#.to_owned(), format!(r#"{{"token":{real}}}"#)),
        (format!(r#"{{"tok\u0065n":"{PLACEHOLDER}"}}"#), format!(r#"{{"tok\u0065n":{real}}}"#)),
        (format!(r#"{{"token":"\u0078{}"}}"#, &PLACEHOLDER[1..]), format!(r#"{{"token":{real}}}"#)),
    ] {
        check(token, Encoding::Json, &body, &expected);
    }
}

#[test]
fn what_is_only_talked_about_stays() {
    let token = Some("token");
    for body in [
        format!(r#"{{"text":"{PLACEHOLDER}"}}"#),
        format!(r#"{{"token":"Bearer {PLACEHOLDER}"}}"#),
        format!(r#"{{"token":["{PLACEHOLDER}"]}}"#),
        format!(r#"["token","{PLACEHOLDER}"]"#),
        format!(r#"{{"x":"\"token\":\"{PLACEHOLDER}\""}}"#),
        format!(r#"{{"text":"{OTHER}"}}"#),
        format!(r#"{{"token":"{PLACEHOLDER}"#),
        format!(r#"{{"token":"{}"}}"#, "x".repeat(2 * MAX_HELD_BYTES)),
    ] {
        let out = rewrite(token, Encoding::Json, &[body.as_bytes()]).expect("nothing to refuse");
        assert_eq!(String::from_utf8_lossy(&out), body);
    }
    check(
        token,
        Encoding::Form,
        &format!("text={PLACEHOLDER}&token=x{PLACEHOLDER}"),
        &format!("text={PLACEHOLDER}&token=x{PLACEHOLDER}"),
    );
}

#[test]
fn any_member() {
    let real = serde_json::to_string(VALUE).expect("text");
    check(None, Encoding::Json, &format!(r#"{{"a":"{PLACEHOLDER}"}}"#), &format!(r#"{{"a":{real}}}"#));
}

#[test]
fn forms() {
    let real = "xoxb-%22real%5Cvalue%26%3D%C3%A9%2B%2F";
    let token = Some("token");
    check(token, Encoding::Form, &format!("token={PLACEHOLDER}"), &format!("token={real}"));
    check(token, Encoding::Form, &format!("a=b&token={PLACEHOLDER}&c"), &format!("a=b&token={real}&c"));
    check(token, Encoding::Form, "tok%65n=openshell%3Aresolve%3aenv%3ATOKEN&x=", &format!("tok%65n={real}&x="));
}

#[test]
fn k6_not_due_in_the_field() {
    let token = Some("token");
    let refused = rewrite(token, Encoding::Json, &[format!(r#"{{"token":"{OTHER}"}}"#).as_bytes()]);
    assert!(matches!(refused, Err(InjectError::Unbound { .. })), "{refused:?}");
    let refused = rewrite(token, Encoding::Form, &[b"token=openshell%3Aresolve%3Aenv%3ANOPE"]);
    assert!(matches!(refused, Err(InjectError::Unknown { .. })), "{refused:?}");
}

#[test]
fn media_types() {
    assert_eq!(Encoding::of(b"application/json; charset=utf-8"), Some(Encoding::Json));
    assert_eq!(Encoding::of(b"Application/vnd.api+JSON"), Some(Encoding::Json));
    assert_eq!(Encoding::of(b"application/x-www-form-urlencoded"), Some(Encoding::Form));
    assert_eq!(Encoding::of(b"multipart/form-data; boundary=x"), None);
}

proptest! {
    #[test]
    fn bodies_without_a_token_are_not_altered(
        body in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b':'), Just(b'&'), Just(b'='), any::<u8>()], 0..300),
        cut in 1usize..40,
    ) {
        let pieces: Vec<&[u8]> = body.chunks(cut).collect();
        for encoding in [Encoding::Json, Encoding::Form] {
            prop_assert_eq!(rewrite(None, encoding, &pieces).expect("no token"), body.clone());
        }
    }

    #[test]
    fn a_token_is_exchanged_wherever_pieces_are_cut(before in "[a-z ]{0,20}", cut in 1usize..60) {
        let body = serde_json::json!({ "before": before, "token": PLACEHOLDER, "after": PLACEHOLDER }).to_string();
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(cut).collect();
        let out = rewrite(Some("token"), Encoding::Json, &pieces).expect("due");
        let read: serde_json::Value = serde_json::from_slice(&out).expect("still JSON");
        prop_assert_eq!(&read["token"], VALUE);
        prop_assert_eq!(&read["after"], PLACEHOLDER);
    }
}
