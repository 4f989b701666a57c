//! Hostile headers of models, event logs, and texts beside weights.

use super::{Hostile, filled, nested, refused, taken};
use crate::logs::event_log;
use crate::models::{config, gguf, gguf_alone, index, safetensors, tokenizer, vocabulary};
use crate::vocabularies::input;

const MIB: usize = 1 << 20;
/// As long as an event log may be.
const LOG: usize = 4 * MIB;
/// As long as a GGUF header may be.
const GGUF: usize = 32 * MIB;
/// As long as a safetensors header may be.
const HEADER: usize = 16 * MIB;
/// As long as a `config.json` may be.
const CONFIG: usize = MIB;

pub(super) const ALL: &[Hostile] = &[
    refused("gguf", "2^64 keys", || gguf_head(1, u64::MAX), gguf),
    refused("gguf", "2^64 tensors", || gguf_head(u64::MAX, 1), gguf),
    refused(
        "gguf",
        "a string of 2^64 bytes",
        || gguf_key(8, u64::MAX, b""),
        gguf,
    ),
    refused(
        "gguf",
        "an array of 2^20 texts that are not there",
        || gguf_array(8, 1 << 20),
        gguf,
    ),
    refused("gguf", "an array of arrays", || gguf_array(9, 1), gguf),
    refused(
        "gguf",
        "65,536 tensors over the same bytes",
        same_place,
        gguf_alone,
    ),
    refused("gguf", "32 MiB of strings, without an end", endless, gguf),
    taken("gguf", "65,536 tensors", tensors, gguf),
    refused(
        "safetensors",
        "a header of 2^64 bytes",
        || file(u64::MAX, b"{}"),
        safetensors,
    ),
    refused(
        "safetensors",
        "16 MiB of dimensions",
        dimensions,
        safetensors,
    ),
    refused(
        "safetensors",
        "16 MiB of lists in lists",
        || whole(&nested(HEADER)),
        safetensors,
    ),
    refused("safetensors", "16 MiB of metadata", metadata, safetensors),
    refused(
        "safetensors",
        "tensors that overlap",
        || two((0, 8), (4, 12)),
        safetensors,
    ),
    refused(
        "safetensors",
        "tensors that leave a hole",
        || two((0, 8), (9, 17)),
        safetensors,
    ),
    refused(
        "safetensors",
        "a tensor that ends before it begins",
        || two((0, 8), (9, 1)),
        safetensors,
    ),
    taken(
        "safetensors",
        "65,536 tensors of no bytes",
        empty_tensors,
        safetensors,
    ),
    refused(
        "model_directory",
        "a tokenizer of 8 MiB that does not end",
        || words(""),
        tokenizer,
    ),
    refused(
        "model_directory",
        "a tokenizer of lists in lists",
        || nested(8 * MIB),
        tokenizer,
    ),
    taken(
        "model_directory",
        "a tokenizer of half a million members",
        || words("\"\":0}"),
        tokenizer,
    ),
    refused(
        "model_directory",
        "an index of a million tensors",
        long_index,
        index,
    ),
    refused(
        "model_config",
        "a million layers of one kind",
        || llama("1000000", "\"head_dim\":16"),
        config,
    ),
    refused(
        "model_config",
        "widths whose product is 2^64",
        || llama("2", "\"head_dim\":4294967296"),
        config,
    ),
    refused(
        "model_config",
        "angles in angles, as deep as they are long",
        deep_angles,
        config,
    ),
    refused(
        "model_config",
        "an angle whose factor is too great for a float",
        || {
            llama(
                "2",
                "\"rope_scaling\":{\"type\":\"linear\",\"factor\":1e300}",
            )
        },
        config,
    ),
    refused(
        "model_config",
        "1 MiB of kinds of layers",
        || filled(&front("2", "\"layer_types\":[\"\""), ",\"\"", "]}", CONFIG),
        config,
    ),
    refused(
        "model_config",
        "1 MiB of lists in lists",
        || nested(CONFIG),
        config,
    ),
    refused(
        "model_config",
        "one byte longer than is read",
        || vec![b' '; CONFIG + 1],
        config,
    ),
    taken(
        "model_config",
        "1 MiB of members that nobody asked for",
        || filled(&front("2", "\"x\":[0"), ",0", "]}", CONFIG),
        config,
    ),
    refused(
        "tokenizer",
        "steps in steps, 1 MiB deep",
        || {
            vocabulary_of(
                "",
                "",
                &"{\"type\":\"Sequence\",\"normalizers\":[".repeat(MIB / 36),
            )
        },
        vocabulary,
    ),
    refused(
        "tokenizer",
        "a token with the number 2^32 - 1",
        || vocabulary_of("\"x\":4294967295", "", ""),
        vocabulary,
    ),
    taken(
        "tokenizer",
        "131,072 tokens",
        || vocabulary_of(&numbered(1 << 17), "", ""),
        vocabulary,
    ),
    refused(
        "tokenizer",
        "a million and one tokens of the same name",
        || vocabulary_of(&vec!["\"\":0"; (1 << 20) + 1].join(","), "", ""),
        vocabulary,
    ),
    refused(
        "tokenizer",
        "262,144 rules of which none joins",
        || vocabulary_of("", &vec!["\"x y\""; 1 << 18].join(","), ""),
        vocabulary,
    ),
    refused(
        "event_log",
        "2^32 algorithms",
        || log(u32::MAX, &[]),
        event_log,
    ),
    refused(
        "event_log",
        "an event of 2^32 bytes",
        || log(1, &event(1, u32::MAX)),
        event_log,
    ),
    refused(
        "event_log",
        "2^32 digests",
        || log(1, &event(u32::MAX, 0)),
        event_log,
    ),
    refused(
        "event_log",
        "4 MiB of events, more than are taken",
        many_events,
        event_log,
    ),
    taken(
        "event_log",
        "4 MiB of filling",
        || log(1, &vec![0xff; LOG - 100]),
        event_log,
    ),
    refused(
        "event_log",
        "longer than is read",
        || log(1, &vec![0xff; LOG]),
        event_log,
    ),
    refused(
        "event_log",
        "4 MiB of numbers",
        || filled("[0", ",0", "]", LOG),
        event_log,
    ),
    refused(
        "event_log",
        "4 MiB of lists in lists",
        || nested(LOG),
        event_log,
    ),
    refused(
        "event_log",
        "4 MiB of empty events",
        || filled("[{}", ",{}", "]", LOG),
        event_log,
    ),
    refused(
        "event_log",
        "4 MiB of numbers in a text",
        || filled("{\"event_log\":\"[0", ",0", "]\"}", LOG),
        event_log,
    ),
    refused(
        "event_log",
        "4 MiB of members that nobody asked for",
        || filled("{\"x\":[[]", ",[]", "]}", LOG),
        event_log,
    ),
];

