//! The two things of TON that everyone must be able to name: a network and an address.

use core::fmt;

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::AccountId;

/// A TON network's global id: -239 is the main network. Research deployments have their own, so
/// that nothing signed for one is valid on another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct NetworkId(pub i32);

impl NetworkId {
    /// The main network.
    pub const MAIN: Self = Self(-239);
}

/// A standard internal address; text form `workchain:account` in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TonAddress {
    /// 0 for the base chain, -1 for the masterchain.
    pub workchain: i8,
    /// The account within it.
    pub account: AccountId,
}

/// Text that is not `workchain:account`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an address of the form `0:` and 64 lower-case hex digits")]
pub struct AddressError;

impl TonAddress {
    /// Reads 33 bytes: the workchain and the account.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [workchain] = reader.array::<1>()?.map(u8::cast_signed);
        Ok(Self {
            workchain,
            account: AccountId(reader.array()?),
        })
    }

    /// Writes 33 bytes.
    pub fn write(&self, writer: &mut Writer) {
        writer
            .u8(self.workchain.cast_unsigned())
            .raw(self.account.as_bytes());
    }
}

impl fmt::Display for TonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workchain, self.account)
    }
}

impl fmt::Debug for TonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for TonAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (workchain, account) = text.split_once(':').ok_or(AddressError)?;
        let canonical = matches!(workchain, "0" | "-1");
        if !canonical {
            return Err(AddressError);
        }
        Ok(Self {
            workchain: workchain.parse().map_err(|_| AddressError)?,
            account: account.parse().map_err(|_| AddressError)?,
        })
    }
}

crate::digest::written_as_text!(TonAddress);
