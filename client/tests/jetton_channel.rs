//! A channel in a jetton on the emulated chain, as the client's wallet makes and ends it: every
//! unit of the jetton is accounted for, and what is no deposit counts for nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "../../contracts/tests/testnode/jetton.rs"]
mod jetton;
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use client::payment::Promise;
use client::wallet::{ChannelTo, Jetton as Known, Ledger, Opening, Purse, StateDirectory};
use contracts::asset::Asset;
use contracts::chain::Chain;
use contracts::channel::{ChannelState, Standing};
use contracts::jetton_channel::{self, JettonChannelState, JettonTerms, Side};
use contracts::toncenter::ChainError;
use contracts::wallet::{Wallet, WalletKind};
use jetton::{FREE, Jetton, SENDS_NOTHING, notification, send};
use protocol::digest::ReceiptsRoot;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::SignedVoucher;
use testnode::{START, TestNode};
use zeroize::Zeroizing;

const NETWORK: NetworkId = NetworkId(-7357);
/// Six decimals, as USDT has.
const UNIT: u64 = 1_000_000;
const MINTED: u64 = 1_000 * UNIT;
const DEPOSIT: u64 = 5 * UNIT;
const WINDOW: u32 = 3_600;

fn units(units: u64) -> Nano {
    Nano::from_u64(units)
}

