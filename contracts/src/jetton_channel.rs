//! The payment channel contract in a jetton (`tolk/jetton-channel.tolk`): its address, its
//! messages, its stored state.
//!
//! Amounts are of the jetton's smallest unit, as in vouchers; `Nano` counts them. Not here: what it
//! has in common with the channel in the network's coin (`channel`), closes by both (`close`),
//! which minters to trust, a jetton wallet's address (a minter's `get_wallet_address` says it).

use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use tycho_types::cell::{Cell, CellBuilder, CellSlice};

use crate::cells::{self, CellError};
use crate::channel::{self, ChannelState, ChannelTerms};
use crate::code;
use crate::message::{StateInit, Transfer, operation};

const OP_DISCOVER: u32 = 0x4348_0006;
const OP_RESEND: u32 = 0x4348_0007;
const OP_SWEEP: u32 = 0x4348_0008;
/// A jetton's transfer, TEP-74.
const OP_TRANSFER: u32 = 0x0f8a_7ea5;

/// Sent along with whatever moves jettons: the contract asks for the price of 100,000 gas, 0.04
/// coins at the prices before 2026. What is left comes back.
pub const MESSAGE_VALUE: Nano = Nano::from_u64(100_000_000);
/// Forwarded with a deposit: gas and reserve, 0.133 coins at the prices before 2026. It returns at
/// the close.
pub const DEPOSIT_VALUE: Nano = Nano::from_u64(200_000_000);

/// Why the contract refused a message, beyond `channel::exit`.
pub mod exit {
    /// The value does not cover a transfer of jettons.
    pub const TOO_LITTLE_GAS: i32 = 119;
    /// Only the minter tells the wallet's address.
    pub const NOT_MINTER: i32 = 120;
    /// The wallet is known already.
    pub const WALLET_KNOWN: i32 = 121;
    /// Nothing bounced that could be sent again.
    pub const NOTHING_DUE: i32 = 122;
    /// Not closed, not for long enough, or something is due.
    pub const STILL_OWING: i32 = 123;
}

/// What payer and payee agree on; it determines the channel's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JettonTerms {
    /// As of a channel in the network's coin.
    pub channel: ChannelTerms,
    /// Whose jetton it is; its issuer is trusted by both.
    pub minter: TonAddress,
}

/// Either side of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who deposits.
    Payer,
    /// Who claims.
    Payee,
}

impl JettonTerms {
    /// The first state.
    ///
    /// # Errors
    /// `CellError` when the embedded code is damaged.
    pub fn state_init(&self) -> Result<StateInit, CellError> {
        let mut jetton = CellBuilder::new();
        cells::store_no_address(&mut jetton)?; // wallet, not known yet
        cells::store_coins(&mut jetton, Nano::ZERO)?; // due to the payee
        cells::store_coins(&mut jetton, Nano::ZERO)?; // due to the payer
        jetton.store_zeros(32 + 32).map_err(CellError::building)?; // sweep after, open after
        cells::store_address(&mut jetton, &self.minter)?;
        let mut data = self.channel.first_data()?;
        jetton
            .build()
            .and_then(|jetton| data.store_reference(jetton))
            .map_err(CellError::building)?;
        StateInit::of(&code::JETTON_CHANNEL, data)
    }

    /// The channel's address.
    ///
    /// # Errors
    /// Those of [`JettonTerms::state_init`].
    pub fn address(&self) -> Result<TonAddress, CellError> {
        Ok(self.state_init()?.address())
    }

    /// Deploys the channel, and has it ask the minter for its wallet; before any deposit.
    ///
    /// # Errors
    /// Those of [`JettonTerms::state_init`].
    pub fn discover(&self) -> Result<Transfer, CellError> {
        Transfer::deploying(self.state_init()?, MESSAGE_VALUE, operation(OP_DISCOVER)?)
    }

    /// Opens the channel, or adds to its deposit: the payer's message to its own jetton wallet.
    ///
    /// # Errors
    /// Those of [`JettonTerms::state_init`].
    pub fn deposit(
        &self,
        payers_wallet: &TonAddress,
        query: u64,
        amount: Nano,
    ) -> Result<Transfer, CellError> {
        let mut body = operation(OP_TRANSFER)?;
        body.store_u64(query).map_err(CellError::building)?;
        cells::store_coins(&mut body, amount)?;
        cells::store_address(&mut body, &self.address()?)?;
        cells::store_address(&mut body, &self.channel.payer)?; // gets what is left of the value
        body.store_bit_zero().map_err(CellError::building)?; // no custom payload
        cells::store_coins(&mut body, DEPOSIT_VALUE)?;
        body.store_bit_zero().map_err(CellError::building)?; // no payload, in place
        let value = MESSAGE_VALUE.plus(DEPOSIT_VALUE);
        let value = value.map_err(|_| CellError::DoesNotFit)?;
        Transfer::to_contract(payers_wallet, value, body)
    }
}

