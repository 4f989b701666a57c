//! Commands about money: wallet and publish.
//!
//! Deliberately not here: claims (`settle`), guests.

use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::registry::{Listed, RegistryTerms};
use contracts::wallet::mnemonic::{self, MnemonicError};
use measurements::publication;
use measurements::transparency::note::VerifierKey;
use measurements::transparency::record::FileDigest;
use protocol::reference_values::{self, ReferenceValues};
use protocol::ton::NetworkId;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::arguments::{
    DeployArguments, PublishAction, PublishArguments, TransactionArguments, WalletAction,
    WalletArguments,
};
use super::chain::PurseArguments;
use super::{Draw, Exit};
use crate::clock::Clock;
use crate::launch::configuration::read_bounded;
use crate::publish::{self as publishing, Addition, Item, Published};
use crate::report::Reporter;
use crate::wallet as purses;

pub(super) fn wallet(
    arguments: &WalletArguments,
    reporter: &Reporter,
    draw: fn() -> std::io::Result<[u8; 32]>,
) -> anyhow::Result<Exit> {
    let file = match &arguments.action {
        WalletAction::New(new) => {
            let seed = match &new.mnemonic {
                None => draw().context("cannot draw a seed")?,
                Some(words) => *seed_of_words(words)?,
            };
            purses::create_of_kind(&new.file.seed, seed, new.kind)?;
            &new.file
        }
        WalletAction::Show(file) => file,
    };
    let address = purses::read(&file.seed, NetworkId(file.network))?.address()?;
    reporter.result(&address, &json!({ "address": address }));
    Ok(Exit::Success)
}

fn seed_of_words(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let limit = u64::try_from(mnemonic::MAX_BYTES).unwrap_or(u64::MAX);
    let words = Zeroizing::new(read_bounded(path, limit)?);
    let words = std::str::from_utf8(&words).map_err(|_| MnemonicError::Form);
    let seed = words.and_then(mnemonic::seed);
    seed.with_context(|| format!("cannot use `{}`", path.display()))
}

pub(super) async fn publish(
    arguments: &PublishArguments,
    given: (&Clock, Draw),
    reporter: &Reporter,
) -> anyhow::Result<Exit> {
    match &arguments.action {
        Some(PublishAction::Deploy(deploy)) => {
            return deploy_registry(deploy, given, reporter).await;
        }
        Some(PublishAction::Transaction(wanted)) => return transaction(wanted, reporter),
        None => {}
    }
    let (Some(registry), Some(seed)) = (&arguments.registry, &arguments.wallet_seed) else {
        // The parser required both.
        return Ok(Exit::Usage);
    };
    let items = listed_items(arguments)?;
    let purse = PurseArguments {
        wallet_seed: seed.clone(),
        chain: arguments.chain.clone(),
        network: arguments.network,
    };
    let purse = purse.open(given).await?;
    for published in publishing::publish(&purse, registry, &items).await? {
        reporter.result(&published_text(&published), &published_json(&published));
    }
    Ok(Exit::Success)
}

/// What is to be listed: a release that its log holds, or bare reference values.
fn listed_items(arguments: &PublishArguments) -> anyhow::Result<Vec<Item>> {
    if let (Some(directory), Some(key)) = (&arguments.release, &arguments.log_key) {
        return release_items(directory, key);
    }
    let path = arguments.reference_values.as_deref();
    let path = path.context("needs --release or --reference-values")?;
    let limit = u64::try_from(reference_values::MAX_BYTES).unwrap_or(u64::MAX);
    let values = ReferenceValues::parse(&read_bounded(path, limit)?)
        .with_context(|| format!("cannot use `{}`", path.display()))?;
    Ok(publishing::items(&values))
}

fn release_items(directory: &Path, key: &VerifierKey) -> anyhow::Result<Vec<Item>> {
    let release = publication::verify(directory, key, None)
        .with_context(|| format!("`{}` is not a release of that log", directory.display()))?;
    Ok(publishing::release_items(&release))
}

/// The members `address`, `amount` and `payload` are those of a message in TON Connect.
fn transaction(wanted: &TransactionArguments, reporter: &Reporter) -> anyhow::Result<Exit> {
    let items = release_items(&wanted.release, &wanted.log_key)?;
    let mut messages = Vec::new();
    for message in publishing::messages(&items)? {
        let (kind, key) = kind_and_key(&message.item.listed);
        let mut value = json!({
            "kind": kind,
            "name": message.item.name,
            "key": key,
            "amount": message.amount.to_string(),
            "payload": STANDARD.encode(&message.payload),
        });
        if let (Some(registry), Some(members)) = (&wanted.registry, value.as_object_mut()) {
            members.insert("address".to_owned(), json!(registry));
        }
        messages.push(value);
    }
    let json = json!({ "version": 1, "messages": messages });
    let text = serde_json::to_string_pretty(&json).context("cannot write the messages")?;
    reporter.result(&text, &json);
    Ok(Exit::Success)
}

fn published_text(published: &Published) -> String {
    let (kind, key) = kind_and_key(&published.item.listed);
    let outcome = match published.outcome {
        Addition::Added => "added",
        Addition::ListedBefore => "listed before",
    };
    format!(
        "{kind} {key} {}: {outcome}, effective from {} (unix time)",
        published.item.name, published.entry.valid_from
    )
}

fn published_json(published: &Published) -> Value {
    let (kind, key) = kind_and_key(&published.item.listed);
    json!({
        "kind": kind,
        "key": key,
        "name": published.item.name,
        "added": published.outcome == Addition::Added,
        "valid_from": published.entry.valid_from,
    })
}

fn kind_and_key(listed: &Listed) -> (&'static str, String) {
    match listed {
        Listed::Release(_) => ("release", FileDigest(*listed.key()).to_string()),
        Listed::Measurement(key) => ("measurement", key.to_string()),
        Listed::Model(digest) => ("model", digest.to_string()),
        Listed::Provider(key) => ("provider", key.to_string()),
    }
}

async fn deploy_registry(
    arguments: &DeployArguments,
    given: (&Clock, Draw),
    reporter: &Reporter,
) -> anyhow::Result<Exit> {
    let purse = arguments.purse.open(given).await?;
    let terms = RegistryTerms {
        adder: purse.address,
        revoker: arguments.revoker,
        delay: arguments.delay,
    };
    let registry = publishing::deploy(&purse, &terms).await?;
    let json = json!({
        "registry": registry,
        "adder": purse.address,
        "revoker": arguments.revoker,
        "delay": arguments.delay,
    });
    reporter.result(&registry, &json);
    Ok(Exit::Success)
}
