//! `measure replay`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use measurements::event_log_json::{self, Hex};
use measurements::release;
use protocol::event_log::{Algorithm, Coverage, EventLog, MAX_BYTES, Replayed};
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The log: of a TPM, of a TD (the area that its CCEL table points to), or dstack's JSON.
    #[arg(long)]
    event_log: PathBuf,
    /// Whose log it is, unless its form says so.
    #[arg(long)]
    kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Registers 1 to 4 are RTMR0 to RTMR3.
    Cc,
    /// Registers are PCRs.
    Tpm,
}

impl Kind {
    /// A TD's log has SHA-384 and nothing else.
    fn of(log: &EventLog<'_>) -> Self {
        if log.algorithms == [Algorithm::Sha384] {
            Self::Cc
        } else {
            Self::Tpm
        }
    }

    fn register(self, number: u32) -> anyhow::Result<String> {
        match (self, number) {
            (Self::Cc, 1..=4) => Ok(format!("rtmr{}", number.saturating_sub(1))),
            (Self::Tpm, 0..=23) => Ok(format!("pcr{number}")),
            (Self::Cc | Self::Tpm, _) => bail!("the log extends register {number}"),
        }
    }
}

impl Replay {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let limit = u64::try_from(MAX_BYTES)?;
        let bytes = release::read_bounded(&self.event_log, limit)?;
        if matches!(bytes.first(), Some(b'[' | b'{')) {
            if self.kind == Some(Kind::Tpm) {
                bail!("a log in JSON is a TD's");
            }
            return json_log(&bytes);
        }
        let log = EventLog::parse(&bytes)?;
        self.tcg(&log)
    }

    fn tcg(&self, log: &EventLog<'_>) -> anyhow::Result<Value> {
        let kind = self.kind.unwrap_or_else(|| Kind::of(log));
        let mut events = Vec::new();
        for event in &log.events {
            let verified = log.coverage(event) == Coverage::Whole;
            let digests = log.algorithms.iter().zip(&event.digests);
            let digests: Map<String, Value> = digests
                .map(|(bank, digest)| (bank.name().to_owned(), Hex(digest).to_string().into()))
                .collect();
            events.push(json!({
                "register": kind.register(event.register)?,
                "type": name(event.kind),
                "digests": digests,
                "says": said(event.data),
                "verified": verified,
            }));
        }
        let mut banks = Map::new();
        for algorithm in &log.algorithms {
            let values = log.replay(*algorithm);
            if values.is_empty() && !log.events.is_empty() {
                continue;
            }
            let values = named(&values, |number| kind.register(number))?;
            banks.insert(algorithm.name().to_owned(), values);
        }
        Ok(json!({ "registers": banks, "events": events }))
    }
}

fn json_log(bytes: &[u8]) -> anyhow::Result<Value> {
    let events = event_log_json::parse(bytes)?;
    let values = event_log_json::replay(&events);
    let list = events.iter().map(|event| {
        json!({
            "register": format!("rtmr{}", event.rtmr),
            "type": name(event.kind),
            "digests": { "sha384": Hex(&event.digest).to_string() },
            "name": event.name,
            "says": said(&event.payload),
            "recomputed": event.was_recomputed,
            "verified": event.is_covered,
        })
    });
    let list: Vec<Value> = list.collect();
    let registers = named(&values, |number| Ok(format!("rtmr{number}")))?;
    Ok(json!({ "registers": { "sha384": registers }, "events": list }))
}

fn named(
    values: &[Replayed],
    register: impl Fn(u32) -> anyhow::Result<String>,
) -> anyhow::Result<Value> {
    let mut named = Map::new();
    for value in values {
        let name = register(value.register).context("replay")?;
        named.insert(name, Hex(&value.value).to_string().into());
    }
    Ok(Value::Object(named))
}

/// An event's data: as text when it is, else in hexadecimal.
fn said(data: &[u8]) -> Value {
    let text = std::str::from_utf8(data).ok();
    let plain = text.filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
    match plain {
        Some(text) => json!({ "text": text }),
        None => json!({ "hex": Hex(data).to_string() }),
    }
}

fn name(kind: u32) -> String {
    let known = match kind {
        0x1 => "EV_POST_CODE",
        0x4 => "EV_SEPARATOR",
        0x5 => "EV_ACTION",
        0x6 => "EV_EVENT_TAG",
        0x7 => "EV_S_CRTM_CONTENTS",
        0x8 => "EV_S_CRTM_VERSION",
        0xa => "EV_PLATFORM_CONFIG_FLAGS",
        0xc => "EV_COMPACT_HASH",
        0xd => "EV_IPL",
        0x0800_0001 => "run-time event",
        0x8000_0001 => "EV_EFI_VARIABLE_DRIVER_CONFIG",
        0x8000_0002 => "EV_EFI_VARIABLE_BOOT",
        0x8000_0003 => "EV_EFI_BOOT_SERVICES_APPLICATION",
        0x8000_0004 => "EV_EFI_BOOT_SERVICES_DRIVER",
        0x8000_0006 => "EV_EFI_GPT_EVENT",
        0x8000_0007 => "EV_EFI_ACTION",
        0x8000_0008 => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
        0x8000_0009 => "EV_EFI_HANDOFF_TABLES",
        0x8000_000a => "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
        0x8000_000b => "EV_EFI_HANDOFF_TABLES2",
        0x8000_000c => "EV_EFI_VARIABLE_BOOT2",
        0x8000_00e0 => "EV_EFI_VARIABLE_AUTHORITY",
        _ => return format!("{kind:#x}"),
    };
    known.to_owned()
}
