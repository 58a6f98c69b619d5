//! The first message of a TLS client (RFC 8446, section 4.1.2), for a handshake that is never meant to go on.

/// The content type of a handshake record.
pub(super) const HANDSHAKE: u8 = 22;

/// A ClientHello for TLS 1.3 with this server name, in one record.
pub(super) fn client_hello(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let entry = [&[0][..], &sized(name)].concat();
    let extensions = [
        extension(0, &sized(&entry)),
        // secp256r1 and x25519; ecdsa_secp256r1_sha256 and rsa_pss_rsae_sha256; TLS 1.3.
        extension(10, &[0, 4, 0, 23, 0, 29]),
        extension(13, &[0, 4, 4, 3, 8, 4]),
        extension(43, &[2, 3, 4]),
        // Any 32 bytes are a key of x25519.
        extension(51, &[&[0, 36, 0, 29, 0, 32][..], &[9; 32]].concat()),
    ]
    .concat();
    let random = [7; 32];
    let ciphers = [0, 2, 0x13, 0x01];
    let body = [&[3, 3][..], &random, &[0], &ciphers, &[1, 0], &sized(&extensions)].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

fn extension(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[0, kind][..], &sized(data)].concat()
}

/// With its length before it, in two bytes. All of this is far shorter than they can say.
fn sized(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], data].concat()
}
