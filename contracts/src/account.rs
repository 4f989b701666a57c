//! An account as the chain holds it, whoever showed it.
//!
//! Not here: how it was learned. `toncenter` is believed, `proof` checks.

use protocol::nano::Nano;
use tycho_types::cell::Cell;

use crate::asset::PaymentChannel;
use crate::channel::ChannelState;
use crate::code;
use crate::jetton_channel::JettonChannelState;
use crate::toncenter::ChainError;
use crate::wallet::WalletKind;

/// Whether an account has code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountState {
    /// No code yet, whatever its balance.
    Uninitialized,
    /// Frozen for unpaid rent.
    Frozen,
    /// Code and data.
    Active {
        /// The code.
        code: Cell,
        /// The data.
        data: Cell,
    },
}

/// An account at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its balance.
    pub balance: Nano,
    /// Its state.
    pub state: AccountState,
    /// Logical time of its last transaction; 0 before the first.
    pub last_lt: u64,
    /// The chain's time when this was read, unix seconds.
    pub chain_time: u32,
}

impl Account {
    /// The payment channel in the network's coin that the account is; none when nothing is deployed
    /// there.
    ///
    /// # Errors
    /// `OtherCode` for another contract, `Malformed` for another layout of its data.
    pub fn channel(&self) -> Result<Option<ChannelState>, ChainError> {
        let Some(data) = self.data_under(&code::CHANNEL)? else {
            return Ok(None);
        };
        ChannelState::parse(data)
            .map(Some)
            .map_err(|_| ChainError::Malformed { what: "channel" })
    }

    /// The payment channel that the account is, whatever it pays in; none when nothing is deployed
    /// there.
    ///
    /// # Errors
    /// Those of [`Account::channel`].
    pub fn payment_channel(&self) -> Result<Option<PaymentChannel>, ChainError> {
        match &self.state {
            AccountState::Active { code, data } if code::JETTON_CHANNEL.is(code) => {
                let state = JettonChannelState::parse(data);
                let state = state.map_err(|_| ChainError::Malformed { what: "channel" })?;
                Ok(Some(PaymentChannel::Jetton(state)))
            }
            AccountState::Active { .. } | AccountState::Uninitialized | AccountState::Frozen => {
                Ok(self.channel()?.map(PaymentChannel::Coin))
            }
        }
    }

    /// The sequence number that the next message of the wallet must carry; 0 before its first.
    ///
    /// # Errors
    /// `OtherCode` when the account is no wallet that is known here.
    pub fn wallet_seqno(&self) -> Result<u32, ChainError> {
        let (code, data) = match &self.state {
            AccountState::Uninitialized => return Ok(0),
            AccountState::Frozen => return Err(ChainError::OtherCode),
            AccountState::Active { code, data } => (code, data),
        };
        let kind = WalletKind::of_code(code).ok_or(ChainError::OtherCode)?;
        kind.seqno(data)
            .map_err(|_| ChainError::Malformed { what: "wallet" })
    }

    /// The data of a contract that must run this code; none when the account has no state.
    pub(crate) fn data_under(&self, expected: &code::Code) -> Result<Option<&Cell>, ChainError> {
        match &self.state {
            AccountState::Uninitialized => Ok(None),
            AccountState::Active { code, data } if expected.is(code) => Ok(Some(data)),
            AccountState::Frozen | AccountState::Active { .. } => Err(ChainError::OtherCode),
        }
    }
}
