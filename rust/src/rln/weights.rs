//! Random weights of a batch, and multiplication by them.
//!
//! A weight is a + b·λ with a and b of 64 bits, λ a cube root of 1 modulo r: on G1 λ·(x, y) is
//! (β·x, y), so a weight takes 64 doublings and not 128. All 2^128 weights are different modulo r:
//! if two were equal, λ would be a quotient of numbers below 2^64, and the shortest vector of the
//! lattice {(a, b): a + b·λ = 0 mod r} is longer than 2^126 (`SCALAR_DECOMP_COEFFS` is its reduced
//! basis; a test looks). So they are as good as 128 bits in one piece.

use ark_bn254::{g1, Fq, Fr, G1Affine, G1Projective};
use ark_ec::scalar_mul::glv::GLVConfig;
use ark_ff::{AdditiveGroup, Zero};
use rand::rngs::OsRng;
use rand::RngCore;
use rayon::prelude::*;

/// Bits of one digit where many points are summed.
const WINDOW: u32 = 6;

#[derive(Clone, Copy)]
pub struct Weight(u64, u64);

/// Draws weights from the operating system. One of zero, of chance 2^-128, is as bad as any guess.
pub fn draw(count: usize) -> Vec<Weight> {
    let mut random = vec![0u8; 16 * count];
    OsRng.fill_bytes(&mut random);
    random
        .chunks_exact(16)
        .map(|bytes| {
            let mut word = [0; 16];
            word.copy_from_slice(bytes);
            let word = u128::from_le_bytes(word);
            Weight(word as u64, (word >> 64) as u64)
        })
        .collect()
}

impl Weight {
    pub fn scalar(self) -> Fr {
        Fr::from(self.0) + Fr::from(self.1) * g1::Config::LAMBDA
    }

    /// Returns the point times this weight.
    pub fn times(self, point: &G1Affine) -> G1Projective {
        // 1 + λ + λ² = 0, so the sum of the two is minus λ²·point.
        let turned = turn(point);
        let both = -turn(&turned);
        let mut sum = G1Projective::zero();
        for bit in (0..64).rev() {
            sum.double_in_place();
            match (self.0 >> bit & 1, self.1 >> bit & 1) {
                (0, 0) => {}
                (1, 0) => sum += point,
                (0, _) => sum += turned,
                _ => sum += both,
            }
        }
        sum
    }
}

/// λ·point.
fn turn(point: &G1Affine) -> G1Affine {
    let beta: Fq = g1::Config::ENDO_COEFFS[0];
    G1Affine::new_unchecked(point.x * beta, point.y)
}

/// Returns the sum of all points times their weights (Pippenger's buckets).
pub fn sum(points: &[G1Affine], weights: &[Weight]) -> G1Projective {
    let all: Vec<(G1Affine, u64)> = points
        .iter()
        .zip(weights)
        .flat_map(|(point, weight)| [(*point, weight.0), (turn(point), weight.1)])
        .collect();
    let windows: Vec<G1Projective> = (0..64u32.div_ceil(WINDOW))
        .into_par_iter()
        .map(|window| {
            let mut buckets = vec![G1Projective::zero(); (1 << WINDOW) - 1];
            for (point, scalar) in &all {
                let digit = scalar >> (window * WINDOW) & ((1 << WINDOW) - 1);
                if digit != 0 {
                    buckets[digit as usize - 1] += point;
                }
            }
            let (mut running, mut total) = (G1Projective::zero(), G1Projective::zero());
            for bucket in buckets.iter().rev() {
                running += bucket;
                total += running;
            }
            total
        })
        .collect();
    windows
        .iter()
        .rev()
        .fold(G1Projective::zero(), |mut sum, window| {
            for _ in 0..WINDOW {
                sum.double_in_place();
            }
            sum + window
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{BigInteger, Field, PrimeField, UniformRand};
    use rand::rngs::StdRng;
    use rand::SeedableRng;

    #[test]
    fn weights_multiply_as_their_scalars_do() {
        let mut random = StdRng::seed_from_u64(7);
        let mut weights = draw(9);
        weights.extend([Weight(0, 0), Weight(1, 0), Weight(0, 1), Weight(1, 1)]);
        weights.push(Weight(u64::MAX, u64::MAX));
        let points: Vec<_> = weights
            .iter()
            .map(|_| G1Affine::rand(&mut random))
            .collect();
        let mut whole = G1Projective::zero();
        for (point, weight) in points.iter().zip(&weights) {
            assert_eq!(weight.times(point), *point * weight.scalar());
            whole += weight.times(point);
        }
        assert_eq!(sum(&points, &weights), whole);
        assert!(sum(&[], &[]).is_zero());
        let same = [points[0]; 3];
        let ones = [Weight(5, 9), Weight(5, 9), Weight(3, 2)];
        let scalars: Fr = ones.iter().map(|it| it.scalar()).sum();
        assert_eq!(sum(&same, &ones), points[0] * scalars);
    }

    #[test]
    fn no_two_weights_are_equal_modulo_the_order() {
        let lambda = g1::Config::LAMBDA;
        assert_eq!(lambda.square() + lambda + Fr::ONE, Fr::ZERO);
        // A basis of two vectors (a, b) with a + b·λ = 0, of which each has one entry above 2^126
        // and one below 2^64: every vector but zero has an entry above 2^125, and two weights that
        // were equal would differ by one whose entries are below 2^64.
        let coefficients = g1::Config::SCALAR_DECOMP_COEFFS;
        let signed = |(positive, size): (bool, <Fr as PrimeField>::BigInt)| {
            let size = Fr::from_bigint(size).unwrap();
            if positive {
                size
            } else {
                -size
            }
        };
        for row in coefficients.chunks(2) {
            assert!((signed(row[0]) + signed(row[1]) * lambda).is_zero());
            let mut bits = [row[0].1.num_bits(), row[1].1.num_bits()];
            bits.sort_unstable();
            assert_eq!(bits, [64, 127]);
        }
    }
}