/// The payee's message that turns a voucher into jettons.
///
/// # Errors
/// `CellError` never in practice: every voucher fits.
pub fn claim(channel: &TonAddress, voucher: &SignedVoucher) -> Result<Transfer, CellError> {
    channel::claim(channel, voucher).map(enough)
}

/// The payer's wish to leave: from here on the window runs.
///
/// # Errors
/// `CellError` never in practice.
pub fn start_close(channel: &TonAddress) -> Result<Transfer, CellError> {
    channel::start_close(channel).map(enough)
}

/// Ends the channel after the window; anyone may send it.
///
/// # Errors
/// `CellError` never in practice.
pub fn finish_close(channel: &TonAddress) -> Result<Transfer, CellError> {
    channel::finish_close(channel).map(enough)
}

/// Has what bounced on its way to one side sent again; anyone may send it.
///
/// # Errors
/// `CellError` never in practice.
pub fn resend(channel: &TonAddress, to: Side) -> Result<Transfer, CellError> {
    let mut body = operation(OP_RESEND)?;
    match to {
        Side::Payee => body.store_bit_one(),
        Side::Payer => body.store_bit_zero(),
    }
    .map_err(CellError::building)?;
    Transfer::to_contract(channel, MESSAGE_VALUE, body)
}

/// The payer's, a day after a close: jettons in a wallet of the channel that were never counted.
///
/// # Errors
/// `CellError` never in practice.
pub fn sweep(
    channel: &TonAddress,
    wallet: &TonAddress,
    amount: Nano,
) -> Result<Transfer, CellError> {
    let mut body = operation(OP_SWEEP)?;
    cells::store_address(&mut body, wallet)?;
    cells::store_coins(&mut body, amount)?;
    Transfer::to_contract(channel, MESSAGE_VALUE, body)
}

/// A message of the other channel, with the value that one in a jetton asks for. A close by both
/// (`close`) needs it as well.
#[must_use]
pub fn enough(transfer: Transfer) -> Transfer {
    Transfer {
        value: MESSAGE_VALUE,
        ..transfer
    }
}

/// What the contract stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JettonChannelState {
    /// As of a channel in the network's coin.
    pub channel: ChannelState,
    /// Whose jetton it is.
    pub minter: TonAddress,
    /// The channel's own jetton wallet; none until the minter told it.
    pub wallet: Option<TonAddress>,
    /// Payouts that bounced.
    pub due_payee: Nano,
    /// Refunds that bounced.
    pub due_payer: Nano,
    /// Unix time from which uncounted jettons may be swept.
    pub sweep_after: u32,
    /// Unix time from which deposits count again after a sweep.
    pub open_after: u32,
}

impl JettonChannelState {
    /// Reads the contract's data cell.
    ///
    /// # Errors
    /// `Malformed` for any other layout.
    pub fn parse(data: &Cell) -> Result<Self, CellError> {
        let mut slice = data.as_slice().map_err(CellError::parsing)?;
        let channel = ChannelState::load(&mut slice)?;
        let mut jetton: CellSlice<'_> = slice
            .load_reference_as_slice()
            .map_err(CellError::parsing)?;
        cells::finish(&slice)?;
        let wallet = cells::load_maybe_address(&mut jetton)?;
        let due_payee = cells::load_coins(&mut jetton)?;
        let due_payer = cells::load_coins(&mut jetton)?;
        let sweep_after = jetton.load_u32().map_err(CellError::parsing)?;
        let open_after = jetton.load_u32().map_err(CellError::parsing)?;
        let minter = cells::load_address(&mut jetton)?;
        cells::finish(&jetton)?;
        Ok(Self {
            channel,
            minter,
            wallet,
            due_payee,
            due_payer,
            sweep_after,
            open_after,
        })
    }

