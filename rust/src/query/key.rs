//! Keys, proofs, batches and openings of the statement in `circuit`.

use std::collections::HashMap;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ff::{Field, FromUniformBytes};
use group::{Curve, GroupEncoding};
use halo2_proofs::pasta::{EqAffine, Fp};
use halo2_proofs::plonk::{
    create_proof, keygen_pk, keygen_vk, verify_proof, Error, ProvingKey, VerificationStrategy,
    VerifyingKey,
};
use halo2_proofs::poly::commitment::{Blind, Guard, Params, MSM};
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::transcript::{
    Blake2bRead, Blake2bWrite, Challenge255, EncodedChallenge, Transcript,
};
use rand_core10::UnwrapErr;

use super::circuit::{Query, Row, Shape, BLINDING_ROWS, SECRET_COLUMNS};
use super::stream::{SplitRng, Stream};

/// Why there is no proof or no key. Names no token and no place: both are secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Vocabulary,
    Denied,
    Bucket,
    Length,
    Token,
    Seed,
    Prover,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Refusal::Vocabulary => "a vocabulary has 1 to 2^24 tokens, and allows one of them",
            Refusal::Denied => "denied tokens are given once, in order, and are not too scattered",
            Refusal::Bucket => "a bucket has 1 to 4096 tokens",
            Refusal::Length => "the sequence is empty or longer than its bucket",
            Refusal::Token => "a token is denied or outside the vocabulary",
            Refusal::Seed => "an opening's seed has 32 bytes",
            Refusal::Prover => "the prover made no proof that its seed opens",
        })
    }
}

/// A proof, and what it must be bound to.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    pub proof: &'a [u8],
    pub context: &'a [u8],
}

/// The generators depend on k alone; making them takes longer than a proof.
fn params(k: u32) -> Arc<Params<EqAffine>> {
    static MADE: OnceLock<Mutex<HashMap<u32, Arc<Params<EqAffine>>>>> = OnceLock::new();
    let made = MADE.get_or_init(Mutex::default);
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(made.entry(k).or_insert_with(|| Arc::new(Params::new(k))))
}

/// The context as one field element, which the transcript absorbs before anything else.
fn bound(context: &[u8]) -> Fp {
    let hash = blake2b_simd::Params::new()
        .personal(b"privity/query/cx")
        .hash(context);
    Fp::from_uniform_bytes(hash.as_array())
}

/// Hands the last equation of a verification back instead of evaluating it.
struct Deferred<'a> {
    msm: MSM<'a, EqAffine>,
}

impl<'a> VerificationStrategy<'a, EqAffine> for Deferred<'a> {
    type Output = MSM<'a, EqAffine>;

    fn process<E: EncodedChallenge<EqAffine>>(
        self,
        run: impl FnOnce(MSM<'a, EqAffine>) -> Result<Guard<'a, EqAffine, E>, Error>,
    ) -> Result<Self::Output, Error> {
        Ok(run(self.msm)?.use_challenges())
    }
}

pub struct Key {
    shape: Shape,
    params: Arc<Params<EqAffine>>,
    verifying: VerifyingKey<EqAffine>,
    proving: OnceLock<ProvingKey<EqAffine>>,
    proof_size: usize,
}

impl Key {
    pub fn new(vocabulary: u32, denied: &[u32], bucket: usize) -> Result<Self, Refusal> {
        let shape = Shape::new(vocabulary, denied, bucket)?;
        let params = params(shape.k);
        let query = Query {
            shape: &shape,
            rows: Vec::new(),
        };
        let verifying = keygen_vk(&*params, &query).map_err(|_| Refusal::Prover)?;
        let proof_size = proof_size(shape.k);
        Ok(Key {
            shape,
            params,
            verifying,
            proving: OnceLock::new(),
            proof_size,
        })
    }

    pub fn k(&self) -> u32 {
        self.shape.k
    }

    pub fn proof_size(&self) -> usize {
        self.proof_size
    }

    pub fn warm(&self) {
        self.proving();
    }

    pub fn fingerprint(&self) -> [u8; 32] {
        let text = format!("{:?}", self.verifying.pinned());
        let hash = blake2b_simd::Params::new()
            .hash_length(32)
            .hash(text.as_bytes());
        hash.as_bytes().try_into().expect("32 bytes")
    }

    fn proving(&self) -> &ProvingKey<EqAffine> {
        self.proving.get_or_init(|| {
            let query = Query {
                shape: &self.shape,
                rows: Vec::new(),
            };
            keygen_pk(&*self.params, self.verifying.clone(), &query).expect("as the verifying key")
        })
    }

    /// The rows of a sequence, or why it has none.
    fn rows(&self, tokens: &[u32]) -> Result<Vec<Row>, Refusal> {
        if tokens.is_empty() || tokens.len() > self.shape.bucket {
            return Err(Refusal::Length);
        }
        let row = |token: &u32| Some(Row::of(*token, self.shape.interval(*token)?));
        tokens
            .iter()
            .map(row)
            .collect::<Option<_>>()
            .ok_or(Refusal::Token)
    }

