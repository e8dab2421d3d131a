//! Rate-limiting nullifiers (RLN-v2) over zerokit, as Python sees them.
//!
//! Field elements are 32 bytes little-endian and canonical; anything else is a ValueError. The
//! interpreter's lock is released wherever there is hashing or curve arithmetic.
//!
//! The crate `rln` depends on sled and its pmtree wherever the target is not wasm32, with no feature
//! to leave them out: they are compiled, and nothing here reaches them.

mod batch;
mod field;
mod lines;
mod points;
mod prover;
mod tree;
mod weights;

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rayon::prelude::*;
use rln::prelude::{compute_id_secret, hash_to_field_le, Hasher, PoseidonHash};
use zeroize::Zeroizing;

use batch::Claim;
use field::{read, Refused};
use prover::{Kernel, Made, Member, Warm};
use tree::Tree;

/// Largest number of elements Poseidon takes here.
const MOST_INPUTS: usize = 8;

/// (proof, root, y, nullifier).
type Quadruple<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// (proof, root, x, y, nullifier, external nullifier), owned so that the lock can be released.
type Tuple = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

fn quadruple<'py>(py: Python<'py>, made: &Made) -> Quadruple<'py> {
    (
        PyBytes::new(py, &made.proof),
        PyBytes::new(py, &made.root),
        PyBytes::new(py, &made.y),
        PyBytes::new(py, &made.nullifier),
    )
}

/// Poseidon over 1 to 8 elements, with circomlib's constants.
#[pyfunction]
fn poseidon(py: Python<'_>, inputs: Vec<Vec<u8>>) -> PyResult<Bound<'_, PyBytes>> {
    if !(1..=MOST_INPUTS).contains(&inputs.len()) {
        return Err(PyValueError::new_err("Poseidon takes 1 to 8 elements here"));
    }
    let inputs = Zeroizing::new(inputs);
    let elements = inputs
        .iter()
        .map(|bytes| read(bytes, "the element"))
        .collect::<Result<Vec<_>, _>>()?;
    let elements = Zeroizing::new(elements);
    let hashed = Hasher::<PoseidonHash>::hash_list(&elements);
    Ok(PyBytes::new(py, &field::write(&hashed)))
}

/// Keccak-256 of the data, read little-endian and reduced, as zerokit maps signals to the field.
#[pyfunction]
fn hash_to_field<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &field::write(&hash_to_field_le(data)))
}

/// The secret on the line through two points; equal x have none.
#[pyfunction]
fn recover<'py>(
    py: Python<'py>,
    x1: &[u8],
    y1: &[u8],
    x2: &[u8],
    y2: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let first = (read(x1, "x1")?, read(y1, "y1")?);
    let second = (read(x2, "x2")?, read(y2, "y2")?);
    let secret = compute_id_secret(first, second)
        .map_err(|_| PyValueError::new_err("two points with one x determine no secret"))?;
    let bytes = Zeroizing::new(field::write(&secret));
    Ok(PyBytes::new(py, bytes.as_slice()))
}

/// An incremental Merkle tree over Poseidon; safe to share between threads.
#[pyclass(frozen, module = "privity_core._native")]
struct MerkleTree(RwLock<Tree>);

impl MerkleTree {
    fn reading(&self) -> RwLockReadGuard<'_, Tree> {
        self.0
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Tree> {
        self.0
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[pymethods]
impl MerkleTree {
    #[new]
    #[pyo3(signature = (depth = 20))]
    fn new(depth: usize) -> PyResult<Self> {
        Ok(Self(RwLock::new(Tree::new(depth)?)))
    }

    fn append(&self, py: Python<'_>, leaf: &[u8]) -> PyResult<usize> {
        let leaf = read(leaf, "the leaf")?;
        Ok(py.detach(|| self.writing().extend(&[leaf]))?)
    }

    fn extend(&self, py: Python<'_>, leaves: &[u8]) -> PyResult<()> {
        py.detach(|| {
            let leaves = field::read_many(leaves, "a leaf")?;
            self.writing().extend(&leaves)
        })?;
        Ok(())
    }

    fn set(&self, py: Python<'_>, index: usize, leaf: &[u8]) -> PyResult<()> {
        let leaf = read(leaf, "the leaf")?;
        py.detach(|| self.writing().set(index, leaf))
            .map_err(outside)
    }

    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let root = py.detach(|| self.reading().root());
        PyBytes::new(py, &field::write(&root))
    }

    fn path<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyBytes>> {
        let path = py.detach(|| self.reading().path(index)).map_err(outside)?;
        let bytes: Vec<u8> = path.iter().flat_map(field::write).collect();
        Ok(PyBytes::new(py, &bytes))
    }

    fn leaf<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyBytes>> {
        let leaf = py.detach(|| self.reading().leaf(index)).map_err(outside)?;
        Ok(PyBytes::new(py, &field::write(&leaf)))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.reading().len())
    }
}

