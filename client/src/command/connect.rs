//! `wallet connect` and `wallet disconnect`: a wallet on a phone in place of a seed.

use core::time::Duration;
use std::io::IsTerminal as _;

use serde_json::json;

use super::arguments::ConnectArguments;
use super::failure::Failure;
use super::output::{Output, Reader, members};
use super::qr;
use super::settings::Settings;
use crate::wallet::Purse;
use crate::wallet::connect::{ANY_WALLET, Invitation, KNOWN_WALLETS, Request};

pub(super) async fn connect(
    settings: &Settings,
    arguments: &ConnectArguments,
    output: Output,
) -> Result<(), Failure> {
    let state = settings.state()?;
    Purse::refuse_beside_one(&state)?;
    let request = Request::new(invitation(settings, arguments)?, &settings.surroundings)?;
    print_link(&request.link(), output)?;
    let within = Duration::from_secs(u64::from(arguments.within));
    let session = request.wait(&state, within).await?;
    let lines = [
        format!("wallet {}", session.address),
        format!("connected in {}, a {}", session.app, session.kind),
    ];
    let found = members([
        ("address", json!(session.address)),
        ("app", session.app.into()),
        ("kind", session.kind.into()),
    ]);
    output.result("connected", &lines, found)
}

fn invitation(settings: &Settings, arguments: &ConnectArguments) -> Result<Invitation, Failure> {
    let (bridge, link) = match &arguments.bridge {
        Some(bridge) => (bridge.as_str(), ANY_WALLET),
        None => {
            let mut known = KNOWN_WALLETS.iter();
            let known = known.find(|known| known.name == arguments.wallet);
            let known = known.ok_or(Failure::UnknownWallet)?;
            (known.bridge, known.link)
        }
    };
    Ok(Invitation {
        bridge: bridge.to_owned(),
        bridge_roots: arguments.bridge_roots.clone(),
        link: link.to_owned(),
        manifest: settings.manifest(arguments.manifest.as_deref())?,
        network: settings.deployment.network,
    })
}

fn print_link(link: &str, output: Output) -> Result<(), Failure> {
    let person = output.reader == Reader::Person && std::io::stderr().is_terminal();
    let code = person.then(|| qr::lines(link)).flatten();
    let mut line = String::from("open or scan this link with the wallet, and agree there:\n");
    for row in code.iter().flatten() {
        line.push_str(row);
        line.push('\n');
    }
    line.push_str(link);
    output.event("link", &line, members([("link", link.into())]))
}

/// Says that somebody has to act, before a command that waits for it.
pub(super) fn announce(purse: &Purse, output: Output) -> Result<(), Failure> {
    let Some(connected) = purse.connected() else {
        return Ok(());
    };
    let session = connected.session();
    let line = format!("agree in {}, within five minutes", session.app);
    let found = members([("app", session.app.clone().into())]);
    output.event("asking", &line, found)
}

pub(super) async fn disconnect(settings: &Settings, output: Output) -> Result<(), Failure> {
    let told = settings.purse()?.disconnect().await?;
    let told = told.ok_or(Failure::NotConnected)?;
    let line = if told {
        "disconnected"
    } else {
        "disconnected; the wallet was not told: remove this program there"
    };
    output.result(
        "disconnected",
        &[line.to_owned()],
        members([("told", told.into())]),
    )
}
