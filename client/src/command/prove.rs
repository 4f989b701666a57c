//! `prove`: the path from a kept receipt to the root that the chain shows, as a file for others.

use super::arguments::ProveArguments;
use super::failure::Failure;
use super::output::{Output, check_new, members, write_line, write_new_file};
use super::settings::Settings;
use crate::wallet::{
    AnchorError, AnchorProof, KeptReceipt, Ledger, MAX_KEPT_BYTES, WalletError, read_bounded,
};

pub(super) async fn prove(
    settings: &Settings,
    arguments: &ProveArguments,
    output: Output,
) -> Result<(), Failure> {
    if let Some(out) = &arguments.out {
        check_new(out)?;
    }
    let bytes = read_bounded(&arguments.receipt, MAX_KEPT_BYTES).map_err(Failure::Input)?;
    let kept = KeptReceipt::parse(&bytes)?;
    let receipt = &kept.receipt.receipt;
    let (purse, chain) = (settings.purse()?, settings.chain()?);
    let mut channels = purse.channels()?.into_iter();
    let (ledger, _) = channels
        .find(|(_, file)| file.channel == receipt.channel)
        .ok_or(AnchorError::Unknown)?;
    let digests = Ledger::read_receipts(&ledger, receipt.epoch)?;
    let state = chain.payment_channel(&receipt.channel).await;
    let state = state.map_err(WalletError::Chain)?;
    let state = state.map(|channel| *channel.state());
    let state = state.filter(|state| state.epoch == receipt.epoch);
    let state = state.ok_or(AnchorError::NotAnchored)?;
    let proof = AnchorProof::of(&kept, &digests, &state.last_root)?;
    let text = proof.to_json()?;
    let Some(out) = &arguments.out else {
        return write_line(text.trim_end());
    };
    write_new_file(out, text.as_bytes())?;
    let line = format!(
        "receipt {} of {} in {}",
        proof.index,
        proof.count,
        out.display()
    );
    let found = members([
        ("index", proof.index.into()),
        ("receipts", proof.count.into()),
        ("root", state.last_root.to_string().into()),
    ]);
    output.result("proof", &[line], found)
}
