//! A jetton on the emulated chain: the scenarios' own (`tolk/test`), by the standards, with an
//! issuer that mints, and that can lock wallets as issuers of stablecoins can.
#![allow(
    dead_code,
    reason = "not every test that makes a jetton needs all of it"
)]

use contracts::message::{OnFailure, StateInit, Transfer};
use contracts::wallet::Wallet;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily as _, HashBytes, Store as _};
use tycho_types::models::{IntAddr, StdAddr};
use tycho_types::num::Tokens;

use super::testnode::TestNode;

/// A wallet's status: it takes and sends.
pub(crate) const FREE: u8 = 0;
/// It sends nothing.
pub(crate) const SENDS_NOTHING: u8 = 1;

const NETWORK: NetworkId = NetworkId(-7357);
const OP_INTERNAL_TRANSFER: u32 = 0x178d_4519;
const OP_NOTIFICATION: u32 = 0x7362_d09c;
const OP_MINT: u32 = 0x642b_7d07;
const OP_CALL_TO: u32 = 0x235c_af52;
const OP_SET_STATUS: u32 = 0xeed2_36d3;
/// Attached to whatever moves jettons.
const VALUE: Nano = Nano::from_u64(200_000_000);

/// Sends one message from a wallet and waits until the chain took it.
pub(crate) async fn send(node: &TestNode, wallet: &Wallet, transfer: Transfer) {
    let own = wallet.address().unwrap();
    let seqno = node.chain.wallet_seqno(&own).await.unwrap();
    let valid_until = node.chain.chain_time().await.unwrap() + 60;
    let message = wallet.sign(seqno, valid_until, &[transfer]).unwrap();
    node.chain.send_boc(&message).await.unwrap();
    assert_eq!(node.chain.wallet_seqno(&own).await.unwrap(), seqno + 1);
}

/// One jetton; another issuer makes another one.
pub(crate) struct Jetton {
    pub(crate) minter: TonAddress,
    issuer: Wallet,
    first: StateInit,
}

impl Jetton {
    pub(crate) async fn issued(node: &TestNode, issuer: u8) -> Self {
        let issuer = Wallet::from_seed(&[issuer; 32], NETWORK);
        let own = issuer.address().unwrap();
        node.fund(&own, Nano::from_u64(10_000_000_000)).await;
        let wallet = include_bytes!("../../compiled/test/jetton-wallet.boc");
        let minter = include_bytes!("../../compiled/test/jetton-minter.boc");
        let mut data = CellBuilder::new();
        put_coins(&mut data, 0);
        put_address(&mut data, &own);
        data.store_reference(Boc::decode(wallet).unwrap()).unwrap();
        let code = Boc::decode(minter).unwrap();
        let first = StateInit::new(code, data.build().unwrap()).unwrap();
        Self {
            minter: first.address(),
            issuer,
            first,
        }
    }

    async fn by_issuer(&self, node: &TestNode, body: CellBuilder) {
        let transfer = Transfer {
            to: self.minter,
            value: Nano::from_u64(500_000_000),
            on_failure: OnFailure::Return,
            deploy: Some(self.first.clone()),
            body: Some(body.build().unwrap()),
        };
        send(node, &self.issuer, transfer).await;
    }

    pub(crate) async fn mint(&self, node: &TestNode, to: &TonAddress, amount: u64) {
        let mut inner = body(OP_INTERNAL_TRANSFER);
        inner.store_u64(0).unwrap();
        put_coins(&mut inner, u128::from(amount));
        inner.store_zeros(2 + 2).unwrap(); // from nobody, leftovers to nobody
        put_coins(&mut inner, 0);
        inner.store_bit_zero().unwrap();
        self.tell(node, OP_MINT, to, inner).await;
        let held = self.of(node, to).await;
        assert!(held >= amount, "{held}");
    }

    /// Sets a wallet's status.
    pub(crate) async fn lock(&self, node: &TestNode, owner: &TonAddress, status: u8) {
        let mut inner = body(OP_SET_STATUS);
        inner.store_u64(0).unwrap();
        inner.store_small_uint(status, 4).unwrap();
        self.tell(node, OP_CALL_TO, owner, inner).await;
    }

    async fn tell(&self, node: &TestNode, op: u32, owner: &TonAddress, inner: CellBuilder) {
        let mut body = body(op);
        put_address(&mut body, owner);
        put_coins(&mut body, VALUE.units());
        body.store_reference(inner.build().unwrap()).unwrap();
        self.by_issuer(node, body).await;
    }

    /// What somebody has.
    pub(crate) async fn of(&self, node: &TestNode, owner: &TonAddress) -> u64 {
        let wallet = node.chain.jetton_wallet(&self.minter, owner).await.unwrap();
        u64::try_from(wallet.balance.units()).unwrap()
    }
}

/// The word of who says to be a jetton wallet that so much came.
pub(crate) fn notification(to: &TonAddress, amount: u64, sender: &TonAddress) -> Transfer {
    let mut body = body(OP_NOTIFICATION);
    body.store_u64(0).unwrap();
    put_coins(&mut body, u128::from(amount));
    put_address(&mut body, sender);
    body.store_bit_zero().unwrap();
    Transfer {
        to: *to,
        value: VALUE,
        on_failure: OnFailure::Return,
        deploy: None,
        body: Some(body.build().unwrap()),
    }
}

fn body(op: u32) -> CellBuilder {
    let mut body = CellBuilder::new();
    body.store_u32(op).unwrap();
    body
}

fn put_address(cell: &mut CellBuilder, address: &TonAddress) {
    let address = StdAddr::new(address.workchain, HashBytes(address.account.0));
    IntAddr::Std(address)
        .store_into(cell, Cell::empty_context())
        .unwrap();
}

fn put_coins(cell: &mut CellBuilder, units: u128) {
    Tokens::new(units)
        .store_into(cell, Cell::empty_context())
        .unwrap();
}
