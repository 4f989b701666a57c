//! What a payment channel pays in, the network's coin or a jetton, and a channel of either kind:
//! what differs for who opens, reads, claims and closes it is decided here, once.
//!
//! Not here: the two contracts (`channel`, `jetton_channel`), what a unit is worth.

use core::fmt;

use protocol::ton::TonAddress;

use crate::cells::CellError;
use crate::channel::{ChannelState, ChannelTerms};
use crate::jetton_channel::{self, JettonChannelState, JettonTerms};
use crate::message::Transfer;

/// What a channel pays in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asset {
    /// The network's own coin.
    Coin,
    /// The jetton of this minter; its symbol and name prove nothing.
    Jetton(TonAddress),
}

impl Asset {
    /// The jetton of a minter; without one the coin.
    #[must_use]
    pub const fn of_minter(minter: Option<TonAddress>) -> Self {
        match minter {
            Some(minter) => Self::Jetton(minter),
            None => Self::Coin,
        }
    }

    /// Whose jetton it is.
    #[must_use]
    pub const fn minter(&self) -> Option<TonAddress> {
        match self {
            Self::Coin => None,
            Self::Jetton(minter) => Some(*minter),
        }
    }

    /// A message to a channel (a claim, a step of a close) with the value that its contract asks
    /// for.
    #[must_use]
    pub fn fitted(&self, transfer: Transfer) -> Transfer {
        match self {
            Self::Coin => transfer,
            Self::Jetton(_) => jetton_channel::enough(transfer),
        }
    }

    /// The address of a channel in it.
    ///
    /// # Errors
    /// `CellError` when the embedded code is damaged.
    pub fn address(&self, channel: &ChannelTerms) -> Result<TonAddress, CellError> {
        match self {
            Self::Coin => channel.address(),
            Self::Jetton(minter) => JettonTerms {
                channel: *channel,
                minter: *minter,
            }
            .address(),
        }
    }
}

/// `coin`, or the minter's address.
impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coin => f.write_str("coin"),
            Self::Jetton(minter) => minter.fmt(f),
        }
    }
}

/// A payment channel of either kind, as the chain holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentChannel {
    /// In the network's coin.
    Coin(ChannelState),
    /// In a jetton.
    Jetton(JettonChannelState),
}

impl PaymentChannel {
    /// What both kinds store. Amounts are of the asset's smallest unit.
    #[must_use]
    pub const fn state(&self) -> &ChannelState {
        match self {
            Self::Coin(state) => state,
            Self::Jetton(jetton) => &jetton.channel,
        }
    }

    /// What it pays in.
    #[must_use]
    pub const fn asset(&self) -> Asset {
        match self {
            Self::Coin(_) => Asset::Coin,
            Self::Jetton(jetton) => Asset::Jetton(jetton.minter),
        }
    }

    /// What one in a jetton stores beyond.
    #[must_use]
    pub const fn jetton(&self) -> Option<&JettonChannelState> {
        match self {
            Self::Coin(_) => None,
            Self::Jetton(jetton) => Some(jetton),
        }
    }

    /// Whether the contract at this address began empty: its address follows from its terms and
    /// its first state. With the right code alone anybody could deploy a state that claims any
    /// deposit.
    #[must_use]
    pub fn is_genuine_at(&self, address: &TonAddress) -> bool {
        let own = self.asset().address(&self.state().terms);
        own.is_ok_and(|own| own == *address)
    }
}

impl From<ChannelState> for PaymentChannel {
    fn from(state: ChannelState) -> Self {
        Self::Coin(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Account, AccountState};
    use crate::code;
    use protocol::digest::{AccountId, PayerKey};
    use protocol::nano::Nano;

    fn party(byte: u8) -> TonAddress {
        TonAddress {
            workchain: 0,
            account: AccountId([byte; 32]),
        }
    }

    fn terms() -> ChannelTerms {
        ChannelTerms {
            payer: party(1),
            payee: party(2),
            payer_key: PayerKey([3; 32]),
            window: 3600,
        }
    }

    /// The account that a channel's first state makes, under some code.
    fn account(asset: Asset, code: &code::Code) -> Account {
        let first = match asset {
            Asset::Coin => terms().state_init(),
            Asset::Jetton(minter) => JettonTerms {
                channel: terms(),
                minter,
            }
            .state_init(),
        };
        let first = first.unwrap().cell();
        Account {
            balance: Nano::ZERO,
            state: AccountState::Active {
                code: code.cell().unwrap(),
                data: first.reference_cloned(1).unwrap(),
            },
            last_lt: 1,
            chain_time: 1,
        }
    }

    #[test]
    fn each_kind_is_read_under_its_own_code_and_has_an_address_of_its_own() {
        let jetton = Asset::Jetton(party(4));
        let mut addresses = Vec::new();
        for (asset, own, other) in [
            (Asset::Coin, &code::CHANNEL, &code::JETTON_CHANNEL),
            (jetton, &code::JETTON_CHANNEL, &code::CHANNEL),
        ] {
            let found = account(asset, own).payment_channel().unwrap().unwrap();
            assert_eq!((found.asset(), found.state().terms), (asset, terms()));
            let address = asset.address(&terms()).unwrap();
            assert!(found.is_genuine_at(&address));
            assert!(!found.is_genuine_at(&party(9)));
            assert!(account(asset, other).payment_channel().is_err());
            assert!(account(asset, &code::STAKE).payment_channel().is_err());
            addresses.push(address);
        }
        addresses.push(Asset::Jetton(party(5)).address(&terms()).unwrap());
        addresses.dedup();
        assert_eq!(addresses.len(), 3);
    }

    #[test]
    fn a_message_to_a_channel_in_a_jetton_carries_what_a_transfer_of_jettons_costs() {
        let plain = crate::channel::start_close(&party(7)).unwrap();
        assert_eq!(Asset::Coin.fitted(plain.clone()), plain);
        let fitted = Asset::Jetton(party(4)).fitted(plain.clone());
        assert_eq!(fitted.value, jetton_channel::MESSAGE_VALUE);
        assert_eq!((fitted.to, fitted.body), (plain.to, plain.body));
    }
}
