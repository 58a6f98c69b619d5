//! Changes of a policy as they are written on a command line: a line each, each for every option that takes one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_policy::document::{check, read};
use tollgate_policy::update::{Operation, apply};

const POLICY: &str = "version: 1\nnetwork_policies: {a: {endpoints: [{host: h.test, ports: [443, 8443], protocol: rest, \
                      access: read-only}], binaries: [{path: /usr/bin/curl}]}}\n";

fuzz_target!(|text: &str| {
    let binaries = ["/usr/bin/git".to_owned()];
    for line in text.lines().take(16) {
        let read_as = [
            Operation::add_endpoint(line, None, &binaries),
            Operation::add_endpoint(line, Some("a"), &binaries),
            Operation::remove_endpoint(line),
            Operation::add_allow(line),
            Operation::add_deny(line),
        ];
        for operation in read_as.into_iter().flatten() {
            let mut document = read(POLICY).expect("a policy");
            if apply(&mut document, &[operation]).is_ok() && check(&document).is_ok() {
                let written = document.canonical();
                assert_eq!(read(&written).expect("what is valid reads back").canonical(), written);
            }
        }
    }
});
