//! `wallet` and `balance`: what the wallet holds and which channels it opened.

use std::path::Path;

use contracts::chain::Chain;
use contracts::channel::Standing;
use contracts::jetton_channel::{JettonChannelState, Side};
use contracts::toncenter::ChainError;
use contracts::wallet::WalletKind;
use contracts::wallet::mnemonic::{self, MnemonicError};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::amount::{Amount, in_coins, in_units};
use super::arguments::WalletCommand;
use super::connect;
use super::failure::Failure;
use super::output::{Output, check_new, members, write_new_file};
use super::settings::Settings;
use crate::wallet::{
    ChannelFile, ChannelTo, Jetton, Ledger, Opening, Purse, WalletError, read_bounded,
};

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
            channel,
            deposit,
            decimals,
            window,
        } => {
            let asked = (channel.to(), deposit, *window);
            open(settings, asked, *decimals, output).await
        }
        WalletCommand::TopUp { channel, amount } => {
            let (purse, to) = (settings.purse()?, channel.to());
            let file = Ledger::read_file(&purse.channel_to(&to)?)?;
            let amount = amount.units(to.asset, file.decimals())?;
            let chain = settings.chain()?;
            connect::announce(&purse, output)?;
            let topped = purse.top_up(&chain, &to, amount).await?;
            print_channel("topped-up", &topped, output)
        }
        WalletCommand::Close {
            channel,
            agree: Some(out),
            within,
        } => agree_to_close(settings, &channel.to(), *within, out, output).await,
        WalletCommand::Close {
            channel,
            agree: None,
            ..
        } => close(settings, &channel.to(), output).await,
        WalletCommand::Resend { channel, to_payee } => {
            let side = if *to_payee { Side::Payee } else { Side::Payer };
            resend(settings, &channel.to(), side, output).await
        }
    }
}

async fn open(
    settings: &Settings,
    (to, deposit, window): (ChannelTo, &Amount, u32),
    decimals: Option<u8>,
    output: Output,
) -> Result<(), Failure> {
    let (purse, chain) = (settings.purse()?, settings.chain()?);
    let jetton = match to.asset.minter() {
        None => None,
        Some(minter) => Some(Jetton {
            minter,
            decimals: match decimals {
                Some(decimals) => Some(decimals),
                None => said_decimals(&chain, &minter).await?,
            },
        }),
    };
    let decimals = jetton.and_then(|jetton| jetton.decimals);
    let opening = Opening {
        payee: to.payee,
        jetton,
        deposit: deposit.units(to.asset, decimals)?,
        window,
    };
    let seed = settings.surroundings.random();
    let seed = seed.map_err(crate::chat::AskError::Randomness)?;
    connect::announce(&purse, output)?;
    let opened = purse.open_channel(&chain, &opening, &seed).await?;
    print_channel("opened", &opened, output)
}

/// A minter that does not say leaves the decimals unknown.
async fn said_decimals(chain: &Chain, minter: &TonAddress) -> Result<Option<u8>, WalletError> {
    match chain.jetton_decimals(minter).await {
        Ok(decimals) => Ok(decimals),
        Err(ChainError::Getter { .. } | ChainError::Malformed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn resend(
    settings: &Settings,
    to: &ChannelTo,
    side: Side,
    output: Output,
) -> Result<(), Failure> {
    let (purse, chain) = (settings.purse()?, settings.chain()?);
    let file = Ledger::read_file(&purse.channel_to(to)?)?;
    connect::announce(&purse, output)?;
    let shown = purse.resend(&chain, to, side).await?;
    let line = format!("sent again; {}", due_line(&file, &shown));
    output.result("resent", &[line], members([("due", due_value(&shown))]))
}

fn due_line(file: &ChannelFile, shown: &JettonChannelState) -> String {
    format!(
        "due to the provider {}, due back {}",
        said(file, shown.due_payee),
        said(file, shown.due_payer)
    )
}

fn due_value(shown: &JettonChannelState) -> Value {
    json!({
        "payee": shown.due_payee.to_string(),
        "payer": shown.due_payer.to_string(),
    })
}

/// An amount of a channel, for people.
fn said(file: &ChannelFile, amount: Nano) -> String {
    in_units(amount, file.asset(), file.decimals())
}

async fn close(settings: &Settings, to: &ChannelTo, output: Output) -> Result<(), Failure> {
    let (purse, chain) = (settings.purse()?, settings.chain()?);
    connect::announce(&purse, output)?;
    let standing = purse.close(&chain, to).await?;
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
    to: &ChannelTo,
    within: u32,
    out: &Path,
    output: Output,
) -> Result<(), Failure> {
    // Once agreed, nothing can be asked on the channel: not for a file that cannot be written.
    check_new(out)?;
    let (purse, chain) = (settings.purse()?, settings.chain()?);
    let file = Ledger::read_file(&purse.channel_to(to)?)?;
    let close = purse.agree_to_close(&chain, to, within).await?;
    let document = close.to_json().map_err(|_| Failure::Verdict)?;
    write_new_file(out, document.as_bytes())?;
    let promise = close.promise();
    let line = format!(
        "a close at {} is in {}: the provider sends it before {} (unix seconds)",
        said(&file, promise.cumulative),
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
        lines.push(format!(
            "{}, signed {}",
            channel_line(&file)?,
            said(&file, promised)
        ));
        channels.push(channel_value(&file, promised));
    }
    let found = members([
        ("address", address.into()),
        ("connected", app.into()),
        ("channels", channels.into()),
    ]);
    output.result("wallet", &lines, found)
}

fn channel_line(file: &ChannelFile) -> Result<String, Failure> {
    Ok(format!(
        "channel {channel} to {payee}{kind}: epoch {epoch}, deposited {deposited}",
        channel = file.channel,
        payee = file.payee,
        kind = kind(file),
        epoch = file.epoch,
        deposited = said(file, file.deposit()?),
    ))
}

/// Which jetton, where it is not the coin.
fn kind(file: &ChannelFile) -> String {
    let minter = file.asset().minter();
    minter.map_or_else(String::new, |minter| format!(" in jetton {minter}"))
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
        "jetton": file.jetton,
    })
}

fn print_channel(event: &str, file: &ChannelFile, output: Output) -> Result<(), Failure> {
    let line = channel_line(file)?;
    output.result(event, &[line], members([("channel", json!(file))]))
}

/// With the chain: what it shows of wallet and channels, in smallest units.
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
        let Some(channel) = account.payment_channel().map_err(WalletError::Chain)? else {
            continue;
        };
        let (shown, account) = (channel.state(), account.balance);
        let mut line = format!(
            "channel {channel} to {payee}{kind}: deposited {deposited}, claimed {claimed}, signed \
             {signed}, account {account} nano",
            channel = file.channel,
            payee = file.payee,
            kind = kind(&file),
            deposited = said(&file, shown.deposited),
            claimed = said(&file, shown.claimed),
            signed = said(&file, signed),
        );
        if let Some(jetton) = channel.jetton() {
            line = format!("{line}, {}", due_line(&file, jetton));
        }
        lines.push(line);
        channels.push(json!({
            "channel": file.channel,
            "payee": file.payee,
            "jetton": file.jetton,
            "deposited": shown.deposited.to_string(),
            "claimed": shown.claimed.to_string(),
            "signed": signed.to_string(),
            "account": account.to_string(),
            "due": channel.jetton().map(due_value),
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
