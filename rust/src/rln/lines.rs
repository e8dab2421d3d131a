//! The lines of a Miller loop, for many points of G2 in step, and what they multiply up to.
//!
//! In step, because a line through affine points takes a division, and one inversion serves all
//! points. A line is kept as its slope λ and λx - y; divided by y_P, an element of a subfield that
//! the final exponentiation maps to 1, its value at P is `1 - λ·(x_P/y_P)·w + (λx - y)/y_P·w³`.
//!
//! # The subgroup check
//!
//! Pairings and random weights mean nothing outside the subgroup of prime order r, so a B that is
//! not in it has to be found. The loop ends at `[6X+2]Q + ψ(Q) - ψ²(Q)`, ψ being the untwisted
//! Frobenius, and `prepare` gives lines for Q exactly where this is `-ψ³(Q)`. That is a membership
//! test (Dai, Lin, Zhao, Zhou, eprint 2022/348, §3): `f(ψ) = 6X+2 + ψ - ψ² + ψ³` maps G2, where
//! ψ is multiplication by q, to zero, since r divides f(q). The other way: ψ² = tψ - q on the whole
//! curve over Fq2, so f(ψ) = a + bψ, and f(ψ)Q = 0 implies [N]Q = 0 with its norm N = a² + abt +
//! b²q. The curve has r·h points and gcd(N, r·h) = r, so [r]Q = 0. (A test works the gcd out, and
//! compares verdicts with arkworks' check, for points of small order too.)
//!
//! It holds only where the sum is what was computed. Chords and tangents are, wherever their
//! denominator is not zero; where it is, `prepare` refuses. For Q in G2 it never is: the sums are
//! of multiples of Q that are neither equal, opposite nor zero.

use ark_bn254::{Config, Fq, Fq12, Fq12Config, Fq2, G1Projective, G2Affine};
use ark_ec::bn::BnConfig;
use ark_ff::fields::fp12_2over3over2::Fp12Config;
use ark_ff::{batch_inversion, AdditiveGroup, Field, Zero};
use rayon::prelude::*;

/// Points taken in step at most: an inversion is then little beside the rest, and caches suffice.
const IN_STEP: usize = 128;

struct Line {
    slope: Fq2,
    shift: Fq2,
}

/// The lines for one point, which is in the subgroup.
pub struct Lines(Vec<Line>);

/// A point P of G1, as lines are evaluated there: -x/y and 1/y.
#[derive(Clone, Copy)]
pub struct Evaluation {
    pub x: Fq,
    pub y: Fq,
}

impl Evaluation {
    /// Makes points ready, with one inversion; infinity, whose pairing is 1, is None.
    pub fn of(points: &[G1Projective]) -> Vec<Option<Self>> {
        // For (X/Z², Y/Z³) they are -X·Z/Y and Z³/Y. Y is zero nowhere: the order is odd.
        let mut inverses: Vec<Fq> = points.iter().map(|point| point.y).collect();
        batch_inversion(&mut inverses);
        points
            .iter()
            .zip(inverses)
            .map(|(point, inverse)| {
                let x = -point.x * point.z * inverse;
                let y = point.z.square() * point.z * inverse;
                (!point.z.is_zero()).then_some(Self { x, y })
            })
            .collect()
    }
}

/// The multiples of Q, one after the other.
struct Walk {
    q: G2Affine,
    x: Fq2,
    y: Fq2,
    lines: Vec<Line>,
    lost: bool,
}

/// Digits of 6X + 2 below the first, from the top.
fn digits() -> impl Iterator<Item = i8> {
    Config::ATE_LOOP_COUNT.iter().rev().skip(1).copied()
}

/// Returns lines for each point of the subgroup, None for all others and for infinity.
///
/// The points must be on the curve.
pub fn prepare(points: &[G2Affine]) -> Vec<Option<Lines>> {
    let share = points.len().div_ceil(rayon::current_num_threads());
    points
        .par_chunks(share.clamp(1, IN_STEP))
        .flat_map_iter(in_step)
        .collect()
}

