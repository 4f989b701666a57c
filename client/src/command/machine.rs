//! From options to a machine that is attested, affordable and paid from a channel: the way that
//! `chat` and `serve` share. Everything that was found is printed before any content is sent.

use contracts::asset::Asset;
use protocol::launch_configuration::ModelEntry;
use protocol::nano::Nano;
use serde_json::json;
use verifier::{AttestationResult, Bundle};

use super::amount::{in_coins, in_whole_units};
use super::arguments::MachineOptions;
use super::failure::Failure;
use super::output::{Output, members};
use super::settings::Settings;
use crate::channel::Answer;
use crate::chat::{AskError, Chat, Till, price_per_million};
use crate::pins::Pins;
use crate::session::{AttestError, Session};
use crate::wallet::{ChannelTo, Ledger, refresh};

const EVIDENCE: &str = "evidence";
const RECEIPTS: &str = "receipts";

/// Connects, attests, prints what was found, and opens the channel that pays this machine.
pub(super) async fn connect(
    settings: &Settings,
    options: &MachineOptions,
    output: Output,
) -> Result<Chat, Failure> {
    let attester = settings.attester(options).await?;
    show_release(&attester.pins, output)?;
    let limit = settings.max_price(options)?;
    let session = match attester.connect().await {
        Ok(session) => session,
        Err(error) => {
            if let AttestError::Refused { evidence, .. } = &error {
                keep_evidence(settings, evidence, &attester.pins, "refused", output)?;
            }
            return Err(Failure::Attest {
                error,
                dropped: attester.pins.dropped().to_vec(),
            });
        }
    };
    keep_evidence(
        settings,
        session.evidence(),
        &attester.pins,
        "accepted",
        output,
    )?;
    show_machine(&session, output)?;
    let (configuration, ours) = (session.configuration(), settings.asset(options));
    // Prices are in units of it: what they mean, and the limit, rests on which asset it is.
    let asset = Asset::of_minter(configuration.jetton);
    if asset != ours {
        return Err(AskError::OtherAsset { asset }.into());
    }
    for model in &configuration.models {
        show_price(model, (asset, limit), output)?;
    }
    let purse = settings.purse()?;
    let to = ChannelTo {
        payee: configuration.payee,
        asset,
    };
    let mut ledger = Ledger::open(purse.channel_to(&to)?)?;
    if let Some(chain) = settings.chain_if_given()? {
        refresh(&chain, &mut ledger).await?;
    }
    let till = Till::open(ledger, settings.state()?.within(RECEIPTS)?)?;
    Ok(Chat::new(attester, session, till, limit)?)
}

/// The release that the pins come from, as its log holds it; nothing for bare reference values.
pub(super) fn show_release(pins: &Pins, output: Output) -> Result<(), Failure> {
    let Some(release) = pins.release() else {
        return Ok(());
    };
    let (record, checkpoint) = (release.record(), release.checkpoint());
    let line = format!(
        "release {version} {flavour}: record {index} of {size} in the log {log}, registry key \
         {key}",
        version = record.version,
        flavour = record.flavour.name(),
        index = release.index(),
        size = checkpoint.size,
        log = checkpoint.origin.as_str(),
        key = record.registry_key(),
    );
    output.event(
        "release",
        &line,
        members([
            ("version", record.version.to_string().into()),
            ("flavour", record.flavour.name().into()),
            ("index", release.index().into()),
            ("log", checkpoint.origin.as_str().into()),
            ("log_size", checkpoint.size.into()),
            ("registry_key", record.registry_key().to_string().into()),
        ]),
    )
}

/// Keeps everything that a connection brought as a bundle.
fn keep_evidence(
    settings: &Settings,
    answer: &Answer,
    pins: &Pins,
    verdict: &str,
    output: Output,
) -> Result<(), Failure> {
    let bundle = Bundle {
        made_at: settings.surroundings.now(),
        channel: answer.binding,
        evidence: answer.evidence.clone(),
        references: pins.references().clone(),
    };
    let directory = settings.state()?.within(EVIDENCE)?;
    let digest = answer.evidence.statement.digest();
    let name = format!("{verdict}-{digest}.bundle");
    let bytes = bundle.encode().map_err(|_| Failure::Verdict)?;
    directory.replace(&name, &bytes)?;
    let path = directory.path(&name).display().to_string();
    let line = format!("evidence kept in {path}");
    output.event("evidence", &line, members([("file", path.into())]))
}

fn show_machine(session: &Session, output: Output) -> Result<(), Failure> {
    let result: &AttestationResult = session.result();
    let statement = result.statement();
    let models: Vec<String> = result.models().iter().map(ToString::to_string).collect();
    let line = format!(
        "attested: {tee}, image {image}, shape {shape}, measurement {key}, boot {boot}, until \
         {until}",
        tee = result.tee().name(),
        image = session.image(),
        shape = result.shape(),
        key = result.measurement_key(),
        boot = statement.boot_id,
        until = result.not_after().0,
    );
    output.event(
        "attested",
        &line,
        members([
            ("tee", result.tee().name().into()),
            ("image", session.image().to_string().into()),
            ("shape", result.shape().into()),
            ("measurement", result.measurement_key().to_string().into()),
            ("models", models.into()),
            ("chip", result.chip().claimed().to_string().into()),
            ("chip_certified", result.chip().certified().is_some().into()),
            ("boot_id", statement.boot_id.to_string().into()),
            ("statement", statement.digest().to_string().into()),
            ("payee", session.configuration().payee.to_string().into()),
            ("jetton", json!(session.configuration().jetton)),
            ("not_after", result.not_after().0.into()),
        ]),
    )
}

fn show_price(
    model: &ModelEntry,
    (asset, limit): (Asset, Nano),
    output: Output,
) -> Result<(), Failure> {
    let prices = &model.prices;
    let dearest = price_per_million(prices).map_err(AskError::from)?;
    let (units, said): (_, fn(Nano) -> String) = match asset {
        Asset::Coin => ("nano".to_owned(), in_coins),
        Asset::Jetton(minter) => (format!("units of the jetton {minter}"), in_whole_units),
    };
    let line = format!(
        "price of {name} in {units} per token: prompt {prompt}, cached {cached}, completion \
         {completion}; dearest {dearest} per million, limit {limit}",
        name = model.name,
        prompt = prices.prompt,
        cached = prices.cached,
        completion = prices.completion,
        dearest = said(dearest),
        limit = said(limit),
    );
    output.event(
        "price",
        &line,
        members([
            ("model", model.name.as_str().into()),
            ("prompt", prices.prompt.into()),
            ("cached", prices.cached.into()),
            ("completion", prices.completion.into()),
            ("per_million", dearest.to_string().into()),
            ("limit", limit.to_string().into()),
        ]),
    )
}
