//! Commands about money: wallet, settle, publish.
//!
//! Deliberately not here: guests.

use std::fmt::Write as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::close::{MAX_DOCUMENT_BYTES, SignedClose};
use contracts::registry::{Listed, RegistryTerms};
use contracts::wallet::mnemonic::{self, MnemonicError};
use measurements::publication;
use measurements::transparency::note::VerifierKey;
use measurements::transparency::record::FileDigest;
use protocol::nano::Nano;
use protocol::reference_values::{self, ReferenceValues};
use protocol::ton::{NetworkId, TonAddress};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::arguments::{
    ClaimArguments, CloseArguments, DeployArguments, JournalArguments, PublishAction,
    PublishArguments, SettleAction, SettleArguments, StatusArguments, TransactionArguments,
    WalletAction, WalletArguments,
};
use super::chain::PurseArguments;
use super::{Draw, Exit};
use crate::agent::AgentName;
use crate::clock::{Clock, UnixSeconds};
use crate::journal::{ClaimRecord, ClaimState, Journal, Place};
use crate::launch::configuration::read_bounded;
use crate::launch::state::StatePaths;
use crate::publish::{self as publishing, Addition, Item, Published};
use crate::report::{Coins, Reporter};
use crate::settle::{
    self as settling, Claimed, Position, Prospect, SettleError, Threshold, Turn, Worth, export,
};
use crate::wallet::{self as purses, Purse};

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

pub(super) async fn settle(
    arguments: &SettleArguments,
    given: (&Clock, Draw),
    reporter: &Reporter,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    match &arguments.action {
        SettleAction::Status(status) => {
            let (journal, purse) = open(status, given).await?;
            let worth = Worth::Anything;
            for position in settling::positions(&journal, &purse, worth).await? {
                reporter.result(&position_text(&position), &position_json(&position));
            }
            Ok(Exit::Success)
        }
        SettleAction::Claim(claim) => match claim.every {
            None => claim_all(claim, given, reporter).await,
            Some(seconds) => claim_on(claim, seconds, given, reporter, stop).await,
        },
        SettleAction::Close(close) => close_by_both(close, given, reporter).await,
        SettleAction::Export(export) => {
            let journal = journal(export.state.as_ref(), &export.journal)?;
            exported(&journal.claims()?, reporter);
            Ok(Exit::Success)
        }
    }
}

async fn close_by_both(
    arguments: &CloseArguments,
    (clock, draw): (&Clock, Draw),
    reporter: &Reporter,
) -> anyhow::Result<Exit> {
    let limit = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
    let signed = SignedClose::parse(&read_bounded(&arguments.file, limit)?);
    let signed = signed.with_context(|| format!("cannot use `{}`", arguments.file.display()))?;
    let (mut journal, purse) = open(&arguments.status, (clock, draw)).await?;
    let promise = signed.promise();
    let (channel, epoch) = (promise.channel, promise.epoch);
    let settled = match turn(&mut journal, &purse, clock, draw)? {
        Ok(turn) => {
            let (with, now) = ((&purse, &turn), clock.now());
            let settled = settling::close(&mut journal, with, &signed, now).await;
            // What became of it is told, whether the turn could be given back or lapses.
            drop(turn.end(&mut journal));
            settled
        }
        Err(error) => Err(error),
    };
    let claimed = match settled {
        Ok(claimed) => claimed,
        Err(error) => {
            not_settled(&channel, &error, reporter);
            return Ok(Exit::Failure);
        }
    };
    let text = claim_text(&channel, epoch, &claimed);
    reporter.result(&text, &claim_json(&channel, epoch, &claimed));
    let is_whole = claimed.is_paid() && claimed.adds_up();
    Ok(if is_whole {
        Exit::Success
    } else {
        Exit::Failure
    })
}

fn not_settled(channel: &TonAddress, error: &SettleError, reporter: &Reporter) {
    let mut text = format!("{channel}: not settled: {error} ({})", error.code());
    if let SettleError::Close(refusal) = error {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {refusal}");
    }
    let json = json!({ "channel": channel, "settled": false, "error": error.code() });
    reporter.result(&text, &json);
}