    /// Prove a sequence; the seed opens the proof and must be fresh, the context binds it.
    pub fn prove(
        &self,
        tokens: &[u32],
        context: &[u8],
        seed: &[u8; 32],
    ) -> Result<Vec<u8>, Refusal> {
        let rows = self.rows(tokens)?;
        let proof = self.prove_rows(rows, context, seed)?;
        let opens = proof[..32] == self.commit(tokens, seed)?;
        if opens && proof.len() == self.proof_size {
            Ok(proof)
        } else {
            Err(Refusal::Prover)
        }
    }

    fn prove_rows(
        &self,
        rows: Vec<Row>,
        context: &[u8],
        seed: &[u8; 32],
    ) -> Result<Vec<u8>, Refusal> {
        let rng = SplitRng::new(
            Stream::new(seed),
            Stream::fresh(),
            BLINDING_ROWS,
            SECRET_COLUMNS,
        );
        let query = Query {
            shape: &self.shape,
            rows,
        };
        let mut transcript = Blake2bWrite::<_, EqAffine, Challenge255<_>>::init(Vec::new());
        transcript
            .common_scalar(bound(context))
            .map_err(|_| Refusal::Prover)?;
        create_proof(
            &*self.params,
            self.proving(),
            &[query],
            &[&[]],
            UnwrapErr(rng),
            &mut transcript,
        )
        .map_err(|_| Refusal::Prover)?;
        Ok(transcript.finalize())
    }

    /// Commit to a sequence as a proof under this seed does: its first 32 bytes.
    ///
    /// Any tokens below 2^32 − 1 can be committed to: what a cheat proved is compared, not judged.
    pub fn commit(&self, tokens: &[u32], seed: &[u8; 32]) -> Result<[u8; 32], Refusal> {
        if tokens.len() > self.shape.bucket {
            return Err(Refusal::Length);
        }
        let stream = Stream::new(seed);
        let usable = self.shape.usable();
        let mut column = vec![Fp::ZERO; 1 << self.shape.k];
        for (cell, token) in column.iter_mut().zip(tokens) {
            *cell = Fp::from(u64::from(*token) + 1);
        }
        for (at, cell) in column[usable..].iter_mut().enumerate() {
            *cell = stream.scalar(at as u64);
        }
        let blind = Blind(stream.scalar(BLINDING_ROWS as u64));
        let domain = EvaluationDomain::<Fp>::new(1, self.shape.k);
        let point = self
            .params
            .commit_lagrange(&domain.lagrange_from_vec(column), blind);
        Ok(point.to_affine().to_bytes())
    }

    /// Verify one or many; a bad one costs a batch two halves, again and again.
    pub fn verify(&self, items: &[Item<'_>]) -> Vec<bool> {
        let prepared: Vec<_> = items.iter().map(|item| self.prepare(*item)).collect();
        let open: Vec<usize> = (0..items.len())
            .filter(|at| prepared[*at].is_some())
            .collect();
        let mut good = vec![false; items.len()];
        self.settle(&prepared, &open, &mut good);
        good
    }

    /// Everything but the last equation; None where that already refuses the proof.
    fn prepare(&self, item: Item<'_>) -> Option<MSM<'_, EqAffine>> {
        if item.proof.len() != self.proof_size {
            return None; // also what is longer: a proof has one form
        }
        let run = || {
            let mut transcript = Blake2bRead::<_, EqAffine, Challenge255<_>>::init(item.proof);
            transcript.common_scalar(bound(item.context)).ok()?;
            let strategy = Deferred {
                msm: self.params.empty_msm(),
            };
            verify_proof(
                &*self.params,
                &self.verifying,
                strategy,
                &[&[]],
                &mut transcript,
            )
            .ok()
        };
        // halo2 asserts in places; what a stranger sent must not end the process.
        catch_unwind(AssertUnwindSafe(run)).ok().flatten()
    }

    fn settle(&self, all: &[Option<MSM<'_, EqAffine>>], open: &[usize], good: &mut [bool]) {
        if open.is_empty() {
            return;
        }
        if self.holds(all, open) {
            open.iter().for_each(|at| good[*at] = true);
        } else if open.len() > 1 {
            let (left, right) = open.split_at(open.len() / 2);
            self.settle(all, left, good);
            self.settle(all, right, good);
        }
    }

    /// A random combination of the equations is one equation: false if any of them is.
    fn holds(&self, all: &[Option<MSM<'_, EqAffine>>], open: &[usize]) -> bool {
        let weights = Stream::fresh();
        let mut sum = self.params.empty_msm();
        for (draw, at) in open.iter().enumerate() {
            if let Some(equation) = &all[*at] {
                let mut scaled = equation.clone();
                if open.len() > 1 {
                    scaled.scale(weights.scalar(draw as u64));
                }
                sum.add_msm(&scaled);
            }
        }
        catch_unwind(AssertUnwindSafe(|| sum.eval())).unwrap_or(false)
    }
}

/// 51 points and scalars of the circuit, two more of the opening for each halving of its rows.
fn proof_size(k: u32) -> usize {
    32 * (51 + 2 * k as usize)
}

#[cfg(test)]
mod tests;
