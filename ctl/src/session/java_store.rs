//! A trust store as Java reads it: the format of the JDK's own `cacerts` ("JKS", version 2), which nothing but Java defines.
//!
//! ```text
//! u32 0xFEEDFEED, u32 2, u32 entries
//! entry: u32 2 (a trusted certificate), text alias, u64 milliseconds since 1970, text "X.509", u32 length, DER
//! SHA-1 of the password in UTF-16, "Mighty Aphrodite", and everything above
//! ```
//!
//! Numbers are big-endian; a text is its length in 16 bits and its bytes.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// What every JDK's own store has. It guards nothing: who can write the file can write the digest.
const PASSWORD: &str = "changeit";

/// The store with these certificates, each under a name of its own.
pub fn encode<'a>(certificates: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut store = Vec::new();
    for number in [0xFEED_FEED, 2, length(certificates.len())] {
        store.extend(number.to_be_bytes());
    }
    for (number, certificate) in certificates.enumerate() {
        store.extend(TRUSTED.to_be_bytes());
        text(&mut store, &format!("ca-{number}"));
        // When it came to be trusted matters to nobody.
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len()).to_be_bytes());
        store.extend(certificate);
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    PASSWORD.encode_utf16().for_each(|unit| digest.update(&unit.to_be_bytes()));
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend(digest.finish().as_ref());
    store
}

const TRUSTED: u32 = 2;

fn length(number: usize) -> u32 {
    u32::try_from(number).expect("certificates of one machine")
}

fn text(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).expect("our own names").to_be_bytes());
    store.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use tollgate_audit::digest::hex;

    use super::*;

    #[test]
    fn the_store_is_as_keytool_writes_it() {
        let none: [&[u8]; 0] = [];
        let empty = encode(none.into_iter());
        assert_eq!(hex(&empty), "feedfeed0000000200000000e2686e45fb43dfa4d992dd41ceb6b21c6330d792");
        let two: [&[u8]; 2] = [b"\x30\x00", b"\x30\x01\x05"];
        let store = encode(two.into_iter());
        let (entries, digest) = store.split_at(store.len() - 20);
        assert_eq!(
            hex(entries),
            "feedfeed0000000200000002\
             00000002000463612d3000000000000000000005582e35303900000002\
             3000\
             00000002000463612d3100000000000000000005582e35303900000003\
             300105"
        );
        assert_ne!(digest, &empty[empty.len() - 20..]);
    }
}
