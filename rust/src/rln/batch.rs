//! Groth16 verification under one key, singly and in batches.
//!
//! A proof (A, B, C) with public inputs s is valid where
//! `e(A, B) = e(α, β) · e(Σ s_j·IC_j, γ) · e(C, δ)`. For a batch each equation is raised to a random
//! r_i, one of 2^128, that the maker of the proofs cannot foresee, and the product of all is checked:
//! `Π e(r_i·A_i, B_i) · e(-Σr_i·α, β) · e(-Σ r_i·s_ij·IC_j, γ) · e(-Σ r_i·C_i, δ) = 1`,
//! one Miller loop a proof in place of three and one final exponentiation for all. A batch that
//! holds a false proof passes with probability 2^-128 over r (Bellare, Garay, Rabin 1998, small
//! exponents test; it needs every point in the subgroup of prime order, of which `lines::prepare`
//! makes sure: there is no other way to the lines of a B).

use ark_bn254::{Bn254, Fr, G1Affine, G1Projective, G2Affine};
use ark_ec::pairing::{MillerLoopOutput, Pairing};
use ark_ff::Field;
use ark_groth16::{prepare_verifying_key, Groth16, PreparedVerifyingKey, VerifyingKey};
use ark_serialize::CanonicalDeserialize;
use rayon::prelude::*;
use rln::prelude::Proof;

use super::field::{self, Refused};
use super::lines::{self, Evaluation, Lines};
use super::points::{self, Points};
use super::weights::{self, Weight};

/// Bytes of a proof: A (32), B (64), C (32), each compressed as arkworks does it.
pub const PROOF: usize = 128;

/// Public inputs of the circuit, in its order: y, root, nullifier, x, external nullifier.
pub const INPUTS: usize = 5;

/// A verifying key, made ready for single checks and for batches.
pub struct Key {
    pub single: PreparedVerifyingKey<Bn254>,
    /// Of β, γ and δ.
    fixed: [Lines; 3],
}

impl Key {
    /// Makes a key ready; None where it is not one: its points of G2 are not in the subgroup.
    pub fn new(key: &VerifyingKey<Bn254>) -> Option<Self> {
        let fixed = lines::prepare(&[key.beta_g2, key.gamma_g2, key.delta_g2]);
        let fixed: Option<Vec<Lines>> = fixed.into_iter().collect();
        Some(Self {
            single: prepare_verifying_key(key),
            fixed: fixed?.try_into().ok()?,
        })
    }
}

/// A proof and what it claims; of the proof only the length is known.
#[derive(Clone)]
pub struct Claim {
    pub proof: [u8; PROOF],
    pub inputs: [Fr; INPUTS],
}

impl Claim {
    /// Reads a claim; `fields` are the inputs in the circuit's order.
    pub fn read(proof: &[u8], fields: [&[u8]; INPUTS]) -> Result<Self, Refused> {
        const NAMES: [&str; INPUTS] = ["y", "root", "nullifier", "x", "external nullifier"];
        let proof = proof
            .try_into()
            .map_err(|_| Refused(format!("the proof is {} bytes, not {PROOF}", proof.len())))?;
        let mut inputs = [Fr::from(0u64); INPUTS];
        for ((input, bytes), name) in inputs.iter_mut().zip(fields).zip(NAMES) {
            *input = field::read(bytes, name)?;
        }
        Ok(Self { proof, inputs })
    }
}

/// A claim whose points were read and are in their groups, and its weight.
struct Weighted<'a> {
    claim: &'a Claim,
    points: Points,
    lines: Lines,
    weight: Weight,
    a: G1Projective,
}

/// Says whether one claim holds; by arkworks alone, but for how points are read.
pub fn verify(key: &Key, claim: &Claim) -> bool {
    match points::read(&claim.proof) {
        // An inversion a line pays where many share it. For one point arkworks' check costs less.
        Some(read) => {
            read.b_unchecked.is_in_correct_subgroup_assuming_on_curve()
                && holds_alone(key, claim, &read)
        }
        None => verify_unread(key, claim),
    }
}

/// As `verify`, for points that `points::read` does not know: none of them, or infinity.
fn verify_unread(key: &Key, claim: &Claim) -> bool {
    let infinite = [31, 95, 127].iter().any(|at| claim.proof[*at] & 0x40 != 0);
    infinite
        && Proof::deserialize_compressed(&claim.proof[..]).is_ok_and(|proof| {
            Groth16::<Bn254>::verify_proof(&key.single, &proof, &claim.inputs).unwrap_or(false)
        })
}