fn in_step(points: &[G2Affine]) -> Vec<Option<Lines>> {
    let mut walks: Vec<Walk> = points.iter().map(Walk::new).collect();
    for digit in digits() {
        step(&mut walks, |walk| {
            let square = walk.x.square();
            (square.double() + square, walk.y.double(), walk.x)
        });
        if digit != 0 {
            chord(&mut walks, |q| if digit > 0 { *q } else { -*q });
        }
    }
    chord(&mut walks, frobenius);
    chord(&mut walks, |q| -frobenius(&frobenius(q)));
    walks.into_iter().map(Walk::end).collect()
}

impl Walk {
    fn new(q: &G2Affine) -> Self {
        let lines = Vec::with_capacity(2 * Config::ATE_LOOP_COUNT.len());
        Self {
            q: *q,
            x: q.x,
            y: q.y,
            lines,
            lost: q.infinity,
        }
    }

    fn end(self) -> Option<Lines> {
        let last = -frobenius(&frobenius(&frobenius(&self.q)));
        let inside = !self.lost && (self.x, self.y) == (last.x, last.y);
        inside.then_some(Lines(self.lines))
    }
}

/// Adds to each walk a point that is worked out from its Q.
fn chord(walks: &mut [Walk], other: impl Fn(&G2Affine) -> G2Affine) {
    step(walks, |walk| {
        let other = other(&walk.q);
        (walk.y - other.y, walk.x - other.x, other.x)
    });
}

/// Takes one line in each walk: `line` gives its slope as a fraction, and the other point's x.
fn step(walks: &mut [Walk], line: impl Fn(&Walk) -> (Fq2, Fq2, Fq2)) {
    let mut fractions = Vec::with_capacity(walks.len());
    let mut product = Fq2::ONE;
    for walk in walks.iter_mut() {
        let (over, mut under, other) = line(walk);
        if under.is_zero() {
            walk.lost = true;
            under = Fq2::ONE;
        }
        fractions.push((over, under, other, product));
        product *= under;
    }
    // Never zero: no factor is.
    let mut inverse = product.inverse().unwrap_or_default();
    for (walk, (over, under, other, before)) in walks.iter_mut().zip(fractions).rev() {
        let slope = over * inverse * before;
        inverse *= under;
        let shift = slope * walk.x - walk.y;
        let x = slope.square() - walk.x - other;
        walk.y = shift - slope * x;
        walk.x = x;
        walk.lines.push(Line { slope, shift });
    }
}

fn frobenius(q: &G2Affine) -> G2Affine {
    let mut image = *q;
    image.x.frobenius_map_in_place(1);
    image.y.frobenius_map_in_place(1);
    image.x *= Config::TWIST_MUL_BY_Q_X;
    image.y *= Config::TWIST_MUL_BY_Q_Y;
    image
}

/// Multiplies Miller's functions of all pairs: one squaring a digit serves all of a core's pairs.
pub fn miller(pairs: &[(Evaluation, &Lines)]) -> Fq12 {
    let share = pairs.len().div_ceil(rayon::current_num_threads()).max(1);
    pairs.par_chunks(share).map(together).product()
}

fn together(pairs: &[(Evaluation, &Lines)]) -> Fq12 {
    let mut value = Fq12::ONE;
    let mut at = 0;
    let mut next = |value: &mut Fq12| {
        for (point, lines) in pairs {
            multiply(value, &lines.0[at], point);
        }
        at += 1;
    };
    for digit in digits() {
        value.square_in_place();
        next(&mut value);
        if digit != 0 {
            next(&mut value);
        }
    }
    next(&mut value);
    next(&mut value);
    value
}

