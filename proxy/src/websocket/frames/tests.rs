use std::sync::Arc;

use tollgate_inspect::websocket::Deflate;
use tollgate_secrets::{Secret, SecretName, Vault};

use super::*;
use crate::Rules;

const KEY: [u8; 4] = [1, 2, 3, 4];

fn frame(fin: bool, opcode: Opcode, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, fin, opcode, key, payload);
    out
}

fn client(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(fin, opcode, Some(KEY), payload)
}

fn server(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(fin, opcode, None, payload)
}

/// Sends the bytes in pieces of every size: what comes out may not depend on it.
#[track_caller]
fn check<'a>(
    sender: Sender,
    treatment: impl Fn() -> Treatment<'a>,
    frames: &[Vec<u8>],
    expected: &[Vec<u8>],
    end: Result<(), u16>,
) {
    let bytes = frames.concat();
    for size in [1, 2, 3, 7, 64, bytes.len().max(1)] {
        let mut direction = Direction::new(sender, treatment());
        let mut out = Vec::new();
        let result = bytes.chunks(size).try_for_each(|chunk| direction.take(chunk, &mut out));
        assert_eq!(result.map_err(|close| close.code), end, "in pieces of {size}");
        assert_eq!(messages(&out), messages(&expected.concat()), "in pieces of {size}");
    }
}

/// The messages in some bytes: fragments may be cut anywhere.
fn messages(mut bytes: &[u8]) -> Vec<(Opcode, Vec<u8>)> {
    let mut all: Vec<(Opcode, Vec<u8>)> = Vec::new();
    let sender = |bytes: &[u8]| if bytes[1] & 0x80 == 0 { Sender::Server } else { Sender::Client };
    while !bytes.is_empty() {
        let Ok(Some((header, len))) = Header::read(bytes, sender(bytes)) else {
            all.push((Opcode::Continuation, bytes.to_vec()));
            return all;
        };
        let end = bytes.len().min(len + usize::try_from(header.payload).expect("a test payload"));
        let mut payload = bytes[len..end].to_vec();
        mask(&mut payload, header.mask.unwrap_or_default(), 0);
        match (header.opcode, all.last_mut()) {
            (Opcode::Continuation, Some((_, held))) => held.extend(payload),
            (opcode, _) => all.push((opcode, payload)),
        }
        bytes = &bytes[end..];
    }
    all
}

fn judge(text: &str) -> Result<Option<Vec<u8>>, Close> {
    match text.contains("drop") {
        true => Err(Close { code: 1008, reason: "no".to_owned() }),
        false => Ok(None),
    }
}

#[test]
fn e5_text_is_judged_whole() {
    use Opcode::{Binary, Continuation, Ping, Text};
    let judged = || Treatment::Read(&judge);
    let hello = [client(true, Text, b"hello"), client(true, Ping, b"p"), client(true, Binary, b"\0\x01")];
    check(Sender::Client, judged, &hello, &hello, Ok(()));
    let split = [client(false, Text, b"dr"), client(true, Continuation, b"op")];
    check(Sender::Client, judged, &split, &[], Err(1008));
    let after = [client(true, Text, b"hi"), client(true, Text, b"drop")];
    check(Sender::Client, judged, &after, &after[..1], Err(1008));
    let pieces = [client(false, Binary, b"drop"), client(true, Continuation, b"ped")];
    check(Sender::Client, judged, &pieces, &pieces, Ok(()));
    check(Sender::Client, judged, &[client(true, Text, b"")], &[client(true, Text, b"")], Ok(()));
}

#[test]
fn e4_what_no_peer_may_send() {
    use Opcode::{Continuation, Text};
    let judged = || Treatment::Read(&judge);
    let passed = || Treatment::Pass;
    for treatment in [&judged as &dyn Fn() -> Treatment<'static>, &passed] {
        check(Sender::Client, treatment, &[server(true, Text, b"x")], &[], Err(1002));
        check(Sender::Client, treatment, &[vec![0xc1, 0x80, 0, 0, 0, 0]], &[], Err(1002));
        check(Sender::Client, treatment, &[client(true, Continuation, b"x")], &[], Err(1002));
        check(Sender::Server, treatment, &[client(true, Text, b"x")], &[], Err(1002));
    }
    check(Sender::Client, judged, &[client(true, Text, b"\xff")], &[], Err(1007));
    let mut huge = Vec::new();
    Header { fin: true, compressed: false, opcode: Text, mask: Some(KEY), payload: 1 << 40 }.write(&mut huge);
    check(Sender::Client, judged, &[huge], &[], Err(1009));
}

#[test]
fn what_is_not_judged_passes_as_it_is() {
    use Opcode::{Close, Continuation, Text};
    let frames = [client(false, Text, b"drop"), client(true, Continuation, b"ped"), client(true, Close, b"\x03\xe8")];
    check(Sender::Client, || Treatment::Pass, &frames, &frames, Ok(()));
}

