use super::*;

fn in_words(request: &Request) -> String {
    match request {
        Request::Persisted(id) => format!("persisted {id}"),
        Request::Operation(operation) => {
            let name = operation.name.as_deref().unwrap_or("-");
            format!("{:?} {name} {}", operation.kind, operation.fields.join(","))
        }
    }
}

/// A document sent by POST.
#[track_caller]
fn check(document: &str, expected: Result<&str, GraphqlError>) {
    let body = serde_json::json!({ "query": document }).to_string();
    let seen = from_body(body.as_bytes()).map(|requests| in_words(&requests[0]));
    assert_eq!(seen, expected.map(str::to_owned), "{document}");
}

#[track_caller]
fn check_body(body: &str, expected: Result<&str, GraphqlError>) {
    let seen = from_body(body.as_bytes()).map(|requests| requests.iter().map(in_words).collect::<Vec<_>>().join("; "));
    assert_eq!(seen, expected.map(str::to_owned), "{body}");
}

#[test]
fn f13_root_fields() {
    check("{viewer repository{id}}", Ok("Query - viewer,repository"));
    check("{alias: secret}", Ok("Query - secret"));
    check("query Q {a a b: a}", Ok("Query Q a"));
    check("mutation M { createX deleteY }", Ok("Mutation M createX,deleteY"));
    check("subscription { s }", Ok("Subscription - s"));
    check("{ ...F } fragment F on Query { secret ...F }", Ok("Query - secret"));
    check("{ ... on Query { secret } ... { other } __typename }", Ok("Query - __typename,other,secret"));
    check("{ a @skip(if: true) }", Ok("Query - a"));
    check("# comment\n{ a }", Ok("Query - a"));
}

#[test]
fn f13_what_cannot_be_judged() {
    check("{", Err(GraphqlError::Syntax));
    check("", Err(GraphqlError::NoOperation));
    check("{ }", Err(GraphqlError::Syntax));
    check("fragment F on Query { a }", Err(GraphqlError::NoOperation));
    check("{ ...F }", Err(GraphqlError::UnknownFragment));
    check("{ a } { b }", Err(GraphqlError::Ambiguous));
    check("query A { a } query B { b }", Err(GraphqlError::Unselected));
    check("query A { a } query A { b }", Err(GraphqlError::Ambiguous));
    check("query A { a } { b }", Err(GraphqlError::Ambiguous));
    check("{ ...F } fragment F on A { a } fragment F on B { b }", Err(GraphqlError::Ambiguous));
    check("type T { a: Int } { a }", Err(GraphqlError::Definitions));
    check(&format!("{}a{}", "{a".repeat(200), "}".repeat(200)), Err(GraphqlError::Syntax));
    check(&format!("{{{}}}", "a ".repeat(30_000)), Err(GraphqlError::Syntax));
}

#[test]
fn bodies() {
    check_body(r#"{"query":"query A {a} query B {b}","operationName":"B"}"#, Ok("Query B b"));
    check_body(r#"{"query":"query A {a}","operationName":"X"}"#, Err(GraphqlError::Unselected));
    check_body(r#"[{"query":"{a}"},{"query":"mutation{b}"}]"#, Ok("Query - a; Mutation - b"));
    check_body("[]", Err(GraphqlError::EmptyBatch));
    check_body("[1]", Err(GraphqlError::NotAnObject));
    check_body("{}", Err(GraphqlError::NoOperation));
    check_body(r#"{"query":1}"#, Err(GraphqlError::Type("query")));
    check_body(r#"{"extensions":{"persistedQuery":{"sha256Hash":"abc"}}}"#, Ok("persisted abc"));
    check_body(r#"{"id":"abc"}"#, Ok("persisted abc"));
    check_body(r#"{"id":"abc","documentId":"x"}"#, Err(GraphqlError::ManyIds));
    check_body(r#"{"query":"{a}","extensions":{"persistedQuery":{"sha256Hash":"abc"}}}"#, Ok("Query - a"));
    for lookalike in [r#"{"query":"{a}","Query":"{b}"}"#, r#"{"query":"{a}","query":"{b}"}"#] {
        assert!(matches!(from_body(lookalike.as_bytes()), Err(GraphqlError::Json(_))), "{lookalike}");
    }
}

#[test]
fn query_strings() {
    let check = |text: &str, expected: Result<&str, GraphqlError>| {
        assert_eq!(from_query(text).map(|r| in_words(&r)), expected.map(str::to_owned), "{text}");
    };
    check("query=mutation%7Bx%7D", Ok("Mutation - x"));
    check("query=%7Ba%7D&query=%7Bb%7D", Err(GraphqlError::Duplicate("query")));
    check("query=%7Ba%7D&Query=%7Bb%7D", Err(GraphqlError::Duplicate("query")));
    check("extensions=%7B%22persistedQuery%22%3A%7B%22sha256Hash%22%3A%22abc%22%7D%7D", Ok("persisted abc"));
    check("other=1", Err(GraphqlError::NoOperation));
}

#[test]
fn f14_messages() {
    let check = |text: &str, expected: Result<&str, GraphqlError>| {
        let seen = from_message(text).map(|message| match message {
            Message::Control => "control".to_owned(),
            Message::Operation(request) => in_words(&request),
        });
        assert_eq!(seen, expected.map(str::to_owned), "{text}");
    };
    check(r#"{"type":"connection_init","payload":{}}"#, Ok("control"));
    check(r#"{"type":"subscribe","id":"1","payload":{"query":"subscription{s}"}}"#, Ok("Subscription - s"));
    check(r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#, Ok("Query - a"));
    check(r#"{"type":"subscribe","id":"1"}"#, Err(GraphqlError::Message));
    check(r#"{"type":"other"}"#, Err(GraphqlError::Message));
    check("[]", Err(GraphqlError::Message));
}
