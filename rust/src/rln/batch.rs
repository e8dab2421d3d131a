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

#[cfg(test)]
mod tests {
    use super::super::field::write;
    use super::super::prover::{Kernel, Made, Member};
    use super::super::tree::Tree;
    use super::*;
    use rln::prelude::{hash_to_field_le, Hasher, PoseidonHash};

    struct World {
        path: Vec<u8>,
        root: Fr,
    }

    const SECRET: u64 = 41;
    const LIMIT: u64 = 20;

    fn world() -> World {
        let secret = Fr::from(SECRET);
        let commitment = Hasher::<PoseidonHash>::hash_single(secret);
        let leaf = Hasher::<PoseidonHash>::hash_pair(commitment, Fr::from(LIMIT));
        let mut tree = Tree::new(20).unwrap();
        tree.extend(&[Fr::from(9u64), leaf, Fr::from(8u64)])
            .unwrap();
        let path = tree.path(1).unwrap().iter().flat_map(write).collect();
        World {
            path,
            root: tree.root(),
        }
    }

    fn member(world: &World) -> Member {
        Member::read(&write(&Fr::from(SECRET)), LIMIT, &world.path, 1).unwrap()
    }

    fn claim(made: &Made, x: Fr, scope: Fr) -> Claim {
        let (x, scope) = (write(&x), write(&scope));
        let inputs: [&[u8]; INPUTS] = [&made.y, &made.root, &made.nullifier, &x, &scope];
        Claim::read(&made.proof, inputs).unwrap()
    }

    #[test]
    fn proofs_hold_whole_and_warm_and_each_input_counts() {
        let (world, kernel) = (world(), Kernel::shared());
        let (x, scope) = (hash_to_field_le(b"x"), hash_to_field_le(b"scope"));
        let whole = kernel.prove(&member(&world), 0, x, scope).unwrap();
        let warm = kernel.prepare(member(&world)).unwrap();
        let finished = kernel.finish(&warm, 0, x, scope).unwrap();
        assert_eq!(whole.root, write(&world.root));
        assert_eq!((whole.y, whole.nullifier), (finished.y, finished.nullifier));
        for made in [&whole, &finished] {
            let mut claim = claim(made, x, scope);
            assert!(verify(&kernel.key, &claim));
            for at in 0..INPUTS {
                claim.inputs[at] += Fr::from(1u64);
                assert!(!verify(&kernel.key, &claim));
                claim.inputs[at] -= Fr::from(1u64);
            }
        }
    }

    #[test]
    fn a_batch_says_which_are_false_wherever_they_are() {
        let (world, kernel) = (world(), Kernel::shared());
        let warm = kernel.prepare(member(&world)).unwrap();
        let scope = hash_to_field_le(b"scope");
        let mut claims: Vec<Claim> = (0..10)
            .map(|id| {
                let x = hash_to_field_le(&[id as u8]);
                claim(&kernel.finish(&warm, id, x, scope).unwrap(), x, scope)
            })
            .collect();
        for count in 0..=claims.len() {
            let some: Vec<&Claim> = claims[..count].iter().collect();
            assert_eq!(verify_batch(&kernel.key, &some), vec![true; count]);
        }
        for falses in [vec![0], vec![9], vec![3, 4], (0..10).collect::<Vec<_>>()] {
            for at in &falses {
                claims[*at].inputs[0] += Fr::from(1u64);
            }
            let all: Vec<&Claim> = claims.iter().collect();
            let verdicts = verify_batch(&kernel.key, &all);
            for (at, verdict) in verdicts.iter().enumerate() {
                assert_eq!(*verdict, !falses.contains(&at));
            }
            for at in &falses {
                claims[*at].inputs[0] -= Fr::from(1u64);
            }
        }
    }

    #[test]
    fn errors_that_would_cancel_without_weights_are_found() {
        let (world, kernel) = (world(), Kernel::shared());
        let (x, scope) = (hash_to_field_le(b"x"), hash_to_field_le(b"scope"));
        let made = kernel.prove(&member(&world), 0, x, scope).unwrap();
        let (mut first, mut second) = (claim(&made, x, scope), claim(&made, x, scope));
        let shift = first.proof.c;
        first.proof.c = (first.proof.c + shift).into_affine();
        second.proof.c = (second.proof.c - shift).into_affine();
        assert_eq!(
            verify_batch(&kernel.key, &[&first, &second]),
            [false, false]
        );
    }

    #[test]
    fn points_outside_the_subgroup_are_refused() {
        let (world, kernel) = (world(), Kernel::shared());
        let (x, scope) = (hash_to_field_le(b"x"), hash_to_field_le(b"scope"));
        let made = kernel.prove(&member(&world), 0, x, scope).unwrap();
        let fields = [write(&x); INPUTS];
        let fields: [&[u8]; INPUTS] = [0, 1, 2, 3, 4].map(|at| &fields[at][..]);
        // BN254's G2 has a cofactor of 254 bits: almost every point of the curve is outside.
        let mut refused = 0;
        for step in 1..40u8 {
            let mut bytes = made.proof;
            bytes[32] = bytes[32].wrapping_add(step);
            refused += usize::from(Claim::read(&bytes, fields).is_err());
        }
        assert_eq!(refused, 39);
    }

    #[test]
    fn what_the_circuit_cannot_prove_is_refused_before() {
        let (world, kernel) = (world(), Kernel::shared());
        let (x, scope) = (hash_to_field_le(b"x"), hash_to_field_le(b"scope"));
        let secret = write(&Fr::from(SECRET));
        assert!(kernel.prove(&member(&world), LIMIT, x, scope).is_err());
        assert!(Member::read(&secret, 0, &world.path, 1).is_err());
        assert!(Member::read(&secret, 65_536, &world.path, 1).is_err());
        assert!(Member::read(&secret, 1, &world.path, 1 << 20).is_err());
        assert!(Member::read(&secret, 1, &world.path[32..], 1).is_err());
        assert!(Member::read(&[255; 32], 1, &world.path, 1).is_err());
    }
}
