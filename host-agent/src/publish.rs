//! Publishing: what a release measures as, and its models, in the registry contract.
//!
//! An addition takes effect after the registry's delay, which is printed with its time; what is
//! listed already is left alone. The same messages can be written down for another wallet to send.
//! Deliberately not here: revocation, which another role does, how measurements come about
//! (`measurements`), and whether the registry is proven or believed (`contracts::chain`).

use contracts::CellError;
use contracts::account::AccountState;
use contracts::registry::{self, Listed, RegistryEntry, RegistryTerms, ReleaseKey, Validity};
use contracts::toncenter::ChainError;
use contracts::wallet::MAX_TRANSFERS;
use measurements::publication::PublishedRelease;
use protocol::nano::Nano;
use protocol::reference_values::ReferenceValues;
use protocol::ton::TonAddress;

use crate::wallet::{CHAIN_PATIENCE, Purse, WalletError};

/// Publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The chain failed.
    #[error("the chain failed ({})", .0.code())]
    Chain(#[from] ChainError),
    /// A message could not be made.
    #[error("cannot make the registry's message")]
    Cell(#[from] CellError),
}

/// One thing to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The shape's or model's name.
    pub name: String,
    /// Its key.
    pub listed: Listed,
}

/// What the registry says of an item, after publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The item.
    pub item: Item,
    /// Whether it was added now.
    pub outcome: Addition,
    /// The registry's entry.
    pub entry: RegistryEntry,
}

/// What was done about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// It was added.
    Added,
    /// It was listed before.
    ListedBefore,
}

/// Everything that reference values list: each shape's measurement, each model's digest.
#[must_use]
pub fn items(values: &ReferenceValues) -> Vec<Item> {
    let shapes = values.shapes.iter().map(|shape| Item {
        name: shape.shape.clone(),
        listed: Listed::Measurement(shape.registers.key()),
    });
    let models = values.models.iter().map(|model| Item {
        name: model.name.clone(),
        listed: Listed::Model(model.digest),
    });
    shapes.chain(models).collect()
}

/// A release that its log holds: the release itself, then everything that it lists.
#[must_use]
pub fn release_items(release: &PublishedRelease) -> Vec<Item> {
    let record = release.record();
    let itself = Item {
        name: format!("{} {}", record.version, record.flavour.name()),
        listed: Listed::Release(ReleaseKey(record.registry_key().0)),
    };
    let listed = items(release.reference_values());
    std::iter::once(itself).chain(listed).collect()
}

/// A message by which the registry's adder lists an item, for whatever wallet holds that role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionMessage {
    /// What it lists.
    pub item: Item,
    /// Coins to send along; what is not needed comes back.
    pub amount: Nano,
    /// Its body, a bag of cells.
    pub payload: Vec<u8>,
}

/// The messages that list these items, made without a chain, a wallet or a registry.
///
/// # Errors
/// `Cell`, never in practice.
pub fn messages(items: &[Item]) -> Result<Vec<AdditionMessage>, PublishError> {
    let message = |item: &Item| {
        Ok(AdditionMessage {
            item: item.clone(),
            amount: registry::CHANGE_VALUE,
            payload: registry::addition(&item.listed)?,
        })
    };
    items.iter().map(message).collect()
}

/// Adds what the registry does not list, and waits until the chain shows it.
///
/// # Errors
/// [`PublishError`]; running it again goes on where it stopped.
pub async fn publish(
    purse: &Purse,
    registry: &TonAddress,
    items: &[Item],
) -> Result<Vec<Published>, PublishError> {
    let now = u64::from(purse.account().await?.chain_time);
    let listed: Vec<Listed> = items.iter().map(|item| item.listed).collect();
    let entries = purse.chain.registry_entries(registry, &listed).await?;
    let mut missing = Vec::new();
    for (one, entry) in listed.iter().zip(entries) {
        match entry.validity(now) {
            Validity::Unknown | Validity::Revoked { .. } => missing.push(*one),
            Validity::Pending { .. } | Validity::Valid => {}
        }
    }
    for some in missing.chunks(MAX_TRANSFERS) {
        let transfers: Result<Vec<_>, _> = some
            .iter()
            .map(|listed| registry::add(registry, listed))
            .collect();
        purse.send(&transfers?).await?;
    }
    let entries = shown(purse, registry, &listed).await?;
    let published = items.iter().zip(entries).map(|(item, entry)| Published {
        item: item.clone(),
        outcome: if missing.contains(&item.listed) {
            Addition::Added
        } else {
            Addition::ListedBefore
        },
        entry,
    });
    Ok(published.collect())
}

/// The registry's entries once all of them stand.
async fn shown(
    purse: &Purse,
    registry: &TonAddress,
    listed: &[Listed],
) -> Result<Vec<RegistryEntry>, PublishError> {
    let found = purse.chain.wait_until(CHAIN_PATIENCE, async || {
        let entries = purse.chain.registry_entries(registry, listed).await?;
        let stands = |entry: &RegistryEntry| entry.valid_from != 0 && entry.revoked_at == 0;
        Ok(entries.iter().all(stands).then_some(entries))
    });
    Ok(found.await?)
}

/// Deploys a registry and waits until the chain shows it; one that is there already stays.
///
/// # Errors
/// [`PublishError`].
pub async fn deploy(purse: &Purse, terms: &RegistryTerms) -> Result<TonAddress, PublishError> {
    let address = terms.address()?;
    let is_there = async || {
        let account = purse.chain.account(&address).await?;
        Ok(match account.state {
            AccountState::Active { .. } => Some(()),
            AccountState::Uninitialized | AccountState::Frozen => None,
        })
    };
    if is_there().await?.is_none() {
        purse.send(&[terms.deploy()?]).await?;
        purse.chain.wait_until(CHAIN_PATIENCE, is_there).await?;
    }
    Ok(address)
}