/// B must have been found to be in the subgroup.
fn holds_alone(key: &Key, claim: &Claim, points: &Points) -> bool {
    let proof = Proof {
        a: points.a,
        b: points.b_unchecked,
        c: points.c,
    };
    Groth16::<Bn254>::verify_proof(&key.single, &proof, &claim.inputs).unwrap_or(false)
}

/// Says of each claim whether it holds; a batch of true ones costs one check.
///
/// Where the whole fails, groups of about √n are checked, and each of a failed group singly: one
/// false claim among n costs a small part of a second batch (lines and multiples are kept), n false
/// ones one batch beside n single checks. What is no points, or none of the groups, is left out
/// before and costs no other anything.
pub fn verify_batch(key: &Key, claims: &[&Claim]) -> Vec<bool> {
    let read: Vec<Option<Points>> = claims
        .par_iter()
        .map(|claim| points::read(&claim.proof))
        .collect();
    let mut verdicts: Vec<bool> = claims
        .par_iter()
        .zip(&read)
        .map(|(claim, points)| points.is_none() && verify_unread(key, claim))
        .collect();
    let (places, weighted): (Vec<usize>, Vec<Weighted>) = weigh(claims, read).into_iter().unzip();
    for (place, verdict) in places.into_iter().zip(verify_weighted(key, &weighted)) {
        verdicts[place] = verdict;
    }
    verdicts
}

fn verify_weighted(key: &Key, all: &[Weighted]) -> Vec<bool> {
    if all.len() > 1 && holds(key, all) {
        return vec![true; all.len()];
    }
    let group = (all.len() as f64).sqrt().ceil().max(1.0) as usize;
    all.par_chunks(group)
        .flat_map_iter(|chunk| {
            if chunk.len() < all.len() && chunk.len() > 1 && holds(key, chunk) {
                return vec![true; chunk.len()];
            }
            chunk
                .iter()
                .map(|item| holds_alone(key, item.claim, &item.points))
                .collect()
        })
        .collect()
}

/// Weighs the claims whose points were read and whose B is in the subgroup; and says which.
fn weigh<'a>(claims: &[&'a Claim], read: Vec<Option<Points>>) -> Vec<(usize, Weighted<'a>)> {
    let present: Vec<(usize, Points)> = read
        .into_iter()
        .enumerate()
        .filter_map(|(at, points)| Some((at, points?)))
        .collect();
    let seconds: Vec<G2Affine> = present.iter().map(|it| it.1.b_unchecked).collect();
    let weights = weights::draw(present.len());
    present
        .into_par_iter()
        .zip(lines::prepare(&seconds))
        .zip(weights)
        .filter_map(|(((at, points), lines), weight)| {
            let weighted = Weighted {
                claim: claims[at],
                lines: lines?,
                weight,
                a: weight.times(&points.a),
                points,
            };
            Some((at, weighted))
        })
        .collect()
}

fn holds(key: &Key, items: &[Weighted]) -> bool {
    let weights: Vec<Weight> = items.iter().map(|item| item.weight).collect();
    let scalars: Vec<Fr> = weights.iter().map(|weight| weight.scalar()).collect();
    let mut sums = vec![scalars.iter().sum::<Fr>()];
    for column in 0..INPUTS {
        let products = items.iter().zip(&scalars);
        sums.push(
            products
                .map(|(item, it)| item.claim.inputs[column] * it)
                .sum(),
        );
    }
    let ends: Vec<G1Affine> = items.iter().map(|item| item.points.c).collect();

    let vk = &key.single.vk;
    let alpha = -(vk.alpha_g1 * sums[0]);
    let inputs = vk
        .gamma_abc_g1
        .iter()
        .zip(&sums)
        .map(|(base, it)| *base * it);
    let inputs = -inputs.sum::<G1Projective>();
    let ends = -weights::sum(&ends, &weights);

    let lefts = items.iter().map(|item| item.a).chain([alpha, inputs, ends]);
    let lefts = Evaluation::of(&lefts.collect::<Vec<_>>());
    let rights = items.iter().map(|item| &item.lines).chain(&key.fixed);
    let pairs: Vec<(Evaluation, &Lines)> = lefts
        .into_iter()
        .zip(rights)
        .filter_map(|(left, lines)| Some((left?, lines)))
        .collect();
    let product = MillerLoopOutput::<Bn254>(lines::miller(&pairs));
    Bn254::final_exponentiation(product)
        .is_some_and(|value| value.0 == <Bn254 as Pairing>::TargetField::ONE)
}

