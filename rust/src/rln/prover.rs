//! The circuit's keys, and proofs made with them through zerokit.

use std::sync::{Arc, OnceLock};

use ark_serialize::CanonicalSerialize;
use rln::prelude::{
    default_zkey_single, ArkGroth16Backend, Fr, PartialProof, PoseidonHash, Proof, RLNBuilder,
    RLNMerkleProof, RLNPartialWitnessInput, RLNProofValues, RLNWitnessInput, SecretFr, Stateless,
    DEFAULT_TREE_DEPTH, RLN,
};

use super::batch::{Key, PROOF};
use super::field::{self, Refused, FIELD};

/// The circuit compares message ids in 16 bits; a larger limit would give proofs that fail.
const MOST: u64 = 65_535;

/// zerokit with the keys of its ceremony, and the same verifying key prepared for our own batches.
pub struct Kernel {
    rln: RLN<Stateless, ArkGroth16Backend<PoseidonHash>>,
    pub key: Key,
}

/// A proof as bytes, and its public values but for x and the external nullifier.
pub struct Made {
    pub proof: [u8; PROOF],
    pub root: [u8; FIELD],
    pub y: [u8; FIELD],
    pub nullifier: [u8; FIELD],
}

/// Who proves: the secret (overwritten when dropped), the limit, and the place in the tree.
pub struct Member {
    secret: SecretFr,
    limit: Fr,
    place: RLNMerkleProof,
}

impl Member {
    pub fn read(secret: &[u8], limit: u64, path: &[u8], index: u64) -> Result<Self, Refused> {
        let secret = field::read_secret(secret, "the secret")?;
        if !(1..=MOST).contains(&limit) {
            return Err(Refused(format!("the limit is not between 1 and {MOST}")));
        }
        let path = field::read_many(path, "the path")?;
        if path.len() != DEFAULT_TREE_DEPTH {
            return Err(Refused(format!(
                "the path has {} siblings, not {DEFAULT_TREE_DEPTH}",
                path.len()
            )));
        }
        if index >> DEFAULT_TREE_DEPTH != 0 {
            return Err(Refused("the index is outside the tree".to_owned()));
        }
        let turns = (0..DEFAULT_TREE_DEPTH)
            .map(|height| (index >> height & 1) as u8)
            .collect();
        Ok(Self {
            secret,
            limit: Fr::from(limit),
            place: RLNMerkleProof::new(path, turns),
        })
    }

    fn witness(&self, message_id: u64, x: Fr, scope: Fr) -> Result<RLNWitnessInput, Refused> {
        RLNWitnessInput::new_single()
            .identity_secret(self.secret.clone())
            .user_message_limit(self.limit)
            .merkle_proof(self.place.clone())
            .x(x)
            .external_nullifier(scope)
            .message_id(Fr::from(message_id))
            .build()
            .map_err(|_| Refused("the message id is not below the limit".to_owned()))
    }
}

/// The part of a proof that does not depend on the message.
pub struct Warm {
    member: Member,
    partial: PartialProof,
}

impl Kernel {
    /// Returns the one kernel of the process; the first call reads the keys.
    pub fn shared() -> &'static Arc<Self> {
        static KERNEL: OnceLock<Arc<Kernel>> = OnceLock::new();
        KERNEL.get_or_init(|| {
            Arc::new(Self {
                rln: RLNBuilder::stateless().build(),
                key: Key::new(&default_zkey_single().0.vk)
                    .expect("the crate's verifying key is one"),
            })
        })
    }

    pub fn prove(&self, member: &Member, id: u64, x: Fr, scope: Fr) -> Result<Made, Refused> {
        let witness = member.witness(id, x, scope)?;
        let (proof, values) = self.rln.generate_proof(&witness).map_err(failed)?;
        written(&proof, &values)
    }

    pub fn prepare(&self, member: Member) -> Result<Warm, Refused> {
        let partial = RLNPartialWitnessInput::new()
            .identity_secret(member.secret.clone())
            .user_message_limit(member.limit)
            .merkle_proof(member.place.clone())
            .build()
            .map_err(failed)?;
        let partial = self.rln.generate_partial_proof(&partial).map_err(failed)?;
        Ok(Warm { member, partial })
    }

    pub fn finish(&self, warm: &Warm, id: u64, x: Fr, scope: Fr) -> Result<Made, Refused> {
        let witness = warm.member.witness(id, x, scope)?;
        let (proof, values) = self
            .rln
            .finish_proof(&warm.partial, &witness)
            .map_err(failed)?;
        written(&proof, &values)
    }

    /// Returns the verifying key, compressed as arkworks does it.
    pub fn verifying_key(&self) -> Result<Vec<u8>, Refused> {
        let mut bytes = Vec::new();
        self.key
            .single
            .vk
            .serialize_compressed(&mut bytes)
            .map_err(failed)?;
        Ok(bytes)
    }
}

/// zerokit's errors may show field elements of the witness: only that it failed is passed on.
fn failed<E>(_: E) -> Refused {
    Refused("the proof could not be made".to_owned())
}

fn written(proof: &Proof, values: &RLNProofValues) -> Result<Made, Refused> {
    let (Some(y), Some(nullifier)) = (values.y(), values.nullifier()) else {
        return Err(failed(()));
    };
    let mut bytes = [0; PROOF];
    proof.serialize_compressed(&mut bytes[..]).map_err(failed)?;
    Ok(Made {
        proof: bytes,
        root: field::write(&values.root()),
        y: field::write(&y),
        nullifier: field::write(&nullifier),
    })
}
