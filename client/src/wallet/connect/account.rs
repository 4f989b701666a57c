//! What a wallet shows of itself when it connects, and whether it holds: network, first state,
//! address, key, proof.
//!
//! Pure: time is an argument. Everything here is the wallet's word until it is checked; whoever
//! knows our end's name at the bridge can say it, and only the link's reader knows our nonce.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::wallet::{ShownWallet, ShownWalletError};
use protocol::digest::parse_hex;
use protocol::ton::NetworkId;
use serde::Deserialize;

use super::proof::{Asked, ProofError, ShownProof};

/// A first state of a wallet is far shorter, as text.
const MAX_FIRST_STATE: usize = 16 * 1024;
/// Characters of the wallet program's name that are kept.
const MAX_NAME: usize = 32;

/// Why a wallet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The reply has no address, or two.
    #[error("the wallet shows no address")]
    NoAddress,
    /// The reply has no proof: this program takes no wallet without one.
    #[error("the wallet shows no proof that it holds its key")]
    NoProof,
    /// The wallet's account is on another network.
    #[error("the wallet's account is on another network than this program")]
    OtherNetwork,
    /// The wallet's contract.
    #[error(transparent)]
    Wallet(#[from] ShownWalletError),
    /// Address and first state do not belong together.
    #[error("the wallet's address is not that of its first state")]
    OtherAddress,
    /// Key and first state do not belong together.
    #[error("the wallet's public key is not that of its first state")]
    OtherKey,
    /// The proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The wallet program cannot do what it is for.
    #[error("the wallet program does not offer to send transactions")]
    CannotSend,
}

/// A wallet's reply to the request to connect.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ShownAccount {
    items: Vec<Item>,
    device: Device,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    address: Option<String>,
    network: Option<String>,
    public_key: Option<String>,
    wallet_state_init: Option<String>,
    proof: Option<ShownProof>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    app_name: String,
    features: Vec<Feature>,
}

/// Old wallets name a feature, newer ones describe it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Feature {
    Name(String),
    Described { name: String },
}

impl ShownAccount {
    /// Checks everything that the wallet shows.
    ///
    /// # Errors
    /// See [`AccountError`], in this order.
    pub(super) fn check(
        &self,
        network: NetworkId,
        asked: Asked<'_>,
    ) -> Result<ShownWallet, AccountError> {
        let shown = self.only("ton_addr").ok_or(AccountError::NoAddress)?;
        let proof = self.only("ton_proof").and_then(|item| item.proof.as_ref());
        let proof = proof.ok_or(AccountError::NoProof)?;
        if shown.network != Some(network.0.to_string()) {
            return Err(AccountError::OtherNetwork);
        }
        let wallet = shown.wallet()?;
        proof.check(&wallet.address, &wallet.public_key, asked)?;
        let offered = self.device.features.iter().any(|feature| {
            let (Feature::Name(name) | Feature::Described { name }) = feature;
            name == "SendTransaction"
        });
        offered.then_some(wallet).ok_or(AccountError::CannotSend)
    }

    /// The wallet program's name, as a terminal may show it.
    #[must_use]
    pub(super) fn app(&self) -> String {
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || " .-_".contains(*letter);
        self.device
            .app_name
            .chars()
            .filter(plain)
            .take(MAX_NAME)
            .collect()
    }

    fn only(&self, name: &str) -> Option<&Item> {
        let mut named = self.items.iter().filter(|item| item.name == name);
        let first = named.next();
        first.filter(|_| named.next().is_none())
    }
}

impl Item {
    /// The wallet that the first state makes; address and key are only compared with it.
    fn wallet(&self) -> Result<ShownWallet, AccountError> {
        let malformed = ShownWalletError::Cell(contracts::CellError::Malformed);
        let first = self.wallet_state_init.as_deref();
        let first = first.filter(|text| text.len() <= MAX_FIRST_STATE);
        let first = first.and_then(|text| STANDARD.decode(text).ok());
        let wallet = ShownWallet::of_first_state(&first.ok_or(malformed)?)?;
        if self.address.as_deref().and_then(|text| text.parse().ok()) != Some(wallet.address) {
            return Err(AccountError::OtherAddress);
        }
        let key = self.public_key.as_deref();
        let key = key.and_then(|text| parse_hex(&text.to_ascii_lowercase()).ok());
        if key != Some(wallet.public_key.to_bytes()) {
            return Err(AccountError::OtherKey);
        }
        Ok(wallet)
    }
}
