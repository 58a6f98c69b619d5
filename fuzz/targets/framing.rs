//! Framing of HTTP/1 requests: however the bytes are cut, the same ones pass.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_inspect::framing::{Bounds, Follower, Wrong};

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(pass(&[bytes]), pass(&[first, second]));
});

fn pass(pieces: &[&[u8]]) -> (usize, u64, Option<Wrong>) {
    let mut follower = Follower::new(Bounds { head_bytes: 4096, headers: 16 });
    let (mut held, mut passed) = (Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        let (count, followed) = follower.follow(&held);
        passed += count;
        held.drain(..count);
        if let Err(wrong) = followed {
            return (passed, follower.heads(), Some(wrong));
        }
    }
    (passed, follower.heads(), None)
}
