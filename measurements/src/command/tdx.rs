//! `measure tdx`.

use anyhow::Context as _;
use clap::Args;
use measurements::firmware::Firmware;
use measurements::rtmr0::{self, Basis, Platform, PlatformEvent};
use measurements::tdx::{self, Event, PageOrder};
use protocol::digest::Rtmr;
use serde_json::{Map, Value, json};

use super::artifacts::Artifacts;
use super::machine::MachineArguments;

#[derive(Debug, Args)]
pub(crate) struct Tdx {
    #[command(flatten)]
    artifacts: Artifacts,
    #[command(flatten)]
    machine: MachineArguments,
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
        if let Some((qemu, machine)) = self.machine.machine()? {
            let platform = Platform::of(&firmware, qemu).context("RTMR0")?;
            let events = platform.events(&machine).context("RTMR0")?;
            value.insert("rtmr0".into(), platform_register(&events));
        }
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

/// RTMR0, with what only a real TD can confirm.
fn platform_register(events: &[PlatformEvent]) -> Value {
    let list: Vec<_> = events
        .iter()
        .map(|PlatformEvent { event, basis }| {
            json!({ "what": event.what, "sha384": Rtmr(event.digest), "basis": basis.name() })
        })
        .collect();
    let only = events.iter().filter(|one| one.basis == Basis::HardwareOnly);
    let unconfirmed: Vec<_> = only
        .map(|one| one.event.what)
        .chain(rtmr0::UNCONFIRMED)
        .collect();
    json!({ "value": rtmr0::replay(events), "events": list, "unconfirmed": unconfirmed })
}
