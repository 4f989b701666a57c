//! Two documents of one kind: the members that differ, each under the input that it names.

use serde_json::Value;

use super::{Cause, Input};

/// Differences that are listed, at most.
const MAX_CAUSES: usize = 1000;
/// Members by which the elements of a list are told apart, whatever their order.
const NAMES: [&str; 3] = ["shape", "name", "id"];

/// The members of two documents that differ, in the order of the documents.
#[must_use]
pub fn differences(expected: &Value, found: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    compare("", expected, found, &mut causes);
    causes
}

fn compare(path: &str, expected: &Value, found: &Value, causes: &mut Vec<Cause>) {
    if expected == found || causes.len() >= MAX_CAUSES {
        return;
    }
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let other = found.get(name).unwrap_or(&Value::Null);
                compare(&below(name), value, other, causes);
            }
            for (name, value) in found
                .iter()
                .filter(|(name, _)| !expected.contains_key(*name))
            {
                compare(&below(name), &Value::Null, value, causes);
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            lists(path, expected, found, causes);
        }
        _ => causes.push(Cause::new(
            input(path),
            format_args!("{path}: {}", shown(expected)),
            format_args!("{path}: {}", shown(found)),
        )),
    }
}

/// Elements with names are compared with their namesakes, others with those at their place.
fn lists(path: &str, expected: &[Value], found: &[Value], causes: &mut Vec<Cause>) {
    let (left, right) = (named(expected), named(found));
    for (name, value) in &left {
        let other = right.iter().find(|(other, _)| other == name);
        let other = other.map_or(&Value::Null, |(_, value)| *value);
        compare(&format!("{path}[{name}]"), value, other, causes);
    }
    for (name, value) in &right {
        if !left.iter().any(|(other, _)| other == name) {
            compare(&format!("{path}[{name}]"), &Value::Null, value, causes);
        }
    }
}

fn named(list: &[Value]) -> Vec<(String, &Value)> {
    let name = |(at, value): (usize, &Value)| -> String {
        let named = NAMES.iter().find_map(|name| value.get(*name)?.as_str());
        let tee = value.pointer("/registers/tee").and_then(Value::as_str);
        match (named, tee) {
            (Some(name), Some(tee)) => format!("{name} {tee}"),
            (Some(name), None) => name.to_owned(),
            (None, _) => at.to_string(),
        }
    };
    let places = list.iter().enumerate();
    places
        .map(|(at, value)| (name((at, value)), value))
        .collect()
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
