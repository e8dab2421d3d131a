//! Groth16 verification under one key, singly and in batches.
//!
//! A proof (A, B, C) with public inputs s is valid where
//! `e(A, B) = e(α, β) · e(Σ s_j·IC_j, γ) · e(C, δ)`. For a batch each equation is raised to a random
//! 128-bit r_i that the maker of the proofs cannot foresee, and the product of all is checked:
//! `Π e(r_i·A_i, B_i) · e(-Σr_i·α, β) · e(-Σ r_i·s_ij·IC_j, γ) · e(-Σ r_i·C_i, δ) = 1`,
//! one Miller loop a proof in place of three and one final exponentiation for all. A batch that
//! holds a false proof passes with probability 2^-128 over r (Bellare, Garay, Rabin 1998, small
//! exponents test; it needs every point in the subgroup of prime order, which `Claim::read` checks).

use ark_bn254::{Bn254, G1Projective, G2Affine};
use ark_ec::bn::G2Prepared;
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{BigInt, Field, PrimeField};
use ark_groth16::{Groth16, PreparedVerifyingKey};
use ark_serialize::CanonicalDeserialize;
use rand::rngs::OsRng;
use rand::RngCore;
use rayon::prelude::*;
use rln::prelude::{Fr, G1Affine, Proof};

use super::field::{self, Refused};

/// Bytes of a proof: A (32), B (64), C (32), each compressed as arkworks does it.
pub const PROOF: usize = 128;

/// Public inputs of the circuit, in its order: y, root, nullifier, x, external nullifier.
pub const INPUTS: usize = 5;

type Prepared = G2Prepared<ark_bn254::Config>;

/// A proof and what it claims, read but not verified.
pub struct Claim {
    pub proof: Proof,
    pub inputs: [Fr; INPUTS],
}

impl Claim {
    /// Reads a claim; the points are checked to be on the curve and in the right subgroup.
    ///
    /// `fields` are the inputs in the circuit's order. A point that does not decode is refused like
    /// anything else that is not what it should be.
    pub fn read(proof: &[u8], fields: [&[u8]; INPUTS]) -> Result<Self, Refused> {
        const NAMES: [&str; INPUTS] = ["y", "root", "nullifier", "x", "external nullifier"];
        if proof.len() != PROOF {
            return Err(Refused(format!(
                "the proof is {} bytes, not {PROOF}",
                proof.len()
            )));
        }
        let mut inputs = [Fr::from(0u64); INPUTS];
        for ((input, bytes), name) in inputs.iter_mut().zip(fields).zip(NAMES) {
            *input = field::read(bytes, name)?;
        }
        let proof = Proof::deserialize_compressed(proof)
            .map_err(|_| Refused("the proof's points do not decode".to_owned()))?;
        Ok(Self { proof, inputs })
    }
}

/// One claim made ready for a batch: its exponent, and the pair of its Miller loop.
struct Weighted<'a> {
    claim: &'a Claim,
    weight: u128,
    a: G1Affine,
    b: Prepared,
}

/// Says whether one claim holds.
pub fn verify(key: &PreparedVerifyingKey<Bn254>, claim: &Claim) -> bool {
    Groth16::<Bn254>::verify_proof(key, &claim.proof, &claim.inputs).unwrap_or(false)
}

/// Says of each claim whether it holds; a batch of true ones costs one check.
///
/// Where the whole fails, groups of about √n are checked, and each of a failed group singly: one
/// false claim among n costs about a second batch, n false ones two batches beside n single checks.
/// Bisection would cost the first as much and the second log2(n) batches.
pub fn verify_batch(key: &PreparedVerifyingKey<Bn254>, claims: &[&Claim]) -> Vec<bool> {
    let weighted = weigh(claims);
    if claims.len() > 1 && holds(key, &weighted) {
        return vec![true; claims.len()];
    }
    let group = (claims.len() as f64).sqrt().ceil().max(1.0) as usize;
    weighted
        .par_chunks(group)
        .flat_map_iter(|chunk| {
            if chunk.len() < claims.len() && chunk.len() > 1 && holds(key, chunk) {
                return vec![true; chunk.len()];
            }
            chunk.iter().map(|item| verify(key, item.claim)).collect()
        })
        .collect()
}

fn weigh<'a>(claims: &[&'a Claim]) -> Vec<Weighted<'a>> {
    let mut random = vec![0u8; 16 * claims.len()];
    OsRng.fill_bytes(&mut random);
    claims
        .par_iter()
        .zip(random.par_chunks_exact(16))
        .map(|(claim, bytes)| {
            let mut exponent = [0; 16];
            exponent.copy_from_slice(bytes);
            let weight = u128::from_le_bytes(exponent);
            let a = claim.proof.a.mul_bigint(limbs(weight)).into_affine();
            let b = Prepared::from(claim.proof.b);
            Weighted {
                claim,
                weight,
                a,
                b,
            }
        })
        .collect()
}

fn limbs(weight: u128) -> [u64; 2] {
    [weight as u64, (weight >> 64) as u64]
}

fn holds(key: &PreparedVerifyingKey<Bn254>, items: &[Weighted]) -> bool {
    let weights: Vec<Fr> = items.iter().map(|item| Fr::from(item.weight)).collect();
    let total: Fr = weights.iter().sum();
    let mut scalars = vec![total];
    for column in 0..INPUTS {
        let sum: Fr = items
            .iter()
            .zip(&weights)
            .map(|(item, weight)| item.claim.inputs[column] * weight)
            .sum();
        scalars.push(sum);
    }
    let scalars: Vec<BigInt<4>> = scalars.iter().map(|it| it.into_bigint()).collect();
    let ends: Vec<G1Affine> = items.iter().map(|item| item.claim.proof.c).collect();
    let weights: Vec<BigInt<4>> = weights.iter().map(|it| it.into_bigint()).collect();

    let alpha = -key.vk.alpha_g1.mul_bigint(scalars[0]);
    let inputs = -G1Projective::msm_bigint(&key.vk.gamma_abc_g1, &scalars);
    let ends = -G1Projective::msm_bigint(&ends, &weights);
    let fixed = G1Projective::normalize_batch(&[alpha, inputs, ends]);
    let fixed_g2: [G2Affine; 3] = [key.vk.beta_g2, key.vk.gamma_g2, key.vk.delta_g2];

    let lefts = items.iter().map(|item| item.a).chain(fixed);
    let rights = items
        .iter()
        .map(|item| item.b.clone())
        .chain(fixed_g2.map(Prepared::from));
    let product = Bn254::multi_miller_loop(lefts, rights);
    Bn254::final_exponentiation(product)
        .is_some_and(|value| value.0 == <Bn254 as Pairing>::TargetField::ONE)
}
