//! Which payment channel is meant, and what is asked of a new one.

use contracts::asset::Asset;
use protocol::nano::Nano;
use protocol::ton::TonAddress;

use super::Jetton;

/// Which channel: there is one to each payee in each asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelTo {
    /// Who is paid.
    pub payee: TonAddress,
    /// In what.
    pub asset: Asset,
}

/// What is asked of a new channel.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Who is to be paid.
    pub payee: TonAddress,
    /// The jetton to pay in; the network's coin without.
    pub jetton: Option<Jetton>,
    /// What to deposit, in smallest units.
    pub deposit: Nano,
    /// Seconds in which the payee can still claim after a close was asked for.
    pub window: u32,
}

impl Opening {
    /// Which channel it is.
    #[must_use]
    pub fn to(&self) -> ChannelTo {
        ChannelTo {
            payee: self.payee,
            asset: Asset::of_minter(self.jetton.map(|jetton| jetton.minter)),
        }
    }
}
