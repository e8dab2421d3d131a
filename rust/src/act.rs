//! Anonymous credit tokens (draft-schlesinger-cfrg-act): the crate's protocol behind bytes.
//!
//! Every message is deterministic CBOR of one exact size; whatever decodes but would be written
//! otherwise is refused, so that a spend has one spelling. Amounts are 32-bit. Secrets that enter
//! or leave are Python's bytes: Python's memory is not wiped.

use anonymous_credit_tokens::cbor::CborError;
use anonymous_credit_tokens::{
    scalar_to_credit, CreditToken, ErrorCode, IssuanceRequest, IssuanceResponse, Params,
    PreIssuance, PreRefund, PrivateKey, PublicKey, Refund, Scalar, SpendProof,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rand_core::{CryptoRngCore, OsRng};
use zeroize::Zeroizing;

/// Bits of an amount; the range proof of a spend grows with it.
const BITS: usize = 32;
/// Bytes of a scalar, and of a point.
const WORD: usize = 32;
/// What stands before a word in CBOR: a byte string of 32 bytes.
const PREFIX: [u8; 2] = [0x58, 0x20];
/// A word as the value of a map: its one-byte key, the prefix, itself.
const ENTRY: usize = 3 + WORD;

const PUBLIC: usize = 2 + WORD;
const SECRET: usize = 1 + 2 * ENTRY;
const PREISSUANCE: usize = 1 + 2 * ENTRY;
const REQUEST: usize = 1 + 4 * ENTRY;
const RESPONSE: usize = 1 + 6 * ENTRY;
const TOKEN: usize = 1 + 6 * ENTRY;
const PREREFUND: usize = 1 + 4 * ENTRY;
const REFUND: usize = 1 + 5 * ENTRY;
const SPEND: usize = spend_size(BITS);

/// Bytes of a spend whose amounts have `bits` bits, up to 128 of them.
const fn spend_size(bits: usize) -> usize {
    let array = if bits < 24 { 2 } else { 3 }; // its key, and its head
    let words = bits * (2 + WORD);
    1 + 15 * ENTRY + 2 * (array + words) + array + bits + 2 * words
}

type Made<T> = Result<T, &'static str>;
type Pair<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);
type Facts<'py> = (Bound<'py, PyBytes>, u64, Bound<'py, PyBytes>);

/// A message of the protocol: how it is read and written.
trait Message: Sized {
    fn read(data: &[u8]) -> Result<Self, CborError>;
    fn write(&self) -> Result<Vec<u8>, CborError>;
}

macro_rules! message {
    ($($kind:ty),*) => {$(
        impl Message for $kind {
            fn read(data: &[u8]) -> Result<Self, CborError> {
                Self::from_cbor(data)
            }
            fn write(&self) -> Result<Vec<u8>, CborError> {
                self.to_cbor()
            }
        }
    )*};
}

message!(
    PrivateKey,
    PublicKey,
    PreIssuance,
    IssuanceRequest,
    IssuanceResponse,
    CreditToken,
    PreRefund,
    Refund
);

impl<const L: usize> Message for SpendProof<L> {
    fn read(data: &[u8]) -> Result<Self, CborError> {
        Self::from_cbor(data)
    }
    fn write(&self) -> Result<Vec<u8>, CborError> {
        self.to_cbor()
    }
}

/// Read a message of exactly `size` bytes in its one spelling; `what` is the whole error.
fn read<T: Message>(data: &[u8], size: usize, what: &'static str) -> Made<T> {
    if data.len() != size {
        return Err(what);
    }
    let message = T::read(data).map_err(|_| what)?;
    if write(&message)?.as_slice() != data {
        return Err(what);
    }
    Ok(message)
}

fn write<T: Message>(message: &T) -> Made<Zeroizing<Vec<u8>>> {
    message
        .write()
        .map(Zeroizing::new)
        .map_err(|_| "cannot be written")
}

fn reason(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidAmount => "amount",
        _ => "proof",
    }
}

fn context(ctx: &[u8]) -> Made<Scalar> {
    let bytes: [u8; WORD] = ctx.try_into().map_err(|_| "context")?;
    Option::from(Scalar::from_canonical_bytes(bytes)).ok_or("context")
}

fn public_of(key: &PrivateKey) -> Made<Vec<u8>> {
    Ok(write(key.public())?[PREFIX.len()..].to_vec())
}

fn public_key(raw: &[u8]) -> Made<PublicKey> {
    if raw.iter().all(|byte| *byte == 0) {
        return Err("public key"); // the identity: whoever sees it could sign
    }
    read(&[&PREFIX, raw].concat(), PUBLIC, "public key")
}

