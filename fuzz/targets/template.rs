//! Path templates and the paths that they are laid on: a template, a line break, a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_policy::document::PathTemplate;

fuzz_target!(|text: &str| {
    let (written, path) = text.split_once('\n').unwrap_or((text, "/"));
    let Ok(template) = PathTemplate::parse(written) else { return };
    assert_eq!(PathTemplate::parse(template.as_str()).as_ref(), Ok(&template));
    if let Some(place) = template.place(path) {
        let found = &path[place.clone()];
        assert!(!found.contains('/'), "a credential is within one segment");
        let replaced = format!("{}x{}", &path[..place.start], &path[place.end..]);
        let again = template.place(&replaced).expect("still one of its paths");
        assert_eq!(&replaced[again], "x");
    }
});
