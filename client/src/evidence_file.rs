//! Evidence as it is kept: what the machine sent, and the connection over which it came.
//!
//! Whoever reads the file can repeat the appraisal, but not the connection: nonce and exporter are
//! what the file says they were. A result from here opens no channel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::codec::DecodeError;
use protocol::digest::{Exporter, Nonce, SpkiDigest};
use protocol::evidence::{Evidence, MAX_BYTES};
use serde::{Deserialize, Serialize};
use verifier::ChannelBinding;

use crate::channel::Answer;

/// A file is at most this long: evidence in base64, and the rest.
pub const MAX_FILE_BYTES: usize = MAX_BYTES * 3 / 2;

/// Why a file is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceFileError {
    /// Not of the file's form.
    #[error("not an evidence file")]
    Malformed,
    /// The evidence within is malformed.
    #[error("the evidence within is malformed")]
    Evidence(#[from] DecodeError),
}

impl EvidenceFileError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "evidence-file-malformed",
            Self::Evidence(_) => "evidence-malformed",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u16,
    nonce: Nonce,
    exporter: Exporter,
    tls_key: SpkiDigest,
    evidence: String,
}

/// The file of an answer to a challenge.
///
/// # Errors
/// `Malformed` never in practice: the members are text.
pub fn encode(answer: &Answer) -> Result<Vec<u8>, EvidenceFileError> {
    let file = File {
        version: 1,
        nonce: answer.binding.nonce,
        exporter: answer.binding.exporter,
        tls_key: answer.binding.tls_key,
        evidence: STANDARD.encode(&answer.encoded),
    };
    let mut text = serde_json::to_vec_pretty(&file).map_err(|_| EvidenceFileError::Malformed)?;
    text.push(b'\n');
    Ok(text)
}

/// Reads a file.
///
/// # Errors
/// See [`EvidenceFileError`].
pub fn parse(bytes: &[u8]) -> Result<(Evidence, ChannelBinding), EvidenceFileError> {
    let file: File = serde_json::from_slice(bytes).map_err(|_| EvidenceFileError::Malformed)?;
    if file.version != 1 {
        return Err(EvidenceFileError::Malformed);
    }
    let encoded = STANDARD
        .decode(&file.evidence)
        .map_err(|_| EvidenceFileError::Malformed)?;
    let binding = ChannelBinding {
        nonce: file.nonce,
        exporter: file.exporter,
        tls_key: file.tls_key,
    };
    Ok((Evidence::decode(&encoded)?, binding))
}
