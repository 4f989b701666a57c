//! Wallets, registry and payment channel on the emulated chain, from deposit to close, with every
//! nano unit accounted for.
//!
//! Every refusal of the contracts one by one is in `scenarios/`; here is what the Rust side makes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    clippy::too_many_lines,
    reason = "tests state claims; a panic is the failure"
)]

mod testnode;

use std::time::Duration;

use contracts::channel::{self, ChannelState, ChannelTerms, Standing, exit};
use contracts::close::Close;
use contracts::message::{OnFailure, Transfer};
use contracts::registry::{self, Listed, RegistryState, RegistryTerms, ReleaseKey, Validity};
use contracts::toncenter::{AccountState, ChainError, Toncenter};
use contracts::transaction::Transaction;
use contracts::wallet::{Wallet, WalletKind};
use ed25519_dalek::SigningKey;
use protocol::digest::{MeasurementKey, ModelDigest, PayerKey, ProviderKey, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};
use testnode::{START, TestNode};

const NETWORK: NetworkId = NetworkId(-7357);
const WITHIN: Duration = Duration::from_secs(20);
const WINDOW: u32 = 3600;
const DELAY: u32 = 86_400;

fn coins(milli: u64) -> Nano {
    Nano::from_u64(milli * 1_000_000)
}

struct Party {
    wallet: Wallet,
    address: TonAddress,
}

impl Party {
    async fn funded(node: &TestNode, seed: u8, amount: Nano) -> Self {
        Self::of_kind(WalletKind::V4R2, node, seed, amount).await
    }

    async fn of_kind(kind: WalletKind, node: &TestNode, seed: u8, amount: Nano) -> Self {
        let wallet = Wallet::of_kind(kind, &[seed; 32], NETWORK);
        let address = wallet.address().unwrap();
        node.fund(&address, amount).await;
        Self { wallet, address }
    }

    /// Sends one transfer and gives the transaction that it made at its receiver.
    async fn send(&self, chain: &Toncenter, transfer: Transfer) -> Transaction {
        let receiver = transfer.to;
        let before = chain.account(&receiver).await.unwrap().last_lt;
        let seqno = chain.wallet_seqno(&self.address).await.unwrap();
        let valid_until = chain.chain_time().await.unwrap() + 60;
        let message = self.wallet.sign(seqno, valid_until, &[transfer]).unwrap();
        chain.send_boc(&message).await.unwrap();
        chain
            .wait_for_seqno_after(&self.address, seqno, WITHIN)
            .await
            .unwrap();
        chain
            .wait_for_transaction(&receiver, before, WITHIN, |one| Some(one.clone()))
            .await
            .unwrap()
    }
}

struct Channel {
    node: TestNode,
    payer: Party,
    payee: Party,
    key: SigningKey,
    at: TonAddress,
}

impl Channel {
    async fn open(deposit: Nano) -> Self {
        let node = TestNode::start().await;
        let payer = Party::funded(&node, 1, coins(10_000)).await;
        let payee = Party::funded(&node, 2, coins(1_000)).await;
        let key = SigningKey::from_bytes(&[3; 32]);
        let terms = ChannelTerms {
            payer: payer.address,
            payee: payee.address,
            payer_key: PayerKey(key.verifying_key().to_bytes()),
            window: WINDOW,
        };
        let at = terms.address().unwrap();
        let opened = payer
            .send(&node.chain, terms.top_up(deposit).unwrap())
            .await;
        assert!(opened.succeeded(), "{opened:?}");
        let this = Self {
            node,
            payer,
            payee,
            key,
            at,
        };
        assert_eq!(this.state().await.terms, terms);
        this
    }

    async fn state(&self) -> ChannelState {
        self.node.chain.channel(&self.at).await.unwrap().unwrap()
    }

    fn voucher(&self, cumulative: Nano) -> Voucher {
        Voucher {
            network: NETWORK,
            channel: self.at,
            epoch: START,
            cumulative,
            receipts_root: ReceiptsRoot([5; 32]),
            valid_until: START + 600,
        }
    }

    async fn claim(&self, voucher: Voucher) -> Transaction {
        let signed: SignedVoucher = voucher.sign(&self.key);
        let transfer = channel::claim(&self.at, &signed).unwrap();
        self.payee.send(&self.node.chain, transfer).await
    }

