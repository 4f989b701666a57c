//! The client pays for what it received, at the attested price, and takes no receipt that lies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod peer;

use client::chat::{AskError, Chat, Till};
use client::wallet::{Jetton, KeptReceipt};
use peer::{Answering, Peer, Script, Stage, WHOLE_COST, WORDS, enough, question};
use protocol::digest::{
    AccountId, BootId, Freshness, ModelDigest, ReceiptDigest, ReceiptsRoot, RequestDigest,
    ResponseDigest, StatementDigest,
};
use protocol::evidence::ATTEST_PATH;
use protocol::nano::Nano;
use protocol::receipt::{FinishReason, Receipt, receipts_root};
use protocol::tee::EvidenceClass;
use protocol::ton::{NetworkId, TonAddress};

/// Reads an answer to its end; its text.
async fn read(chat: &Chat) -> Result<String, AskError> {
    let mut answering = chat.ask(&question()).await?;
    let mut text = String::new();
    while let Some(chunk) = answering.next().await? {
        text.push_str(chunk.text.as_deref().unwrap_or_default());
    }
    Ok(text)
}

async fn stage_with(script: Script) -> (Stage, Peer) {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, script).await;
    (stage, peer)
}

#[tokio::test]
async fn an_answer_is_acknowledged_piece_by_piece_and_its_receipt_is_anchored() {
    let (stage, peer) = stage_with(Script::default()).await;
    let chat = stage.chat(&peer, enough()).await;
    let mut answering = chat.ask(&question()).await.unwrap();
    let mut text = String::new();
    while let Some(chunk) = answering.next().await.unwrap() {
        text.push_str(chunk.text.as_deref().unwrap_or_default());
        if text == WORDS.concat() {
            break;
        }
    }
    assert_eq!(
        peer.vouchers().len(),
        1,
        "text is handed on before it is paid for"
    );
    assert!(answering.next().await.unwrap().is_some(), "the end");
    assert!(answering.next().await.unwrap().is_none());

    let settled = answering.settled().unwrap();
    assert!(settled.anchored);
    let digest = settled.receipt.digest();
    let promised: Vec<_> = peer
        .vouchers()
        .iter()
        .map(|signed| (signed.voucher.cumulative, signed.voucher.receipts_root))
        .collect();
    let whole = Nano::from_u64(WHOLE_COST);
    let expected = [
        (Nano::from_u64(400), ReceiptsRoot::ZERO),
        (whole, ReceiptsRoot::ZERO),
        (whole, receipts_root(&[digest])),
    ];
    assert_eq!(promised, expected);

    let kept = stage.kept_receipts();
    assert_eq!(kept, std::slice::from_ref(&settled.kept));
    let receipts = stage.state.within("receipts").unwrap();
    let bytes = receipts.read(&kept[0], 8192).unwrap().unwrap();
    let parsed = KeptReceipt::parse(&bytes).unwrap();
    assert_eq!(&parsed.receipt, settled.receipt.signed());
}

#[tokio::test]
async fn the_next_answer_and_the_next_run_go_on_from_the_highest_voucher() {
    let (stage, peer) = stage_with(Script::default()).await;
    let chat = stage.chat(&peer, enough()).await;
    read(&chat).await.unwrap();
    read(&chat).await.unwrap();
    drop(chat);
    assert_eq!(stage.ledger().promised(), Nano::from_u64(2 * WHOLE_COST));
    assert_eq!(stage.ledger().receipts().len(), 2);
    let last = *peer.vouchers().last().unwrap();
    assert_eq!(
        last.voucher.receipts_root,
        receipts_root(stage.ledger().receipts())
    );
}

/// A stage whose client has signed for `total` and then lost the file.
fn stage_that_forgot(total: u64) -> (Stage, protocol::voucher::SignedVoucher) {
    let stage = Stage::open();
    let mut ledger = stage.ledger();
    let promise = client::payment::Promise {
        cumulative: Nano::from_u64(total),
        receipts_root: ReceiptsRoot::ZERO,
    };
    let signed = ledger.sign(&promise, u32::MAX).unwrap();
    let path = stage.state.within("channel").unwrap().path("voucher");
    drop(ledger);
    std::fs::remove_file(path).unwrap();
    (stage, signed)
}

