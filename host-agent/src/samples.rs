//! Vouchers, a channel and a launch configuration for unit tests of this crate.

use contracts::asset::Asset;
use contracts::channel::{ChannelState, ChannelTerms, Standing};
use contracts::jetton_channel::JettonChannelState;
use ed25519_dalek::SigningKey;
use protocol::digest::{AccountId, PayerKey, ReceiptsRoot};
use protocol::launch_configuration::{LaunchConfiguration, Limits, ModelEntry};
use protocol::nano::Nano;
use protocol::receipt::TokenPrices;
use protocol::ton::{NetworkId, TonAddress};
use protocol::verity::VerityParameters;
use protocol::voucher::{SignedVoucher, Voucher};

use crate::control::decision::Terms;

pub(crate) const NETWORK: NetworkId = NetworkId(-99);
pub(crate) const EPOCH: u32 = 7;
pub(crate) const CHANNEL: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x5a; 32]),
};

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

fn unsigned(total: u128) -> Voucher {
    Voucher {
        network: NETWORK,
        channel: CHANNEL,
        epoch: EPOCH,
        cumulative: Nano::new(total).expect("a total in range"),
        receipts_root: ReceiptsRoot([0; 32]),
        valid_until: 1_900_000_000,
    }
}

pub(crate) fn voucher(total: u128) -> SignedVoucher {
    unsigned(total).sign(&key())
}

pub(crate) fn voucher_in(channel: TonAddress, total: u128) -> SignedVoucher {
    let voucher = Voucher {
        channel,
        ..unsigned(total)
    };
    voucher.sign(&key())
}

pub(crate) fn voucher_until(total: u128, valid_until: u32) -> SignedVoucher {
    let voucher = Voucher {
        valid_until,
        ..unsigned(total)
    };
    voucher.sign(&key())
}

pub(crate) fn voucher_with_root(total: u128, root: u32) -> SignedVoucher {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&root.to_le_bytes());
    let voucher = Voucher {
        receipts_root: ReceiptsRoot(bytes),
        ..unsigned(total)
    };
    voucher.sign(&key())
}

pub(crate) const PAYEE: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x77; 32]),
};

pub(crate) fn configuration() -> LaunchConfiguration {
    LaunchConfiguration {
        version: 1,
        network: NETWORK,
        payee: PAYEE,
        jetton: None,
        models: vec![ModelEntry {
            name: "smollm2-135m-instruct".to_owned(),
            verity: VerityParameters {
                data_blocks: 24_000,
                hash_start_block: 24_000,
                salt: [1; 32],
                root: [2; 32],
            },
            prices: TokenPrices {
                prompt: 20,
                cached: 2,
                completion: 160,
            },
        }],
        limits: Limits {
            streams: 4,
            context_tokens: 2048,
            increment_tokens: 64,
        },
    }
}

pub(crate) const TERMS: Terms = Terms {
    network: NETWORK,
    payee: PAYEE,
    asset: Asset::Coin,
    minimum_validity: 3_600,
    minimum_window: 600,
};

pub(crate) fn jetton_channel_state(minter: TonAddress) -> JettonChannelState {
    JettonChannelState {
        channel: channel_state(),
        minter,
        wallet: Some(CHANNEL),
        due_payee: Nano::ZERO,
        due_payer: Nano::ZERO,
        sweep_after: 0,
        open_after: 0,
    }
}

pub(crate) fn channel_state() -> ChannelState {
    ChannelState {
        standing: Standing::Open,
        epoch: EPOCH,
        deposited: Nano::from_u64(1_000_000),
        claimed: Nano::ZERO,
        last_root: ReceiptsRoot::ZERO,
        terms: ChannelTerms {
            payer: CHANNEL,
            payee: PAYEE,
            payer_key: PayerKey(key().verifying_key().to_bytes()),
            window: 3_600,
        },
    }
}
