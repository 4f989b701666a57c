//! `measure tdx`.

use anyhow::Context as _;
use clap::Args;
use measurements::firmware::Firmware;
use measurements::tdx::{self, Event, PageOrder};
use protocol::digest::Rtmr;
use serde_json::{Map, Value, json};

use super::artifacts::Artifacts;

#[derive(Debug, Args)]
pub(crate) struct Tdx {
    #[command(flatten)]
    artifacts: Artifacts,
}

impl Tdx {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let launched = self.artifacts.launched()?;
        let firmware = Firmware::parse(&launched.firmware).context("firmware")?;
        let mut value = Map::new();
        value.insert("tee".into(), "tdx".into());
        let single_pass = tdx::mrtd(&firmware, PageOrder::SinglePass)?;
        let two_pass = tdx::mrtd(&firmware, PageOrder::TwoPass)?;
        value.insert("mrtd".into(), json!(single_pass));
        value.insert("mrtd_two_pass".into(), json!(two_pass));
        if let Some(boot) = launched.boot() {
            value.insert("rtmr1".into(), register(&tdx::rtmr1_events(&boot)?));
            value.insert("rtmr2".into(), register(&tdx::rtmr2_events(&boot)));
        }
        Ok(Value::Object(value))
    }
}

fn register(events: &[Event]) -> Value {
    let list: Vec<_> = events
        .iter()
        .map(|event| json!({ "what": event.what, "sha384": Rtmr(event.digest) }))
        .collect();
    json!({ "value": tdx::replay(events), "events": list })
}