/// Claims again and again. A round that fails is told and the next one tries anew: the chain may be
/// away for an hour, and a window must not close meanwhile because nobody looked.
async fn claim_on(
    arguments: &ClaimArguments,
    seconds: u64,
    given: (&Clock, Draw),
    reporter: &Reporter,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    let mut stop = std::pin::pin!(stop);
    loop {
        if let Err(error) = claim_all(arguments, given, reporter).await {
            let text = format!("{error:#}");
            reporter.result(&text, &json!({ "settled": false, "error": text }));
        }
        tokio::select! {
            () = &mut stop => return Ok(Exit::Success),
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        }
    }
}

fn exported(claims: &[ClaimRecord], reporter: &Reporter) {
    let entries = export::entries(claims);
    if reporter.is_json() {
        for entry in &entries {
            let fields = export::COLUMNS.into_iter().zip(entry.fields());
            let object: serde_json::Map<String, Value> = fields
                .map(|(name, field)| (name.to_owned(), Value::String(field)))
                .collect();
            reporter.result(&"", &Value::Object(object));
        }
    } else {
        // The reporter ends the last line.
        let table = export::csv(&entries);
        reporter.result(&table.trim_end_matches('\n'), &Value::Null);
    }
}

fn journal(state: Option<&PathBuf>, named: &JournalArguments) -> anyhow::Result<Journal> {
    let own = || state.map(|state| Place::File(StatePaths(state.clone()).journal()));
    let place = named.place()?.or_else(own);
    let place = place.context("no journal is named")?;
    if let Place::File(path) = &place
        && !path.is_file()
    {
        anyhow::bail!("there is no journal at `{}`", path.display());
    }
    Ok(Journal::at(place)?)
}

/// The turn of this run with the wallet; the inner error is that another agent has it.
fn turn(
    journal: &mut Journal,
    purse: &Purse,
    clock: &Clock,
    draw: Draw,
) -> anyhow::Result<Result<Turn, SettleError>> {
    let name = AgentName::drawn(draw).context("cannot draw a name for this run")?;
    let taken = Turn::take(journal, purse.address, name.to_string(), clock.clone());
    Ok(taken)
}

async fn open(status: &StatusArguments, given: (&Clock, Draw)) -> anyhow::Result<(Journal, Purse)> {
    let journal = journal(status.state.as_ref(), &status.journal)?;
    Ok((journal, status.purse.open(given).await?))
}

async fn claim_all(
    arguments: &ClaimArguments,
    (clock, draw): (&Clock, Draw),
    reporter: &Reporter,
) -> anyhow::Result<Exit> {
    let (mut journal, purse) = open(&arguments.status, (clock, draw)).await?;
    let turn = turn(&mut journal, &purse, clock, draw)??;
    let (with, books) = ((&purse, &turn), &mut journal);
    let done = claim_in_turn(arguments, clock, reporter, with, books).await;
    // It lapses by itself when it cannot be given back.
    drop(turn.end(&mut journal));
    done
}