/// The word under the `place`-th key of a map of words, as the encoding of this file has it.
fn word(message: &[u8], place: usize) -> [u8; WORD] {
    let start = 1 + place * ENTRY + 3;
    message[start..start + WORD]
        .try_into()
        .expect("sizes are checked")
}

/// Return the private state of a purchase and the request to send.
fn purchase(params: &Params, mut rng: impl CryptoRngCore) -> Made<[Zeroizing<Vec<u8>>; 2]> {
    let state = PreIssuance::random(&mut rng);
    let request = state.request(params, &mut rng);
    Ok([write(&state)?, write(&request)?])
}

/// Return the answer to a request for `amount` credits.
fn issue<const L: usize>(
    params: &Params,
    secret: &[u8],
    request: &[u8],
    amount: u32,
    ctx: &[u8],
    rng: impl CryptoRngCore,
) -> Made<Zeroizing<Vec<u8>>> {
    let key: PrivateKey = read(secret, SECRET, "secret key")?;
    let request: IssuanceRequest = read(request, REQUEST, "request")?;
    let response = key
        .issue::<L>(params, &request, amount.into(), context(ctx)?, rng)
        .map_err(reason)?;
    write(&response)
}

/// Return the token that an answer makes of a request.
fn complete<const L: usize>(
    params: &Params,
    state: &[u8],
    request: &[u8],
    response: &[u8],
    public: &[u8],
) -> Made<Zeroizing<Vec<u8>>> {
    let state: PreIssuance = read(state, PREISSUANCE, "state of a purchase")?;
    let request: IssuanceRequest = read(request, REQUEST, "request")?;
    let response: IssuanceResponse = read(response, RESPONSE, "response")?;
    let token = state
        .to_credit_token::<L>(params, &public_key(public)?, &request, &response)
        .map_err(reason)?;
    write(&token)
}

/// Return the private state of a spend and the spend to send.
fn prove_spend<const L: usize>(
    params: &Params,
    token: &[u8],
    amount: u32,
    rng: impl CryptoRngCore,
) -> Made<[Zeroizing<Vec<u8>>; 2]> {
    let token: CreditToken = read(token, TOKEN, "token")?;
    let (proof, state) = token
        .prove_spend::<L>(params, amount.into(), rng)
        .map_err(reason)?;
    Ok([write(&state)?, write(&proof)?])
}

/// Return the refund of `back` credits for a spend, which it verifies.
fn refund<const L: usize>(
    params: &Params,
    secret: &[u8],
    spend: &[u8],
    back: u32,
    rng: impl CryptoRngCore,
) -> Made<(SpendProof<L>, Zeroizing<Vec<u8>>)> {
    let key: PrivateKey = read(secret, SECRET, "secret key")?;
    let proof: SpendProof<L> = read(spend, spend_size(L), "spend")?;
    let refund = key
        .refund(params, &proof, back.into(), rng)
        .map_err(reason)?;
    let written = write(&refund)?;
    Ok((proof, written))
}

/// Return the token that a refund makes of a spend.
fn complete_refund<const L: usize>(
    params: &Params,
    state: &[u8],
    spend: &[u8],
    refund: &[u8],
    public: &[u8],
) -> Made<Zeroizing<Vec<u8>>> {
    let state: PreRefund = read(state, PREREFUND, "state of a spend")?;
    let proof: SpendProof<L> = read(spend, spend_size(L), "spend")?;
    let refund: Refund = read(refund, REFUND, "refund")?;
    let token = state
        .to_credit_token::<L>(params, &proof, &refund, &public_key(public)?)
        .map_err(reason)?;
    write(&token)
}

fn error(message: &'static str) -> PyErr {
    PyValueError::new_err(message)
}

fn bytes<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, data)
}

fn both<'py>(py: Python<'py>, made: Made<[Zeroizing<Vec<u8>>; 2]>) -> PyResult<Pair<'py>> {
    let [first, second] = made.map_err(error)?;
    Ok((bytes(py, &first), bytes(py, &second)))
}

/// The parameters of one deployment, and the protocol under them.
#[pyclass(frozen)]
struct Act {
    params: Params,
}

#[pymethods]
impl Act {
    #[new]
    fn new(
        py: Python<'_>,
        organization: &str,
        service: &str,
        deployment: &str,
        version: &str,
    ) -> PyResult<Self> {
        let parts = [organization, service, deployment, version];
        if parts.iter().any(|part| part.contains(':')) {
            return Err(error("a parameter with a colon"));
        }
        let params = py.detach(|| Params::new(organization, service, deployment, version));
        Ok(Self { params })
    }

