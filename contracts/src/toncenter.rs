//! Reads and sends through a toncenter-v2 endpoint.
//!
//! **Trusted**: nothing here is proven; whoever runs the endpoint can show any state. Use it with
//! an endpoint of your own, or for the emulated chain. Answers are bounded before they are read and
//! parsed once into types. Not here: TLS, proofs, retries, caching.

use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use crate::account::{Account, AccountState};
use crate::channel::ChannelState;
use crate::code;
use crate::lite::LiteError;
use crate::registry::{Listed, RegistryEntry};
use crate::transaction::Transaction;

mod http;
mod jetton;
mod reply;

pub use http::UrlError;
pub use jetton::JettonWallet;
use reply::{
    Reply, ShownAccount, ShownConfig, ShownRefusal, ShownResult, ShownState, ShownTransaction,
    amount, bytes, cell, exit_code_of, malformed, number,
};

/// Transactions in one answer at most.
pub const MAX_TRANSACTIONS: u8 = 50;
/// Pause between two looks while waiting.
pub(crate) const POLL: Duration = Duration::from_millis(200);
const NETWORK_ID_PARAMETER: u32 = 19;

/// Why the chain could not be read or reached.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No connection, or it broke.
    #[error("cannot reach the endpoint")]
    Unreachable(#[source] std::io::Error),
    /// The endpoint took longer than allowed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Longer than any valid answer.
    #[error("answer longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Not the documented form.
    #[error("answer is not of the documented form: {what}")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// The endpoint refused the request.
    #[error("endpoint refused with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The contract's exit code, when it refused an external message.
        exit_code: Option<i32>,
    },
    /// A getter failed.
    #[error("getter ended with exit code {exit_code}")]
    Getter {
        /// The contract's exit code; -13 when there is no contract.
        exit_code: i32,
    },
    /// The account runs other code than expected.
    #[error("account runs other code")]
    OtherCode,
    /// Lite-servers, or what they prove.
    #[error("the chain is not proven")]
    Proven(#[from] LiteError),
    /// The file that keeps the position of the proofs.
    #[error("cannot keep the position of the proofs")]
    Position(#[source] std::io::Error),
    /// No proof covers transactions and getters, and no endpoint is named that shows them.
    #[error("transactions and getters are read through an endpoint, and none is named")]
    NoEndpoint,
}

impl ChainError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "chain-unreachable",
            Self::TimedOut(_) => "chain-timed-out",
            Self::TooLong { .. } => "chain-answer-too-long",
            Self::Malformed { .. } => "chain-answer-malformed",
            Self::Refused { .. } => "chain-refused",
            Self::Getter { .. } => "chain-getter-failed",
            Self::OtherCode => "chain-other-code",
            Self::Proven(error) => error.code(),
            Self::Position(_) => "chain-position",
            Self::NoEndpoint => "chain-no-endpoint",
        }
    }
}

/// A toncenter-v2 endpoint, trusted.
#[derive(Debug, Clone)]
pub struct Toncenter {
    endpoint: http::Endpoint,
}

