//! zerokit by itself, doing what it is told on standard input and printing how long it took.
//!
//! Lines in: `prove`, `finish`, `verify`, `verify-all N` (N single checks on all cores).
//! Line out: nanoseconds. A proof is verified from its bytes, since that is how one arrives.

use std::hint::black_box;
use std::io::{stdin, BufRead};
use std::time::Instant;

use rand::thread_rng;
use rayon::prelude::*;
use rln::prelude::*;
use zerokit_utils::merkle_tree::{OptimalMerkleTree, ZerokitMerkleTree};

const LIMIT: u64 = 300;

fn main() {
    let rln = RLNBuilder::stateless().build();
    let keys = IdentityKeys::generate::<PoseidonHash, _>(&mut thread_rng());
    let leaf = Hasher::<PoseidonHash>::hash_pair(keys.id_commitment(), Fr::from(LIMIT));
    let mut tree =
        <OptimalMerkleTree<PoseidonHash> as ZerokitMerkleTree>::default(DEFAULT_TREE_DEPTH)
            .expect("a tree");
    tree.set(0, leaf).expect("a leaf");
    let place = tree.proof(0).expect("a path");
    let witness = |message: u64| {
        RLNWitnessInput::new_single()
            .identity_secret(keys.identity_secret())
            .user_message_limit(Fr::from(LIMIT))
            .merkle_proof(&place)
            .x(hash_to_field_le(&message.to_le_bytes()))
            .external_nullifier(hash_to_field_le(b"epoch"))
            .message_id(Fr::from(message % LIMIT))
            .build()
            .expect("a witness")
    };
    let partial = rln
        .generate_partial_proof(&(&witness(0)).into())
        .expect("a partial proof");
    let (proof, values) = rln.generate_proof(&witness(0)).expect("a proof");
    let mut bytes = Vec::new();
    RLNProof { proof, values }
        .serialize_compressed(&mut bytes)
        .expect("bytes");
    let verify = || {
        let read = RLNProof::deserialize_compressed(&bytes[..]).expect("a proof");
        assert!(rln.verify(&read.proof, &read.values).expect("a verdict"));
    };

    let mut message = 0;
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        message += 1;
        let start = Instant::now();
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["prove"] => drop(black_box(rln.generate_proof(&witness(message)))),
            ["finish"] => drop(black_box(rln.finish_proof(&partial, &witness(message)))),
            ["verify"] => verify(),
            ["verify-all", count] => {
                let count: u32 = count.parse().expect("a number");
                (0..count).into_par_iter().for_each(|_| verify());
            }
            _ => panic!("not known: {line}"),
        }
        println!("{}", start.elapsed().as_nanos());
    }
}
