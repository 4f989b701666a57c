//! SPDM 1.1 GET_MEASUREMENTS (DMTF DSP0274), request and response, as they lie in evidence.
//!
//! Exactly one form is read: the one that NVIDIA's devices speak. Every byte is accounted for.

use std::collections::BTreeMap;

use p384::ecdsa::{Signature, VerifyingKey};
use protocol::codec::{DecodeError, Reader};
use protocol::digest::GpuNonce;

use crate::secp384r1;

/// Version 1.1, GET_MEASUREMENTS, signature requested, all measurements.
const REQUEST: [u8; 4] = [0x11, 0xe0, 0x01, 0xff];
/// Version 1.1, MEASUREMENTS, both parameters zero.
const RESPONSE: [u8; 4] = [0x11, 0x60, 0, 0];
/// r and s, big-endian.
const SIGNATURE_BYTES: usize = 96;
/// A measured value: SHA-384.
pub(super) const VALUE_BYTES: usize = 48;
/// Measurement specification: DMTF.
const DMTF: u8 = 1;
/// Type of a measured value: a digest of mutable firmware.
const VALUE_TYPE: u8 = 1;
/// A block's value with its type and its size.
const BLOCK_VALUE_BYTES: u16 = 51;

/// A request and its signed response.
#[derive(Debug)]
pub(super) struct SpdmReport<'a> {
    pub(super) nonce: GpuNonce,
    /// Measured values by their index, from 1 on.
    blocks: BTreeMap<u8, [u8; VALUE_BYTES]>,
    /// NVIDIA's part.
    pub(super) opaque: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8],
}

impl<'a> SpdmReport<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (signed, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>()?;
        Self::read(signed, signature).ok()
    }

    fn read(signed: &'a [u8], signature: &'a [u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(signed);
        from.magic(&REQUEST)?;
        let nonce = GpuNonce(from.array()?);
        from.magic(&[0])?; // slot
        from.magic(&RESPONSE)?;
        let count = from.u8()?;
        let [low, middle, high] = from.array()?;
        let length = u32::from_le_bytes([low, middle, high, 0]);
        let length = usize::try_from(length).map_err(|_| out_of_range())?;
        let blocks = read_blocks(from.slice(length)?, count)?;
        from.slice(32)?; // the responder's nonce
        let length = from.u16()?;
        let opaque = from.slice(usize::from(length))?;
        from.finish()?;
        Ok(Self {
            nonce,
            blocks,
            opaque,
            signed,
            signature,
        })
    }

    /// The value that a manifest calls `index`: manifests count from 0, reports from 1.
    pub(super) fn value(&self, index: u8) -> Option<&[u8; VALUE_BYTES]> {
        self.blocks.get(&index.checked_add(1)?)
    }

    /// Whether the key signed the request and all of the response before the signature.
    pub(super) fn is_signed(&self, key: &VerifyingKey) -> bool {
        Signature::from_slice(self.signature)
            .is_ok_and(|signature| secp384r1::verifies(key, self.signed, &signature))
    }
}

fn read_blocks(record: &[u8], count: u8) -> Result<BTreeMap<u8, [u8; VALUE_BYTES]>, DecodeError> {
    let mut from = Reader::new(record);
    let mut blocks = BTreeMap::new();
    for _ in 0..count {
        let index = from.u8()?;
        from.magic(&[DMTF])?;
        from.magic(&BLOCK_VALUE_BYTES.to_le_bytes())?;
        from.magic(&[VALUE_TYPE])?;
        if usize::from(from.u16()?) != VALUE_BYTES {
            return Err(out_of_range());
        }
        let again = blocks.insert(index, from.array()?).is_some();
        if index == 0 || again {
            return Err(out_of_range());
        }
    }
    from.finish()?;
    Ok(blocks)
}

const fn out_of_range() -> DecodeError {
    DecodeError::OutOfRange {
        field: "measurement",
    }
}
