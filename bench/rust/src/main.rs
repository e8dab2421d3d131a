//! Times one Oblivious HTTP round trip of the `ohttp` crate in one process.
//!
//! `privity-bench KEM BYTES SECONDS` seals a request of BYTES, opens it, seals an answer of BYTES
//! and opens that, again and again for SECONDS; prints the median as nanoseconds. KEM is `x25519`
//! or `xwing`; the cipher is AES-128-GCM.

use std::time::{Duration, Instant};

use ohttp::hpke::{Aead, Kdf, Kem};
use ohttp::{ClientRequest, KeyConfig, Server, SymmetricSuite};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let kem = match words[0].as_str() {
        "x25519" => Kem::X25519Sha256,
        "xwing" => Kem::XWing,
        other => panic!("unknown KEM {other}"),
    };
    let body = vec![7u8; words[1].parse().unwrap()];
    let budget = Duration::from_secs_f64(words[2].parse().unwrap());
    let suites = vec![SymmetricSuite::new(Kdf::HkdfSha256, Aead::Aes128Gcm)];
    let server = Server::new(KeyConfig::new(1, kem, suites).unwrap()).unwrap();
    let config = server.config().encode().unwrap();

    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < budget || times.len() < 3 {
        let start = Instant::now();
        let client = ClientRequest::from_encoded_config(&config).unwrap();
        let (request, opener) = client.encapsulate(&body).unwrap();
        let (opened, sealer) = server.decapsulate(&request).unwrap();
        let answer = sealer.encapsulate(&opened).unwrap();
        let back = opener.decapsulate(&answer).unwrap();
        times.push(start.elapsed());
        assert_eq!(back.len(), body.len());
    }
    times.sort();
    println!("{}", times[times.len() / 2].as_nanos());
}
