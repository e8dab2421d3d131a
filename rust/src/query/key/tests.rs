use super::*;

const CONTEXT: &[u8] = b"this request";
const SEED: [u8; 32] = [7; 32];

fn key() -> Key {
    Key::new(100, &[0, 1, 50], 4).expect("a key")
}

fn verifies(key: &Key, proof: &[u8], context: &[u8]) -> bool {
    key.verify(&[Item { proof, context }])[0]
}

#[test]
fn a_proof_verifies_and_opens() {
    let key = key();
    let proof = key.prove(&[2, 3, 99], CONTEXT, &SEED).expect("a proof");
    assert!(verifies(&key, &proof, CONTEXT));
    assert_eq!(proof[..32], key.commit(&[2, 3, 99], &SEED).unwrap());
    assert_ne!(proof[..32], key.commit(&[2, 3, 98], &SEED).unwrap());
    assert_ne!(proof[..32], key.commit(&[2, 3], &SEED).unwrap());
    assert_ne!(proof[..32], key.commit(&[2, 3, 99], &[8; 32]).unwrap());
}

#[test]
fn two_proofs_of_one_seed_share_the_commitment_alone() {
    let key = key();
    let one = key.prove(&[2], CONTEXT, &SEED).expect("a proof");
    let two = key.prove(&[2], CONTEXT, &SEED).expect("a proof");
    assert_eq!(one[..32], two[..32]);
    for at in 1..one.len() / 32 {
        assert_ne!(one[at * 32..][..32], two[at * 32..][..32], "word {at}");
    }
}

#[test]
fn a_proof_is_of_its_context_alone() {
    let key = key();
    let proof = key.prove(&[2], CONTEXT, &SEED).expect("a proof");
    assert!(!verifies(&key, &proof, b"another request"));
    assert!(!verifies(&key, &proof, b""));
}

#[test]
fn a_proof_is_of_its_key_alone() {
    let proof = key().prove(&[2], CONTEXT, &SEED).expect("a proof");
    for (vocabulary, denied, bucket) in [
        (99, vec![0, 1, 50], 4),
        (100, vec![0, 1, 51], 4),
        (100, vec![0, 1, 50], 5),
    ] {
        let other = Key::new(vocabulary, &denied, bucket).expect("a key");
        assert_eq!(other.proof_size(), proof.len());
        assert!(!verifies(&other, &proof, CONTEXT));
        assert_ne!(other.fingerprint(), key().fingerprint());
    }
}

#[test]
fn the_honest_prover_refuses_what_is_not_well_formed() {
    let key = key();
    let refusal = |tokens: &[u32]| key.prove(tokens, CONTEXT, &SEED).err();
    assert_eq!(refusal(&[]), Some(Refusal::Length));
    assert_eq!(refusal(&[2; 5]), Some(Refusal::Length));
    assert_eq!(refusal(&[2, 50]), Some(Refusal::Token));
    assert_eq!(refusal(&[100]), Some(Refusal::Token));
    assert_eq!(refusal(&[u32::MAX]), Some(Refusal::Token));
}

#[test]
fn what_a_cheating_prover_makes_is_refused() {
    let key = key();
    let good = Row::of(2, key.shape.interval(2).unwrap());
    let denied = Row {
        place: Fp::from(51),
        real: Fp::ONE,
        above: Fp::ZERO,
        below: Fp::ZERO,
    };
    for rows in [
        vec![good; 5],
        vec![Row::PADDING],
        vec![good, Row::PADDING, good],
    ] {
        let proof = key
            .prove_rows(rows, CONTEXT, &SEED)
            .expect("only lookups stop a prover");
        assert!(!verifies(&key, &proof, CONTEXT));
    }
    // A value that is in no table leaves halo2's prover nothing to write.
    assert_eq!(
        key.prove_rows(vec![denied], CONTEXT, &SEED),
        Err(Refusal::Prover)
    );
}

#[test]
fn every_changed_byte_and_every_other_length_is_refused() {
    let key = key();
    let proof = key.prove(&[2], CONTEXT, &SEED).expect("a proof");
    for at in 0..proof.len() {
        let mut changed = proof.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(!verifies(&key, &changed, CONTEXT), "byte {at}");
    }
    for length in [0, 31, proof.len() - 1] {
        assert!(!verifies(&key, &proof[..length], CONTEXT));
    }
    assert!(!verifies(&key, &[&proof[..], &[0]].concat(), CONTEXT));
    assert!(!verifies(&key, &vec![0; proof.len()], CONTEXT));
}

#[test]
fn a_batch_answers_for_each() {
    let key = key();
    let good = key.prove(&[2], CONTEXT, &SEED).expect("a proof");
    let mut bad = good.clone();
    let last = bad.len() - 20;
    bad[last] ^= 1;
    let item = |proof, context| Item { proof, context };
    let items = [
        item(&good, CONTEXT),
        item(&bad, CONTEXT),
        item(&good, b"another"),
        item(&good, CONTEXT),
        item(&good[..9], CONTEXT),
    ];
    assert_eq!(key.verify(&items), [true, false, false, true, false]);
    assert_eq!(key.verify(&[]), [false; 0]);
}
