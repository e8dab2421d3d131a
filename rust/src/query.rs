//! Proved queries: a hidden token sequence is well formed, in zero knowledge.
//!
//! halo2 with inner-product commitments over the Pasta curves: nothing was set up by anybody. The
//! statement and its arguments are in `circuit`, what goes around it in `key`, the bytes that
//! blind a proof in `stream`. Design: docs/decisions/0005-proved-queries.md.

mod circuit;
mod key;
mod stream;

use key::{Item, Key, Refusal};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

impl From<Refusal> for PyErr {
    fn from(refusal: Refusal) -> PyErr {
        PyValueError::new_err(refusal.to_string())
    }
}

/// The keys of one vocabulary and one bucket. The proving part is made when it is first needed.
#[pyclass(frozen, module = "privity_core")]
struct QueryKey {
    key: Key,
}

fn seed_of(seed: &[u8]) -> Result<[u8; 32], Refusal> {
    seed.try_into().map_err(|_| Refusal::Seed)
}

#[pymethods]
impl QueryKey {
    #[new]
    fn new(py: Python<'_>, vocabulary: u32, denied: Vec<u32>, bucket: usize) -> PyResult<Self> {
        let key = py.detach(|| Key::new(vocabulary, &denied, bucket))?;
        Ok(QueryKey { key })
    }

    /// The size of the circuit: it has 2^k rows.
    #[getter]
    fn k(&self) -> u32 {
        self.key.k()
    }

    /// Bytes of every proof under this key.
    #[getter]
    fn proof_size(&self) -> usize {
        self.key.proof_size()
    }

    /// 32 bytes that change where the statement that is proved changes.
    fn fingerprint(&self) -> [u8; 32] {
        self.key.fingerprint()
    }

    /// Make the proving part now rather than at the first proof.
    fn warm(&self, py: Python<'_>) {
        py.detach(|| self.key.warm());
    }

    fn prove(
        &self,
        py: Python<'_>,
        tokens: Vec<u32>,
        context: &[u8],
        seed: &[u8],
    ) -> PyResult<Vec<u8>> {
        let seed = seed_of(seed)?;
        Ok(py.detach(|| self.key.prove(&tokens, context, &seed))?)
    }

    fn verify(&self, py: Python<'_>, proof: &[u8], context: &[u8]) -> bool {
        py.detach(|| self.key.verify(&[Item { proof, context }])[0])
    }

    /// Verify many at little more than the cost of one; each gets its own answer.
    fn verify_batch(&self, py: Python<'_>, items: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<bool> {
        let borrowed: Vec<Item<'_>> = items
            .iter()
            .map(|(proof, context)| Item { proof, context })
            .collect();
        py.detach(|| self.key.verify(&borrowed))
    }

    /// The commitment with which a proof of these tokens under this seed begins.
    fn commit(&self, py: Python<'_>, tokens: Vec<u32>, seed: &[u8]) -> PyResult<[u8; 32]> {
        let seed = seed_of(seed)?;
        Ok(py.detach(|| self.key.commit(&tokens, &seed))?)
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<QueryKey>()
}
