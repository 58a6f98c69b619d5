//! Policies in every dialect, and case files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_policy::Policy;
use tollgate_policy::document::import;
use tollgate_policy::lint::lint;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = tollgate_policy::cases::read(text);
    let Ok(imported) = import(text) else { return };
    let canonical = imported.document.canonical();
    let again = tollgate_policy::document::read(&canonical).expect("the canonical text loads");
    assert_eq!(again.canonical(), canonical);
    let _ = lint(&imported.document);
    let _ = Policy::compile(imported.document);
});
