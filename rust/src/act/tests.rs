//! The draft's vectors, run from their seed; and what must be refused.

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const VECTORS: &str = include_str!("../../../tests/vectors/act_draft.json");
/// Bits of an amount in the draft's vectors.
const FEW: usize = 8;

fn vector(name: &str) -> Vec<u8> {
    let field = format!("\"{name}\": \"");
    let start = VECTORS.find(&field).expect("a vector of this name") + field.len();
    let hex = VECTORS[start..].split('"').next().expect("a closing quote");
    (0..hex.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).expect("hex"))
        .collect()
}

fn params() -> Params {
    Params::new("test", "vectors", "v0", "2025-01-01")
}

#[test]
fn the_drafts_vectors_come_from_their_seed() {
    let mut rng = ChaCha20Rng::from_seed(core::array::from_fn(|byte| byte as u8));
    let params = params();
    let key = PrivateKey::random(&mut rng);
    let secret = write(&key).unwrap();
    assert_eq!(*secret, vector("sk_cbor"));
    let public = public_of(&key).unwrap();
    assert_eq!(public, vector("pk_cbor")[2..]);
    let [state, request] = purchase(&params, &mut rng).unwrap();
    assert_eq!(*state, vector("preissuance_cbor"));
    assert_eq!(*request, vector("issuance_request_cbor"));
    let response = issue::<FEW>(&params, &secret, &request, 100, &[0; 32], &mut rng).unwrap();
    assert_eq!(*response, vector("issuance_response_cbor"));
    let token = complete::<FEW>(&params, &state, &request, &response, &public).unwrap();
    assert_eq!(*token, vector("credit_token_cbor"));
    let [state, spend] = prove_spend::<FEW>(&params, &token, 30, &mut rng).unwrap();
    assert_eq!(*spend, vector("spend_proof_cbor"));
    assert_eq!(*state, vector("prerefund_cbor"));
    let (proof, back) = refund::<FEW>(&params, &secret, &spend, 10, &mut rng).unwrap();
    assert_eq!(*back, vector("refund_cbor"));
    assert_eq!(proof.nullifier().as_bytes()[..], vector("nullifier"));
    let token = complete_refund::<FEW>(&params, &state, &spend, &back, &public).unwrap();
    assert_eq!(*token, vector("refund_token_cbor"));
}

#[test]
fn sizes_are_those_of_the_encoding() {
    assert_eq!(spend_size(FEW), vector("spend_proof_cbor").len());
    assert_eq!(SECRET, vector("sk_cbor").len());
    assert_eq!(REFUND, vector("refund_cbor").len());
    assert_eq!(SPEND, 4919);
}

#[test]
fn another_spelling_is_refused() {
    let mut spend = vector("spend_proof_cbor");
    assert!(read::<SpendProof<FEW>>(&spend, spend_size(FEW), "spend").is_ok());
    // The same map with its first two entries exchanged.
    let (first, second) = (spend[1..36].to_vec(), spend[36..71].to_vec());
    spend[1..36].copy_from_slice(&second);
    spend[36..71].copy_from_slice(&first);
    assert!(SpendProof::<FEW>::from_cbor(&spend).is_ok());
    assert!(read::<SpendProof<FEW>>(&spend, spend_size(FEW), "spend").is_err());
    spend.push(0);
    assert!(read::<SpendProof<FEW>>(&spend, spend_size(FEW), "spend").is_err());
}

#[test]
fn the_identity_is_no_public_key() {
    assert!(public_key(&[0; 32]).is_err());
}
