//! The validators that a key block names, and how much of their weight signed a block.
//!
//! Signatures come in two forms: over the block's two hashes, and, from the newer consensus, over a
//! vote that names a candidate by its hash. Layouts: `validators`, `validators_ext`, `validator`,
//! `validator_addr` of `block.tlb`; `ton.blockId`, `consensus.dataToSign`,
//! `consensus.simplex.finalizeVote`, `consensus.candidateId`, `consensus.candidateHashData...` of
//! `tl/generate/scheme/ton_api.tl`, both in ton-blockchain/ton.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};
use tycho_types::cell::{Cell, CellBuilder, CellSlice};
use tycho_types::dict::RawDict;
use tycho_types::error::Error;

use super::merkle::{ordinary, reading};
use super::{BlockId, Part, ProofError};

/// Validators of the masterchain at most, and so signatures; the main network has about 100.
pub const MAX_VALIDATORS: usize = 1024;
/// The set that overrules the next one where it is there.
const TEMPORARY: u32 = 35;
const CURRENT: u32 = 34;
const SET: u8 = 0x11;
const SET_WITH_WEIGHT: u8 = 0x12;
const VALIDATOR: u8 = 0x53;
const VALIDATOR_WITH_ADDRESS: u8 = 0x73;
const ED25519_KEY: u32 = 0x8e81_278a;

/// `pub.ed25519`, whose hash with the key after it names a validator.
const NAMED_KEY: u32 = 0x4813_b4c6;
const BLOCK_ID: u32 = 0xc50b_6e70;
const DATA_TO_SIGN: u32 = 0xa8e3_3df8;
const FINALIZE_VOTE: u32 = 0x40a7_e105;
const CANDIDATE_ID: u32 = 0xb691_cd3f;
/// A candidate that is a block.
const CANDIDATE: u32 = 0xe8f9_bcdc;
/// A candidate of an empty slot: a vote for it finalizes the block that it names.
const EMPTY_CANDIDATE: u32 = 0x72b4_d933;

/// One validator's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// SHA-256 of the key as `pub.ed25519`.
    pub signer: [u8; 32],
    /// Ed25519.
    pub signature: [u8; 64],
}

/// The signatures of one block, in either form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureSet {
    /// Over root hash and file hash.
    Ordinary {
        /// The signatures.
        signatures: Vec<Signature>,
    },
    /// Over a vote of a session for a candidate.
    Simplex {
        /// The signatures.
        signatures: Vec<Signature>,
        /// The session.
        session: [u8; 32],
        /// The candidate's slot.
        slot: u32,
        /// The candidate's bytes (`consensus.CandidateHashData`), which name the block.
        candidate: Vec<u8>,
    },
}

impl SignatureSet {
    fn signatures(&self) -> &[Signature] {
        match self {
            Self::Ordinary { signatures } | Self::Simplex { signatures, .. } => signatures,
        }
    }

    /// The bytes that were signed, if they are about this block.
    fn message(&self, block: &BlockId) -> Result<Vec<u8>, ProofError> {
        match self {
            Self::Ordinary { .. } => {
                let mut message = BLOCK_ID.to_le_bytes().to_vec();
                message.extend(block.root.0);
                message.extend(block.file.0);
                Ok(message)
            }
            Self::Simplex {
                session,
                slot,
                candidate,
                ..
            } => {
                // A vote names its candidate by hash alone; without this, signatures over one block
                // would do for any other.
                names(candidate, block)?;
                let mut vote = FINALIZE_VOTE.to_le_bytes().to_vec();
                vote.extend(CANDIDATE_ID.to_le_bytes());
                vote.extend(slot.to_le_bytes());
                vote.extend(Sha256::digest(candidate));
                let mut message = DATA_TO_SIGN.to_le_bytes().to_vec();
                message.extend(session);
                // TL bytes: a length below 254, then padding to four; 44 + 1 takes three zeros.
                message.push(44);
                message.extend(vote);
                message.extend([0; 3]);
                Ok(message)
            }
        }
    }
}

/// Refuses a candidate that does not name this block. What follows the name is under the signed
/// hash and not needed.
fn names(candidate: &[u8], block: &BlockId) -> Result<(), ProofError> {
    let mut expected = block.workchain.to_le_bytes().to_vec();
    expected.extend(block.shard.to_le_bytes());
    expected.extend(block.seqno.to_le_bytes());
    expected.extend(block.root.0);
    expected.extend(block.file.0);
    let layout = ProofError::Layout(Part::Candidate);
    let (kind, rest) = candidate.split_first_chunk().ok_or(layout)?;
    if !matches!(u32::from_le_bytes(*kind), CANDIDATE | EMPTY_CANDIDATE) {
        return Err(layout);
    }
    let named = rest.get(..expected.len()).ok_or(layout)?;
    if named != expected {
        return Err(ProofError::OtherCandidate);
    }
    Ok(())
}

struct Validator {
    key: [u8; 32],
    weight: u64,
}

/// The validators of the masterchain: the first `main` of the set.
pub(super) struct Validators {
    by_name: BTreeMap<[u8; 32], Validator>,
    total: u64,
}