#[tokio::test]
async fn a_client_whose_files_are_older_goes_on_from_its_own_voucher_that_is_shown() {
    let (stage, known) = stage_that_forgot(5_000);
    let script = Script {
        known: Some(known),
        ..Script::default()
    };
    let peer = Peer::start(&stage.world, Answering::Honest, script).await;
    let chat = stage.chat(&peer, enough()).await;
    read(&chat).await.unwrap();
    drop(chat);
    assert_eq!(
        stage.ledger().promised(),
        Nano::from_u64(5_000 + WHOLE_COST)
    );
}

#[tokio::test]
async fn a_shown_voucher_that_the_client_did_not_sign_moves_nothing() {
    let (stage, mut known) = stage_that_forgot(5_000);
    known.voucher.cumulative = Nano::from_u64(6_000);
    let script = Script {
        known: Some(known),
        ..Script::default()
    };
    let peer = Peer::start(&stage.world, Answering::Honest, script).await;
    let chat = stage.chat(&peer, enough()).await;
    let refused = read(&chat).await.unwrap_err();
    assert_eq!(refused.code(), "payment-outdated");
    assert_eq!(peer.seen.lock().unwrap().bodies.len(), 0);
    drop(chat);
    assert_eq!(stage.ledger().promised(), Nano::ZERO);
}

#[tokio::test]
async fn parallel_answers_share_one_rising_total() {
    let (stage, peer) = stage_with(Script::default()).await;
    let chat = stage.chat(&peer, enough()).await;
    let mut first = chat.ask(&question()).await.unwrap();
    let mut second = chat.ask(&question()).await.unwrap();
    // Interleaved by hand: the second ends before the first.
    first.next().await.unwrap();
    while second.next().await.unwrap().is_some() {}
    while first.next().await.unwrap().is_some() {}
    let totals: Vec<_> = peer
        .vouchers()
        .iter()
        .map(|signed| signed.voucher.cumulative)
        .collect();
    assert!(totals.is_sorted(), "{totals:?}");
    assert_eq!(totals.last(), Some(&Nano::from_u64(2 * WHOLE_COST)));
}

#[tokio::test]
async fn a_machine_that_is_paid_in_another_asset_is_not_asked() {
    let jetton = Jetton {
        minter: TonAddress {
            workchain: 0,
            account: AccountId([9; 32]),
        },
        decimals: Some(6),
    };
    let stage = Stage::open_in(Some(jetton));
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let attester = stage.attester(peer.address);
    let session = attester.connect().await.unwrap();
    let kept = stage.state.within("receipts").unwrap();
    let till = Till::open(stage.ledger(), kept).unwrap();
    let refused = Chat::new(attester, session, till, enough()).unwrap_err();
    assert_eq!(refused.code(), "payment-other-asset");
    assert_eq!(peer.paths(), [ATTEST_PATH]);
}

#[tokio::test]
async fn refuses_a_price_above_the_limit_before_any_content_is_sent() {
    let (stage, peer) = stage_with(Script::default()).await;
    let limit = enough().minus(Nano::from_u64(1)).unwrap();
    let chat = stage.chat(&peer, limit).await;
    let refused = read(&chat).await.unwrap_err();
    assert_eq!(refused.code(), "price-above-limit");
    let session = chat.session().await.unwrap();
    assert_eq!(session.channel().application_bytes_sent(), 0);
    assert_eq!(peer.paths(), [ATTEST_PATH]);
}

#[tokio::test]
async fn signs_nothing_for_tokens_that_did_not_come() {
    let overclaiming = Script {
        progress: |event| {
            event.completion_tokens += 1;
            event.charged = (WHOLE_COST + 160).to_string();
        },
        ..Script::default()
    };
    let (stage, peer) = stage_with(overclaiming).await;
    let chat = stage.chat(&peer, enough()).await;
    assert_eq!(read(&chat).await.unwrap_err().code(), "account-overclaimed");
    let last = *peer.vouchers().last().unwrap();
    assert_eq!(last.voucher.cumulative, Nano::from_u64(400), "the prompt");
}

#[tokio::test]
async fn signs_nothing_at_another_price() {
    let dear = Script {
        progress: |event| event.charged = (WHOLE_COST + 1).to_string(),
        ..Script::default()
    };
    let (stage, peer) = stage_with(dear).await;
    let chat = stage.chat(&peer, enough()).await;
    assert_eq!(
        read(&chat).await.unwrap_err().code(),
        "account-wrong-charge"
    );
    assert_eq!(peer.vouchers().len(), 1);
}

