//! The launch configuration: one canonical JSON document on a read-only disk, measured by its
//! digest in HOST_DATA (SEV-SNP) or MRCONFIGID (TDX). `docs/spec/launch-configuration.md`.
//!
//! No member can weaken privacy: it names models, prices, the payee and limits. Unknown members
//! are refused, and so is any byte that differs from the one canonical form.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::{ConfigDigest, HostData, ModelDigest, MrConfigId};
use crate::receipt::{TokenCounts, TokenPrices};
use crate::ton::{NetworkId, TonAddress};
use crate::verity::VerityParameters;

/// The document is at most this long.
pub const MAX_BYTES: usize = 64 * 1024;
/// Serial number of the virtio-blk disk that carries it.
pub const DISK_SERIAL: &str = "launch-config";
/// At most this many models.
pub const MAX_MODELS: usize = 4;

/// What the provider set for this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchConfiguration {
    /// Version of the document, 1.
    pub version: u16,
    /// The TON network on which payment is claimed.
    pub network: NetworkId,
    /// Who is paid.
    pub payee: TonAddress,
    /// Minter of the jetton that is paid in; absent for the network's own coin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jetton: Option<TonAddress>,
    /// The models on the model disks, in the order of their disks (`model-0`, …).
    pub models: Vec<ModelEntry>,
    /// What the machine takes on at most.
    pub limits: Limits,
}

/// One model image and its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The name used in requests: 1 to 64 characters of `a-z 0-9 . - _`.
    pub name: String,
    /// Parameters of the model's disk.
    pub verity: VerityParameters,
    /// Price per token, in the smallest units of what is paid in.
    pub prices: TokenPrices,
}

/// Limits of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Streams at once, 1 to 256.
    pub streams: u16,
    /// Prompt and completion together, in tokens, 16 to 2^20.
    pub context_tokens: u32,
    /// Completion tokens that a client may leave unacknowledged, 1 to 4096.
    pub increment_tokens: u32,
}

/// Why a launch configuration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaunchConfigurationError {
    /// Longer than [`MAX_BYTES`].
    #[error("launch configuration longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON of the specified members; an unknown or repeated member counts as such.
    #[error("launch configuration is not of the specified form (line {line}, column {column})")]
    Malformed {
        /// Line of the first offence.
        line: usize,
        /// Column of the first offence.
        column: usize,
    },
    /// Valid, but not in its one canonical form.
    #[error("launch configuration is not in canonical form")]
    NotCanonical,
    /// A member is outside its range.
    #[error("launch configuration member `{member}` is outside its range")]
    OutOfRange {
        /// The member.
        member: &'static str,
    },
}

impl LaunchConfigurationError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "launch-configuration-too-long",
            Self::Malformed { .. } => "launch-configuration-malformed",
            Self::NotCanonical => "launch-configuration-not-canonical",
            Self::OutOfRange { .. } => "launch-configuration-out-of-range",
        }
    }
}

impl LaunchConfiguration {
    /// Parses the document's bytes.
    ///
    /// # Errors
    /// See [`LaunchConfigurationError`]; nothing of the document's content is repeated in them.
    pub fn parse(bytes: &[u8]) -> Result<Self, LaunchConfigurationError> {
        if bytes.len() > MAX_BYTES {
            return Err(LaunchConfigurationError::TooLong);
        }
        let parsed: Self =
            serde_json::from_slice(bytes).map_err(|error| LaunchConfigurationError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        parsed.check_ranges()?;
        if parsed.to_canonical_bytes()? != bytes {
            return Err(LaunchConfigurationError::NotCanonical);
        }
        Ok(parsed)
    }

    /// The canonical bytes: members in the order of this type, no white space.
    ///
    /// # Errors
    /// `OutOfRange` when a member is outside its range.
    pub fn to_canonical_bytes(&self) -> Result<Vec<u8>, LaunchConfigurationError> {
        self.check_ranges()?;
        serde_json::to_vec(self)
            .map_err(|_| LaunchConfigurationError::OutOfRange { member: "document" })
    }

    /// The model of that name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&ModelEntry> {
        self.models.iter().find(|model| model.name == name)
    }

    /// Digests of all models, in order.
    #[must_use]
    pub fn model_digests(&self) -> Vec<ModelDigest> {
        self.models
            .iter()
            .map(|model| model.verity.model_digest())
            .collect()
    }

    fn check_ranges(&self) -> Result<(), LaunchConfigurationError> {
        let in_range = |ok: bool, member| {
            if ok {
                Ok(())
            } else {
                Err(LaunchConfigurationError::OutOfRange { member })
            }
        };
        in_range(self.version == 1, "version")?;
        in_range(matches!(self.models.len(), 1..=MAX_MODELS), "models")?;
        in_range(matches!(self.limits.streams, 1..=256), "limits.streams")?;
        let context = self.limits.context_tokens;
        in_range(matches!(context, 16..=1_048_576), "limits.context_tokens")?;
        let increment = self.limits.increment_tokens;
        in_range(matches!(increment, 1..=4096), "limits.increment_tokens")?;
        for (at, model) in self.models.iter().enumerate() {
            let mut earlier = self.models.iter().take(at);
            let is_new = earlier.all(|one| one.name != model.name);
            in_range(is_new && is_model_name(&model.name), "models.name")?;
            // The dearest request that the limits allow must be expressible.
            let dearest = TokenCounts {
                prompt: context,
                cached: context,
                completion: context,
            };
            in_range(model.prices.cost(&dearest).is_ok(), "models.prices")?;
        }
        Ok(())
    }
}