    fn request<'py>(&self, py: Python<'py>) -> PyResult<Pair<'py>> {
        both(py, py.detach(|| purchase(&self.params, OsRng)))
    }

    fn issue<'py>(
        &self,
        py: Python<'py>,
        secret: &[u8],
        request: &[u8],
        amount: u32,
        context: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let made =
            py.detach(|| issue::<BITS>(&self.params, secret, request, amount, context, OsRng));
        Ok(bytes(py, &made.map_err(error)?))
    }

    fn complete<'py>(
        &self,
        py: Python<'py>,
        state: &[u8],
        request: &[u8],
        response: &[u8],
        public: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let made = py.detach(|| complete::<BITS>(&self.params, state, request, response, public));
        Ok(bytes(py, &made.map_err(error)?))
    }

    fn spend<'py>(&self, py: Python<'py>, token: &[u8], amount: u32) -> PyResult<Pair<'py>> {
        both(
            py,
            py.detach(|| prove_spend::<BITS>(&self.params, token, amount, OsRng)),
        )
    }

    /// Verify a spend; return its nullifier, amount and context.
    fn verify<'py>(&self, py: Python<'py>, secret: &[u8], spend: &[u8]) -> PyResult<Facts<'py>> {
        // The crate verifies only where it refunds: a refund of nothing is made and thrown away.
        let proof = py
            .detach(|| refund::<BITS>(&self.params, secret, spend, 0, OsRng))
            .map_err(error)?
            .0;
        let amount = scalar_to_credit::<BITS>(&proof.charge()).map_err(|_| error("amount"))?;
        let amount = u64::try_from(amount).map_err(|_| error("amount"))?;
        let (nullifier, context) = (proof.nullifier(), proof.context());
        Ok((
            bytes(py, nullifier.as_bytes()),
            amount,
            bytes(py, context.as_bytes()),
        ))
    }

    fn refund<'py>(
        &self,
        py: Python<'py>,
        secret: &[u8],
        spend: &[u8],
        back: u32,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let made = py
            .detach(|| refund::<BITS>(&self.params, secret, spend, back, OsRng))
            .map_err(error)?;
        Ok(bytes(py, &made.1))
    }

    fn complete_refund<'py>(
        &self,
        py: Python<'py>,
        state: &[u8],
        spend: &[u8],
        refund: &[u8],
        public: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let made =
            py.detach(|| complete_refund::<BITS>(&self.params, state, spend, refund, public));
        Ok(bytes(py, &made.map_err(error)?))
    }
}

/// Make an issuer's key; return its secret part.
#[pyfunction]
fn act_generate(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let made = write(&PrivateKey::random(OsRng)).map_err(error)?;
    Ok(bytes(py, &made))
}

/// Return the public key of a secret one, a compressed Ristretto point of 32 bytes.
#[pyfunction]
fn act_public<'py>(py: Python<'py>, secret: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let key: PrivateKey = read(secret, SECRET, "secret key").map_err(error)?;
    Ok(bytes(py, &public_of(&key).map_err(error)?))
}

/// Refuse bytes that are no issuer's public key.
#[pyfunction]
fn act_check_public(public: &[u8]) -> PyResult<()> {
    public_key(public).map(|_| ()).map_err(error)
}

/// Return a token's nullifier, amount and context.
#[pyfunction]
fn act_token<'py>(py: Python<'py>, token: &[u8]) -> PyResult<Facts<'py>> {
    let read: CreditToken = read(token, TOKEN, "token").map_err(error)?;
    let amount = scalar_to_credit::<BITS>(&read.credits()).map_err(|_| error("amount"))?;
    let amount = u64::try_from(amount).map_err(|_| error("amount"))?;
    Ok((
        bytes(py, read.nullifier().as_bytes()),
        amount,
        bytes(py, &word(token, 5)),
    ))
}

/// Reduce 64 uniform bytes to a context.
#[pyfunction]
fn act_context<'py>(py: Python<'py>, uniform: [u8; 64]) -> Bound<'py, PyBytes> {
    bytes(py, Scalar::from_bytes_mod_order_wide(&uniform).as_bytes())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Act>()?;
    module.add("ACT_SPEND_BYTES", SPEND)?;
    module.add("ACT_REFUND_BYTES", REFUND)?;
    module.add("ACT_REQUEST_BYTES", REQUEST)?;
    module.add("ACT_RESPONSE_BYTES", RESPONSE)?;
    module.add_function(wrap_pyfunction!(act_generate, module)?)?;
    module.add_function(wrap_pyfunction!(act_public, module)?)?;
    module.add_function(wrap_pyfunction!(act_check_public, module)?)?;
    module.add_function(wrap_pyfunction!(act_token, module)?)?;
    module.add_function(wrap_pyfunction!(act_context, module)?)?;
    Ok(())
}

#[cfg(test)]
mod tests;
