//! The answers of a lite-server, parsed once. Constructors and layouts: `lite_api.tl` of
//! ton-blockchain/ton.

use super::tl::{Reader, WireError};
use crate::proof::{BlockId, Link, MAX_LINKS, MAX_VALIDATORS, Signature, SignatureSet};

const ERROR: u32 = 0xbba9_e148;
const MASTERCHAIN_INFO: u32 = 0x8583_2881;
const SENT: u32 = 0x3950_e597;
const ACCOUNT_STATE: u32 = 0x7079_c751;
const PARTIAL_BLOCK_PROOF: u32 = 0x8ed0_d2c1;
const LINK_FORWARD: u32 = 0x520f_ce1c;
const LINK_BACK: u32 = 0xef7e_1bef;
const ORDINARY_SIGNATURES: u32 = 0xf644_a6e6;
const SIMPLEX_SIGNATURES: u32 = 0xac24_9800;

/// The code of a `liteServer.error`, if the answer is one. Its text is not looked at.
#[must_use]
pub fn read_error(answer: &[u8]) -> Option<i32> {
    let mut reader = Reader::new(answer);
    reader.expect(ERROR).ok()?;
    reader.i32().ok()
}

/// Reads `liteServer.sendMsgStatus`: the server passed a message on.
///
/// # Errors
/// See [`WireError`].
pub fn read_sent(answer: &[u8]) -> Result<(), WireError> {
    let mut reader = Reader::new(answer);
    reader.expect(SENT)?;
    reader.u32()?;
    reader.finish()
}

/// The last block that a server knows, as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasterchainInfo {
    /// The block.
    pub last: BlockId,
}

impl MasterchainInfo {
    /// Reads `liteServer.masterchainInfo`.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn read(answer: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(answer);
        reader.expect(MASTERCHAIN_INFO)?;
        let last = reader.block()?;
        reader.array::<32>()?; // hash of its state
        reader.i32()?; // the first state: workchain, root hash, file hash
        reader.array::<64>()?;
        reader.finish()?;
        Ok(Self { last })
    }
}

/// A chain of links, as far as the server chose to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    /// The links.
    pub links: Vec<Link>,
}

impl BlockProof {
    /// Reads `liteServer.partialBlockProof`. Both ends are named by the links as well; the answer's
    /// own words for them are not used, nor are its claims that the end was reached and which links
    /// lead to key blocks.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn read(answer: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(answer);
        reader.expect(PARTIAL_BLOCK_PROOF)?;
        reader.bool()?;
        reader.block()?;
        reader.block()?;
        let count = reader.count(MAX_LINKS)?;
        let links = (0..count).map(|_| link(&mut reader));
        let links = links.collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { links })
    }
}

fn link(reader: &mut Reader<'_>) -> Result<Link, WireError> {
    match reader.u32()? {
        LINK_FORWARD => {}
        LINK_BACK => return Err(WireError::BackwardLink),
        other => return Err(WireError::Constructor(other)),
    }
    reader.bool()?; // whether `to` is a key block: its header says so
    Ok(Link {
        from: reader.block()?,
        to: reader.block()?,
        header: reader.bytes()?.to_vec(),
        configuration: reader.bytes()?.to_vec(),
        signatures: signatures(reader)?,
    })
}

/// Both forms begin with two numbers that name the set, in either order; who is in it is proven.
fn signatures(reader: &mut Reader<'_>) -> Result<SignatureSet, WireError> {
    let form = reader.u32()?;
    if !matches!(form, ORDINARY_SIGNATURES | SIMPLEX_SIGNATURES) {
        return Err(WireError::Constructor(form));
    }
    reader.array::<8>()?;
    let count = reader.count(MAX_VALIDATORS)?;
    let signatures = (0..count).map(|_| signature(reader));
    let signatures = signatures.collect::<Result<_, _>>()?;
    if form == ORDINARY_SIGNATURES {
        return Ok(SignatureSet::Ordinary { signatures });
    }
    Ok(SignatureSet::Simplex {
        signatures,
        session: reader.array()?,
        slot: reader.u32()?,
        candidate: reader.bytes()?.to_vec(),
    })
}

fn signature(reader: &mut Reader<'_>) -> Result<Signature, WireError> {
    let signer = reader.array()?;
    let signature = reader.bytes()?;
    let signature = signature.try_into();
    Ok(Signature {
        signer,
        signature: signature.map_err(|_| WireError::SignatureLength)?,
    })
}

/// An account and its proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountAnswer {
    /// The masterchain block at which it was read, as the server says.
    pub at: BlockId,
    /// Proof of the shard's block, a bag of cells.
    pub shard_proof: Vec<u8>,
    /// Proof of the account, a bag of cells.
    pub proof: Vec<u8>,
    /// The account, a bag of cells; empty when there is none.
    pub state: Vec<u8>,
}

impl AccountAnswer {
    /// Reads `liteServer.accountState`. Which shard block has the account is proven; the answer's
    /// own word for it is not used.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn read(answer: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(answer);
        reader.expect(ACCOUNT_STATE)?;
        let at = reader.block()?;
        reader.block()?;
        let answer = Self {
            at,
            shard_proof: reader.bytes()?.to_vec(),
            proof: reader.bytes()?.to_vec(),
            state: reader.bytes()?.to_vec(),
        };
        reader.finish()?;
        Ok(answer)
    }
}
