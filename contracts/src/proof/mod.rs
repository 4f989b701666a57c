//! Accounts of the chain, checked by proof: nothing that a server says is believed but what its
//! bytes force.
//!
//! One thing comes in by trust, a key block of the masterchain ([`TrustedBlock::pin`]). From there
//! more than two thirds of the weight of the validators that a trusted key block names must have
//! signed the next block ([`TrustedBlock::follow`]), and every part of an account's state is bound
//! to such a block by Merkle proofs ([`TrustedBlock::account`]). [`ProvenAccount`] has no other
//! constructor. `docs/spec/chain-proofs.md` has the order of checks and every refusal.
//!
//! Deliberately not here: connections, clocks (freshness is asked of [`ProvenAccount`] with a
//! time), the choice between servers, and which block is pinned.

mod account;
mod block_id;
mod chain;
mod header;
mod merkle;
mod validators;

pub use account::{AccountProof, ProvenAccount};
pub use block_id::{BlockId, BlockIdError, FileHash, RootHash};
pub use chain::{Followed, Link, MAX_LINKS, TrustedBlock};
pub(crate) use header::ShownHeader;
pub use merkle::MAX_BAG_BYTES;
pub use validators::{MAX_VALIDATORS, Signature, SignatureSet};

use protocol::ton::NetworkId;

/// What of a proof was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The root of a block.
    Block,
    /// A block's header.
    Header,
    /// A block's Merkle update, which names the state after it.
    StateUpdate,
    /// What a block holds besides its header, down to the configuration of a key block.
    Configuration,
    /// The validators of the configuration.
    Validators,
    /// A shard's or the masterchain's state.
    State,
    /// The masterchain's list of shards.
    Shards,
    /// The dictionary of accounts.
    Accounts,
    /// One account.
    Account,
    /// The candidate that a signature of the newer form is over.
    Candidate,
}

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Header => "block header",
            Self::StateUpdate => "state update",
            Self::Configuration => "configuration",
            Self::Validators => "validator set",
            Self::State => "state",
            Self::Shards => "shard list",
            Self::Accounts => "account dictionary",
            Self::Account => "account",
            Self::Candidate => "signed candidate",
        })
    }
}

/// Why nothing was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than any proof that is taken.
    #[error("proof of {length} bytes; at most {MAX_BAG_BYTES} are taken")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Not a bag of cells with the expected number of roots, or a cell that contradicts itself.
    #[error("proof of the {0} is not a bag of cells of the expected form")]
    Bag(Part),
    /// The root is not a Merkle proof.
    #[error("proof of the {0} is not a Merkle proof")]
    NotAProof(Part),
    /// A proof of something else than what is trusted.
    #[error("proof is of another {0}")]
    Other(Part),
    /// The part is pruned away, so that the proof says nothing about it.
    #[error("proof leaves out the {0}")]
    Withheld(Part),
    /// Not the layout of the chain's scheme.
    #[error("{0} is of another layout")]
    Layout(Part),
    /// A block of another network.
    #[error("block of network {}; {} is expected", found.0, expected.0)]
    OtherNetwork {
        /// The block's.
        found: NetworkId,
        /// The trusted one.
        expected: NetworkId,
    },
    /// A link of a chain that does not start where the one before it ended.
    #[error("chain of blocks is broken")]
    Broken,
    /// A link to an earlier block, or to the same.
    #[error("link does not lead forward")]
    NotForward,
    /// A block outside the masterchain where only it can be.
    #[error("link leaves the masterchain")]
    NotMasterchain,
    /// More links than are followed at once.
    #[error("{count} links; at most {MAX_LINKS} are followed at once")]
    TooManyLinks {
        /// How many.
        count: usize,
    },
    /// A link from a block that names no validators.
    #[error("link starts at a block that is no key block")]
    NoKeyBlock,
    /// The destination names another key block as the one before it.
    #[error("destination follows another key block")]
    OtherKeyBlock,
    /// More validators than are counted.
    #[error("{count} validators; at most {MAX_VALIDATORS} are counted")]
    TooManyValidators {
        /// How many.
        count: usize,
    },
    /// A signature by nobody of the set.
    #[error("signature of a stranger to the validator set")]
    UnknownSigner,
    /// One validator's signature twice.
    #[error("two signatures of one validator")]
    RepeatedSigner,
    /// A signature that does not hold.
    #[error("signature of a validator does not hold")]
    Signature,
    /// Signatures over another block than the link's.
    #[error("signatures are over another block")]
    OtherCandidate,
    /// Not more than two thirds of the weight.
    #[error("signed by weight {signed} of {total}, which is not above two thirds")]
    TooLittleWeight {
        /// The signers' weight.
        signed: u64,
        /// The set's.
        total: u64,
    },
    /// A workchain that this program does not read.
    #[error("workchain {0} is not read")]
    Workchain(i8),
    /// A state that the proof does not bind to the block, or none where there is one.
    #[error("account is not the one that the proof binds to the block")]
    OtherAccount,
}

impl ProofError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "proof-too-long",
            Self::Bag(_) => "proof-bag",
            Self::NotAProof(_) => "proof-not-merkle",
            Self::Other(_) => "proof-other-root",
            Self::Withheld(_) => "proof-withheld",
            Self::Layout(_) => "proof-layout",
            Self::OtherNetwork { .. } => "proof-other-network",
            Self::Broken => "proof-broken-chain",
            Self::NotForward => "proof-not-forward",
            Self::NotMasterchain => "proof-not-masterchain",
            Self::TooManyLinks { .. } => "proof-too-many-links",
            Self::NoKeyBlock => "proof-no-key-block",
            Self::OtherKeyBlock => "proof-other-key-block",
            Self::TooManyValidators { .. } => "proof-too-many-validators",
            Self::UnknownSigner => "proof-unknown-signer",
            Self::RepeatedSigner => "proof-repeated-signer",
            Self::Signature => "proof-signature",
            Self::OtherCandidate => "proof-other-candidate",
            Self::TooLittleWeight { .. } => "proof-too-little-weight",
            Self::Workchain(_) => "proof-workchain",
            Self::OtherAccount => "proof-other-account",
        }
    }
}