fn is_model_name(name: &str) -> bool {
    matches!(name.len(), 1..=64)
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
}

/// SHA-256 of the document's bytes as they lie on the disk.
#[must_use]
pub fn config_digest(bytes: &[u8]) -> ConfigDigest {
    ConfigDigest(Sha256::digest(bytes).into())
}

/// HOST_DATA of a machine that was launched with this configuration.
#[must_use]
pub const fn host_data(digest: &ConfigDigest) -> HostData {
    HostData(digest.0)
}

/// MRCONFIGID of a machine that was launched with this configuration: the digest, then zeros.
#[must_use]
pub fn mr_config_id(digest: &ConfigDigest) -> MrConfigId {
    let mut bytes = [0; 48];
    for (to, from) in bytes.iter_mut().zip(digest.0) {
        *to = from;
    }
    MrConfigId(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn good() -> LaunchConfiguration {
        LaunchConfiguration {
            version: 1,
            network: NetworkId(-7357),
            payee: TonAddress {
                workchain: 0,
                account: crate::digest::AccountId([3; 32]),
            },
            jetton: None,
            models: std::vec![ModelEntry {
                name: "smollm2-135m-instruct".to_string(),
                verity: VerityParameters {
                    data_blocks: 24_000,
                    hash_start_block: 24_000,
                    salt: [1; 32],
                    root: [2; 32],
                },
                prices: TokenPrices {
                    prompt: 20,
                    cached: 2,
                    completion: 160
                },
            }],
            limits: Limits {
                streams: 4,
                context_tokens: 2048,
                increment_tokens: 64,
            },
        }
    }

    fn refusal(text: &str) -> &'static str {
        LaunchConfiguration::parse(text.as_bytes())
            .unwrap_err()
            .code()
    }

    #[test]
    fn the_canonical_form_round_trips() {
        let bytes = good().to_canonical_bytes().unwrap();
        assert_eq!(LaunchConfiguration::parse(&bytes), Ok(good()));
    }

    #[test]
    fn refuses_unknown_repeated_and_missing_members() {
        let text = String::from_utf8(good().to_canonical_bytes().unwrap()).unwrap();
        let with = text.replacen("\"version\":1", "\"version\":1,\"debug\":true", 1);
        assert_eq!(refusal(&with), "launch-configuration-malformed");
        let twice = text.replacen("\"version\":1", "\"version\":1,\"version\":1", 1);
        assert_eq!(refusal(&twice), "launch-configuration-malformed");
        let without = text.replacen("\"version\":1,", "", 1);
        assert_eq!(refusal(&without), "launch-configuration-malformed");
    }

    #[test]
    fn a_jetton_is_named_by_its_minter_and_the_coin_by_saying_nothing() {
        let coin = String::from_utf8(good().to_canonical_bytes().unwrap()).unwrap();
        assert!(!coin.contains("jetton"));
        let mut configuration = good();
        let minter = TonAddress {
            workchain: 0,
            account: crate::digest::AccountId([4; 32]),
        };
        configuration.jetton = Some(minter);
        let bytes = configuration.to_canonical_bytes().unwrap();
        assert_eq!(LaunchConfiguration::parse(&bytes), Ok(configuration));
        let named = std::format!(",\"jetton\":\"{minter}\",\"models\"");
        assert_eq!(bytes, coin.replacen(",\"models\"", &named, 1).into_bytes());
        let none = coin.replacen(",\"models\"", ",\"jetton\":null,\"models\"", 1);
        assert_eq!(refusal(&none), "launch-configuration-not-canonical");
        let name = coin.replacen(",\"models\"", ",\"jetton\":\"USDT\",\"models\"", 1);
        assert_eq!(refusal(&name), "launch-configuration-malformed");
    }

    #[test]
    fn refuses_every_spelling_but_the_canonical_one() {
        let text = String::from_utf8(good().to_canonical_bytes().unwrap()).unwrap();
        for (from, to) in [(":", ": "), ("smollm2", "smol\\u006cm2")] {
            assert_eq!(
                refusal(&text.replacen(from, to, 1)),
                "launch-configuration-not-canonical"
            );
        }
        assert_eq!(
            refusal(&(text + "\n")),
            "launch-configuration-not-canonical"
        );
    }

    #[test]
    fn refuses_what_is_too_long_before_it_parses() {
        assert_eq!(
            refusal(&" ".repeat(MAX_BYTES + 1)),
            "launch-configuration-too-long"
        );
    }

    #[test]
    fn refuses_members_outside_their_range() {
        let refused = |change: fn(&mut LaunchConfiguration)| {
            let mut configuration = good();
            change(&mut configuration);
            configuration.to_canonical_bytes().unwrap_err().code()
        };
        let out = "launch-configuration-out-of-range";
        assert_eq!(refused(|c| c.version = 2), out);
        assert_eq!(refused(|c| c.models.clear()), out);
        assert_eq!(refused(|c| c.models[0].name = "UPPER".to_string()), out);
        assert_eq!(refused(|c| c.models.push(c.models[0].clone())), out);
        assert_eq!(refused(|c| c.limits.streams = 0), out);
        assert_eq!(refused(|c| c.limits.increment_tokens = 0), out);
        assert_eq!(refused(|c| c.limits.context_tokens = 0), out);
    }
}
