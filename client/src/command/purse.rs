//! `wallet` and `balance`: what the wallet holds and which channels it opened.

use std::path::Path;

use contracts::channel::Standing;
use contracts::wallet::WalletKind;
use contracts::wallet::mnemonic::{self, MnemonicError};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::amount::in_coins;
use super::arguments::WalletCommand;
use super::connect;
use super::failure::Failure;
use super::output::{Output, check_new, members, write_new_file};
use super::settings::Settings;
use crate::wallet::{ChannelFile, Ledger, Opening, Purse, WalletError, read_bounded};

pub(super) async fn wallet(
    settings: &Settings,
    command: &WalletCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        WalletCommand::New { kind, mnemonic } => new(settings, *kind, mnemonic.as_deref(), output),
        WalletCommand::Connect(arguments) => connect::connect(settings, arguments, output).await,
        WalletCommand::Disconnect => connect::disconnect(settings, output).await,
        WalletCommand::Show => show(settings, output),
        WalletCommand::Open {
            payee,
            deposit,
            window,
        } => {
            let opening = Opening {
                payee: *payee,
                deposit: *deposit,
                window: *window,
            };
            let seed = settings.surroundings.random();
            let seed = seed.map_err(crate::chat::AskError::Randomness)?;
            let (purse, chain) = (settings.purse()?, settings.chain()?);
            connect::announce(&purse, output)?;
            let opened = purse.open_channel(&chain, &opening, &seed).await?;
            print_channel("opened", &opened, output)
        }
        WalletCommand::TopUp { payee, amount } => {
            let (purse, chain) = (settings.purse()?, settings.chain()?);
            connect::announce(&purse, output)?;
            let topped = purse.top_up(&chain, payee, *amount).await?;
            print_channel("topped-up", &topped, output)
        }
        WalletCommand::Close {
            payee,
            agree: Some(out),
            within,
        } => agree_to_close(settings, payee, *within, out, output).await,
        WalletCommand::Close {
            payee, agree: None, ..
        } => close(settings, payee, output).await,
    }
}

async fn close(settings: &Settings, payee: &TonAddress, output: Output) -> Result<(), Failure> {
    let (purse, chain) = (settings.purse()?, settings.chain()?);
    connect::announce(&purse, output)?;
    let standing = purse.close(&chain, payee).await?;
    let (word, until) = match standing {
        Standing::Open => ("open", None),
        Standing::Closing { until } => ("closing", Some(until)),
        Standing::Closed => ("closed", None),
    };
    let line = match until {
        Some(until) => format!("closing until {until} (unix seconds of the chain)"),
        None => word.to_owned(),
    };
    let found = members([("standing", word.into()), ("until", until.into())]);
    output.result("channel", &[line], found)
}

async fn agree_to_close(
    settings: &Settings,
    payee: &TonAddress,
    within: u32,
    out: &Path,
    output: Output,
) -> Result<(), Failure> {
    // Once agreed, nothing can be asked on the channel: not for a file that cannot be written.
    check_new(out)?;
    let (purse, chain) = (settings.purse()?, settings.chain()?);
    let close = purse.agree_to_close(&chain, payee, within).await?;
    let document = close.to_json().map_err(|_| Failure::Verdict)?;
    write_new_file(out, document.as_bytes())?;
    let promise = close.promise();
    let line = format!(
        "a close at {} nano is in {}: the provider sends it before {} (unix seconds)",
        promise.cumulative,
        out.display(),
        promise.valid_until
    );
    let found = members([
        ("channel", json!(promise.channel)),
        ("total", promise.cumulative.to_string().into()),
        ("until", promise.valid_until.into()),
    ]);
    output.result("close-agreed", &[line], found)
}

fn new(
    settings: &Settings,
    kind: WalletKind,
    mnemonic: Option<&Path>,
    output: Output,
) -> Result<(), Failure> {
    let seed = match mnemonic {
        None => settings.surroundings.random(),
        Some(path) => Ok(seed_of_words(path)?),
    };
    let seed = seed.map_err(crate::chat::AskError::Randomness)?;
    let purse = Purse::create(settings.state()?, &seed, kind, settings.deployment.network)?;
    print_wallet("wallet", &purse, output)
}

