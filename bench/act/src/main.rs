//! Times one spend of the bare `anonymous-credit-tokens` crate, 32-bit amounts.
//!
//! For each line on its input it spends, verifies, refunds and completes once, with messages
//! through the crate's own CBOR between the two sides, and prints four times in nanoseconds.
//! The crate verifies only where it refunds, so verifying is a refund that is thrown away.

use std::io::BufRead;
use std::time::Instant;

use anonymous_credit_tokens::{Params, PreIssuance, PrivateKey, Refund, Scalar, SpendProof};
use rand_core::OsRng;

const BITS: usize = 32;

fn main() {
    let params = Params::new("privity", "credits", "bench", "2026-11-01");
    let key = PrivateKey::random(OsRng);
    let state = PreIssuance::random(OsRng);
    let request = state.request(&params, OsRng);
    let credits = Scalar::from(1_000_000_000u64);
    let response = key
        .issue::<BITS>(&params, &request, credits, Scalar::ZERO, OsRng)
        .unwrap();
    let mut token = state
        .to_credit_token::<BITS>(&params, key.public(), &request, &response)
        .unwrap();
    for line in std::io::stdin().lock().lines() {
        line.unwrap();
        let start = Instant::now();
        let (proof, state) = token
            .prove_spend::<BITS>(&params, 60u64.into(), OsRng)
            .unwrap();
        let spend = proof.to_cbor().unwrap();
        let spent = start.elapsed();
        let opened = SpendProof::<BITS>::from_cbor(&spend).unwrap();
        key.refund(&params, &opened, Scalar::ZERO, OsRng).unwrap();
        let verified = start.elapsed();
        let refund = key.refund(&params, &opened, 45u64.into(), OsRng).unwrap();
        let refund = refund.to_cbor().unwrap();
        let refunded = start.elapsed();
        let refund = Refund::from_cbor(&refund).unwrap();
        token = state
            .to_credit_token(&params, &proof, &refund, key.public())
            .unwrap();
        let completed = start.elapsed();
        let steps = [
            spent,
            verified - spent,
            refunded - verified,
            completed - refunded,
        ];
        println!(
            "{}",
            steps.map(|step| step.as_nanos().to_string()).join(" ")
        );
    }
}
