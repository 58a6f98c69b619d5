//! What the gate keeps and makes beside the traffic: records, signed heads, certificates.

use std::hint::black_box;

use tollgate_audit::{Chain, Event, Program, SigningKey, Verdict};
use tollgate_model::Host;
use tollgate_proxy::{CertificateAuthority, Limits};

use crate::part::{ALIKE, Part, Run, in_turn, repeat};

pub fn parts() -> Vec<Part> {
    vec![
        Part::new("journal/serialise a request", serialise).counted(1_000),
        Part::new("journal/append a request", append).counted(1_000),
        Part::new("journal/sign a head", sign).counted(20),
        Part::new("leaf/known name", known_leaf).counted(1_000),
        Part::new("leaf/new name", new_leaf).counted(20),
    ]
}

fn serialise() -> Run {
    repeat(|| black_box(&event()).to_body())
}

fn append() -> Run {
    let (body, mut chain, mut out) = (event().to_body(), Chain::new("bench"), Vec::new());
    repeat(move || {
        out.clear();
        chain.append(1_700_000_000_000_000, black_box(&body), &mut out);
    })
}

fn sign() -> Run {
    let (key, mut chain) = (SigningKey::from_seed(&[7; 32]).expect("32 bytes"), Chain::new("bench"));
    chain.append(1_700_000_000_000_000, &event().to_body(), &mut Vec::new());
    repeat(move || key.sign(black_box(&chain), false))
}

fn event() -> Event<'static> {
    Event::Request {
        connection: 7,
        request: 11,
        method: "GET",
        scheme: "https",
        authority: "api.example.com:443",
        path: "/v1/things",
        caller: Program { binary: "/usr/bin/curl", pid: 42, binary_sha256: "0123456789abcdef", ..Program::default() },
        generation: 1,
        verdict: Verdict { decision: "allowed", policy: "api", rule: "GET /v1/**", error: "", reason: "" },
        exchanged: &[],
        inert: &[],
    }
}

/// A certificate that was minted before.
fn known_leaf() -> Run {
    let known = Host::parse("api.example.com").expect("valid");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let all = [(); ALIKE].map(|()| {
        let authority = CertificateAuthority::new("bench", &Limits::default()).expect("made");
        runtime.block_on(authority.server_config(&known)).expect("minted");
        authority
    });
    in_turn(all, move |authority| runtime.block_on(authority.server_config(&known)).expect("minted"))
}

fn new_leaf() -> Run {
    let authority = CertificateAuthority::new("bench", &Limits::default()).expect("made");
    let mut number = 0u64;
    repeat(move || {
        number += 1;
        let host = Host::parse(&format!("n{number}.example.com")).expect("valid");
        authority.mint(&host).expect("minted")
    })
}