#[test]
fn secrets_are_replaced_wherever_frames_are_cut() {
    use Opcode::{Binary, Continuation, Ping, Text};
    let secret = Secret::new(
        SecretName::parse("TOKEN").expect("a name"),
        "s3cr3t-value-of-some-length".into(),
        "ph-placeholder-of-a-length".to_owned(),
    );
    let vault = Arc::new(Vault::new(vec![secret.expect("valid")]));
    let needles = Arc::clone(vault.needles());
    let rules = Arc::new(Rules::new(tollgate_policy::load("version: 1\n").expect("valid"), vault));
    for opcode in [Text, Binary] {
        let frames = [
            server(false, opcode, b"it is s3cr3t-val"),
            server(true, Ping, b"p"),
            server(false, Continuation, b"ue-of-some"),
            server(true, Continuation, b"-length, see"),
            server(true, opcode, b"next"),
        ];
        let mut search = Search::new(&rules, &rules.current(), &needles);
        let mut direction = Direction::new(Sender::Server, Treatment::Scrub(&mut search));
        let mut out = Vec::new();
        for frame in &frames {
            direction.take(frame, &mut out).expect("in order");
        }
        let text: Vec<u8> = messages(&out).into_iter().filter(|(o, _)| *o != Ping).flat_map(|(_, p)| p).collect();
        assert_eq!(direction.scrubbed, 1);
        assert!(!String::from_utf8_lossy(&text).contains("s3cr3t"), "{text:?}");
    }
    let whole = [
        server(true, Text, b"it is s3cr3t-value-of-some-length, see"),
        server(true, Ping, b"s3cr3t-value-of-some-length"),
    ];
    let clean = [
        server(true, Text, b"it is ph-placeholder-of-a-length, see"),
        server(true, Ping, b"ph-placeholder-of-a-length"),
    ];
    let mut search = Search::new(&rules, &rules.current(), &needles);
    let mut direction = Direction::new(Sender::Server, Treatment::Scrub(&mut search));
    let mut out = Vec::new();
    direction.take(&whole.concat(), &mut out).expect("in order");
    assert_eq!(out, clean.concat());
}

/// One message in a frame for each piece, compressed.
fn packed(key: Option<[u8; 4]>, opcode: Opcode, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut state = flate2::Compress::new(flate2::Compression::best(), false);
    let last = pieces.len() - 1;
    let frame = |(index, piece): (usize, &&[u8])| {
        let mut packed = Vec::with_capacity(piece.len() + 64);
        state.compress_vec(piece, &mut packed, flate2::FlushCompress::Sync).expect("room");
        if index == last {
            // An empty block stands for nothing (RFC 7692, section 7.2.3.6).
            packed = packed.strip_suffix(&[0, 0, 0xff, 0xff]).map_or(vec![0], <[u8]>::to_vec);
        }
        let (first, fin) = (index == 0, index == last);
        let opcode = if first { opcode } else { Opcode::Continuation };
        let mut out = Vec::new();
        write_frame(&mut out, Header { fin, compressed: first, opcode, mask: key, payload: 0 }, &packed);
        out
    };
    pieces.iter().enumerate().map(frame).collect()
}

/// The messages in some bytes, whether they are compressed or not.
fn inflated(bytes: &[u8], sender: Sender) -> Vec<(Opcode, Vec<u8>)> {
    let (mut reader, mut input, mut all) = (FrameReader::new(sender, true), bytes, Vec::new());
    let mut current: Option<(Header, Vec<u8>)> = None;
    while let Some(read) = reader.next(&mut input).expect("frames") {
        match read {
            Read::Header(header) if header.opcode == Opcode::Continuation => assert!(!header.compressed),
            Read::Header(header) => current = Some((header, Vec::new())),
            Read::Payload(piece) => {
                let (header, held) = current.as_mut().expect("a message");
                held.extend(piece.plain());
                if piece.ends && piece.header.fin {
                    assert!(header.compressed != header.opcode.is_control(), "all data is compressed");
                    let mut plain = Vec::with_capacity(1 << 20);
                    match header.compressed {
                        false => plain.clone_from(held),
                        true => {
                            held.extend([0, 0, 0xff, 0xff]);
                            let mut state = flate2::Decompress::new(false);
                            state.decompress_vec(held, &mut plain, flate2::FlushDecompress::Sync).expect("deflate");
                        }
                    }
                    all.push((header.opcode, plain));
                }
            }
        }
    }
    all
}

#[test]
fn e6_compression_changes_no_message() {
    use Opcode::{Binary, Close, Ping, Text};
    let long = "and so on, and so on; ".repeat(4000);
    let cases: [(Opcode, &[&[u8]]); 6] = [
        (Text, &[b"hello"]),
        (Text, &[b"he", b"", b"llo"]),
        (Binary, &[b""]),
        (Text, &[b"", b""]),
        (Binary, &[long.as_bytes()]),
        (Text, &[long.as_bytes(), b"end"]),
    ];
    for (sender, key) in [(Sender::Client, Some(KEY)), (Sender::Server, None)] {
        let mut bytes: Vec<u8> =
            cases.iter().flat_map(|(opcode, pieces)| packed(key, *opcode, pieces)).flatten().collect();
        bytes.extend(frame(true, Ping, key, b"p"));
        bytes.extend(frame(true, Text, key, b"plain"));
        bytes.extend(frame(true, Close, key, b"\x03\xe8"));
        let mut expected: Vec<_> = cases.iter().map(|(opcode, pieces)| (*opcode, pieces.concat())).collect();
        expected.extend([(Ping, b"p".to_vec()), (Text, b"plain".to_vec()), (Close, b"\x03\xe8".to_vec())]);
        for size in [1, 3, 64, 5000, bytes.len()] {
            for judges in [false, true] {
                let treatment = if judges { Treatment::Read(&judge) } else { Treatment::Pass };
                let mut direction = Direction::new(sender, treatment);
                let mut deflated = Deflated::new(sender, Deflate { server_window_bits: Some(9) });
                let mut out = Vec::new();
                for chunk in bytes.chunks(size) {
                    deflated.take(&mut direction, chunk, &mut out).expect("in order");
                }
                assert!(inflated(&out, sender) == expected, "in pieces of {size}, judged: {judges}");
            }
        }
    }
}