async fn claim_in_turn(
    arguments: &ClaimArguments,
    clock: &Clock,
    reporter: &Reporter,
    with: (&Purse, &Turn),
    journal: &mut Journal,
) -> anyhow::Result<Exit> {
    let mut threshold = Threshold {
        minimum: Nano::from_u64(arguments.minimum),
        fee: Nano::from_u64(arguments.fee),
        margin: arguments.margin,
    };
    let worth = match (arguments.again, arguments.all) {
        (true, _) => Worth::Again,
        (false, true) => Worth::Anything,
        (false, false) => Worth::Due(threshold),
    };
    let mut exit = Exit::Success;
    for position in settling::positions(journal, with.0, worth).await? {
        let now = clock.now();
        take_back(journal, &position, now)?;
        match position.prospect {
            // Fees rose since the first claim of this run: what they would eat waits.
            Prospect::Claim(_, increment)
                if matches!(worth, Worth::Due(_)) && increment < threshold.fee =>
            {
                reporter.result(&position_text(&position), &position_json(&position));
            }
            Prospect::Claim(voucher, _) => {
                let claimed = settling::claim(journal, with, &voucher, now).await;
                let claimed = match claimed {
                    Ok(claimed) => claimed,
                    // The next channel may do better; what became of this one, a later run sees.
                    Err(error) => {
                        not_settled(&position.channel, &error, reporter);
                        exit = Exit::Failure;
                        continue;
                    }
                };
                threshold = threshold.after(claimed.fees());
                let (channel, epoch) = (&position.channel, position.epoch);
                let text = claim_text(channel, epoch, &claimed);
                reporter.result(&text, &claim_json(channel, epoch, &claimed));
                if !claimed.is_paid() || !claimed.adds_up() {
                    exit = Exit::Failure;
                }
            }
            Prospect::Paid
            | Prospect::Small(_)
            | Prospect::Expired
            | Prospect::Over
            | Prospect::OtherPayee
            | Prospect::OtherNetwork
            | Prospect::Overdraw => {
                reporter.result(&position_text(&position), &position_json(&position));
            }
        }
    }
    Ok(exit)
}

/// What the journal holds for paid and the chain no longer shows is written down as missing.
fn take_back(journal: &mut Journal, position: &Position, now: UnixSeconds) -> anyhow::Result<()> {
    let last = journal.last_claim(&position.channel, position.epoch)?;
    if let Some(lost) = position.taken_back(last.as_ref()) {
        journal.append_claim(&ClaimRecord {
            state: ClaimState::Missing,
            at: now,
            fees: None,
            ..lost
        })?;
    }
    Ok(())
}

fn position_text(position: &Position) -> String {
    let claimed = position.claimed.unwrap_or(Nano::ZERO);
    format!(
        "{} (epoch {}): promised {}, claimed {}: {}",
        position.channel,
        position.epoch,
        Coins(position.promised),
        Coins(claimed),
        position.prospect.name()
    )
}

fn position_json(position: &Position) -> Value {
    json!({
        "channel": position.channel,
        "epoch": position.epoch,
        "promised": position.promised.to_string(),
        "claimed": position.claimed.map(|claimed| claimed.to_string()),
        "prospect": position.prospect.name(),
    })
}

fn claim_text(channel: &TonAddress, epoch: u32, claimed: &Claimed) -> String {
    let mut text = String::new();
    let verdict = match claimed.exit_code {
        0 => "paid".to_owned(),
        code => format!("refused by the contract, exit code {code}"),
    };
    let rows = [
        ("wallet before", claimed.before),
        ("+ channel paid", claimed.increment),
        ("- wallet's fees", claimed.wallet_fees),
        ("- contract's and forwarding fees", claimed.contract_fees),
        ("= wallet after", claimed.after),
    ];
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{channel} (epoch {epoch}): {verdict}");
    for (name, amount) in rows {
        let _ = writeln!(text, "  {name:<34} {:>24}", Coins(amount).to_string());
    }
    text.push_str(if claimed.adds_up() {
        "  adds up to the nano unit"
    } else {
        "  does not add up: other transactions came between"
    });
    text
}

fn claim_json(channel: &TonAddress, epoch: u32, claimed: &Claimed) -> Value {
    json!({
        "channel": channel,
        "epoch": epoch,
        "paid": claimed.is_paid(),
        "exit_code": claimed.exit_code,
        "before": claimed.before.to_string(),
        "increment": claimed.increment.to_string(),
        "wallet_fees": claimed.wallet_fees.to_string(),
        "contract_fees": claimed.contract_fees.to_string(),
        "after": claimed.after.to_string(),
        "adds_up": claimed.adds_up(),
    })
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
    let (Some(registry), Some(seed), Some(chain)) = (
        &arguments.registry,
        &arguments.wallet_seed,
        &arguments.chain,
    ) else {
        // The parser required them all.
        return Ok(Exit::Usage);
    };
    let items = listed_items(arguments)?;
    let purse = PurseArguments::believed(seed, chain).open(given).await?;
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