    /// Refused with this exit code, nothing paid, state untouched.
    async fn refused(&self, code: i32, voucher: Voucher) {
        let before = self.state().await;
        let transaction = self.claim(voucher).await;
        assert_eq!(transaction.exit_code(), Some(code));
        assert!(!transaction.succeeded());
        assert!(transaction.sent.iter().all(|message| message.bounced));
        assert_eq!(self.state().await, before);
    }
}

/// Balances of all accounts and all fees of all their transactions.
async fn balances_and_fees(chain: &Toncenter, accounts: &[TonAddress]) -> (Nano, Nano) {
    let (mut balances, mut fees) = (Nano::ZERO, Nano::ZERO);
    for account in accounts {
        balances = balances
            .plus(chain.balance(account).await.unwrap())
            .unwrap();
        for transaction in chain.transactions(account, 50).await.unwrap() {
            fees = fees.plus(transaction.all_fees().unwrap()).unwrap();
        }
    }
    (balances, fees)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_deposit_to_close_every_nano_is_accounted_for() {
    let it = Channel::open(coins(5_000)).await;
    let chain = &it.node.chain;
    let state = it.state().await;
    assert_eq!(state.standing, Standing::Open);
    assert_eq!((state.deposited, state.epoch), (coins(5_000), START));

    let before = chain.balance(&it.at).await.unwrap();
    let claimed = it.claim(it.voucher(coins(1_250))).await;
    assert!(claimed.succeeded(), "{claimed:?}");
    let after = chain.balance(&it.at).await.unwrap();
    assert_eq!(before.minus(after).unwrap(), coins(1_250));
    assert_eq!(it.state().await.claimed, coins(1_250));
    assert_eq!(it.state().await.last_root, ReceiptsRoot([5; 32]));

    let close = channel::start_close(&it.at).unwrap();
    assert!(it.payer.send(chain, close).await.succeeded());
    let until = START + WINDOW;
    assert_eq!(it.state().await.standing, Standing::Closing { until });
    let early = channel::finish_close(&it.at).unwrap();
    let early = it.payer.send(chain, early).await;
    assert_eq!(early.exit_code(), Some(exit::WINDOW_RUNNING));
    it.node.advance(WINDOW).await;
    let finish = channel::finish_close(&it.at).unwrap();
    assert!(it.payee.send(chain, finish).await.succeeded());
    assert_eq!(it.state().await.standing, Standing::Closed);
    assert_eq!(chain.balance(&it.at).await.unwrap(), Nano::ZERO);

    let all = [it.payer.address, it.payee.address, it.at];
    let (balances, fees) = balances_and_fees(chain, &all).await;
    assert_eq!(balances.plus(fees).unwrap(), coins(11_000));
    // The payee has what was promised, less fees of its three messages.
    let payee = chain.balance(&it.payee.address).await.unwrap();
    assert!(payee > coins(2_200) && payee < coins(2_250), "{payee}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_close_at_once_and_neither_can_alone() {
    let it = Channel::open(coins(2_000)).await;
    let chain = &it.node.chain;
    assert!(it.claim(it.voucher(coins(500))).await.succeeded());
    let agreed = Close(it.voucher(coins(750)));
    let by_another = agreed.sign(&SigningKey::from_bytes(&[9; 32])).unwrap();
    let refused = it.payee.send(chain, by_another.transfer().unwrap()).await;
    assert_eq!(refused.exit_code(), Some(exit::BAD_SIGNATURE));
    let close = agreed.sign(&it.key).unwrap().transfer().unwrap();
    let refused = it.payer.send(chain, close.clone()).await;
    assert_eq!(refused.exit_code(), Some(exit::NOT_PAYEE));

    let payee = chain.balance(&it.payee.address).await.unwrap();
    assert!(it.payee.send(chain, close.clone()).await.succeeded());
    let state = it.state().await;
    assert_eq!(
        (state.standing, state.claimed),
        (Standing::Closed, coins(750))
    );
    assert_eq!(chain.balance(&it.at).await.unwrap(), Nano::ZERO);
    let gained = chain.balance(&it.payee.address).await.unwrap();
    let gained = gained.minus(payee).unwrap();
    assert!(gained > coins(240) && gained < coins(250), "{gained}");
    let again = it.payee.send(chain, close).await;
    assert_eq!(again.exit_code(), Some(exit::NOT_OPEN));

    let all = [it.payer.address, it.payee.address, it.at];
    let (balances, fees) = balances_and_fees(chain, &all).await;
    assert_eq!(balances.plus(fees).unwrap(), coins(11_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_refuses_what_the_client_did_not_promise() {
    let it = Channel::open(coins(2_000)).await;
    let good = it.voucher(coins(1_000));
    assert!(it.claim(good).await.succeeded());
    it.refused(exit::STALE_VOUCHER, good).await;
    it.refused(exit::STALE_VOUCHER, it.voucher(coins(999)))
        .await;
    let more = it.voucher(coins(1_500));
    let other = TonAddress {
        workchain: 0,
        account: protocol::digest::AccountId([9; 32]),
    };
    let foreign = Voucher {
        channel: other,
        ..more
    };
    it.refused(exit::OTHER_CHANNEL, foreign).await;
    let main = Voucher {
        network: NetworkId::MAIN,
        ..more
    };
    it.refused(exit::OTHER_NETWORK, main).await;
    let earlier = Voucher {
        epoch: START - 1,
        ..more
    };
    it.refused(exit::OTHER_EPOCH, earlier).await;
    let overdraw = it.voucher(coins(2_001));
    it.refused(exit::OVERDRAW, overdraw).await;
    let expired = Voucher {
        valid_until: START - 1,
        ..more
    };
    it.refused(exit::EXPIRED_VOUCHER, expired).await;
    let by_payer = channel::claim(&it.at, &more.sign(&it.key)).unwrap();
    let by_payer = it.payer.send(&it.node.chain, by_payer).await;
    assert_eq!(by_payer.exit_code(), Some(exit::NOT_PAYEE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_delays_additions_and_revokes_at_once() {
    let node = TestNode::start().await;
    let adder = Party::funded(&node, 4, coins(2_000)).await;
    let revoker = Party::funded(&node, 5, coins(1_000)).await;
    let chain = &node.chain;
    let terms = RegistryTerms {
        adder: adder.address,
        revoker: revoker.address,
        delay: DELAY,
    };
    let at = terms.address().unwrap();
    let image = Listed::Measurement(MeasurementKey([0xab; 32]));
    let missing = chain.registry_entry(&at, &image).await;
    assert!(matches!(missing, Err(ChainError::OtherCode)), "{missing:?}");

    assert!(adder.send(chain, terms.deploy().unwrap()).await.succeeded());
    assert_eq!(chain.registry_delay(&at).await.unwrap(), DELAY);
    let validity = async |listed: &Listed| {
        let now = u64::from(chain.chain_time().await.unwrap());
        let entry = chain.registry_entry(&at, listed).await.unwrap();
        entry.validity(now)
    };
    assert_eq!(validity(&image).await, Validity::Unknown);

    let add = registry::add(&at, &image).unwrap();
    assert!(adder.send(chain, add.clone()).await.succeeded());
    let from = START + DELAY;
    assert_eq!(validity(&image).await, Validity::Pending { from });
    let again = adder.send(chain, add).await;
    assert_eq!(again.exit_code(), Some(registry::exit::ALREADY_LISTED));
    let model = Listed::Model(ModelDigest([0xab; 32]));
    assert_eq!(validity(&model).await, Validity::Unknown);
    node.advance(DELAY).await;
    assert_eq!(validity(&image).await, Validity::Valid);

    let revoke = registry::revoke(&at, &image).unwrap();
    let wrong = adder.send(chain, revoke.clone()).await;
    assert_eq!(wrong.exit_code(), Some(registry::exit::NOT_REVOKER));
    assert!(revoker.send(chain, revoke).await.succeeded());
    let revoked = Validity::Revoked { at: from };
    assert_eq!(validity(&image).await, revoked);

    let all = [adder.address, revoker.address, at];
    let (balances, fees) = balances_and_fees(chain, &all).await;
    assert_eq!(balances.plus(fees).unwrap(), coins(3_000));
}

/// The stored state, read without a getter, says what the getters say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_s_state_says_what_its_getters_say() {
    let node = TestNode::start().await;
    let adder = Party::funded(&node, 4, coins(2_000)).await;
    let chain = &node.chain;
    let terms = RegistryTerms {
        adder: adder.address,
        revoker: adder.address,
        delay: DELAY,
    };
    let at = terms.address().unwrap();
    assert!(adder.send(chain, terms.deploy().unwrap()).await.succeeded());
    let listed = [
        Listed::Measurement(MeasurementKey([1; 32])),
        Listed::Model(ModelDigest([2; 32])),
        Listed::Release(ReleaseKey([3; 32])),
        Listed::Provider(ProviderKey([4; 32])),
        Listed::Provider(ProviderKey([5; 32])),
    ];
    for (number, one) in listed.iter().enumerate() {
        let AccountState::Active { data, .. } = chain.account(&at).await.unwrap().state else {
            panic!("the registry is active");
        };
        let state = RegistryState::parse(&data).unwrap();
        assert_eq!(state.delay, DELAY);
        assert_eq!(usize::try_from(state.version), Ok(number));
        assert_eq!(state.head == [0; 32], number == 0);
        for other in &listed {
            let shown = chain.registry_entry(&at, other).await.unwrap();
            assert_eq!(state.entry(other).unwrap(), shown);
        }
        let change = registry::add(&at, one).unwrap();
        assert!(adder.send(chain, change).await.succeeded());
        let entry = chain.registry_entry(&at, one).await.unwrap();
        assert_eq!(entry.valid_from, START + DELAY);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_say_what_is_where_and_a_replayed_message_is_refused() {
    let node = TestNode::start().await;
    let chain = &node.chain;
    assert_eq!(chain.network().await.unwrap(), NETWORK);
    assert_eq!(chain.chain_time().await.unwrap(), START);
    for kind in WalletKind::ALL {
        let party = Party::of_kind(kind, &node, 6, coins(1_000)).await;
        assert_eq!(chain.wallet_seqno(&party.address).await.unwrap(), 0);
        assert_eq!(chain.channel(&party.address).await.unwrap(), None);

        let to_self = channel::start_close(&party.address).unwrap();
        let message = party.wallet.sign(0, START + 60, &[to_self]).unwrap();
        chain.send_boc(&message).await.unwrap();
        assert_eq!(chain.wallet_seqno(&party.address).await.unwrap(), 1);
        let replayed = chain.send_boc(&message).await;
        let Err(ChainError::Refused { status, exit_code }) = replayed else {
            panic!("the wallet takes a message twice: {replayed:?}");
        };
        assert_eq!((status, exit_code), (500, Some(kind.wrong_seqno())));
        let wrong_place = chain.channel(&party.address).await;
        assert!(matches!(wrong_place, Err(ChainError::OtherCode)));
        let late = party.wallet.sign(
            1,
            START - 1,
            &[channel::start_close(&party.address).unwrap()],
        );
        let late = chain.send_boc(&late.unwrap()).await;
        let refused = matches!(
            late,
            Err(ChainError::Refused {
                exit_code: Some(_),
                ..
            })
        );
        assert!(refused, "{late:?}");
        // Two transfers in one message, each to its receiver.
        let transfers = [7, 8].map(|byte| Transfer {
            to: TonAddress {
                workchain: 0,
                account: protocol::digest::AccountId([byte; 32]),
            },
            value: coins(u64::from(byte)),
            on_failure: OnFailure::Keep,
            deploy: None,
            body: None,
        });
        let before = [
            chain.balance(&transfers[0].to).await,
            chain.balance(&transfers[1].to).await,
        ];
        let message = party.wallet.sign(1, START + 60, &transfers).unwrap();
        chain.send_boc(&message).await.unwrap();
        for (transfer, before) in transfers.iter().zip(before) {
            let after = chain.balance(&transfer.to).await.unwrap();
            let came = after.minus(before.unwrap()).unwrap();
            assert!(
                came > coins(6) && came <= transfer.value,
                "{kind:?}: {came}"
            );
        }
    }
}
