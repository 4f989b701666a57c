//! From a trusted block to a later one, by the signatures of the validators that each key block
//! names.

use protocol::ton::NetworkId;
use tycho_types::cell::Cell;

use super::header::ShownBlock;
use super::merkle::tree;
use super::validators::{SignatureSet, Validators};
use super::{BlockId, Part, ProofError, RootHash};

/// Links followed at once; a longer way is followed in several.
pub const MAX_LINKS: usize = 64;

/// One step forward, as a server claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// A key block.
    pub from: BlockId,
    /// A later block, of which `from` is the last key block before it.
    pub to: BlockId,
    /// Proof of the header of `to`, a bag of cells.
    pub header: Vec<u8>,
    /// Proof of the configuration of `from`, a bag of cells.
    pub configuration: Vec<u8>,
    /// Who signed `to`.
    pub signatures: SignatureSet,
}

/// A block of the masterchain that the network agreed on, as far as [`TrustedBlock::pin`] was
/// right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedBlock {
    network: NetworkId,
    id: BlockId,
}

/// Where a chain of links led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The last block of the chain; where it started, if there are no links.
    pub block: TrustedBlock,
    /// The last key block of the chain, from which to go on; where it started, if there is none.
    pub key_block: TrustedBlock,
    /// Every key block on the way: a link leads past none.
    pub passed: Vec<BlockId>,
}

impl TrustedBlock {
    /// Takes a key block of the masterchain on trust: this is where trust enters. It must come from
    /// the program, its settings or its own state, never from a server that is then to be checked.
    ///
    /// # Errors
    /// `NotMasterchain`.
    pub fn pin(network: NetworkId, id: BlockId) -> Result<Self, ProofError> {
        if !id.is_masterchain() {
            return Err(ProofError::NotMasterchain);
        }
        Ok(Self { network, id })
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &BlockId {
        &self.id
    }

    /// Its network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// Follows a chain of links that starts here, at a key block.
    ///
    /// # Errors
    /// The first refusal, in the order of `docs/spec/chain-proofs.md` §3.
    pub fn follow(&self, links: &[Link]) -> Result<Followed, ProofError> {
        if links.len() > MAX_LINKS {
            return Err(ProofError::TooManyLinks { count: links.len() });
        }
        let mut followed = Followed {
            block: *self,
            key_block: *self,
            passed: Vec::new(),
        };
        for link in links {
            let (next, destination) = followed.block.step(link)?;
            followed.block = next;
            if destination.key_block {
                followed.key_block = next;
                followed.passed.push(next.id);
            }
        }
        Ok(followed)
    }

    fn step(&self, link: &Link) -> Result<(Self, ShownBlock), ProofError> {
        if link.from != self.id {
            return Err(ProofError::Broken);
        }
        if !link.to.is_masterchain() {
            return Err(ProofError::NotMasterchain);
        }
        if link.to.seqno <= self.id.seqno {
            return Err(ProofError::NotForward);
        }
        let source = self.shown(&link.configuration)?;
        let validators = Validators::read(&source.configuration()?)?;
        let next = Self {
            network: self.network,
            id: link.to,
        };
        let destination = next.shown(&link.header)?;
        // Otherwise validators of long ago could sign past all those who came after them.
        if destination.previous_key_block != self.id.seqno {
            return Err(ProofError::OtherKeyBlock);
        }
        validators.signed(&link.to, &link.signatures)?;
        Ok((next, destination))
    }

    /// What a proof shows of this very block.
    fn shown(&self, proof: &[u8]) -> Result<ShownBlock, ProofError> {
        self.shown_by(&tree(proof, &self.id.root, Part::Block)?)
    }

    /// What the tree of a proof shows of this very block.
    pub(super) fn shown_by(&self, tree: &Cell) -> Result<ShownBlock, ProofError> {
        let shown = ShownBlock::read(tree)?;
        self.of_this_network(shown.network)?;
        if !shown.stands_at(&self.id) {
            return Err(ProofError::Other(Part::Header));
        }
        Ok(shown)
    }

    /// Refuses what belongs to another network.
    pub(super) fn of_this_network(&self, found: NetworkId) -> Result<(), ProofError> {
        let expected = self.network;
        if found == expected {
            Ok(())
        } else {
            Err(ProofError::OtherNetwork { found, expected })
        }
    }

    pub(super) const fn root(&self) -> &RootHash {
        &self.id.root
    }
}
