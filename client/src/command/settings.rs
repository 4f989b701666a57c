//! Options and settings file, joined: an option given on the command line wins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use contracts::asset::Asset;
use contracts::chain::Chain;
use contracts::lite::{LiteServer, LiteServers, ProvenAccounts};
use contracts::proof::BlockId;
use contracts::toncenter::Toncenter;
use measurements::transparency::note::VerifierKey;
use protocol::nano::Nano;
use protocol::reference_values;
use protocol::ton::TonAddress;
use serde::Deserialize;
use verifier::AppraisalPolicy;

use super::amount::parse_amount;
use super::arguments::{MachineOptions, Options, PinsOptions};
use super::failure::Failure;
use crate::chain;
use crate::deployment::{Deployment, Surroundings};
use crate::pins::Pins;
use crate::registry::Registry;
use crate::session::Attester;
use crate::wallet::{Purse, StateDirectory, WalletError, read_bounded};

/// A settings file is at most this long.
const MAX_SETTINGS_BYTES: usize = 64 * 1024;
/// A policy is at most this long.
pub(super) const MAX_POLICY_BYTES: usize = 64 * 1024;
/// Highest price per million tokens when none is given: one coin.
const DEFAULT_MAX_PRICE: Nano = Nano::from_u64(1_000_000_000);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    state: Option<PathBuf>,
    chain: Option<String>,
    lite_server: Vec<String>,
    trusted_block: Option<String>,
    connect: Option<String>,
    release: Option<PathBuf>,
    log_key: Option<String>,
    reference_values: Option<PathBuf>,
    policy: Option<PathBuf>,
    registry: Option<TonAddress>,
    max_price: Option<String>,
    manifest: Option<String>,
    jetton: Option<TonAddress>,
}

/// Where everything is and what is demanded.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) deployment: Deployment,
    pub(super) surroundings: Arc<dyn Surroundings>,
    file: File,
    state: Option<PathBuf>,
    chain: Option<String>,
    lite_server: Vec<String>,
    trusted_block: Option<String>,
}

impl Settings {
    pub(super) fn join(
        deployment: Deployment,
        surroundings: Arc<dyn Surroundings>,
        options: &Options,
    ) -> Result<Self, Failure> {
        let file = match &options.config {
            Some(path) => {
                let bytes = read_bounded(path, MAX_SETTINGS_BYTES)?;
                serde_json::from_slice(&bytes).map_err(|_| Failure::Settings)?
            }
            None => File::default(),
        };
        Ok(Self {
            state: options.state.clone().or_else(|| file.state.clone()),
            chain: options.chain.clone().or_else(|| file.chain.clone()),
            lite_server: if options.lite_server.is_empty() {
                file.lite_server.clone()
            } else {
                options.lite_server.clone()
            },
            trusted_block: options
                .trusted_block
                .clone()
                .or_else(|| file.trusted_block.clone()),
            deployment,
            surroundings,
            file,
        })
    }

    pub(super) fn state(&self) -> Result<StateDirectory, Failure> {
        let home = || {
            let home = self.surroundings.home()?;
            Some(home.join(format!(".{}", self.deployment.program)))
        };
        let path = self.state.clone().or_else(home);
        let path = path.ok_or(Failure::Missing { option: "state" })?;
        Ok(StateDirectory::open(&path)?)
    }

    pub(super) fn purse(&self) -> Result<Purse, Failure> {
        let (state, network) = (self.state()?, self.deployment.network);
        Ok(Purse::open(state, network, &self.surroundings)?)
    }

    /// URL of this program's manifest, which wallets read before they connect.
    pub(super) fn manifest(&self, option: Option<&str>) -> Result<String, Failure> {
        let manifest = option.or(self.file.manifest.as_deref()).map(str::to_owned);
        manifest.ok_or(Failure::Missing { option: "manifest" })
    }

    /// The chain, where one is given: by proof where lite-servers are named, whatever else is.
    pub(super) fn chain_if_given(&self) -> Result<Option<Chain>, Failure> {
        let endpoint = self.chain.as_deref().map(Toncenter::new).transpose()?;
        Ok(match self.proven()? {
            Some(accounts) => Some(Chain::Proven { accounts, endpoint }),
            None => endpoint.map(Chain::Believed),
        })
    }

    pub(super) fn chain(&self) -> Result<Chain, Failure> {
        self.chain_if_given()?.ok_or(Failure::Missing {
            option: "chain` or `lite-server",
        })
    }

    /// The policy: a file's, or the program's own.
    pub(super) fn policy(&self, option: Option<&Path>) -> Result<AppraisalPolicy, Failure> {
        match option.or(self.file.policy.as_deref()) {
            Some(path) => {
                let bytes = read_bounded(path, MAX_POLICY_BYTES)?;
                Ok(AppraisalPolicy::parse(&bytes)?)
            }
            None => Ok(self.deployment.policy.clone()),
        }
    }