fn seed_of_words(path: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let words = read_bounded(path, mnemonic::MAX_BYTES).map_err(Failure::Input)?;
    let words = Zeroizing::new(words);
    let words = str::from_utf8(&words).map_err(|_| MnemonicError::Form)?;
    Ok(mnemonic::seed(words)?)
}

fn print_wallet(event: &str, purse: &Purse, output: Output) -> Result<(), Failure> {
    let address = purse.address()?.to_string();
    let line = format!("wallet {address}");
    output.result(event, &[line], members([("address", address.into())]))
}

/// Without the chain: the wallet, its channels and what was signed on each.
fn show(settings: &Settings, output: Output) -> Result<(), Failure> {
    let purse = settings.purse()?;
    let address = purse.address()?.to_string();
    let mut lines = vec![format!("wallet {address}")];
    let app = purse
        .connected()
        .map(|connected| connected.session().app.clone());
    lines.extend(app.iter().map(|app| format!("connected in {app}")));
    let mut channels = Vec::new();
    for (state, file) in purse.channels()? {
        let highest = Ledger::read_highest(&state, &file)?;
        let promised = highest.map_or(Nano::ZERO, |signed| signed.voucher.cumulative);
        lines.push(format!("{}, signed {promised}", channel_line(&file)));
        channels.push(channel_value(&file, promised));
    }
    let found = members([
        ("address", address.into()),
        ("connected", app.into()),
        ("channels", channels.into()),
    ]);
    output.result("wallet", &lines, found)
}

fn channel_line(file: &ChannelFile) -> String {
    format!(
        "channel {channel} to {payee}: epoch {epoch}, deposited {deposited} nano",
        channel = file.channel,
        payee = file.payee,
        epoch = file.epoch,
        deposited = file.deposited,
    )
}

fn channel_value(file: &ChannelFile, promised: Nano) -> Value {
    json!({
        "channel": file.channel,
        "payee": file.payee,
        "payer_key": file.payer_key,
        "window": file.window,
        "epoch": file.epoch,
        "deposited": file.deposited,
        "signed": promised.to_string(),
    })
}

fn print_channel(event: &str, file: &ChannelFile, output: Output) -> Result<(), Failure> {
    let line = channel_line(file);
    output.result(event, &[line], members([("channel", json!(file))]))
}

/// With the chain: what it shows of wallet and channels, in nano units.
pub(super) async fn balance(settings: &Settings, output: Output) -> Result<(), Failure> {
    let purse = settings.purse()?;
    let chain = settings.chain()?;
    let address = purse.address()?;
    let held = chain.balance(&address).await.map_err(WalletError::Chain)?;
    let mut lines = vec![format!(
        "wallet {address}: {held} nano ({})",
        in_coins(held)
    )];
    let mut channels = Vec::new();
    for (state, file) in purse.channels()? {
        let highest = Ledger::read_highest(&state, &file)?;
        let signed = highest.map_or(Nano::ZERO, |signed| signed.voucher.cumulative);
        let account = chain.account(&file.channel).await;
        let account = account.map_err(WalletError::Chain)?;
        let Some(shown) = account.channel().map_err(WalletError::Chain)? else {
            continue;
        };
        let account = account.balance;
        lines.push(format!(
            "channel {channel} to {payee}: deposited {deposited} nano, claimed {claimed}, signed \
             {signed}, account {account}",
            channel = file.channel,
            payee = file.payee,
            deposited = shown.deposited,
            claimed = shown.claimed,
        ));
        channels.push(json!({
            "channel": file.channel,
            "payee": file.payee,
            "deposited": shown.deposited.to_string(),
            "claimed": shown.claimed.to_string(),
            "signed": signed.to_string(),
            "account": account.to_string(),
            "last_root": shown.last_root,
        }));
    }
    let found = members([
        ("address", address.to_string().into()),
        ("held", held.to_string().into()),
        ("channels", channels.into()),
    ]);
    output.result("balance", &lines, found)
}