struct Stage {
    node: TestNode,
    chain: Chain,
    jetton: Jetton,
    purse: Purse,
    payer: TonAddress,
    payee: Wallet,
    opening: Opening,
    _place: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(place.path()).unwrap();
        let seed = Zeroizing::new([1; 32]);
        let purse = Purse::create(state, &seed, WalletKind::V4R2, NETWORK).unwrap();
        let payer = purse.address().unwrap();
        let payee = Wallet::from_seed(&[2; 32], NETWORK);
        let node = TestNode::start().await;
        for party in [payer, payee.address().unwrap()] {
            node.fund(&party, units(10_000_000_000)).await;
        }
        let jetton = Jetton::issued(&node, 4).await;
        jetton.mint(&node, &payer, MINTED).await;
        let opening = Opening {
            payee: payee.address().unwrap(),
            jetton: Some(Known {
                minter: jetton.minter,
                decimals: Some(6),
            }),
            deposit: units(DEPOSIT),
            window: WINDOW,
        };
        Self {
            chain: Chain::Believed(node.chain.clone()),
            node,
            jetton,
            purse,
            payer,
            payee,
            opening,
            _place: place,
        }
    }

    fn to(&self) -> ChannelTo {
        self.opening.to()
    }

    fn payee(&self) -> TonAddress {
        self.opening.payee
    }

    async fn open(&self) -> TonAddress {
        let key = Zeroizing::new([3; 32]);
        let opened = self.purse.open_channel(&self.chain, &self.opening, &key);
        let opened = opened.await.unwrap();
        assert_eq!(opened.deposited, DEPOSIT.to_string());
        assert_eq!(opened.epoch, START);
        opened.channel
    }

    /// What the client signs, through its own ledger.
    fn voucher(&self, total: u64) -> SignedVoucher {
        let mut ledger = Ledger::open(self.purse.channel_to(&self.to()).unwrap()).unwrap();
        let promise = Promise {
            cumulative: units(total),
            receipts_root: ReceiptsRoot([5; 32]),
        };
        ledger.sign(&promise, 2_100_000_000).unwrap()
    }

    async fn claim(&self, total: u64) {
        let voucher = self.voucher(total);
        let claim = jetton_channel::claim(&voucher.voucher.channel, &voucher).unwrap();
        send(&self.node, &self.payee, claim).await;
    }

    async fn shown(&self, at: &TonAddress) -> JettonChannelState {
        let shown = self.chain.payment_channel(at).await.unwrap().unwrap();
        *shown.jetton().unwrap()
    }

    async fn state(&self, at: &TonAddress) -> ChannelState {
        self.shown(at).await.channel
    }

    /// What payer, payee and channel have of the jetton; none is anywhere else.
    async fn held(&self, channel: &TonAddress) -> [u64; 3] {
        let mut held = [0; 3];
        for (of, at) in held.iter_mut().zip([self.payer, self.payee(), *channel]) {
            *of = self.jetton.of(&self.node, &at).await;
        }
        assert_eq!(
            held.iter().sum::<u64>(),
            MINTED,
            "jettons appeared or vanished"
        );
        held
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_deposit_to_refund_every_unit_is_accounted_for() {
    let it = Stage::set().await;
    let at = it.open().await;
    let terms = it.state(&at).await.terms;
    let minter = it.jetton.minter;
    let terms = JettonTerms {
        channel: terms,
        minter,
    };
    assert_eq!(at, terms.address().unwrap());
    assert_eq!(it.held(&at).await, [MINTED - DEPOSIT, 0, DEPOSIT]);
    // The same payee in coins is another channel, and there is none.
    let in_coins = ChannelTo {
        asset: Asset::Coin,
        ..it.to()
    };
    assert_eq!(
        it.purse.channel_to(&in_coins).unwrap_err().code(),
        "channel-none"
    );
    let key = Zeroizing::new([9; 32]);
    let again = it.purse.open_channel(&it.chain, &it.opening, &key).await;
    assert_eq!(again.unwrap_err().code(), "channel-exists");

    let topped = it
        .purse
        .top_up(&it.chain, &it.to(), units(UNIT))
        .await
        .unwrap();
    assert_eq!(topped.deposited, (DEPOSIT + UNIT).to_string());
    it.claim(2 * UNIT + 1).await;
    assert_eq!(it.held(&at).await, [994 * UNIT, 2 * UNIT + 1, 4 * UNIT - 1]);
    assert_eq!(it.state(&at).await.last_root, ReceiptsRoot([5; 32]));

    let closing = it.purse.close(&it.chain, &it.to()).await.unwrap();
    assert_eq!(
        closing,
        Standing::Closing {
            until: START + WINDOW
        }
    );
    it.claim(3 * UNIT).await;
    it.node.advance(WINDOW).await;
    let closed = it.purse.close(&it.chain, &it.to()).await.unwrap();
    assert_eq!(closed, Standing::Closed);
    assert_eq!(it.held(&at).await, [997 * UNIT, 3 * UNIT, 0]);
    assert_eq!(
        it.chain.balance(&at).await.unwrap(),
        Nano::ZERO,
        "the reserve left as well"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_locked_wallet_does_not_pay_out_is_due_and_sent_again() {
    let it = Stage::set().await;
    let at = it.open().await;
    it.jetton.lock(&it.node, &at, SENDS_NOTHING).await;
    it.claim(2 * UNIT).await;
    assert_eq!(it.held(&at).await, [MINTED - DEPOSIT, 0, DEPOSIT]);
    assert_eq!(it.shown(&at).await.due_payee, units(2 * UNIT));
    let still = it
        .purse
        .resend(&it.chain, &it.to(), Side::Payee)
        .await
        .unwrap();
    assert_eq!(still.due_payee, units(2 * UNIT), "it is locked");
    let nothing = it.purse.resend(&it.chain, &it.to(), Side::Payer).await;
    assert_eq!(nothing.unwrap_err().code(), "channel-nothing-due");

    it.jetton.lock(&it.node, &at, FREE).await;
    let sent = it
        .purse
        .resend(&it.chain, &it.to(), Side::Payee)
        .await
        .unwrap();
    assert_eq!(sent.due_payee, Nano::ZERO);
    assert_eq!(it.held(&at).await, [MINTED - DEPOSIT, 2 * UNIT, 3 * UNIT]);

    // A refund that bounced comes back the same way.
    it.purse.close(&it.chain, &it.to()).await.unwrap();
    it.node.advance(WINDOW).await;
    it.jetton.lock(&it.node, &at, SENDS_NOTHING).await;
    it.purse.close(&it.chain, &it.to()).await.unwrap();
    assert_eq!(it.shown(&at).await.due_payer, units(3 * UNIT));
    it.jetton.lock(&it.node, &at, FREE).await;
    let sent = it
        .purse
        .resend(&it.chain, &it.to(), Side::Payer)
        .await
        .unwrap();
    assert_eq!(sent.due_payer, Nano::ZERO);
    assert_eq!(it.held(&at).await, [998 * UNIT, 2 * UNIT, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_and_a_wallet_of_another_minter_deposit_nothing() {
    let it = Stage::set().await;
    let at = it.open().await;
    let before = it.shown(&at).await;
    let liar = notification(&at, 77 * UNIT, &it.payee());
    send(&it.node, &it.payee, liar).await;
    assert_eq!(it.shown(&at).await, before);

    // A jetton of the payer's own making, sent to the very channel: it comes back.
    let other = Jetton::issued(&it.node, 6).await;
    other.mint(&it.node, &it.payee(), MINTED).await;
    let from = it
        .chain
        .jetton_wallet(&other.minter, &it.payee())
        .await
        .unwrap();
    let terms = JettonTerms {
        channel: before.channel.terms,
        minter: it.jetton.minter,
    };
    let false_deposit = terms.deposit(&from.address, 0, units(UNIT)).unwrap();
    send(&it.node, &it.payee, false_deposit).await;
    assert_eq!(it.shown(&at).await, before);
    assert_eq!(other.of(&it.node, &it.payer).await, 0);
    assert_eq!(other.of(&it.node, &it.payee()).await, MINTED);
    assert_eq!(it.held(&at).await, [MINTED - DEPOSIT, 0, DEPOSIT]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_where_there_is_no_minter_or_too_little_to_deposit() {
    let it = Stage::set().await;
    let held = it.chain.balance(&it.payer).await.unwrap();
    let open = async |opening: Opening| {
        let key = Zeroizing::new([3; 32]);
        let opened = it.purse.open_channel(&it.chain, &opening, &key).await;
        opened.unwrap_err()
    };
    let rich = Opening {
        deposit: units(MINTED + 1),
        ..it.opening
    };
    assert_eq!(open(rich).await.code(), "wallet-too-few-jettons");
    let nobody = Opening {
        jetton: Some(Known {
            minter: it.payee(),
            decimals: None,
        }),
        ..it.opening
    };
    assert_eq!(open(nobody).await.code(), "chain-getter-failed");
    let said = it.chain.jetton_decimals(&it.jetton.minter).await;
    assert!(matches!(said, Err(ChainError::Getter { .. })), "{said:?}");
    assert_eq!(it.chain.balance(&it.payer).await.unwrap(), held);
    // What was begun is taken up again once there is enough.
    it.open().await;
}
