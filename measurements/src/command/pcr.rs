//! `measure pcr`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use measurements::pcr::{self, BankDigests, PcrEvent};
use measurements::release;
use measurements::uki::Uki;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub(crate) struct Pcr {
    /// The unified kernel image.
    #[arg(long)]
    uki: PathBuf,
}

impl Pcr {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let file = release::read_boot_file(&self.uki)?;
        let cannot = || format!("cannot measure `{}`", self.uki.display());
        let uki = Uki::parse(&file).with_context(cannot)?;
        Ok(json!({
            "pcr4": register(&pcr::pcr4_events(&uki).with_context(cannot)?),
            "pcr11": register(&pcr::pcr11_events(&uki)),
        }))
    }
}

fn register(events: &[PcrEvent]) -> Value {
    let list: Vec<_> = events
        .iter()
        .map(|event| {
            let mut value = banks(&event.digests);
            value.insert("what".into(), event.what.as_str().into());
            Value::Object(value)
        })
        .collect();
    let mut value = banks(&pcr::replay(events));
    value.insert("events".into(), list.into());
    Value::Object(value)
}

fn banks(digests: &BankDigests) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("sha256".into(), hex(&digests.sha256).into());
    value.insert("sha384".into(), hex(&digests.sha384).into());
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
