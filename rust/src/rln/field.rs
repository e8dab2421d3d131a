//! Elements of the BN254 scalar field as bytes: 32, little-endian, and only the canonical form.

use ark_ff::{BigInteger, PrimeField};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rln::prelude::{Fr, SecretFr};
use zeroize::Zeroizing;

/// Bytes of one element.
pub const FIELD: usize = 32;

/// Why bytes were refused; it reaches Python as a ValueError and never quotes the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl From<Refused> for PyErr {
    fn from(refused: Refused) -> Self {
        PyValueError::new_err(refused.0)
    }
}

/// Reads one element; `name` says which in the error.
///
/// arkworks' own reader accepts only the canonical form too, but it reads a prefix of what it is
/// given; the length is therefore checked here.
pub fn read(bytes: &[u8], name: &str) -> Result<Fr, Refused> {
    let limbs = limbs(bytes, name)?;
    Fr::from_bigint(ark_ff::BigInt(*limbs))
        .ok_or_else(|| Refused(format!("{name} is not below the order of the field")))
}

/// Reads a secret element; what is left of it on the way is overwritten.
pub fn read_secret(bytes: &[u8], name: &str) -> Result<SecretFr, Refused> {
    let mut element = read(bytes, name)?;
    Ok(SecretFr::from(&mut element))
}

/// Reads elements written one after the other.
pub fn read_many(bytes: &[u8], name: &str) -> Result<Vec<Fr>, Refused> {
    if !bytes.len().is_multiple_of(FIELD) {
        return Err(Refused(format!(
            "{name} is {} bytes, not a multiple of {FIELD}",
            bytes.len()
        )));
    }
    bytes
        .chunks_exact(FIELD)
        .map(|chunk| read(chunk, name))
        .collect()
}

/// Writes one element.
pub fn write(element: &Fr) -> [u8; FIELD] {
    let mut bytes = [0; FIELD];
    bytes.copy_from_slice(&element.into_bigint().to_bytes_le());
    bytes
}

fn limbs(bytes: &[u8], name: &str) -> Result<Zeroizing<[u64; 4]>, Refused> {
    if bytes.len() != FIELD {
        return Err(Refused(format!(
            "{name} is {} bytes, not {FIELD}",
            bytes.len()
        )));
    }
    let mut limbs = Zeroizing::new([0u64; 4]);
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        for (shift, byte) in chunk.iter().enumerate() {
            *limb |= u64::from(*byte) << (8 * shift);
        }
    }
    Ok(limbs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for value in [0u64, 1, 255, 256, u64::MAX] {
            let element = Fr::from(value);
            assert_eq!(read(&write(&element), "it").unwrap(), element);
        }
        let last = -Fr::from(1u64);
        assert_eq!(read(&write(&last), "it").unwrap(), last);
    }

    #[test]
    fn the_order_and_all_above_are_refused() {
        let mut order = [0u8; FIELD];
        order.copy_from_slice(&Fr::MODULUS.to_bytes_le());
        assert!(read(&order, "it").is_err());
        order[0] += 1;
        assert!(read(&order, "it").is_err());
        assert!(read(&[255; FIELD], "it").is_err());
    }

    #[test]
    fn another_length_is_refused() {
        assert!(read(&[0; 31], "it").is_err());
        assert!(read(&[0; 33], "it").is_err());
        assert!(read_many(&[0; 63], "it").is_err());
    }
}
