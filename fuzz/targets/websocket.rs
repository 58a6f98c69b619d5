//! WebSocket frames and messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_inspect::websocket::{Assembler, Header, Sender, mask};

fuzz_target!(|bytes: &[u8]| {
    for sender in [Sender::Client, Sender::Server] {
        read_all(bytes, sender);
    }
});

fn read_all(mut bytes: &[u8], sender: Sender) {
    let mut messages = Assembler::new(4096);
    while let Ok(Some((header, len))) = Header::read(bytes, sender) {
        let mut written = Vec::new();
        header.write(&mut written);
        assert_eq!(written, &bytes[..len]);
        let Some(end) = usize::try_from(header.payload).ok().and_then(|payload| payload.checked_add(len)) else { return };
        let Some(payload) = bytes.get(len..end) else { return };
        let mut payload = payload.to_vec();
        if let Some(key) = header.mask {
            mask(&mut payload, key, 0);
        }
        if messages.push(&header, &payload).is_err() {
            return;
        }
        bytes = &bytes[end..];
    }
}
