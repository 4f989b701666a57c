//! What takes a stake: the provider's word for a receipt key, and two receipts that contradict each
//! other or one that is later than a revocation. Each is checked here as the contract checks it, so
//! that nobody pays for a message that is refused.
//!
//! `docs/spec/stake.md` §2 to §5. Deliberately not here: whether a report is worth its price, and
//! where bindings are kept.

use ed25519_dalek::SigningKey;
use protocol::digest::{Freshness, MeasurementKey, ProviderKey, ReceiptKey, Signature};
use protocol::receipt::{Receipt, SignedReceipt};
use protocol::ton::{NetworkId, TonAddress};
use sha2::{Digest as _, Sha256};
use tycho_types::cell::{Cell, CellBuilder, HashBytes};

use super::{MESSAGE_VALUE, StakeTerms};
use crate::cells::{self, CellError};
use crate::message::{Transfer, operation};
use crate::proof::{BlockId, ProofError, ShownHeader};
use crate::registry::{self, Listed, RegistryEntry};

const OP_CONFLICT: u32 = 0x5354_0004;
/// "BND1".
const BINDING_TAG: u32 = 0x424e_4431;
const BEACON_DOMAIN: &[u8] = b"cocoon/beacon/v1\0";
/// Whole bytes of a cell's data, of which a receipt's chain is made.
const CHUNK: usize = 127;
/// A signed binding as a bag of cells is not longer.
pub const MAX_BINDING_BYTES: usize = 512;

/// Why something is no evidence: a report of it would be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The bytes are no signed binding.
    #[error("not a signed binding")]
    NotABinding,
    /// Binding, receipt or block of another network.
    #[error("evidence of network {}; {} is expected", found.0, expected.0)]
    OtherNetwork {
        /// Whose it is.
        found: NetworkId,
        /// Where the stake is.
        expected: NetworkId,
    },
    /// The binding is for another stake.
    #[error("binding is for another stake")]
    OtherStake,
    /// The provider did not sign the binding.
    #[error("provider's signature of the binding does not hold")]
    BadBinding,
    /// The bound key did not sign a receipt.
    #[error("signature of a receipt does not hold under the bound key")]
    BadReceipt,
    /// Two receipts that an honest machine may have made.
    #[error("receipts do not contradict each other")]
    NoConflict,
    /// The receipt names another block.
    #[error("receipt names another block")]
    OtherBeacon,
    /// The block is not shown.
    #[error("block is not shown")]
    Block(#[source] ProofError),
    /// The measurement stands, or the block is not later than its revocation and the grace period.
    #[error("receipt is not later than a revocation and its grace period")]
    NotLate,
    /// More than cells hold.
    #[error(transparent)]
    Cell(#[from] CellError),
}

impl EvidenceError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotABinding => "stake-not-a-binding",
            Self::OtherNetwork { .. } => "stake-other-network",
            Self::OtherStake => "stake-other-stake",
            Self::BadBinding => "stake-binding-signature",
            Self::BadReceipt => "stake-receipt-signature",
            Self::NoConflict => "stake-no-conflict",
            Self::OtherBeacon => "stake-other-beacon",
            Self::Block(error) => error.code(),
            Self::NotLate => "stake-not-late",
            Self::Cell(_) => "stake-does-not-fit",
        }
    }
}

/// The provider's word that a receipt key is its machine's, and which image that machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The network of the stake.
    pub network: NetworkId,
    /// The stake that stands behind the machine.
    pub stake: TonAddress,
    /// The machine's receipt key.
    pub receipt_key: ReceiptKey,
    /// The registry's key of the image that it runs.
    pub measurement: MeasurementKey,
}

impl Binding {
    fn cell(&self) -> Result<Cell, CellError> {
        let mut cell = CellBuilder::new();
        cell.store_u32(BINDING_TAG)
            .and_then(|()| cell.store_u32(self.network.0.cast_unsigned()))
            .map_err(CellError::building)?;
        cells::store_address(&mut cell, &self.stake)?;
        for key in [self.receipt_key.as_bytes(), self.measurement.as_bytes()] {
            cell.store_u256(&HashBytes(*key))
                .map_err(CellError::building)?;
        }
        cell.build().map_err(CellError::building)
    }

    fn parse(cell: &Cell) -> Result<Self, CellError> {
        let mut slice = cell.as_slice().map_err(CellError::parsing)?;
        if slice.load_u32().map_err(CellError::parsing)? != BINDING_TAG {
            return Err(CellError::Malformed);
        }
        let network = slice.load_u32().map_err(CellError::parsing)?;
        let stake = cells::load_address(&mut slice)?;
        let receipt_key = slice.load_u256().map_err(CellError::parsing)?;
        let measurement = slice.load_u256().map_err(CellError::parsing)?;
        cells::finish(&slice)?;
        Ok(Self {
            network: NetworkId(network.cast_signed()),
            stake,
            receipt_key: ReceiptKey(receipt_key.0),
            measurement: MeasurementKey(measurement.0),
        })
    }

