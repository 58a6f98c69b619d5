//! The text of the store of credentials.
#![no_main]

#[path = "../../ctl/src/credentials/store/file.rs"]
mod file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entries) = file::read(bytes) else { return };
    let written = file::write(&entries).expect("text can always be written");
    let again = file::read(&written).unwrap_or_else(|place| panic!("what was written is no store at {place:?}"));
    assert!(file::write(&again).expect("text can always be written") == written);
    assert_eq!(again.0.len(), entries.0.len());
});
