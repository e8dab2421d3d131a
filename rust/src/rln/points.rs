//! A proof's three points, decompressed.
//!
//! arkworks' own reader gives the same points (a test compares them). It takes a Legendre symbol
//! and a root for each root, and squares and multiplies bit by bit; here one exponentiation gives
//! the root and says whether there is one. It also multiplies B by 6X² to learn whether B is in
//! the subgroup, which `lines` learns for nothing: **B is not checked here**, and the type says so.

use ark_bn254::{g1, g2, Fq, Fq2, G1Affine, G2Affine};
use ark_ec::short_weierstrass::{SWCurveConfig, SWFlags};
use ark_ff::{Field, MontFp, PrimeField, Zero};

use super::batch::PROOF;

/// A, B and C on their curves; none is the point at infinity.
pub struct Points {
    /// G1 has no other points than those of the group.
    pub a: G1Affine,
    /// On the curve. Whether it is in the subgroup is not known: see `lines::prepare`.
    pub b_unchecked: G2Affine,
    pub c: G1Affine,
}

const HALF: Fq =
    MontFp!("10944121435919637611123202872628637544348155578648911831344518947322613104292");

/// Reads a proof; None where arkworks would refuse it, but for the subgroup, or find infinity.
pub fn read(proof: &[u8; PROOF]) -> Option<Points> {
    let (a, sign_a) = element::<Fq>(&proof[..32])?;
    let (b, sign_b) = element::<Fq2>(&proof[32..96])?;
    let (c, sign_c) = element::<Fq>(&proof[96..])?;
    let b_y = root_2(&g2::Config::add_b(b.square() * b))?;
    Some(Points {
        a: first(a, sign_a)?,
        b_unchecked: G2Affine::new_unchecked(b, signed(b_y, sign_b)),
        c: first(c, sign_c)?,
    })
}

/// Reads x, canonical or refused, and whether y is the lesser of the two.
fn element<F: Field>(bytes: &[u8]) -> Option<(F, bool)> {
    let (x, flags) = F::deserialize_with_flags::<_, SWFlags>(bytes).ok()?;
    Some((x, flags.is_positive()?))
}

fn first(x: Fq, lesser: bool) -> Option<G1Affine> {
    let y = root(&g1::Config::add_b(x.square() * x))?;
    Some(G1Affine::new_unchecked(x, signed(y, lesser)))
}

fn signed<F: Field>(y: F, lesser: bool) -> F {
    let other = -y;
    if (y < other) == lesser {
        y
    } else {
        other
    }
}

fn root(square: &Fq) -> Option<Fq> {
    let found = *square * power(square);
    (found.square() == *square).then_some(found)
}

/// The root of c0 + c1·u, u² = -1. Where it is x0 + x1·u: x0² = (c0 + |c|)/2 for one of the roots
/// |c| of c0² + c1², and x1 = c1/(2·x0). If (c0 + |c|)/2 is a square, `power` is 1/x0; if not, then
/// minus it is one, `power` is -1/x1, and x0 = c1/(2·x1). What comes out is squared and compared.
fn root_2(square: &Fq2) -> Option<Fq2> {
    if square.c1.is_zero() {
        return square.sqrt();
    }
    let size = root(&(square.c0.square() + square.c1.square()))?;
    let half = (square.c0 + size) * HALF;
    let inverse = power(&half);
    let (near, far) = (half * inverse, square.c1 * HALF * inverse);
    let found = if near.square() == half {
        Fq2::new(near, far)
    } else {
        Fq2::new(-far, near)
    };
    (found.square() == *square).then_some(found)
}

/// `base^((q-3)/4)`: times the base it is a root of the base or of minus it, as q = 3 mod 4.
fn power(base: &Fq) -> Fq {
    // (q-3)/4 is q>>2, in digits of 4 bits from the top.
    let q = Fq::MODULUS.0;
    let digit = |at: usize| {
        let low = 4 * at + 2;
        let pair = u128::from(q[low / 64]) | u128::from(*q.get(low / 64 + 1).unwrap_or(&0)) << 64;
        (pair >> (low % 64)) as usize & 15
    };
    let mut powers = [Fq::ONE; 16];
    for at in 1..16 {
        powers[at] = powers[at - 1] * base;
    }
    let mut result = powers[digit(62)];
    for at in (0..62).rev() {
        for _ in 0..4 {
            result.square_in_place();
        }
        result *= powers[digit(at)];
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{AdditiveGroup, UniformRand};
    use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
    use rand::rngs::StdRng;
    use rand::{RngCore, SeedableRng};

    #[test]
    fn roots_are_arkworks_roots_and_so_is_their_absence() {
        let mut random = StdRng::seed_from_u64(1);
        assert_eq!(HALF.double(), Fq::ONE);
        for _ in 0..200 {
            let (one, two) = (Fq::rand(&mut random), Fq2::rand(&mut random));
            assert_eq!(root(&one).is_some(), one.sqrt().is_some());
            assert_eq!(root_2(&two).is_some(), two.sqrt().is_some());
            assert_eq!(root(&one.square()).unwrap().square(), one.square());
            assert_eq!(root_2(&two.square()).unwrap().square(), two.square());
            for within in [Fq2::new(one, Fq::zero()), Fq2::new(Fq::zero(), one)] {
                assert_eq!(root_2(&within).is_some(), within.sqrt().is_some());
            }
        }
        assert_eq!(root_2(&Fq2::zero()), Some(Fq2::zero()));
    }

    #[test]
    fn any_bytes_are_read_as_arkworks_reads_them() {
        let mut random = StdRng::seed_from_u64(2);
        let mut kept = 0;
        for round in 0..2000 {
            let mut bytes = [0; PROOF];
            random.fill_bytes(&mut bytes);
            bytes[63] &= 0x0f;
            for last in [31, 95, 127] {
                bytes[last] &= if round % 4 == 0 { 0xff } else { 0xbf }; // often not infinity
                bytes[last] &= if round % 4 == 1 { 0xff } else { 0xcf }; // often below the modulus
            }
            let a = G1Affine::deserialize_compressed(&bytes[..32]);
            let b = G2Affine::deserialize_compressed_unchecked(&bytes[32..96]);
            let c = G1Affine::deserialize_compressed(&bytes[96..]);
            let theirs = match (a, b, c) {
                (Ok(a), Ok(b), Ok(c)) if !(a.infinity || b.infinity || c.infinity) => {
                    Some((a, b, c))
                }
                _ => None,
            };
            let ours = read(&bytes).map(|it| (it.a, it.b_unchecked, it.c));
            kept += usize::from(ours.is_some());
            assert_eq!(ours, theirs);
        }
        assert!(kept > 50);
    }

    #[test]
    fn points_keep_their_sign() {
        let mut random = StdRng::seed_from_u64(3);
        for _ in 0..50 {
            let (a, b, c) = (
                G1Affine::rand(&mut random),
                G2Affine::rand(&mut random),
                G1Affine::rand(&mut random),
            );
            let mut bytes = Vec::new();
            (a, b, c).serialize_compressed(&mut bytes).unwrap();
            let read = read(&bytes.try_into().unwrap()).unwrap();
            assert_eq!((read.a, read.b_unchecked, read.c), (a, b, c));
        }
    }
}
