//! Edges of Ed25519 where this crate takes a signature: grants, vouchers and receipts. That each
//! edge is judged as it should be, the tests of `src/signature.rs` say of the one function that all
//! three ask; here that all three ask it, and what their encodings leave room for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use ed25519_dalek::SigningKey;
use protocol::digest::{
    AccountId, BootId, ChipId, ConfigDigest, Freshness, ModelDigest, PayerKey, ProviderKey,
    ReceiptDigest, ReceiptKey, ReceiptsRoot, RequestDigest, ResponseDigest, Signature,
    StatementDigest,
};
use protocol::machine_grant::{ChipIdentity, MachineGrant, SignedGrant};
use protocol::nano::Nano;
use protocol::receipt::{FinishReason, Receipt, Sampling, SignedReceipt, TokenCounts, TokenPrices};
use protocol::reference_values::ImageVersion;
use protocol::tee::EvidenceClass;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};

const NETWORK: NetworkId = NetworkId(-7357);
const CHANNEL: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([5; 32]),
};
/// The group's order, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
/// The neutral point: with it as key and as R, and 0 as S, the equation holds of every message.
const NEUTRAL: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 1;
    point
};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn grant() -> SignedGrant {
    let grant = MachineGrant {
        network: NETWORK,
        chip: ChipIdentity::SevSnp(ChipId([7; 64])),
        devices: [vec![1, 2]].into(),
        configuration: ConfigDigest([8; 32]),
        not_after: 1_800_000_000,
    };
    grant.sign(&key())
}

fn voucher() -> SignedVoucher {
    let voucher = Voucher {
        network: NETWORK,
        channel: CHANNEL,
        epoch: 1,
        cumulative: Nano::from_u64(1_000),
        receipts_root: ReceiptsRoot([3; 32]),
        valid_until: 1_800_000_000,
    };
    voucher.sign(&key())
}

fn receipt() -> SignedReceipt {
    let receipt = Receipt {
        network: NETWORK,
        statement: StatementDigest([1; 32]),
        boot_id: BootId([2; 32]),
        class: EvidenceClass::Fresh,
        beacon: Freshness::ZERO,
        request: RequestDigest([3; 32]),
        response: ResponseDigest([4; 32]),
        model: ModelDigest([4; 32]),
        image: ImageVersion {
            major: 0,
            minor: 1,
            patch: 0,
        },
        sampling: Sampling {
            temperature_milli: 0,
            top_p_milli: 1000,
            top_k: 0,
            min_p_milli: 0,
            presence_milli: 0,
            frequency_milli: 0,
            seed: 0,
            max_tokens: 16,
        },
        tokens: TokenCounts {
            prompt: 1,
            cached: 0,
            completion: 1,
        },
        prices: TokenPrices {
            prompt: 20,
            cached: 2,
            completion: 160,
        },
        charged: Nano::from_u64(180),
        finish: FinishReason::Stop,
        channel: CHANNEL,
        epoch: 1,
        sequence: 0,
        previous: ReceiptDigest::ZERO,
        host_time: 1_795_000_000,
    };
    receipt.sign(&key())
}

/// What is taken by that key with that signature: grant, voucher, receipt.
fn taken(by: [u8; 32], signature: impl Fn(Signature) -> Signature) -> [bool; 3] {
    let (mut grant, mut voucher, mut receipt) = (grant(), voucher(), receipt());
    grant.provider = ProviderKey(by);
    grant.signature = signature(grant.signature);
    voucher.payer_key = PayerKey(by);
    voucher.signature = signature(voucher.signature);
    receipt.signature = signature(receipt.signature);
    [
        grant.is_signed(),
        voucher.verify().is_ok(),
        receipt.verify(&ReceiptKey(by)).is_ok(),
    ]
}

fn own() -> [u8; 32] {
    key().verifying_key().to_bytes()
}

fn of_parts(r: [u8; 32], s: [u8; 32]) -> Signature {
    Signature([r, s].concat().try_into().unwrap())
}

fn parts(signature: Signature) -> ([u8; 32], [u8; 32]) {
    let (r, s) = signature.0.split_at(32);
    (r.try_into().unwrap(), s.try_into().unwrap())
}

/// The same scalar, once more around the group.
fn once_more(s: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    let mut sum = [0; 32];
    for (at, digit) in sum.iter_mut().enumerate() {
        let both = u16::from(s[at]) + u16::from(ORDER[at]) + carry;
        *digit = both.to_le_bytes()[0];
        carry = both >> 8;
    }
    sum
}

#[test]
fn of_grants_vouchers_and_receipts_the_honest_signature_is_taken() {
    assert_eq!(taken(own(), |signature| signature), [true; 3]);
}

#[test]
fn no_other_encoding_of_an_honest_signature_is_taken() {
    let scalar = |change: fn([u8; 32]) -> [u8; 32]| {
        taken(own(), move |signature| {
            let (r, s) = parts(signature);
            of_parts(r, change(s))
        })
    };
    assert_eq!(scalar(once_more), [false; 3], "S and the order");
    for bit in [0x20, 0x40, 0x80] {
        let high = taken(own(), |signature| {
            let (r, mut s) = parts(signature);
            s[31] |= bit;
            of_parts(r, s)
        });
        assert_eq!(high, [false; 3], "{bit:#x} in the last byte");
    }
    assert_eq!(scalar(|_| [0; 32]), [false; 3]);
    assert_eq!(scalar(|_| ORDER), [false; 3]);
    let of_zeros = taken(own(), |_| Signature::ZERO);
    assert_eq!(of_zeros, [false; 3]);
    let sign_of_r = taken(own(), |signature| {
        let (mut r, s) = parts(signature);
        r[31] ^= 0x80;
        of_parts(r, s)
    });
    assert_eq!(sign_of_r, [false; 3]);
}

#[test]
fn a_key_under_which_everything_is_signed_signs_nothing() {
    assert_eq!(taken(NEUTRAL, |_| of_parts(NEUTRAL, [0; 32])), [false; 3]);
    // The order of this one is 4; of the one that is not canonical, 1.
    assert_eq!(taken([0; 32], |_| of_parts(NEUTRAL, [0; 32])), [false; 3]);
    let mut other = [0xff; 32];
    (other[0], other[31]) = (0xee, 0x7f);
    assert_eq!(taken(other, |_| of_parts(NEUTRAL, [0; 32])), [false; 3]);
    assert_eq!(taken(other, |_| of_parts(other, [0; 32])), [false; 3]);
}

#[test]
fn bytes_that_are_no_point_are_no_key() {
    let mut no_point = [0; 32];
    no_point[0] = 2;
    for by in [no_point, [0xff; 32]] {
        assert_eq!(taken(by, |signature| signature), [false; 3]);
    }
}

#[test]
fn a_signature_is_neither_shorter_nor_longer_on_the_wire() {
    let (grant, receipt) = (grant().encode(), receipt().encode());
    for cut in 1..=64 {
        assert!(SignedGrant::decode(&grant[..grant.len() - cut]).is_err());
        assert!(SignedReceipt::decode(&receipt[..receipt.len() - cut]).is_err());
    }
    assert!(SignedGrant::decode(&[grant.as_slice(), &[0]].concat()).is_err());
    assert!(SignedReceipt::decode(&[receipt.as_slice(), &[0]].concat()).is_err());
}