fn outside(refused: Refused) -> PyErr {
    PyIndexError::new_err(refused.0)
}

/// What `Rln.prepare` made: the part of a proof that no message changes. It holds the secret.
#[pyclass(frozen, module = "privity_core._native")]
struct Prepared(Warm);

/// Prover and verifier with the ceremony's keys.
#[pyclass(frozen, module = "privity_core._native")]
struct Rln(Arc<Kernel>);

#[pymethods]
impl Rln {
    /// The keys are read once a process.
    #[staticmethod]
    fn load(py: Python<'_>) -> Self {
        Self(py.detach(|| Kernel::shared().clone()))
    }

    #[allow(clippy::too_many_arguments)]
    fn prove<'py>(
        &self,
        py: Python<'py>,
        secret: &[u8],
        limit: u64,
        message_id: u64,
        path: &[u8],
        index: u64,
        x: &[u8],
        external_nullifier: &[u8],
    ) -> PyResult<Quadruple<'py>> {
        let made = py.detach(|| {
            let member = Member::read(secret, limit, path, index)?;
            let (x, scope) = point(x, external_nullifier)?;
            self.0.prove(&member, message_id, x, scope)
        })?;
        Ok(quadruple(py, &made))
    }

    fn prepare(
        &self,
        py: Python<'_>,
        secret: &[u8],
        limit: u64,
        path: &[u8],
        index: u64,
    ) -> PyResult<Prepared> {
        let warm = py.detach(|| {
            let member = Member::read(secret, limit, path, index)?;
            self.0.prepare(member)
        })?;
        Ok(Prepared(warm))
    }

    fn finish<'py>(
        &self,
        py: Python<'py>,
        prepared: &Prepared,
        message_id: u64,
        x: &[u8],
        external_nullifier: &[u8],
    ) -> PyResult<Quadruple<'py>> {
        let made = py.detach(|| {
            let (x, scope) = point(x, external_nullifier)?;
            self.0.finish(&prepared.0, message_id, x, scope)
        })?;
        Ok(quadruple(py, &made))
    }

    /// False where the proof does not hold, or is not even points of the curve.
    #[allow(clippy::too_many_arguments)]
    fn verify(
        &self,
        py: Python<'_>,
        proof: &[u8],
        root: &[u8],
        x: &[u8],
        y: &[u8],
        nullifier: &[u8],
        external_nullifier: &[u8],
    ) -> bool {
        py.detach(|| {
            Claim::read(proof, [y, root, nullifier, x, external_nullifier])
                .is_ok_and(|claim| batch::verify(&self.0.key, &claim))
        })
    }

    /// Each tuple is (proof, root, x, y, nullifier, external nullifier); one answer each, in order.
    fn verify_batch(&self, py: Python<'_>, claims: Vec<Tuple>) -> Vec<bool> {
        py.detach(|| {
            let read: Vec<Option<Claim>> = claims
                .par_iter()
                .map(|(proof, root, x, y, nullifier, scope)| {
                    Claim::read(proof, [y, root, nullifier, x, scope]).ok()
                })
                .collect();
            let present: Vec<&Claim> = read.iter().flatten().collect();
            let mut verdicts = batch::verify_batch(&self.0.key, &present).into_iter();
            read.iter()
                .map(|claim| claim.is_some() && verdicts.next().unwrap_or(false))
                .collect()
        })
    }

    /// The verifying key (arkworks, compressed), so that a peer can be shown to use the same.
    fn verifying_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.0.verifying_key()?))
    }
}

fn point(x: &[u8], scope: &[u8]) -> Result<(rln::prelude::Fr, rln::prelude::Fr), Refused> {
    Ok((read(x, "x")?, read(scope, "the external nullifier")?))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(poseidon, module)?)?;
    module.add_function(wrap_pyfunction!(hash_to_field, module)?)?;
    module.add_function(wrap_pyfunction!(recover, module)?)?;
    module.add_class::<MerkleTree>()?;
    module.add_class::<Prepared>()?;
    module.add_class::<Rln>()?;
    Ok(())
}
