//! Receipts as they are kept: one file each, with the salt that opens its digests.
//!
//! The file proves origin to whoever is shown it; it holds no prompt and no answer. Verification
//! while a stream runs is `payment`'s; here is the later look, with nothing but the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::codec::DecodeError;
use protocol::digest::Salt;
use protocol::receipt::{Receipt, ReceiptError, SignedReceipt};
use protocol::statement::{STATEMENT_BYTES, Statement};
use serde::{Deserialize, Serialize};

use super::state::{StateDirectory, StateError};
use crate::payment::VerifiedReceipt;

/// A kept receipt is shorter.
pub const MAX_KEPT_BYTES: usize = 8192;

/// The file's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u16,
    receipt: String,
    salt: Salt,
    statement: String,
}

/// Why a kept receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeptReceiptError {
    /// The file is not of its form.
    #[error("not a kept receipt")]
    Malformed,
    /// The Statement is not one.
    #[error("the statement is malformed")]
    Statement(#[from] DecodeError),
    /// The receipt does not hold under the Statement's key.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The receipt names another Statement, or another boot.
    #[error("the receipt names another statement")]
    OtherStatement,
}

impl KeptReceiptError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "kept-receipt-malformed",
            Self::Statement(_) => "kept-receipt-statement",
            Self::Receipt(error) => error.code(),
            Self::OtherStatement => "receipt-statement",
        }
    }
}

/// A receipt, the Statement that covers its key, and the salt of its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReceipt {
    /// Checked under the Statement's receipt key.
    pub receipt: SignedReceipt,
    /// Says whose key it is; not appraised here.
    pub statement: Statement,
    /// Opens the digests.
    pub salt: Salt,
}

impl KeptReceipt {
    /// Writes a receipt, with the Statement that it names, to a file and returns the file's name.
    ///
    /// # Errors
    /// `Exists`, `Io`.
    pub fn keep(
        state: &StateDirectory,
        receipt: &VerifiedReceipt,
        appraised: &[Statement],
        salt: &Salt,
    ) -> Result<String, StateError> {
        let name = format!("receipt-{}.json", receipt.digest());
        let malformed = || StateError::Malformed {
            path: state.path(&name),
        };
        let named = receipt.receipt().statement;
        let mut appraised = appraised.iter();
        let statement = appraised
            .find(|statement| statement.digest() == named)
            .ok_or_else(malformed)?;
        let file = File {
            version: 1,
            receipt: STANDARD.encode(receipt.signed().encode()),
            salt: *salt,
            statement: STANDARD.encode(statement.encode()),
        };
        let mut text = serde_json::to_vec_pretty(&file).map_err(|_| malformed())?;
        text.push(b'\n');
        state.create(&name, &text)?;
        Ok(name)
    }

    /// Reads a file's bytes and checks what can be checked without anything else.
    ///
    /// # Errors
    /// See [`KeptReceiptError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeptReceiptError> {
        let file: File = serde_json::from_slice(bytes).map_err(|_| KeptReceiptError::Malformed)?;
        if file.version != 1 {
            return Err(KeptReceiptError::Malformed);
        }
        let (receipt, statement) = under_its_statement(&file.receipt, &file.statement)?;
        Ok(Self {
            receipt,
            statement,
            salt: file.salt,
        })
    }
}

/// A receipt whose signature holds under the Statement that it names, both base64.
pub(super) fn under_its_statement(
    receipt: &str,
    statement: &str,
) -> Result<(SignedReceipt, Statement), KeptReceiptError> {
    let decode = |text: &str| {
        STANDARD
            .decode(text)
            .map_err(|_| KeptReceiptError::Malformed)
    };
    let statement = decode(statement)?;
    if statement.len() != STATEMENT_BYTES {
        return Err(KeptReceiptError::Malformed);
    }
    let statement = Statement::decode(&statement)?;
    let receipt = SignedReceipt::decode(&decode(receipt)?).map_err(ReceiptError::Malformed)?;
    let said: &Receipt = receipt.verify(&statement.receipt_key)?;
    if said.statement != statement.digest() || said.boot_id != statement.boot_id {
        return Err(KeptReceiptError::OtherStatement);
    }
    Ok((receipt, statement))
}