impl Validators {
    /// Those of a key block's configuration.
    pub(super) fn read(configuration: &Cell) -> Result<Self, ProofError> {
        let temporary = parameter(configuration, TEMPORARY)?;
        let set = match temporary {
            Some(set) => set,
            None => {
                parameter(configuration, CURRENT)?.ok_or(ProofError::Layout(Part::Configuration))?
            }
        };
        let part = Part::Validators;
        let bad = reading(part);
        let mut set = ordinary(&set, part)?;
        let kind = set.load_u8().map_err(&bad)?;
        // When the set begins and ends: not compared, since a late election prolongs it.
        set.skip_first(32 + 32, 0).map_err(&bad)?;
        let total = set.load_u16().map_err(&bad)?;
        let main = set.load_u16().map_err(&bad)?;
        if main == 0 || main > total {
            return Err(ProofError::Layout(part));
        }
        let count = usize::from(main);
        if count > MAX_VALIDATORS {
            return Err(ProofError::TooManyValidators { count });
        }
        let list = match kind {
            SET => set.load_reference_cloned().map_err(&bad)?,
            SET_WITH_WEIGHT => {
                // The weight of all, shards' validators included: not the one that counts here.
                set.skip_first(64, 0).map_err(&bad)?;
                if !set.load_bit().map_err(&bad)? {
                    return Err(ProofError::Layout(part));
                }
                set.load_reference_cloned().map_err(&bad)?
            }
            _ => return Err(ProofError::Layout(part)),
        };
        Self::of_list(list, main)
    }

    fn of_list(list: Cell, main: u16) -> Result<Self, ProofError> {
        let part = Part::Validators;
        let list = RawDict::<16>::from(Some(list));
        let mut by_name = BTreeMap::new();
        let mut total: u64 = 0;
        for index in 0..main {
            let key = CellBuilder::build_from(index).map_err(reading(part))?;
            let key = ordinary(&key, part)?;
            let found = list.get(key).map_err(reading(part))?;
            let mut found = found.ok_or(ProofError::Layout(part))?;
            let validator = load_validator(&mut found)
                .map_err(reading(part))?
                .ok_or(ProofError::Layout(part))?;
            total = total
                .checked_add(validator.weight)
                .ok_or(ProofError::Layout(part))?;
            // One key twice would be counted twice.
            if by_name.insert(name_of(&validator.key), validator).is_some() {
                return Err(ProofError::Layout(part));
            }
        }
        Ok(Self { by_name, total })
    }

    /// Whether more than two thirds of the weight signed the block.
    pub(super) fn signed(&self, block: &BlockId, set: &SignatureSet) -> Result<(), ProofError> {
        let message = set.message(block)?;
        let mut seen = BTreeSet::new();
        let mut signed: u64 = 0;
        for one in set.signatures() {
            let validator = self.by_name.get(&one.signer);
            let validator = validator.ok_or(ProofError::UnknownSigner)?;
            if !seen.insert(one.signer) {
                return Err(ProofError::RepeatedSigner);
            }
            VerifyingKey::from_bytes(&validator.key)
                .and_then(|key| {
                    let signature = ed25519_dalek::Signature::from_bytes(&one.signature);
                    key.verify_strict(&message, &signature)
                })
                .map_err(|_| ProofError::Signature)?;
            // Cannot overflow: distinct members of a set whose sum does not.
            signed = signed.saturating_add(validator.weight);
        }
        if enough(signed, self.total) {
            Ok(())
        } else {
            let total = self.total;
            Err(ProofError::TooLittleWeight { signed, total })
        }
    }
}

/// More than two thirds, exactly.
fn enough(signed: u64, total: u64) -> bool {
    u128::from(signed).saturating_mul(3) > u128::from(total).saturating_mul(2)
}

fn name_of(key: &[u8; 32]) -> [u8; 32] {
    let named = Sha256::new_with_prefix(NAMED_KEY.to_le_bytes());
    named.chain_update(key).finalize().into()
}

/// A parameter of the configuration; none when the proof shows that there is none.
fn parameter(configuration: &Cell, number: u32) -> Result<Option<Cell>, ProofError> {
    let part = Part::Configuration;
    let key = CellBuilder::build_from(number).map_err(reading(part))?;
    let key = ordinary(&key, part)?;
    let parameters = RawDict::<32>::from(Some(configuration.clone()));
    let found = parameters.get(key).map_err(reading(part))?;
    found
        .map(|mut found| found.load_reference_cloned().map_err(reading(part)))
        .transpose()
}

/// `None` for another layout.
fn load_validator(slice: &mut CellSlice<'_>) -> Result<Option<Validator>, Error> {
    let kind = slice.load_u8()?;
    if slice.load_u32()? != ED25519_KEY {
        return Ok(None);
    }
    let key = slice.load_u256()?.0;
    let weight = slice.load_u64()?;
    let rest = match kind {
        VALIDATOR => 0,
        VALIDATOR_WITH_ADDRESS => 256,
        _ => return Ok(None),
    };
    Ok((slice.size_bits() == rest && slice.is_refs_empty()).then_some(Validator { key, weight }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_are_not_enough_and_one_unit_more_is() {
        assert!(!enough(200, 300));
        assert!(enough(201, 300));
        assert!(!enough(66, 100));
        assert!(enough(67, 100));
        assert!(!enough(0, 0));
        assert!(!enough(u64::MAX / 2, u64::MAX));
        assert!(enough(u64::MAX, u64::MAX));
    }
}
