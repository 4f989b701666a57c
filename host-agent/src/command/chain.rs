//! How the chain is read, as arguments: by proof through lite-servers, or by an endpoint's word.
//!
//! Deliberately not here: what is read.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use contracts::chain::Chain;
use contracts::lite::{LiteServer, LiteServers};
use contracts::proof::BlockId;
use contracts::toncenter::Toncenter;
use protocol::ton::NetworkId;

use super::Draw;
use crate::chain::by_proof;
use crate::clock::Clock;
use crate::wallet::Purse;

/// The main network.
const MAIN_NETWORK: i32 = -239;

/// Who shows the chain.
#[derive(Debug, Clone, Args)]
pub(super) struct ChainArguments {
    /// toncenter-v2 endpoint: http://host:port. Trusted, where no lite-servers are named; where
    /// they are, it takes messages and shows transactions.
    #[arg(long, value_name = "URL", required_unless_present = "lite_server")]
    pub(super) chain: Option<String>,
    /// Lite-server through which accounts are read by proof; two or more.
    #[arg(long, value_name = "KEY@HOST:PORT", requires = "trusted_block")]
    pub(super) lite_server: Vec<LiteServer>,
    /// Key block of the masterchain from which the proofs start: height:root hash:file hash. It is
    /// trusted: take a recent one from a source that is not one of the servers.
    #[arg(long, value_name = "BLOCK", requires = "lite_server")]
    pub(super) trusted_block: Option<BlockId>,
}

impl ChainArguments {
    /// The chain. The position of the proofs lies in a file named `beside` and a few words more.
    pub(super) fn open(
        &self,
        network: NetworkId,
        beside: &Path,
        (clock, draw): (&Clock, Draw),
    ) -> anyhow::Result<Chain> {
        let endpoint = self.chain.as_deref().map(Toncenter::new).transpose();
        let endpoint = endpoint.context("cannot use `--chain`")?;
        let Some(pinned) = self.trusted_block else {
            return Ok(Chain::Believed(endpoint.context("needs --chain")?));
        };
        let by = LiteServers {
            servers: self.lite_server.clone(),
            pinned,
        };
        let mut file = beside.to_owned().into_os_string();
        file.push(format!("chain-position.{}", network.0));
        let accounts = by_proof(by, network, file.into(), clock, draw);
        let accounts = accounts.context("cannot read the chain by proof")?;
        Ok(Chain::Proven { accounts, endpoint })
    }
}

/// The wallet and the chain.
#[derive(Debug, Args)]
pub(super) struct PurseArguments {
    /// The wallet's seed file.
    #[arg(long, value_name = "FILE")]
    pub(super) wallet_seed: PathBuf,
    #[command(flatten)]
    pub(super) chain: ChainArguments,
    /// The network whose blocks lite-servers prove [default: -239, the main network].
    #[arg(
        long,
        value_name = "ID",
        allow_negative_numbers = true,
        requires = "lite_server"
    )]
    pub(super) network: Option<i32>,
}

impl PurseArguments {
    /// The wallet on the chain. Beside its seed lies the position of the proofs.
    pub(super) async fn open(&self, given: (&Clock, Draw)) -> anyhow::Result<Purse> {
        let network = NetworkId(self.network.unwrap_or(MAIN_NETWORK));
        let mut beside = self.wallet_seed.clone().into_os_string();
        beside.push(".");
        let chain = self.chain.open(network, Path::new(&beside), given)?;
        Ok(Purse::open(chain, &self.wallet_seed).await?)
    }
}