fn gguf_head(tensors: u64, keys: u64) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(tensors.to_le_bytes());
    file.extend(keys.to_le_bytes());
    file
}

fn text(file: &mut Vec<u8>, text: &[u8]) {
    file.extend(u64::try_from(text.len()).expect("a length").to_le_bytes());
    file.extend(text);
}

/// One key of a type, a length behind it, and bytes.
fn gguf_key(kind: u32, length: u64, rest: &[u8]) -> Vec<u8> {
    let mut file = gguf_head(0, 1);
    text(&mut file, b"key");
    file.extend(kind.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(rest);
    file
}

fn gguf_array(kind: u32, count: u64) -> Vec<u8> {
    let mut file = gguf_head(0, 1);
    text(&mut file, b"key");
    file.extend(9u32.to_le_bytes());
    file.extend(kind.to_le_bytes());
    file.extend(count.to_le_bytes());
    file
}

fn gguf_tensors(offset: fn(u64) -> u64) -> Vec<u8> {
    let mut file = gguf_head(65_536, 0);
    for number in 0..65_536 {
        text(&mut file, format!("{number}").as_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(8u64.to_le_bytes());
        file.extend(0u32.to_le_bytes());
        file.extend(offset(number).to_le_bytes());
    }
    file
}

fn same_place() -> Vec<u8> {
    gguf_tensors(|_| 0)
}

fn tensors() -> Vec<u8> {
    gguf_tensors(|number| 32 * number)
}

fn endless() -> Vec<u8> {
    let mut file = gguf_head(0, 4096);
    while file.len() < GGUF {
        let name = format!("{}", file.len());
        text(&mut file, name.as_bytes());
        file.extend(8u32.to_le_bytes());
        text(&mut file, &[b'a'; MIB]);
    }
    file.truncate(GGUF);
    file
}

/// A file that announces a header of that length.
fn file(length: u64, header: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], header].concat()
}

