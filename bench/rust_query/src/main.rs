//! Times a proof that each of COUNT hidden numbers is below 2^16, by the `bulletproofs` crate.
//!
//! `privity-bench-query COUNT SECONDS` proves and verifies one aggregated range proof again and
//! again for SECONDS, on one thread; prints the medians of both as nanoseconds, and the bytes of
//! the proof with its commitments.

use std::time::{Duration, Instant};

use bulletproofs::{BulletproofGens, PedersenGens, RangeProof};
use curve25519_dalek::scalar::Scalar;
use merlin::Transcript;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let count: usize = words[0].parse().unwrap();
    let budget = Duration::from_secs_f64(words[1].parse().unwrap());
    let (points, generators) = (PedersenGens::default(), BulletproofGens::new(16, count));
    let values: Vec<u64> = (0..count as u64).map(|at| at * 97 % 49_152).collect();
    let (mut proving, mut verifying, mut bytes) = (Vec::new(), Vec::new(), 0);
    let began = Instant::now();
    while began.elapsed() < budget || proving.len() < 3 {
        let mut random = rand::thread_rng();
        let blinds: Vec<Scalar> = values.iter().map(|_| Scalar::random(&mut random)).collect();
        let start = Instant::now();
        let mut transcript = Transcript::new(b"bench");
        let (proof, commitments) =
            RangeProof::prove_multiple(&generators, &points, &mut transcript, &values, &blinds, 16)
                .unwrap();
        proving.push(start.elapsed());
        let start = Instant::now();
        let mut transcript = Transcript::new(b"bench");
        proof
            .verify_multiple(&generators, &points, &mut transcript, &commitments, 16)
            .unwrap();
        verifying.push(start.elapsed());
        bytes = proof.to_bytes().len() + 32 * commitments.len();
    }
    proving.sort();
    verifying.sort();
    let median = |times: &[Duration]| times[times.len() / 2].as_nanos();
    println!("{} {} {bytes}", median(&proving), median(&verifying));
}