    /// What determines its address.
    #[must_use]
    pub fn terms(&self) -> JettonTerms {
        JettonTerms {
            channel: self.channel.terms,
            minter: self.minter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use protocol::digest::{AccountId, PayerKey, ReceiptsRoot, Signature};
    use protocol::ton::NetworkId;
    use protocol::voucher::Voucher;

    use crate::channel::Standing;

    #[derive(serde::Deserialize)]
    struct Vectors {
        address: String,
        states: Vec<State>,
        bodies: std::collections::BTreeMap<String, String>,
    }

    #[derive(serde::Deserialize)]
    struct State {
        data: String,
        claimed: String,
        last_root: String,
        close_at: u32,
        deposited: String,
        epoch: u32,
        wallet: Option<String>,
        due_payee: String,
        due_payer: String,
        sweep_after: u32,
        open_after: u32,
    }

    fn vectors() -> Vectors {
        let text = include_str!("../../tests/fixtures/jetton-channel/vectors.json");
        serde_json::from_str(text).unwrap()
    }

    fn party(byte: u8) -> TonAddress {
        TonAddress {
            workchain: 0,
            account: AccountId([byte; 32]),
        }
    }

    fn terms() -> JettonTerms {
        JettonTerms {
            channel: ChannelTerms {
                payer: party(1),
                payee: party(2),
                payer_key: PayerKey([3; 32]),
                window: 3600,
            },
            minter: party(4),
        }
    }

    fn cell(base64: &str) -> Cell {
        let engine = base64::engine::general_purpose::STANDARD;
        cells::decode(&engine.decode(base64).unwrap()).unwrap()
    }

    fn amount(digits: &str) -> Nano {
        Nano::new(digits.parse().unwrap()).unwrap()
    }

    /// The states and the address are those of another implementation, `@ton/core`.
    #[test]
    fn reads_what_the_contract_stores_and_finds_its_address() {
        let vectors = vectors();
        let init = terms().state_init().unwrap();
        assert_eq!(init.address().to_string(), vectors.address);
        let first = cell(&vectors.states[0].data);
        assert_eq!(init.cell().reference_cloned(1).unwrap(), first);
        assert_eq!(vectors.states.len(), 2);
        for wanted in vectors.states {
            let state = JettonChannelState::parse(&cell(&wanted.data)).unwrap();
            let root = ReceiptsRoot(protocol::digest::parse_hex(&wanted.last_root).unwrap());
            assert_eq!(state.terms(), terms());
            assert_eq!(state.channel.claimed, amount(&wanted.claimed));
            assert_eq!(state.channel.deposited, amount(&wanted.deposited));
            assert_eq!(state.channel.last_root, root);
            assert_eq!(state.channel.epoch, wanted.epoch);
            let open = state.channel.standing == Standing::Open;
            assert_eq!(open, wanted.close_at == u32::MAX);
            assert_eq!(state.wallet.map(|wallet| wallet.to_string()), wanted.wallet);
            assert_eq!(state.due_payee, amount(&wanted.due_payee));
            assert_eq!(state.due_payer, amount(&wanted.due_payer));
            assert_eq!(state.sweep_after, wanted.sweep_after);
            assert_eq!(state.open_after, wanted.open_after);
        }
    }

    #[test]
    fn messages_are_those_of_the_other_implementation() {
        let channel = terms().address().unwrap();
        let voucher = Voucher {
            network: NetworkId(-7357),
            channel,
            epoch: 1_795_000_000,
            cumulative: Nano::from_u64(1280),
            receipts_root: ReceiptsRoot(
                protocol::digest::parse_hex(&format!("{:064x}", 77)).unwrap(),
            ),
            valid_until: 1_795_604_800,
        };
        let voucher = SignedVoucher {
            voucher,
            payer_key: PayerKey([3; 32]),
            signature: Signature([6; 64]),
        };
        let deposit = terms().deposit(&party(6), 9, Nano::from_u64(5_000_000));
        let made = [
            ("discover", terms().discover()),
            ("deposit", deposit),
            ("claim", claim(&channel, &voucher)),
            ("start_close", start_close(&channel)),
            ("finish_close", finish_close(&channel)),
            ("resend_to_payee", resend(&channel, Side::Payee)),
            ("resend_to_payer", resend(&channel, Side::Payer)),
            ("sweep", sweep(&channel, &party(5), Nano::from_u64(7))),
        ];
        let wanted = vectors().bodies;
        assert_eq!(made.len(), wanted.len());
        for (name, transfer) in made {
            let transfer = transfer.unwrap();
            let hash = transfer.body.unwrap().repr_hash().to_string();
            assert_eq!(hash, wanted[name], "{name}");
            assert!(transfer.value >= MESSAGE_VALUE, "{name}");
            assert_eq!(transfer.deploy.is_some(), name == "discover");
        }
    }

    #[test]
    fn refuses_a_state_with_anything_missing_or_more() {
        let data = cell(&vectors().states[1].data);
        for cut in [data.reference_cloned(0), data.reference_cloned(1)] {
            let refused = JettonChannelState::parse(&cut.unwrap());
            assert_eq!(refused, Err(CellError::Malformed));
        }
        // One of the other channel has no second reference.
        let other = terms().channel.state_init().unwrap().cell();
        let other = other.reference_cloned(1).unwrap();
        assert_eq!(JettonChannelState::parse(&other), Err(CellError::Malformed));
        assert_eq!(ChannelState::parse(&data), Err(CellError::Malformed));
        let mut longer = CellBuilder::new();
        longer.store_slice(data.as_slice().unwrap()).unwrap();
        longer.store_bit_zero().unwrap();
        let refused = JettonChannelState::parse(&longer.build().unwrap());
        assert_eq!(refused, Err(CellError::Malformed));
    }
}
