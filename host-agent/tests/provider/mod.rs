//! A provider's files and funded wallet on the emulated chain, its program's commands, a scripted
//! guest, and vouchers of a client, for tests of settlement. Who includes it has the modules
//! `program` and `testnode` beside it.
//!
//! Not here: any claim, and what a channel pays in.
#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "../proven/guest.rs"]
mod guest;

use std::path::PathBuf;
use std::process::Output;

use contracts::channel::ChannelTerms;
use contracts::wallet::Wallet;
use ed25519_dalek::SigningKey;
use protocol::digest::{PayerKey, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};

pub(crate) use guest::Guest;

use super::program::{self, Running};
use super::testnode::TestNode;

pub(crate) const NETWORK: NetworkId = NetworkId(-7357);
/// Years away on every clock.
pub(crate) const VALID_UNTIL: u32 = 2_100_000_000;

pub(crate) struct Provider {
    pub(crate) place: tempfile::TempDir,
    pub(crate) node: TestNode,
    pub(crate) payee: TonAddress,
}

impl Provider {
    /// With a wallet that holds ten coins.
    pub(crate) async fn set() -> Self {
        let place = tempfile::tempdir().unwrap();
        let seed = place.path().join("seed").display().to_string();
        let shown = program::lines(&["wallet", "new", "--seed", &seed, "--network", "-7357"]);
        let payee: TonAddress = shown[0]["address"].as_str().unwrap().parse().unwrap();
        let node = TestNode::start().await;
        node.fund(&payee, Nano::from_u64(10_000_000_000)).await;
        let provider = Self { place, node, payee };
        std::fs::create_dir(provider.at("endorsements")).unwrap();
        provider
    }

    /// Writes the launch configuration.
    pub(crate) fn configure(&self, asset: &[&str]) {
        let description = program::write_model(&self.at("model"));
        let payee = self.payee.to_string();
        let model = format!("small={}", description.display());
        let out = self.path("launch-config.json");
        let mut words = vec!["configure", "--payee", &payee, "--network", "-7357"];
        words.extend(["--model", &model, "--prices", "20,2,160", "--out", &out]);
        words.extend(asset);
        program::lines(&words);
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    pub(crate) fn chain(&self) -> String {
        format!("http://{}", self.node.authority)
    }

    pub(crate) fn relay(&self) -> Running {
        self.relay_in("state", &[])
    }

    pub(crate) fn relay_in(&self, state: &str, extra: &[&str]) -> Running {
        let (configuration, state) = (self.path("launch-config.json"), self.path(state));
        let (endorsements, chain) = (self.path("endorsements"), self.chain());
        let mut words = vec!["relay"];
        words.extend(extra);
        words.extend([
            "--guest",
            "unix:/nowhere",
            "--launch-config",
            &configuration,
        ]);
        words.extend(["--state", &state, "--endorsements", &endorsements]);
        words.extend(["--chain", &chain, "--listen", "127.0.0.1:0"]);
        let mut relay = Running::start(&words);
        relay.event("ready");
        relay
    }

    /// A command of `settle` on the relay's own journal.
    pub(crate) fn settle(&self, action: &[&str]) -> Output {
        let (state, seed, chain) = (self.path("state"), self.path("seed"), self.chain());
        let mut words = vec!["settle"];
        words.extend(action);
        words.extend(["--state", &state]);
        if action[0] != "export" {
            words.extend(["--wallet-seed", &seed, "--chain", &chain]);
        }
        program::finish(&words)
    }
}

/// The key of a client's channel.
pub(crate) fn payer_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// The terms of a client's channel with that key.
pub(crate) fn terms(payer: &Wallet, payee: TonAddress) -> ChannelTerms {
    ChannelTerms {
        payer: payer.address().unwrap(),
        payee,
        payer_key: PayerKey(payer_key().verifying_key().to_bytes()),
        window: 3_600,
    }
}

pub(crate) fn voucher_of(channel: TonAddress, epoch: u32, total: u64) -> SignedVoucher {
    let voucher = Voucher {
        network: NETWORK,
        channel,
        epoch,
        cumulative: Nano::from_u64(total),
        receipts_root: ReceiptsRoot([5; 32]),
        valid_until: VALID_UNTIL,
    };
    voucher.sign(&payer_key())
}
