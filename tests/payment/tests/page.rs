//! The worked numbers of `docs/spec/payment.md`, and the edges of amounts on both sides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use client::payment::{Account as Payer, StreamTerms};
use ed25519_dalek::SigningKey;
use protocol::codec::DecodeError;
use protocol::digest::{AccountId, ReceiptsRoot};
use protocol::launch_configuration::Limits;
use protocol::nano::Nano;
use protocol::receipt::TokenPrices;
use protocol::serving::Progress;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};
use serve::account::{Account as Guest, PromptTokens};

const PAGE: &str = include_str!("../../../docs/spec/payment.md");
const PRICES: TokenPrices = TokenPrices {
    prompt: 20,
    cached: 2,
    completion: 160,
};
const LIMITS: Limits = Limits {
    streams: 1,
    context_tokens: 2048,
    increment_tokens: 64,
};

fn computed(tokens: u32) -> PromptTokens {
    PromptTokens {
        computed: tokens,
        cached: 0,
    }
}

fn voucher(total: Nano, root: ReceiptsRoot) -> Voucher {
    let account = "01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3da";
    Voucher {
        network: NetworkId(-7357),
        channel: TonAddress {
            workchain: 0,
            account: account.parse::<AccountId>().unwrap(),
        },
        epoch: 1_795_000_000,
        cumulative: total,
        receipts_root: root,
        valid_until: 1_795_604_800,
    }
}

fn hash(total: Nano, root: ReceiptsRoot) -> String {
    let hash = voucher(total, root).representation_hash();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_pages_request_costs_what_it_says_and_signs_what_it_shows() {
    let mut guest = Guest::new(Nano::ZERO, &LIMITS);
    let mut payer = Payer::resume(Nano::from_u64(1_000_000), Nano::ZERO, Vec::new());
    let (served, asked) = (
        guest.open(PRICES),
        payer
            .begin(StreamTerms {
                prices: PRICES,
                prompt_tokens: 600,
                completion_tokens: 64,
            })
            .unwrap(),
    );
    let mut shown = vec![hash(Nano::ZERO, ReceiptsRoot::ZERO)];
    guest.deliver_prompt(served, computed(16)).unwrap();
    for tokens in [0, 6] {
        for _ in 0..tokens {
            guest.deliver_token(served).unwrap();
            payer.record(asked).unwrap();
        }
        let (tokens, charged) = guest.announce(served).unwrap();
        let progress = Progress {
            prompt_tokens: tokens.prompt,
            cached_tokens: tokens.cached,
            completion_tokens: tokens.completion,
            charged: charged.to_string(),
        };
        let promise = payer.progress(asked, &progress).unwrap();
        guest.acknowledge(promise.cumulative).unwrap();
        shown.push(hash(promise.cumulative, ReceiptsRoot::ZERO));
    }
    assert!(guest.settled(served));
    assert_eq!(payer.promise().cumulative, Nano::from_u64(1_280));
    let root = "0910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4dbe2";
    shown.push(hash(Nano::from_u64(1_280), root.parse().unwrap()));
    for hash in shown {
        assert!(PAGE.contains(&hash), "{hash} is not on the page");
    }
}

#[test]
fn every_stop_of_the_host_is_on_the_page() {
    use messages::host_control::StopReason;
    for reason in [
        StopReason::UnknownChannel,
        StopReason::ForeignVoucher,
        StopReason::DepositExceeded,
        StopReason::Closing,
        StopReason::ExpiresTooSoon,
        StopReason::Outdated,
        StopReason::Leased,
        StopReason::ChainUnreadable,
    ] {
        assert!(PAGE.contains(reason.code()), "{}", reason.code());
    }
}

/// 0, 1, 2^63 and 2^120 - 1 go through both sides; what is above or negative goes through neither.
#[test]
fn the_edges_of_amounts_are_the_same_on_both_sides() {
    let key = SigningKey::from_bytes(&[3; 32]);
    for units in [0, 1, 1 << 63, (1 << 120) - 1] {
        let total = Nano::new(units).unwrap();
        let wire = voucher(total, ReceiptsRoot::ZERO).sign(&key).encode();
        let decoded = SignedVoucher::decode(&wire).unwrap();
        assert_eq!(decoded.verify().unwrap().cumulative, total);
        let mut guest = Guest::new(Nano::ZERO, &LIMITS);
        assert_eq!(guest.bring(total), Ok(()));
        assert_eq!(guest.acknowledged(), total);
        let mut payer = Payer::resume(total, Nano::ZERO, Vec::new());
        assert_eq!(payer.adopt(total), Ok(()));
        assert_eq!(payer.promise().cumulative, total);
    }
    let good = voucher(Nano::ZERO, ReceiptsRoot::ZERO).sign(&key).encode();
    // The first amount that no cell holds, the largest number, and minus one in two's complement.
    for units in [1_u128 << 120, u128::MAX, u128::MAX << 64] {
        let mut wire = good.clone();
        wire[41..57].copy_from_slice(&units.to_le_bytes());
        let refused = DecodeError::OutOfRange { field: "amount" };
        assert_eq!(SignedVoucher::decode(&wire), Err(refused));
    }
    for length in [0, 1, 188, 190, 4_096] {
        let mut wire = good.clone();
        wire.resize(length, 0);
        assert!(SignedVoucher::decode(&wire).is_err(), "{length} bytes");
    }
}

#[test]
fn an_overflow_is_refused_on_both_sides_and_changes_nothing() {
    let dear = TokenPrices {
        prompt: u64::MAX,
        cached: 0,
        completion: u64::MAX,
    };
    let mut guest = Guest::new(Nano::MAX, &LIMITS);
    let id = guest.open(dear);
    assert!(guest.deliver_prompt(id, computed(1)).is_err());
    assert_eq!(guest.delivered(), Nano::MAX);
    assert!(guest.settled(id));
    let mut payer = Payer::resume(Nano::MAX, Nano::MAX, Vec::new());
    let terms = StreamTerms {
        prices: dear,
        prompt_tokens: 9,
        completion_tokens: 9,
    };
    assert_eq!(payer.begin(terms).unwrap_err().code(), "account-overflow");
    assert_eq!(payer.promise().cumulative, Nano::MAX);
}

#[test]
fn a_charge_is_read_digit_for_digit() {
    let mut payer = Payer::resume(Nano::from_u64(1_000), Nano::ZERO, Vec::new());
    let terms = StreamTerms {
        prices: PRICES,
        prompt_tokens: 10,
        completion_tokens: 1,
    };
    let id = payer.begin(terms).unwrap();
    for charged in [
        "-20",
        "+20",
        "020",
        "0x14",
        "2e1",
        "20.0",
        " 20",
        "20 ",
        "",
        "\u{0662}\u{0660}",
    ] {
        let progress = Progress {
            prompt_tokens: 1,
            cached_tokens: 0,
            completion_tokens: 0,
            charged: charged.to_owned(),
        };
        let refused = payer.progress(id, &progress).unwrap_err();
        assert_eq!(refused.code(), "account-wrong-charge", "{charged}");
        assert_eq!(payer.promise().cumulative, Nano::ZERO);
    }
}