impl Toncenter {
    /// An endpoint by its base, such as `http://127.0.0.1:8081`; nothing is sent yet.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn new(base: &str) -> Result<Self, UrlError> {
        Ok(Self {
            endpoint: http::Endpoint::parse(base)?,
        })
    }

    /// The account at an address; one that nobody ever paid is uninitialized and empty.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn account(&self, address: &TonAddress) -> Result<Account, ChainError> {
        let shown: ShownAccount = self
            .call("getAddressInformation", json!({ "address": address }))
            .await?;
        let state = match shown.state {
            ShownState::Uninitialized => AccountState::Uninitialized,
            ShownState::Frozen => AccountState::Frozen,
            ShownState::Active => AccountState::Active {
                code: cell(&shown.code, "code")?,
                data: cell(&shown.data, "data")?,
            },
        };
        Ok(Account {
            balance: amount(&shown.balance)?,
            state,
            last_lt: number(&shown.last_transaction_id.lt, "lt")?,
            chain_time: shown.sync_utime,
        })
    }

    /// The balance of an address.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn balance(&self, address: &TonAddress) -> Result<Nano, ChainError> {
        Ok(self.account(address).await?.balance)
    }

    /// The chain's time, unix seconds.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn chain_time(&self) -> Result<u32, ChainError> {
        let nobody = TonAddress {
            workchain: 0,
            account: protocol::digest::AccountId::ZERO,
        };
        Ok(self.account(&nobody).await?.chain_time)
    }

    /// The network that the endpoint serves.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn network(&self) -> Result<NetworkId, ChainError> {
        let shown: ShownConfig = self
            .call(
                "getConfigParam",
                json!({ "config_id": NETWORK_ID_PARAMETER }),
            )
            .await?;
        let parameter = cell(&shown.config.bytes, "network id")?;
        let id = parameter.as_slice().and_then(|mut slice| slice.load_u32());
        id.map(|id| NetworkId(id.cast_signed()))
            .map_err(|_| ChainError::Malformed { what: "network id" })
    }

    /// The sequence number that a wallet's next message must carry; 0 before its first.
    ///
    /// # Errors
    /// See [`ChainError`]; `OtherCode` when something else lives at the address.
    pub async fn wallet_seqno(&self, wallet: &TonAddress) -> Result<u32, ChainError> {
        self.account(wallet).await?.wallet_seqno()
    }

    /// The payment channel at an address, or none when nothing is deployed there.
    ///
    /// # Errors
    /// See [`ChainError`]; `OtherCode` when something else lives at the address.
    pub async fn channel(&self, at: &TonAddress) -> Result<Option<ChannelState>, ChainError> {
        self.account(at).await?.channel()
    }

    /// What the registry says of one thing.
    ///
    /// # Errors
    /// See [`ChainError`]; `OtherCode` when there is no registry at the address.
    pub async fn registry_entry(
        &self,
        registry: &TonAddress,
        listed: &Listed,
    ) -> Result<RegistryEntry, ChainError> {
        let account = self.account(registry).await?;
        let deployed = account.data_under(&code::REGISTRY)?;
        deployed.ok_or(ChainError::OtherCode)?;
        let mut key = String::from("0x");
        for byte in listed.key() {
            key.push_str(&format!("{byte:02x}"));
        }
        let stack = self
            .getter(registry, listed.getter(), json!([["num", key]]))
            .await?;
        let [valid_from, revoked_at] = stack.as_slice() else {
            return Err(ChainError::Malformed { what: "stack" });
        };
        Ok(RegistryEntry {
            valid_from: *valid_from,
            revoked_at: *revoked_at,
        })
    }

    /// Seconds between an addition to the registry and its effect.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn registry_delay(&self, registry: &TonAddress) -> Result<u32, ChainError> {
        match self.getter(registry, "delay", json!([])).await?.as_slice() {
            [delay] => Ok(*delay),
            _ => Err(ChainError::Malformed { what: "stack" }),
        }
    }

    /// The latest transactions of an account, newest first, at most [`MAX_TRANSACTIONS`].
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn transactions(
        &self,
        address: &TonAddress,
        limit: u8,
    ) -> Result<Vec<Transaction>, ChainError> {
        let limit = limit.min(MAX_TRANSACTIONS);
        let shown: Vec<ShownTransaction> = self
            .call(
                "getTransactions",
                json!({ "address": address, "limit": limit }),
            )
            .await?;
        if shown.len() > usize::from(limit) {
            return Err(ChainError::Malformed { what: "count" });
        }
        shown
            .iter()
            .map(|shown| {
                let bag = bytes(&shown.data, "transaction")?;
                Transaction::parse(&bag).map_err(malformed("transaction"))
            })
            .collect()
    }

    /// Hands an external message to the chain. Success says that it was accepted, not what came of
    /// it.
    ///
    /// # Errors
    /// See [`ChainError`]; `Refused` when the receiver does not accept the message.
    pub async fn send_boc(&self, message: &[u8]) -> Result<(), ChainError> {
        let parameters = json!({ "boc": STANDARD.encode(message) });
        let _: Value = self.call("sendBoc", parameters).await?;
        Ok(())
    }

    /// Waits until a wallet has taken the message with sequence number `sent`.
    ///
    /// # Errors
    /// `TimedOut` after `within`, and those of [`Toncenter::wallet_seqno`].
    pub async fn wait_for_seqno_after(
        &self,
        wallet: &TonAddress,
        sent: u32,
        within: Duration,
    ) -> Result<(), ChainError> {
        wait_until(within, POLL, async || {
            let seqno = self.wallet_seqno(wallet).await?;
            Ok((seqno > sent).then_some(()))
        })
        .await
    }

    /// Waits until an account has a transaction after logical time `after` for which `choose` gives
    /// something.
    ///
    /// # Errors
    /// `TimedOut` after `within`, and those of [`Toncenter::transactions`].
    pub async fn wait_for_transaction<T>(
        &self,
        account: &TonAddress,
        after: u64,
        within: Duration,
        choose: impl Fn(&Transaction) -> Option<T>,
    ) -> Result<T, ChainError> {
        wait_until(within, POLL, async || {
            let all = self.transactions(account, MAX_TRANSACTIONS).await?;
            // Oldest first: the first that fits is the one that was waited for.
            let mut later = all.iter().rev().filter(|one| one.lt > after);
            Ok(later.find_map(&choose))
        })
        .await
    }

    /// Runs a getter that answers with 32-bit numbers.
    async fn getter(
        &self,
        address: &TonAddress,
        method: &str,
        stack: Value,
    ) -> Result<Vec<u32>, ChainError> {
        let number = |(kind, value): &(String, Value)| {
            let digits = value.as_str().and_then(|text| text.strip_prefix("0x"))?;
            (kind == "num").then_some(u32::from_str_radix(digits, 16).ok()?)
        };
        let stack = self.run(address, method, stack).await?;
        let all: Option<Vec<u32>> = stack.iter().map(number).collect();
        all.ok_or(ChainError::Malformed { what: "stack" })
    }

    /// Runs a getter.
    async fn run(
        &self,
        address: &TonAddress,
        method: &str,
        stack: Value,
    ) -> Result<Vec<(String, Value)>, ChainError> {
        let parameters = json!({ "address": address, "method": method, "stack": stack });
        let result: ShownResult = self.call("runGetMethod", parameters).await?;
        if !matches!(result.exit_code, 0 | 1) {
            return Err(ChainError::Getter {
                exit_code: result.exit_code,
            });
        }
        Ok(result.stack)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        parameters: Value,
    ) -> Result<T, ChainError> {
        let request =
            json!({ "jsonrpc": "2.0", "id": "1", "method": method, "params": parameters });
        let (status, body) = self.endpoint.post(request.to_string()).await?;
        let malformed = ChainError::Malformed { what: method };
        if status != 200 {
            let refusal: Option<ShownRefusal> = serde_json::from_slice(&body).ok();
            let exit_code = refusal.and_then(|refusal| exit_code_of(&refusal.error));
            return Err(ChainError::Refused { status, exit_code });
        }
        let reply: Reply<T> = serde_json::from_slice(&body).map_err(|_| malformed)?;
        match reply {
            Reply {
                ok: true,
                result: Some(result),
            } => Ok(result),
            Reply { .. } => Err(ChainError::Refused {
                status,
                exit_code: None,
            }),
        }
    }
}

/// Looks again and again until there is something, with a pause between two looks.
///
/// # Errors
/// `TimedOut` after `within`, and those of `look`.
pub(crate) async fn wait_until<T>(
    within: Duration,
    pause: Duration,
    look: impl AsyncFn() -> Result<Option<T>, ChainError>,
) -> Result<T, ChainError> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::time::timeout(within, looking)
        .await
        .unwrap_or(Err(ChainError::TimedOut(within)))
}
