use proptest::prelude::*;

use super::layout;
use super::value::{Fields, Value};

/// What the library writes is what is written, whatever a document holds: hashes of policies that are kept depend on it.
fn check(value: &Value<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(layout::yaml(value), serde_yaml::to_string(value).expect("written"));
    Ok(())
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z/][a-zA-Z0-9/_.*-]{0,12}",
        2 => "[ -~]{0,12}",
        1 => "\\PC{0,8}",
        1 => "[a-z :#\n\t'\"\\\\-]{0,8}",
        1 => "[a-z/]{120,140}",
        2 => "[-+.]?[0-9]{1,3}[.eE_:x-]?[0-9]{0,2}",
        2 => proptest::sample::select(vec![
            "null", "Null", "~", "true", "False", "yes", "NO", "on", "Off", "y", "N", "nan", ".inf", "Infinity", "none",
            "---", "...", "/--- #", "*", "**.example.com", "/v1/**", "/a/{b,c}", "GET", "e5", "0x1f", "a: b", "a #b", "<<", "=",
        ]).prop_map(str::to_owned),
    ]
}

fn values() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        6 => texts().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Value::Fraction),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            maps(inner).prop_map(Value::Map),
        ]
    })
}

fn maps(inner: impl Strategy<Value = Value<'static>>) -> impl Strategy<Value = Fields<'static>> {
    proptest::collection::vec((texts(), inner), 0..5).prop_map(Fields::from_iter)
}

proptest! {
    #[test]
    fn the_layout_is_the_library_s(fields in maps(values())) {
        check(&Value::Map(fields))?;
    }

    #[test]
    fn so_is_that_of_a_scalar(text in texts()) {
        check(&Value::Map(Fields::from_iter([("path", Value::from(text))])))?;
    }
}
