//! dm-verity parameters, and the digest that names a model image.
//!
//! The superblock that a formatting tool leaves on the disk is never read: every parameter comes
//! from a measured place (the command line for the root, the launch configuration for a model).

use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::digest::{ModelDigest, parse_hex, write_hex};

/// Data and hash blocks are this long; nothing else is accepted.
pub const BLOCK_BYTES: u32 = 4096;

/// Largest device that is accepted: 4 TiB, in blocks.
pub const MAX_DATA_BLOCKS: u64 = 1 << 30;

const DOMAIN: &[u8] = b"cocoon/model-digest/v1\0";
const ALGORITHM: &[u8; 16] = b"sha256\0\0\0\0\0\0\0\0\0\0";

/// Everything that the kernel needs to open a verity device with SHA-256 and 4096-byte blocks.
///
/// Text form: `sha256:4096:<data blocks>:<hash start block>:<salt hex>:<root hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerityParameters {
    /// Number of data blocks, at least 1.
    pub data_blocks: u64,
    /// First block of the hash tree, on the same device; not below `data_blocks`.
    pub hash_start_block: u64,
    /// 32 bytes of salt.
    pub salt: [u8; 32],
    /// Root hash.
    pub root: [u8; 32],
}

/// Verity parameters that are not of the text form, or not consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("verity parameters: `{field}` is malformed or outside its range")]
pub struct VerityError {
    /// The offending field.
    pub field: &'static str,
}

impl VerityParameters {
    /// The digest that names the image: SHA-256 over a domain, the hash algorithm (16 bytes,
    /// zero-padded), both block sizes (`u32`), block count and hash offset (`u64`), salt and root.
    #[must_use]
    pub fn model_digest(&self) -> ModelDigest {
        ModelDigest(
            Sha256::new()
                .chain_update(DOMAIN)
                .chain_update(ALGORITHM)
                .chain_update(BLOCK_BYTES.to_le_bytes())
                .chain_update(BLOCK_BYTES.to_le_bytes())
                .chain_update(self.data_blocks.to_le_bytes())
                .chain_update(self.hash_start_block.to_le_bytes())
                .chain_update(self.salt)
                .chain_update(self.root)
                .finalize()
                .into(),
        )
    }

    fn checked(self) -> Result<Self, VerityError> {
        if self.data_blocks == 0 || self.data_blocks > MAX_DATA_BLOCKS {
            return Err(VerityError {
                field: "data blocks",
            });
        }
        if self.hash_start_block < self.data_blocks || self.hash_start_block > MAX_DATA_BLOCKS {
            return Err(VerityError {
                field: "hash start block",
            });
        }
        Ok(self)
    }
}

impl core::str::FromStr for VerityParameters {
    type Err = VerityError;

    fn from_str(text: &str) -> Result<Self, VerityError> {
        let mut fields = text.split(':');
        let mut next = |field| fields.next().ok_or(VerityError { field });
        if next("hash algorithm")? != "sha256" {
            return Err(VerityError {
                field: "hash algorithm",
            });
        }
        if next("block size")? != "4096" {
            return Err(VerityError {
                field: "block size",
            });
        }
        let parameters = Self {
            data_blocks: decimal(next("data blocks")?, "data blocks")?,
            hash_start_block: decimal(next("hash start block")?, "hash start block")?,
            salt: parse_hex(next("salt")?).map_err(|_| VerityError { field: "salt" })?,
            root: parse_hex(next("root")?).map_err(|_| VerityError { field: "root" })?,
        };
        if fields.next().is_some() {
            return Err(VerityError { field: "end" });
        }
        parameters.checked()
    }
}

/// A decimal number in its one canonical form.
fn decimal(text: &str, field: &'static str) -> Result<u64, VerityError> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.starts_with('+'));
    if !canonical {
        return Err(VerityError { field });
    }
    text.parse().map_err(|_| VerityError { field })
}

impl fmt::Display for VerityParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sha256:{BLOCK_BYTES}:{}:{}:",
            self.data_blocks, self.hash_start_block
        )?;
        write_hex(&self.salt, f)?;
        f.write_str(":")?;
        write_hex(&self.root, f)
    }
}

crate::digest::written_as_text!(VerityParameters);

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const GOOD: VerityParameters = VerityParameters {
        data_blocks: 100,
        hash_start_block: 101,
        salt: [7; 32],
        root: [9; 32],
    };

    #[test]
    fn text_round_trips_in_one_form_only() {
        let text = GOOD.to_string();
        assert_eq!(text.parse(), Ok(GOOD));
        for (from, to) in [
            ("sha256", "sha1"),
            (":4096:", ":512:"),
            (":100:", ":0100:"),
            (":100:", ":+100:"),
            (":100:", ":0:"),
            (":101:", ":99:"),
        ] {
            assert!(
                text.replacen(from, to, 1)
                    .parse::<VerityParameters>()
                    .is_err(),
                "{to}"
            );
        }
        assert!((text + ":1").parse::<VerityParameters>().is_err());
    }

    #[test]
    fn each_malformed_field_is_refused_by_its_name_and_no_prefix_is_taken() {
        let text = GOOD.to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<VerityParameters>().is_err(), "{end}");
        }
        let refused = |from: &str, to: &str| {
            let changed = text.replacen(from, to, 1);
            changed.parse::<VerityParameters>().unwrap_err().field
        };
        assert_eq!(refused("sha256", "sha512"), "hash algorithm");
        assert_eq!(refused(":4096:", ":04096:"), "block size");
        for number in [
            "18446744073709551616",
            "1073741825",
            "-1",
            "1e3",
            "",
            " 100",
        ] {
            let number = std::format!(":{number}:");
            assert_eq!(refused(":100:", &number), "data blocks", "{number}");
            assert_eq!(refused(":101:", &number), "hash start block", "{number}");
        }
        assert_eq!(refused("0707", "070"), "salt");
        assert_eq!(refused("0909", "0G09"), "root");
        // Whatever its length, nothing of it is kept.
        let long = ":".repeat(1 << 20);
        assert_eq!(refused(":", &long), "block size");
    }

    #[test]
    fn every_parameter_changes_the_model_digest() {
        let mut others = [GOOD; 4];
        others[0].data_blocks = 99;
        others[1].hash_start_block = 102;
        others[2].salt[31] ^= 1;
        others[3].root[0] ^= 1;
        for other in others {
            assert_ne!(other.model_digest(), GOOD.model_digest());
        }
    }
}