    /// Signs it with the provider's key.
    ///
    /// # Errors
    /// `CellError` never in practice.
    pub fn sign(self, key: &SigningKey) -> Result<SignedBinding, CellError> {
        let signature = Signature::by(key, &self.cell()?.repr_hash().0);
        Ok(SignedBinding {
            binding: self,
            signature,
        })
    }
}

/// A binding with the provider's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedBinding {
    /// What is bound.
    pub binding: Binding,
    /// Ed25519 over the hash of the binding's cell.
    pub signature: Signature,
}

impl SignedBinding {
    /// As a bag of cells, to be kept with receipts.
    ///
    /// # Errors
    /// `CellError` never in practice.
    pub fn encode(&self) -> Result<Vec<u8>, CellError> {
        Ok(cells::encode(&self.cell()?))
    }

    /// Reads [`SignedBinding::encode`]'s bytes; whose it is, [`SignedBinding::for_stake`] says.
    ///
    /// # Errors
    /// `NotABinding`, also for more than [`MAX_BINDING_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > MAX_BINDING_BYTES {
            return Err(EvidenceError::NotABinding);
        }
        Self::parse(bytes).map_err(|_| EvidenceError::NotABinding)
    }

    fn parse(bytes: &[u8]) -> Result<Self, CellError> {
        let root = cells::decode(bytes)?;
        let mut slice = root.as_slice().map_err(CellError::parsing)?;
        let head = slice.load_u256().map_err(CellError::parsing)?;
        let tail = slice.load_u256().map_err(CellError::parsing)?;
        let binding = slice.load_reference_cloned().map_err(CellError::parsing)?;
        cells::finish(&slice)?;
        let mut signature = [0; 64];
        let halves = head.0.iter().chain(&tail.0);
        signature
            .iter_mut()
            .zip(halves)
            .for_each(|(to, from)| *to = *from);
        Ok(Self {
            binding: Binding::parse(&binding)?,
            signature: Signature(signature),
        })
    }

    fn cell(&self) -> Result<Cell, CellError> {
        signed(&self.signature, self.binding.cell()?)
    }

    /// The binding, when the provider of these terms signed it for the stake under them.
    ///
    /// # Errors
    /// `BadBinding`, `OtherNetwork`, `OtherStake`, in this order.
    pub fn for_stake(
        &self,
        network: NetworkId,
        terms: &StakeTerms,
    ) -> Result<&Binding, EvidenceError> {
        let ProviderKey(key) = &terms.provider_key;
        let hash = self.binding.cell()?.repr_hash().0;
        if !self.signature.holds(key, &hash) {
            return Err(EvidenceError::BadBinding);
        }
        same_network(self.binding.network, network)?;
        if self.binding.stake != terms.address()? {
            return Err(EvidenceError::OtherStake);
        }
        Ok(&self.binding)
    }

    /// What a receipt says that the bound key signed. Whether its amount is right is not asked: a
    /// machine that signs a wrong one answers for it as well.
    fn receipt<'r>(&self, signed: &'r SignedReceipt) -> Result<&'r Receipt, EvidenceError> {
        let (ReceiptKey(key), receipt) = (&self.binding.receipt_key, &signed.receipt);
        if !signed.signature.holds(key, &receipt.digest().0) {
            return Err(EvidenceError::BadReceipt);
        }
        same_network(receipt.network, self.binding.network)?;
        Ok(receipt)
    }
}

fn same_network(found: NetworkId, expected: NetworkId) -> Result<(), EvidenceError> {
    if found == expected {
        Ok(())
    } else {
        Err(EvidenceError::OtherNetwork { found, expected })
    }
}

/// Two different receipts of one machine with one number: an honest one never signs them. Made by
/// [`Conflict::of`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    binding: SignedBinding,
    first: SignedReceipt,
    second: SignedReceipt,
}

impl Conflict {
    /// Checks it as the contract does.
    ///
    /// # Errors
    /// The first refusal, in the contract's order.
    pub fn of(
        network: NetworkId,
        terms: &StakeTerms,
        binding: SignedBinding,
        (first, second): (SignedReceipt, SignedReceipt),
    ) -> Result<Self, EvidenceError> {
        binding.for_stake(network, terms)?;
        let (one, other) = (binding.receipt(&first)?, binding.receipt(&second)?);
        let numbers = |it: &Receipt| (it.boot_id, it.channel, it.sequence);
        if one.digest() == other.digest() || numbers(one) != numbers(other) {
            return Err(EvidenceError::NoConflict);
        }
        Ok(Self {
            binding,
            first,
            second,
        })
    }

    /// Takes the stake; the sender gets a tenth of it.
    ///
    /// # Errors
    /// `CellError` never in practice.
    pub fn report(&self) -> Result<Transfer, CellError> {
        let mut body = operation(OP_CONFLICT)?;
        for part in [
            self.binding.cell()?,
            receipt_cell(&self.first)?,
            receipt_cell(&self.second)?,
        ] {
            body.store_reference(part).map_err(CellError::building)?;
        }
        Transfer::to_contract(&self.binding.binding.stake, MESSAGE_VALUE, body)
    }
}

