//! `serve`: the local port, from "ready" to SIGTERM.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::arguments::ServeArguments;
use super::failure::Failure;
use super::machine;
use super::output::{Output, Reader, members};
use super::settings::Settings;
use crate::chat::{AskError, Chat};
use crate::local::{LocalPort, Notice};

pub(super) async fn serve(
    settings: &Settings,
    arguments: &ServeArguments,
    output: Output,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Runtime)?;
    let connected = async {
        let chat = machine::connect(settings, &arguments.machine, output).await?;
        check_affordable(&chat).await?;
        Ok::<_, Failure>(chat)
    };
    let chat = tokio::select! {
        () = either(&mut terminate, &mut interrupt) => return Ok(()),
        chat = connected => chat?,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let listener = TcpListener::bind(address).await.map_err(Failure::Port)?;
    let port = listener.local_addr().map_err(Failure::Port)?.port();
    let (notices, heard) = mpsc::unbounded_channel();
    let local = LocalPort::new(Arc::new(chat), port, notices);
    ready(port, output)?;
    let printing = tokio::spawn(print(heard, output));
    local
        .serve(listener, either(&mut terminate, &mut interrupt))
        .await;
    printing.abort();
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// One model within the limit at least, and something left of the deposit.
async fn check_affordable(chat: &Chat) -> Result<(), Failure> {
    let session = chat.session().await?;
    let mut first_refusal = None;
    for model in &session.configuration().models {
        match chat.affordable(&session, &model.name) {
            Ok(()) => return Ok(()),
            Err(refusal) => first_refusal = first_refusal.or(Some(refusal)),
        }
    }
    Err(first_refusal.unwrap_or(AskError::UnknownModel).into())
}

fn ready(port: u16, output: Output) -> Result<(), Failure> {
    let url = format!("http://127.0.0.1:{port}/v1");
    match output.reader {
        Reader::Person => output.content(&format!("ready {url}\n")),
        Reader::Program => output.event("ready", "", members([("url", url.into())])),
    }
}

async fn print(mut heard: mpsc::UnboundedReceiver<Notice>, output: Output) {
    while let Some(notice) = heard.recv().await {
        let printed = match notice {
            Notice::Settled { kept, charged } => output.event(
                "receipt",
                &format!("receipt verified: {charged} nano; kept as {kept}"),
                members([
                    ("kept", kept.into()),
                    ("charged", charged.to_string().into()),
                ]),
            ),
            Notice::Refused { code } => output.event(
                "refused",
                &format!("request refused: {code}"),
                members([("code", code.into())]),
            ),
        };
        if printed.is_err() {
            return;
        }
    }
}