#[tokio::test]
async fn a_cut_answer_costs_what_was_acknowledged() {
    let (stage, peer) = stage_with(Script::default()).await;
    let chat = stage.chat(&peer, enough()).await;
    let mut answering = chat.ask(&question()).await.unwrap();
    for _ in 0..3 {
        answering.next().await.unwrap();
    }
    drop(answering);
    drop(chat);
    assert_eq!(stage.ledger().promised(), Nano::from_u64(400));
    assert_eq!(peer.vouchers().len(), 1);
}

/// Every lie of a receipt: refused by its code, nothing kept, no root signed.
async fn receipt_refused(script: Script) -> String {
    let (stage, peer) = stage_with(script).await;
    let chat = stage.chat(&peer, enough()).await;
    let code = read(&chat).await.unwrap_err().code().to_owned();
    assert_eq!(stage.kept_receipts(), [""; 0]);
    for signed in peer.vouchers() {
        assert_eq!(signed.voucher.receipts_root, ReceiptsRoot::ZERO);
        assert!(signed.voucher.cumulative <= Nano::from_u64(WHOLE_COST));
    }
    code
}

fn recharge(receipt: &mut Receipt) {
    receipt.charged = receipt.prices.cost(&receipt.tokens).unwrap();
}

#[tokio::test]
async fn refuses_a_receipt_that_lies_in_any_member() {
    type Lie = fn(&mut Receipt);
    let lies: [(Lie, &str); 22] = [
        (|r| r.network = NetworkId(-239), "receipt-network"),
        (
            |r| r.statement = StatementDigest([1; 32]),
            "receipt-statement",
        ),
        (|r| r.boot_id = BootId([1; 32]), "receipt-boot-id"),
        (|r| r.class = EvidenceClass::Epoch, "receipt-class"),
        (|r| r.beacon = Freshness([1; 32]), "receipt-beacon"),
        (|r| r.image.patch = 1, "receipt-image"),
        (|r| r.request = RequestDigest([1; 32]), "receipt-request"),
        (|r| r.response = ResponseDigest([1; 32]), "receipt-response"),
        (|r| r.model = ModelDigest([1; 32]), "receipt-model"),
        (|r| r.sampling.temperature_milli = 1, "receipt-sampling"),
        (|r| r.sampling.top_k = 1, "receipt-sampling"),
        (|r| r.sampling.presence_milli = 1, "receipt-sampling"),
        (|r| r.sampling.seed = 2, "receipt-sampling"),
        (|r| r.sampling.max_tokens = 17, "receipt-sampling"),
        (
            |r| {
                r.prices.completion = 161;
                recharge(r);
            },
            "receipt-prices",
        ),
        (
            |r| {
                r.tokens.completion = 6;
                recharge(r);
            },
            "receipt-tokens",
        ),
        (|r| r.charged = Nano::from_u64(1), "receipt-amount"),
        (|r| r.finish = FinishReason::Length, "receipt-finish"),
        (
            |r| r.channel.account = AccountId([8; 32]),
            "receipt-channel",
        ),
        (|r| r.epoch = 8, "receipt-epoch"),
        (|r| r.sequence = 1, "receipt-chain"),
        (|r| r.previous = ReceiptDigest([1; 32]), "receipt-chain"),
    ];
    for (receipt, code) in lies {
        let script = Script {
            receipt,
            ..Script::default()
        };
        assert_eq!(receipt_refused(script).await, code);
    }
}

#[tokio::test]
async fn refuses_a_receipt_of_another_key_and_an_answer_without_one() {
    let foreign = Script {
        receipt_seed: [1; 32],
        ..Script::default()
    };
    assert_eq!(receipt_refused(foreign).await, "receipt-signature");
    let without = Script {
        with_receipt: false,
        ..Script::default()
    };
    assert_eq!(receipt_refused(without).await, "receipt-missing");
}

/// A server that gives a stream up cannot claim that it ended.
#[tokio::test]
async fn refuses_a_cancelled_receipt_for_an_answer_that_ended() {
    let script = Script {
        receipt: |r| r.finish = FinishReason::Cancelled,
        ..Script::default()
    };
    assert_eq!(receipt_refused(script).await, "receipt-finish");
}
