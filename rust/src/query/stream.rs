//! The randomness of a proof: one column from the person's seed, everything else from the system.

use core::convert::Infallible;
use ff::FromUniformBytes;
use halo2_proofs::pasta::Fp;
use rand_core10::TryRng;
use zeroize::Zeroize;

/// Bytes of one draw: a field element is reduced from 64 uniform bytes.
const BLOCK: usize = 64;

/// BLAKE2b in counter mode under a secret key.
pub struct Stream {
    key: [u8; 32],
}

impl Stream {
    pub fn new(key: &[u8; 32]) -> Self {
        Stream { key: *key }
    }

    /// A stream under a fresh key of the operating system.
    ///
    /// Panics where the system has no randomness: nothing may be proved then.
    pub fn fresh() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system gives randomness");
        Stream { key }
    }

    fn block(&self, index: u64) -> [u8; BLOCK] {
        *blake2b_simd::Params::new()
            .hash_length(BLOCK)
            .key(&self.key)
            .personal(b"privity/query/v1")
            .hash(&index.to_le_bytes())
            .as_array()
    }

    pub fn scalar(&self, index: u64) -> Fp {
        Fp::from_uniform_bytes(&self.block(index))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// What halo2 draws from: its first column is blinded by the seed, so that the seed opens it.
///
/// halo2 draws the blinding rows of all columns, then one blind for each. The draws of column 0
/// come from `opening`, in order; all others from `rest`, so that a seed that is used twice
/// repeats nothing else. `Key::prove` compares what came of it: a halo2 that draws in another
/// order makes no proof.
pub struct SplitRng {
    opening: Stream,
    rest: Stream,
    rows: u64,
    columns: u64,
    words: u64,
    block: [u8; BLOCK],
}

impl SplitRng {
    pub fn new(opening: Stream, rest: Stream, rows: usize, columns: usize) -> Self {
        let (rows, columns) = (rows as u64, columns as u64);
        SplitRng {
            opening,
            rest,
            rows,
            columns,
            words: 0,
            block: [0; BLOCK],
        }
    }

    fn refill(&mut self) {
        let draw = self.words / 8;
        let blind = self.rows * self.columns;
        self.block = if draw < self.rows {
            self.opening.block(draw)
        } else if draw == blind {
            self.opening.block(self.rows)
        } else {
            self.rest.block(draw)
        };
    }
}

impl TryRng for SplitRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| word as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let at = (self.words % 8) as usize * 8;
        if at == 0 {
            self.refill();
        }
        self.words += 1;
        Ok(u64::from_le_bytes(
            self.block[at..at + 8].try_into().expect("eight bytes"),
        ))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl Drop for SplitRng {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}