/// A masterchain block, as much of it as shows its time under the beacon that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconBlock {
    network: NetworkId,
    id: BlockId,
    time: u32,
    header: Cell,
    others: Cell,
}

impl BeaconBlock {
    /// Out of a proof of the block's header, a bag of cells as lite-servers give it.
    ///
    /// # Errors
    /// `Block` when it is not shown, or part of its header is left out.
    pub fn of_proof(network: NetworkId, id: BlockId, proof: &[u8]) -> Result<Self, EvidenceError> {
        let shown = ShownHeader::read(network, &id, proof).map_err(EvidenceError::Block)?;
        let mut others = CellBuilder::new();
        for other in &shown.others {
            others
                .store_u256(other.hash(0))
                .map_err(CellError::building)?;
        }
        for other in &shown.others {
            others
                .store_u16(other.depth(0))
                .map_err(CellError::building)?;
        }
        Ok(Self {
            network,
            id,
            time: shown.time,
            header: shown.header,
            others: others.build().map_err(CellError::building)?,
        })
    }

    /// What a receipt calls the block.
    #[must_use]
    pub fn beacon(&self) -> Freshness {
        let hash = Sha256::new_with_prefix(BEACON_DOMAIN)
            .chain_update(self.network.0.to_le_bytes())
            .chain_update(self.id.seqno.to_le_bytes())
            .chain_update(self.id.root.0)
            .chain_update(self.id.file.0);
        Freshness(hash.finalize().into())
    }

    /// When it was made, unix seconds.
    #[must_use]
    pub const fn time(&self) -> u32 {
        self.time
    }

    fn cell(&self) -> Result<Cell, CellError> {
        let mut cell = CellBuilder::new();
        cell.store_u256(&HashBytes(self.id.file.0))
            .and_then(|()| cell.store_reference(self.header.clone()))
            .and_then(|()| cell.store_reference(self.others.clone()))
            .and_then(|()| cell.build())
            .map_err(CellError::building)
    }
}

/// A receipt over a beacon later than its image's revocation and the grace period. Made by
/// [`Late::of`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    registry: TonAddress,
    binding: SignedBinding,
    receipt: SignedReceipt,
    block: BeaconBlock,
}

impl Late {
    /// Checks it as the contract does. `entry` is what the registry of these terms says of the
    /// bound measurement; the registry itself will say it to the contract.
    ///
    /// # Errors
    /// The first refusal.
    pub fn of(
        network: NetworkId,
        terms: &StakeTerms,
        binding: SignedBinding,
        entry: &RegistryEntry,
        receipt: SignedReceipt,
        block: BeaconBlock,
    ) -> Result<Self, EvidenceError> {
        binding.for_stake(network, terms)?;
        let named = binding.receipt(&receipt)?.beacon;
        same_network(block.network, network)?;
        if named != block.beacon() {
            return Err(EvidenceError::OtherBeacon);
        }
        let end = u64::from(entry.revoked_at).saturating_add(u64::from(terms.grace));
        if entry.revoked_at == 0 || u64::from(block.time) <= end {
            return Err(EvidenceError::NotLate);
        }
        Ok(Self {
            registry: terms.registry,
            binding,
            receipt,
            block,
        })
    }

    /// Has the registry tell the stake of the revocation, with this evidence; the sender gets a
    /// tenth of the stake.
    ///
    /// # Errors
    /// `CellError` never in practice.
    pub fn report(&self) -> Result<Transfer, CellError> {
        let mut evidence = CellBuilder::new();
        for part in [
            self.binding.cell()?,
            receipt_cell(&self.receipt)?,
            self.block.cell()?,
        ] {
            evidence
                .store_reference(part)
                .map_err(CellError::building)?;
        }
        let evidence = evidence.build().map_err(CellError::building)?;
        let Binding {
            stake, measurement, ..
        } = &self.binding.binding;
        let listed = Listed::Measurement(*measurement);
        registry::tell(&self.registry, &listed, stake, Some(evidence))
    }
}

/// Signature, and a reference to what it is over.
fn signed(signature: &Signature, content: Cell) -> Result<Cell, CellError> {
    let mut cell = CellBuilder::new();
    cell.store_raw(signature.as_bytes(), 512)
        .and_then(|()| cell.store_reference(content))
        .and_then(|()| cell.build())
        .map_err(CellError::building)
}

/// A signed receipt: its bytes in a chain of cells of 127, 127, 127 and 6 bytes.
fn receipt_cell(receipt: &SignedReceipt) -> Result<Cell, CellError> {
    let bytes = receipt.receipt.encode();
    let mut next = None;
    for chunk in bytes.chunks(CHUNK).rev() {
        let bits = u16::try_from(chunk.len().saturating_mul(8));
        let bits = bits.map_err(|_| CellError::DoesNotFit)?;
        let mut cell = CellBuilder::new();
        cell.store_raw(chunk, bits).map_err(CellError::building)?;
        if let Some(next) = next.take() {
            cell.store_reference(next).map_err(CellError::building)?;
        }
        next = Some(cell.build().map_err(CellError::building)?);
    }
    signed(&receipt.signature, next.ok_or(CellError::Malformed)?)
}