    /// The pins, for this program's profile: of a release that its log holds, or of bare reference
    /// values. A release that was asked for is never replaced by bare values.
    pub(super) fn pins(&self, options: &PinsOptions) -> Result<Pins, Failure> {
        let profile = self.deployment.profile();
        let (release, values) = match (&options.release, &options.reference_values) {
            (None, None) => (&self.file.release, &self.file.reference_values),
            given => given,
        };
        match (release, values) {
            (Some(directory), None) => {
                let of_file = || self.log_key_of_file().transpose();
                let key = options.log_key.clone().map(Ok).or_else(of_file);
                let key = key.ok_or(Failure::Missing { option: "log-key" })??;
                Ok(Pins::of_release(directory, &key, profile)?)
            }
            (None, Some(path)) if options.log_key.is_none() => {
                let bytes = read_bounded(path, reference_values::MAX_BYTES);
                Ok(Pins::parse(&bytes.map_err(Failure::Input)?, profile)?)
            }
            (Some(_), Some(_)) => Err(Failure::Settings),
            (None, _) => Err(Failure::Missing { option: "release" }),
        }
    }

    /// The same, where a release or values are named at all.
    pub(super) fn pins_if_given(&self, options: &PinsOptions) -> Result<Option<Pins>, Failure> {
        let named = options.release.is_some()
            || options.reference_values.is_some()
            || self.file.release.is_some()
            || self.file.reference_values.is_some();
        named.then(|| self.pins(options)).transpose()
    }

    fn log_key_of_file(&self) -> Result<Option<VerifierKey>, Failure> {
        let key = self.file.log_key.as_deref().map(str::parse).transpose();
        key.map_err(|_| Failure::Settings)
    }

    /// The registry: proven where lite-servers are named, believed otherwise.
    async fn registry(&self, address: TonAddress) -> Result<Registry, Failure> {
        let chain = match self.chain()? {
            Chain::Believed(chain) => return Ok(Registry::Believed { chain, address }),
            Chain::Proven { accounts, .. } => accounts,
        };
        let proven = Registry::prove(&chain, &address).await;
        Ok(proven.map_err(WalletError::Chain)?)
    }

    /// Accounts by proof, where lite-servers are named.
    fn proven(&self) -> Result<Option<ProvenAccounts>, Failure> {
        let Some(by) = self.lite_servers()? else {
            return Ok(None);
        };
        let (network, state) = (self.deployment.network, self.state()?);
        let accounts = chain::by_proof(by, network, &state, &self.surroundings);
        Ok(Some(accounts.map_err(WalletError::Chain)?))
    }

    /// The lite-servers and the pinned block, both or neither.
    fn lite_servers(&self) -> Result<Option<LiteServers>, Failure> {
        let servers = self.lite_server.iter().map(|one| one.parse::<LiteServer>());
        let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        match self.trusted_block.as_deref() {
            None if servers.is_empty() => Ok(None),
            None => Err(Failure::Missing {
                option: "trusted-block",
            }),
            Some(_) if servers.is_empty() => Err(Failure::Missing {
                option: "lite-server",
            }),
            Some(block) => Ok(Some(LiteServers {
                servers,
                pinned: block.parse::<BlockId>()?,
            })),
        }
    }

    /// Where to connect and what to demand.
    pub(super) async fn attester(&self, options: &MachineOptions) -> Result<Attester, Failure> {
        let mut pins = self.pins(&options.pins)?;
        if let Some(registry) = options.registry.or(self.file.registry) {
            pins = pins.narrowed_by(&self.registry(registry).await?).await?;
        }
        let relay = options
            .connect
            .clone()
            .or_else(|| self.file.connect.clone());
        Ok(Attester {
            relay: relay.ok_or(Failure::Missing { option: "connect" })?,
            deployment: self.deployment.clone(),
            pins,
            policy: self.policy(options.policy.as_deref())?,
            surroundings: Arc::clone(&self.surroundings),
        })
    }

    /// What machines are paid in.
    pub(super) fn asset(&self, options: &MachineOptions) -> Asset {
        Asset::of_minter(options.jetton.or(self.file.jetton))
    }

    /// Highest price per million tokens, in smallest units. What a coin is worth says nothing of a
    /// jetton: there it has no default.
    pub(super) fn max_price(&self, options: &MachineOptions) -> Result<Nano, Failure> {
        let of_file = self.file.max_price.as_deref().map(parse_amount);
        let of_file = of_file.transpose().map_err(|_| Failure::Settings)?;
        let asset = self.asset(options);
        match (options.max_price.clone().or(of_file), asset) {
            (Some(price), asset) => Ok(price.units(asset, None)?),
            (None, Asset::Coin) => Ok(DEFAULT_MAX_PRICE),
            (None, Asset::Jetton(_)) => Err(Failure::Missing {
                option: "max-price",
            }),
        }
    }
}
