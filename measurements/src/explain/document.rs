//! Two documents of one kind: the members that differ, each under the input that it names.
//!
//! Documents of unknown members are kept as trees, which take up to a hundred times their length:
//! hence a limit of their own. Time is linear in them, but for the search of a namesake.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Cause, Input};

/// A document is at most this long: some 180 shapes of a release, with two TEEs each.
pub const MAX_BYTES: usize = 256 * 1024;

/// Differences that are listed, at most.
const MAX_CAUSES: usize = 1000;
/// Characters of a member's name that are shown.
const MAX_NAME_SHOWN: usize = 80;
/// Members by which the elements of a list are told apart, whatever their order.
const NAMES: [&str; 3] = ["shape", "name", "id"];

/// A document that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Longer than [`MAX_BYTES`].
    #[error("document longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON.
    #[error("document is malformed at line {line}, column {column}")]
    Malformed {
        /// Line of the first offence.
        line: usize,
        /// Column of the first offence.
        column: usize,
    },
}

/// Reads a document.
///
/// # Errors
/// See [`DocumentError`].
pub fn parse(bytes: &[u8]) -> Result<Value, DocumentError> {
    if bytes.len() > MAX_BYTES {
        return Err(DocumentError::TooLong);
    }
    serde_json::from_slice(bytes).map_err(|error| DocumentError::Malformed {
        line: error.line(),
        column: error.column(),
    })
}

/// The members of two documents that differ, in the order of the documents.
#[must_use]
pub fn differences(expected: &Value, found: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    compare(&Place::Document, expected, found, &mut causes);
    causes
}

/// Where a value stands; written out only where values differ.
enum Place<'a> {
    Document,
    Member(&'a Place<'a>, &'a str),
    Named(&'a Place<'a>, &'a str),
    Numbered(&'a Place<'a>, usize),
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Document => Ok(()),
            Self::Member(Self::Document, name) => f.write_str(shortened(name)),
            Self::Member(above, name) => write!(f, "{above}.{}", shortened(name)),
            Self::Named(above, name) => write!(f, "{above}[{}]", shortened(name)),
            Self::Numbered(above, number) => write!(f, "{above}[{number}]"),
        }
    }
}

/// A long name over many differences would be written out with each of them.
fn shortened(name: &str) -> &str {
    let end = name.char_indices().nth(MAX_NAME_SHOWN).map(|(at, _)| at);
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

fn compare(place: &Place<'_>, expected: &Value, found: &Value, causes: &mut Vec<Cause>) {
    if causes.len() >= MAX_CAUSES {
        return;
    }
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let other = found.get(name).unwrap_or(&Value::Null);
                compare(&Place::Member(place, name), value, other, causes);
            }
            for (name, value) in found
                .iter()
                .filter(|(name, _)| !expected.contains_key(*name))
            {
                compare(&Place::Member(place, name), &Value::Null, value, causes);
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            lists(place, expected, found, causes);
        }
        _ if expected == found => {}
        _ => {
            let path = place.to_string();
            causes.push(Cause::new(
                input(&path),
                format_args!("{path}: {}", shown(expected)),
                format_args!("{path}: {}", shown(found)),
            ));
        }
    }
}

/// Elements with names are compared with their namesakes, the first with the first; others with
/// those at their place.
fn lists(place: &Place<'_>, expected: &[Value], found: &[Value], causes: &mut Vec<Cause>) {
    let mut names = Names::default();
    let namesakes = found.iter();
    let namesakes = namesakes.filter_map(|value| Some((names.key(value)?, value)));
    let namesakes: BTreeMap<Key, &Value> = namesakes.collect();
    let (mut names, mut known) = (Names::default(), BTreeSet::new());
    for (at, value) in expected.iter().enumerate() {
        let Some(key) = names.key(value) else {
            let other = found.get(at).filter(|other| name(other).is_none());
            let other = other.unwrap_or(&Value::Null);
            compare(&Place::Numbered(place, at), value, other, causes);
            continue;
        };
        let other = namesakes.get(&key).copied().unwrap_or(&Value::Null);
        compare(&Place::Named(place, &key.name), value, other, causes);
        known.insert(key);
    }
    let mut names = Names::default();
    for (at, value) in found.iter().enumerate() {
        match names.key(value) {
            Some(key) if known.contains(&key) => {}
            Some(key) => compare(&Place::Named(place, &key.name), &Value::Null, value, causes),
            None if expected.get(at).is_some_and(|other| name(other).is_none()) => {}
            None => compare(&Place::Numbered(place, at), &Value::Null, value, causes),
        }
    }
}

/// The name of an element, and how many of that name stand in front of it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    before: usize,
}

/// Names met so far in a list.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn key(&mut self, value: &Value) -> Option<Key> {
        let name = name(value)?;
        let met = self.0.entry(name.clone()).or_default();
        let before = *met;
        *met = met.saturating_add(1);
        Some(Key { name, before })
    }
}

fn name(value: &Value) -> Option<String> {
    let name = NAMES.iter().find_map(|name| value.get(*name)?.as_str())?;
    let tee = value.pointer("/registers/tee").and_then(Value::as_str);
    Some(match tee {
        Some(tee) => format!("{name} {tee}"),
        None => name.to_owned(),
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "absent".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The input that a member names: the innermost word that is known.
fn input(path: &str) -> Input {
    let file = [
        ("OVMF.fd", Input::Firmware),
        ("bzImage", Input::Kernel),
        ("initrd.cpio.zst", Input::Initrd),
        ("root.img", Input::Root),
        ("model.img", Input::Model),
    ];
    if let Some((_, input)) = file.into_iter().find(|(name, _)| path.contains(name)) {
        return input;
    }
    let words = path.split(['.', '[', ']']).rev();
    let known = |word: &str| {
        Some(match word {
            "firmware" | "mrtd" => Input::Firmware,
            "kernel" | "rtmr1" => Input::Kernel,
            "initrd" => Input::Initrd,
            "cmdline" | "command_line" | "rtmr2" => Input::CommandLine,
            "root" => Input::Root,
            "vcpus" => Input::VcpuCount,
            "vcpu_type" => Input::VcpuType,
            "memory_mib" | "memory" => Input::Memory,
            "gpus" | "devices" | "model_disks" | "rtmr0" => Input::Devices,
            "guest_features" => Input::GuestFeatures,
            "models" => Input::Model,
            "version" | "image" | "profile" | "flavour" => Input::Release,
            _ => return None,
        })
    };
    words.into_iter().find_map(known).unwrap_or(Input::Other)
}