/// Multiplies by `1 + (c + d·v)·w`, where `v = w²`.
fn multiply(value: &mut Fq12, line: &Line, point: &Evaluation) {
    let (mut c, mut d) = (line.slope, line.shift);
    c.mul_assign_by_fp(&point.x);
    d.mul_assign_by_fp(&point.y);
    let (mut even, mut odd) = (value.c0, value.c1);
    even.mul_by_01(&c, &d);
    odd.mul_by_01(&c, &d);
    Fq12Config::mul_fp6_by_nonresidue_in_place(&mut odd);
    value.c0 += odd;
    value.c1 += even;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::{g2, Bn254, Fr, G1Affine, G2Projective};
    use ark_ec::pairing::{MillerLoopOutput, Pairing};
    use ark_ec::{AffineRepr, CurveGroup};
    use ark_ff::{PrimeField, UniformRand};
    use rand::rngs::StdRng;
    use rand::SeedableRng;

    /// A point of the curve, almost never of the subgroup.
    fn anywhere(random: &mut StdRng) -> G2Affine {
        loop {
            let found = G2Affine::get_point_from_x_unchecked(Fq2::rand(random), true);
            if let Some(point) = found {
                return point;
            }
        }
    }

    fn times(point: &G2Affine, scalar: &[u64]) -> G2Affine {
        let mut sum = G2Projective::zero();
        for word in scalar.iter().rev() {
            for bit in (0..64).rev() {
                sum.double_in_place();
                if word >> bit & 1 == 1 {
                    sum += point;
                }
            }
        }
        sum.into_affine()
    }

    #[test]
    fn pairings_are_arkworks_pairings() {
        let mut random = StdRng::seed_from_u64(4);
        for count in [1, 2, 7, 131] {
            let left: Vec<_> = (0..count).map(|_| G1Affine::rand(&mut random)).collect();
            let right: Vec<_> = (0..count).map(|_| G2Affine::rand(&mut random)).collect();
            let lines: Vec<_> = prepare(&right).into_iter().map(Option::unwrap).collect();
            let spread: Vec<_> = left.iter().map(|it| it.into_group() + it - it).collect();
            let at = Evaluation::of(&spread).into_iter().map(Option::unwrap);
            let pairs: Vec<_> = at.zip(&lines).collect();
            let ours = Bn254::final_exponentiation(MillerLoopOutput(miller(&pairs)));
            assert_eq!(ours, Some(Bn254::multi_pairing(left, right)));
        }
    }

    #[test]
    fn the_subgroup_is_arkworks_subgroup() {
        let mut random = StdRng::seed_from_u64(5);
        let outside: Vec<_> = (0..200).map(|_| anywhere(&mut random)).collect();
        assert!(prepare(&outside).iter().all(Option::is_none));
        let inside: Vec<_> = outside.iter().map(|point| point.clear_cofactor()).collect();
        assert!(prepare(&inside).iter().all(Option::is_some));
        let mixed: Vec<_> = outside
            .iter()
            .zip(&inside)
            .flat_map(|it| [*it.0, *it.1])
            .collect();
        for (point, lines) in mixed.iter().zip(prepare(&mixed)) {
            assert_eq!(
                lines.is_some(),
                point.is_in_correct_subgroup_assuming_on_curve()
            );
        }
        assert!(prepare(&[G2Affine::identity()])[0].is_none());
        assert!(prepare(&[]).is_empty());
    }

    /// The curve has r·h points; h's prime factors below 2^64 are 10069, 5864401 and others.
    #[test]
    fn points_of_small_order_and_their_sums_with_good_ones_are_refused() {
        let mut random = StdRng::seed_from_u64(6);
        let cofactor = num(<g2::Config as ark_ec::CurveConfig>::COFACTOR);
        for order in [10069u64, 5_864_401] {
            let (rest, none) = divided(&cofactor, order);
            assert_eq!(none, 0);
            let small = times(&times(&anywhere(&mut random), &rest), Fr::MODULUS.as_ref());
            assert!(!small.is_zero() && times(&small, &[order]).is_zero());
            let good = G2Affine::generator();
            let sum = (small + good).into_affine();
            for point in [small, -small, sum] {
                assert!(!point.is_in_correct_subgroup_assuming_on_curve());
                assert!(prepare(&[good, point, good])[1].is_none());
                assert!(prepare(&[good, point, good])[2].is_some());
            }
        }
    }

    fn num(words: &[u64]) -> Vec<u64> {
        words.to_vec()
    }

    fn divided(number: &[u64], by: u64) -> (Vec<u64>, u64) {
        let mut rest = 0u128;
        let mut quotient = vec![0; number.len()];
        for (at, word) in number.iter().enumerate().rev() {
            let whole = rest << 64 | u128::from(*word);
            quotient[at] = (whole / u128::from(by)) as u64;
            rest = whole % u128::from(by);
        }
        (quotient, rest as u64)
    }
}
