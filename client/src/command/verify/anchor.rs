//! A proof that a receipt is under a root on the chain: signature and path offline, the root from
//! `--root` or from the contract, by proof or as an endpoint shows it.

use contracts::channel::ChannelState;
use protocol::digest::ReceiptsRoot;
use serde_json::Value;

use super::receipt::{found_in, print, reject};
use super::{Failure, read};
use crate::command::arguments::AnchorArguments;
use crate::command::output::members;
use crate::command::settings::Settings;
use crate::wallet::{AnchorError, AnchorProof, KeptReceiptError, MAX_PROOF_BYTES, WalletError};

const KIND: &str = "anchor";

pub(super) async fn verify(
    settings: &Settings,
    arguments: &AnchorArguments,
) -> Result<(), Failure> {
    let bytes = read(&arguments.file, MAX_PROOF_BYTES)?;
    let proof = match AnchorProof::parse(&bytes) {
        Ok(proof) => proof,
        Err(AnchorError::Receipt(
            error @ (KeptReceiptError::Receipt(_) | KeptReceiptError::OtherStatement),
        )) => return reject(KIND, error.code(), arguments.pretty),
        Err(error) => return Err(error.into()),
    };
    let shown = match arguments.root {
        Some(_) => None,
        None => shown(settings, &proof).await?,
    };
    let root = match (arguments.root, &shown) {
        (Some(root), _) => root,
        (None, Some(shown)) => shown.last_root,
        (None, None) => ReceiptsRoot::ZERO,
    };
    if proof.root()? != root {
        return reject(KIND, AnchorError::NotAnchored.code(), arguments.pretty);
    }
    let mut found = found_in(&proof.receipt.receipt);
    found.extend(members([
        ("index", proof.index.into()),
        ("receipts", proof.count.into()),
        ("root", root.to_string().into()),
        ("chain_read", shown.is_some().into()),
        (
            "claimed",
            shown.map(|shown| shown.claimed.to_string()).into(),
        ),
    ]));
    print(KIND, None, Value::Object(found), arguments.pretty)
}

/// What the chain shows of the receipt's channel, while it is in the receipt's epoch.
async fn shown(settings: &Settings, proof: &AnchorProof) -> Result<Option<ChannelState>, Failure> {
    let chain = settings.chain_if_given()?;
    let chain = chain.ok_or(Failure::Missing {
        option: "chain` or `--root",
    })?;
    let network = chain.network().await.map_err(WalletError::Chain)?;
    let receipt = &proof.receipt.receipt;
    if network != receipt.network {
        return Err(Failure::Wallet(WalletError::OtherNetwork {
            found: network,
            expected: receipt.network,
        }));
    }
    let state = chain.payment_channel(&receipt.channel).await;
    let state = state.map_err(WalletError::Chain)?;
    let state = state.map(|channel| *channel.state());
    Ok(state.filter(|state| state.epoch == receipt.epoch))
}
