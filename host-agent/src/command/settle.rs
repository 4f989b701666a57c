//! Commands that turn vouchers into money: `settle claim`, `close`, `status` and `export`.
//!
//! Deliberately not here: what is claimed when (`crate::settle`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use contracts::asset::Asset;
use contracts::close::{MAX_DOCUMENT_BYTES, SignedClose};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use serde_json::{Value, json};

use super::arguments::{
    ClaimArguments, CloseArguments, JournalArguments, SettleAction, SettleArguments,
    StatusArguments,
};
use super::{Draw, Exit};
use crate::agent::AgentName;
use crate::clock::{Clock, UnixSeconds};
use crate::journal::{ClaimRecord, ClaimState, Journal, Place};
use crate::launch::configuration::read_bounded;
use crate::launch::state::StatePaths;
use crate::report::{Coins, Reporter};
use crate::settle::{
    self as settling, Claimed, Demands, Position, Prospect, SettleError, Threshold, Turn, Worth,
    export,
};
use crate::wallet::Purse;

pub(super) async fn settle(
    arguments: &SettleArguments,
    given: (&Clock, Draw),
    reporter: &Reporter,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    match &arguments.action {
        SettleAction::Status(status) => {
            let (journal, purse) = open(status, given).await?;
            for position in settling::positions(&journal, &purse, |_| Worth::Anything).await? {
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
    let mut demands = demands(arguments);
    let at_first = demands.clone();
    let worth = |asset| match (arguments.again, arguments.all) {
        (true, _) => Worth::Again,
        (false, true) => Worth::Anything,
        (false, false) => Worth::Due(at_first.of(asset)),
    };
    let any = arguments.again || arguments.all;
    let mut exit = Exit::Success;
    for position in settling::positions(journal, with.0, worth).await? {
        let now = clock.now();
        correct(journal, &position, now)?;
        let asset = position.asset.unwrap_or(Asset::Coin);
        let settled = match position.prospect {
            // Fees rose since the first claim of this run: what they would eat waits.
            Prospect::Claim(_, increment) if !any && increment < demands.of(asset).fee => Ok(None),
            Prospect::Claim(voucher, _) => {
                let claimed = settling::claim(journal, with, &voucher, now).await;
                claimed.map(Some)
            }
            Prospect::Due(_) if arguments.resend => {
                settling::resend(journal, with, &position, now).await
            }
            Prospect::Paid
            | Prospect::Small(_)
            | Prospect::Expired
            | Prospect::Over
            | Prospect::OtherPayee
            | Prospect::OtherNetwork
            | Prospect::Overdraw
            | Prospect::Due(_) => Ok(None),
        };
        match settled {
            Ok(None) => reporter.result(&position_text(&position), &position_json(&position)),
            Ok(Some(claimed)) => {
                demands.raise(asset, claimed.fees());
                let (channel, epoch) = (&position.channel, position.epoch);
                let text = claim_text(channel, epoch, &claimed);
                reporter.result(&text, &claim_json(channel, epoch, &claimed));
                if !claimed.is_paid() || !claimed.adds_up() {
                    exit = Exit::Failure;
                }
            }
            // The next channel may do better; what became of this one, a later run sees.
            Err(error) => {
                not_settled(&position.channel, &error, reporter);
                exit = Exit::Failure;
            }
        }
    }
    Ok(exit)
}

fn demands(arguments: &ClaimArguments) -> Demands {
    let least = |fee| Threshold {
        minimum: Nano::from_u64(arguments.minimum),
        fee: Nano::from_u64(fee),
        margin: arguments.margin,
    };
    let prices = arguments.jetton_price.iter();
    let prices: BTreeMap<_, _> = prices.map(|one| (one.minter, one.price)).collect();
    Demands {
        coin: least(arguments.fee),
        jetton: least(arguments.jetton_fee),
        prices,
    }
}

/// What the journal holds for paid and the chain no longer shows is written down as missing, and
/// what the chain shows by now and nobody was there to see, as shown. What that one cost nobody
/// followed.
fn correct(journal: &mut Journal, position: &Position, now: UnixSeconds) -> anyhow::Result<()> {
    let last = journal.last_claim(&position.channel, position.epoch)?;
    let lost = position.taken_back(last.as_ref());
    let found = position.caught_up(last.as_ref());
    let lost = lost.map(|claim| (claim, ClaimState::Missing));
    let found = found.map(|claim| (claim, ClaimState::Shown));
    for (claim, state) in lost.into_iter().chain(found) {
        journal.append_claim(&ClaimRecord {
            state,
            at: now,
            fees: None,
            ..claim
        })?;
    }
    Ok(())
}

fn position_text(position: &Position) -> String {
    let claimed = position.claimed.unwrap_or(Nano::ZERO);
    let asset = position.asset.unwrap_or(Asset::Coin);
    format!(
        "{} (epoch {}): promised {}, claimed {}: {}",
        position.channel,
        position.epoch,
        amount(asset, position.promised),
        amount(asset, claimed),
        position.prospect.name()
    )
}

/// Coins with all their digits; of a jetton its smallest units, since decimals are a convention.
fn amount(asset: Asset, amount: Nano) -> String {
    match asset {
        Asset::Coin => Coins(amount).to_string(),
        Asset::Jetton(_) => format!("{amount} units"),
    }
}

fn position_json(position: &Position) -> Value {
    let due = if let Prospect::Due(due) = position.prospect {
        Some(due.to_string())
    } else {
        None
    };
    json!({
        "channel": position.channel,
        "epoch": position.epoch,
        "promised": position.promised.to_string(),
        "claimed": position.claimed.map(|claimed| claimed.to_string()),
        "asset": position.asset.map(|asset| asset.to_string()),
        "due": due,
        "prospect": position.prospect.name(),
    })
}

fn claim_text(channel: &TonAddress, epoch: u32, claimed: &Claimed) -> String {
    let mut text = String::new();
    let verdict = match claimed.exit_code {
        0 if claimed.is_shown => "paid".to_owned(),
        0 => "not paid out: the jettons are due".to_owned(),
        code => format!("refused by the contract, exit code {code}"),
    };
    let coins = |name, amount| (name, Coins(amount).to_string());
    let mut rows = vec![coins("wallet before", claimed.before)];
    if claimed.jettons.is_none() {
        rows.push(coins("+ channel paid", claimed.increment));
    }
    rows.extend([
        coins("- wallet's fees", claimed.wallet_fees),
        coins("- contract's and forwarding fees", claimed.contract_fees),
        coins("= wallet after", claimed.after),
    ]);
    if let Some(jettons) = &claimed.jettons {
        rows.extend([
            ("jettons before", jettons.before.to_string()),
            ("+ due before", jettons.due_before.to_string()),
            ("+ channel's total rose by", claimed.increment.to_string()),
            ("- due after", jettons.due_after.to_string()),
            ("= jettons after", jettons.after.to_string()),
        ]);
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{channel} (epoch {epoch}): {verdict}");
    for (name, amount) in rows {
        let _ = writeln!(text, "  {name:<34} {amount:>24}");
    }
    text.push_str(if claimed.adds_up() {
        "  adds up to the unit"
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
        "asset": claimed.asset.to_string(),
        "jettons": claimed.jettons.map(|jettons| json!({
            "before": jettons.before.to_string(),
            "after": jettons.after.to_string(),
            "due_before": jettons.due_before.to_string(),
            "due_after": jettons.due_after.to_string(),
        })),
    })
}