/// A file of a header and nothing else.
fn whole(header: &[u8]) -> Vec<u8> {
    file(u64::try_from(header.len()).expect("a length"), header)
}

fn dimensions() -> Vec<u8> {
    let front = r#"{"t":{"dtype":"U8","shape":[1"#;
    whole(&filled(front, ",1", r#"],"data_offsets":[0,0]}}"#, HEADER))
}

fn metadata() -> Vec<u8> {
    whole(&filled(
        r#"{"__metadata__":{"":"""#,
        r#","":"""#,
        "}}",
        HEADER,
    ))
}

fn two(one: (u64, u64), other: (u64, u64)) -> Vec<u8> {
    let tensor = |name: &str, (begin, end): (u64, u64)| {
        let size = end.saturating_sub(begin);
        format!(r#""{name}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{begin},{end}]}}"#)
    };
    let header = format!("{{{},{}}}", tensor("a", one), tensor("b", other));
    let mut file = whole(header.as_bytes());
    file.extend([0; 17]);
    file
}

fn empty_tensors() -> Vec<u8> {
    let tensor =
        |number: u32| format!(r#""{number}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    let tensors: Vec<String> = (0..65_536).map(tensor).collect();
    whole(format!("{{{}}}", tensors.join(",")).as_bytes())
}

/// A `config.json` of a small model, up to a member more.
fn front(layers: &str, more: &str) -> String {
    format!(
        "{{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":128,\
         \"num_hidden_layers\":{layers},\"num_attention_heads\":4,\"max_position_embeddings\":64,\
         \"vocab_size\":260,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\",{more}"
    )
}

fn llama(layers: &str, more: &str) -> Vec<u8> {
    format!("{}}}", front(layers, more)).into_bytes()
}

fn deep_angles() -> Vec<u8> {
    let angles = "{\"full_attention\":".repeat(CONFIG / 32);
    front("2", &format!("\"rope_parameters\":{angles}")).into_bytes()
}

/// A vocabulary of bytes with these tokens, rules and first steps more, or not even its end.
fn vocabulary_of(tokens: &str, merges: &str, steps: &str) -> Vec<u8> {
    let (steps, rest) = match steps {
        "" => ("null", true),
        steps => (steps, false),
    };
    let bytes = r#"{"type":"ByteLevel","add_prefix_space":false}"#;
    let mut file = format!(r#"{{"normalizer":{steps}"#);
    if rest {
        let more = if tokens.is_empty() { "" } else { "," };
        file.push_str(&format!(
            r#","added_tokens":[],"pre_tokenizer":{bytes},"decoder":{bytes},"model":{{"type":"BPE",
            "vocab":{{"<s>":0,"</s>":1{more}{tokens}}},"merges":[{merges}]}}}}"#
        ));
    }
    input(file.as_bytes())
}

/// Names of so many tokens, each with its number.
fn numbered(tokens: u32) -> String {
    let named = (2..tokens).map(|number| format!("\"{number}\":{number}"));
    named.collect::<Vec<_>>().join(",")
}

fn words(behind: &str) -> Vec<u8> {
    let members: String = (0..(1 << 19))
        .map(|number| format!("\"{number:07}\":0,"))
        .collect();
    format!("{{{members}{behind}").into_bytes()
}

fn long_index() -> Vec<u8> {
    let members: String = (0..(1 << 20))
        .map(|number| format!("\"{number}\":\"\","))
        .collect();
    format!("{{\"weight_map\":{{{members}\"\":\"\"}}}}").into_bytes()
}

/// A log that lists SHA-1, that many times, and what follows.
fn log(algorithms: u32, rest: &[u8]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0; 8]);
    data.extend(algorithms.to_le_bytes());
    data.extend([4, 0, 20, 0, 0]);
    let mut log = vec![0; 32];
    log[4] = 3;
    log[28..].copy_from_slice(&u32::try_from(data.len()).expect("short").to_le_bytes());
    [log, data, rest.to_vec()].concat()
}

/// The smallest event, with these counts.
fn event(digests: u32, data: u32) -> Vec<u8> {
    let mut event = vec![1, 0, 0, 0, 4, 0, 0, 0];
    event.extend(digests.to_le_bytes());
    event.extend([4, 0]);
    event.extend([0; 20]);
    event.extend(data.to_le_bytes());
    event
}

fn many_events() -> Vec<u8> {
    let one = event(1, 0);
    log(1, &one.repeat((LOG - 100) / one.len()))
}