#[cfg(test)]
mod tests {
    use super::super::field::write;
    use super::super::prover::{Kernel, Made, Member};
    use super::super::tree::Tree;
    use super::*;
    use ark_bn254::Fq2;
    use ark_ec::{AffineRepr, CurveGroup};
    use ark_ff::{PrimeField, Zero};
    use ark_serialize::CanonicalSerialize;
    use rln::prelude::{hash_to_field_le, Hasher, PoseidonHash};

    struct World {
        path: Vec<u8>,
        root: Fr,
    }

    /// The cofactor of G2 over 10069.
    const OTHER_FACTORS: [u64; 4] = [
        0x6c3cd334915f1659,
        0x207142f7671af448,
        0x9e28bcf65b5681da,
        0x00013af7a58fce69,
    ];
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

    fn shifted(claim: &Claim, change: impl Fn(&mut Proof)) -> Claim {
        let mut proof = Proof::deserialize_compressed(&claim.proof[..]).unwrap();
        change(&mut proof);
        let mut bytes = [0; PROOF];
        proof.serialize_compressed(&mut bytes[..]).unwrap();
        Claim {
            proof: bytes,
            ..claim.clone()
        }
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
        let shift = Proof::deserialize_compressed(&first.proof[..]).unwrap().c;
        first = shifted(&first, |proof| proof.c = (proof.c + shift).into_affine());
        second = shifted(&second, |proof| proof.c = (proof.c - shift).into_affine());
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
        let good = claim(&made, x, scope);
        // BN254's G2 has a cofactor of 254 bits: almost every point of the curve is outside.
        let mut outside = 0;
        for step in 1..40u8 {
            let mut bad = good.clone();
            bad.proof[32] = bad.proof[32].wrapping_add(step);
            outside += usize::from(points::read(&bad.proof).is_some());
            assert!(!verify(&kernel.key, &bad));
            let verdicts = verify_batch(&kernel.key, &[&good, &bad, &good]);
            assert_eq!(verdicts, [true, false, true]);
        }
        assert!(outside > 5);
    }

    #[test]
    fn a_true_proof_moved_out_of_the_subgroup_is_refused_in_any_company() {
        let (world, kernel) = (world(), Kernel::shared());
        let (x, scope) = (hash_to_field_le(b"x"), hash_to_field_le(b"scope"));
        let good = claim(
            &kernel.prove(&member(&world), 0, x, scope).unwrap(),
            x,
            scope,
        );
        // Of order 10069, which divides the cofactor: a pairing may well not see it.
        let order = 10_069u64;
        let small = (1u64..)
            .filter_map(|it| G2Affine::get_point_from_x_unchecked(Fq2::from(it), true))
            .map(|it| it.mul_bigint(Fr::MODULUS).into_affine())
            .map(|it| it.mul_bigint(OTHER_FACTORS).into_affine())
            .find(|it| !it.is_zero())
            .unwrap();
        assert!(small.mul_bigint([order]).is_zero());
        let bad = shifted(&good, |proof| proof.b = (proof.b + small).into_affine());
        assert!(points::read(&bad.proof).is_some() && !verify(&kernel.key, &bad));
        let verdicts = verify_batch(&kernel.key, &[&bad, &good, &bad]);
        assert_eq!(verdicts, [false, true, false]);
    }

    #[test]
    fn infinity_is_no_proof() {
        let (world, kernel) = (world(), Kernel::shared());
        let (x, scope) = (hash_to_field_le(b"x"), hash_to_field_le(b"scope"));
        let good = claim(
            &kernel.prove(&member(&world), 0, x, scope).unwrap(),
            x,
            scope,
        );
        let bad = [
            shifted(&good, |proof| proof.a = G1Affine::identity()),
            shifted(&good, |proof| proof.b = G2Affine::identity()),
            shifted(&good, |proof| proof.c = G1Affine::identity()),
        ];
        for one in &bad {
            assert!(!verify(&kernel.key, one));
        }
        let all = [&bad[0], &good, &bad[1], &bad[2]];
        assert_eq!(verify_batch(&kernel.key, &all), [false, true, false, false]);
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
