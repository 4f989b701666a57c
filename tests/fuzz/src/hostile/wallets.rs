//! Hostile words of a bridge and of a wallet: events without end or content, and the longest that
//! are read, filled with what their readers keep.

use contracts::wallet::WalletKind;
use serde_json::json;

use super::chain::{deep, many};
use super::{Hostile, filled, refused, taken};
use crate::wallets::{connect, message, stream};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What is left for a text in an event of 64 KiB.
const ROOM: usize = 63 * KIB;

pub(super) const ALL: &[Hostile] = &[
    refused(
        "connect_stream",
        "an event without end",
        || of(&filled("data:", "x", "", MIB)),
        stream,
    ),
    refused(
        "connect_stream",
        "a field without end",
        || of(&filled("", "x", "", MIB)),
        stream,
    ),
    refused(
        "connect_stream",
        "256 KiB of the shortest events",
        || of(&filled("", "data\n\n", "", 256 * KIB)),
        stream,
    ),
    refused(
        "connect_stream",
        "an event of empty lines of data",
        || of(&filled("", "data\n", "\n", ROOM)),
        stream,
    ),
    refused(
        "connect_stream",
        "a number beyond what can be asked with",
        || of(&filled("id:", "9", "\ndata:x\n\n", ROOM)),
        stream,
    ),
    refused(
        "connect_stream",
        "an envelope of lists in lists",
        || of(&filled("data:", "[", "\n\n", ROOM)),
        stream,
    ),
    refused(
        "connect_stream",
        "an envelope with a box of 46 KiB that nobody sealed",
        || {
            let from = "7".repeat(64);
            let front = format!(r#"data:{{"from":"{from}","message":""#);
            of(&filled(&front, "AAAA", "\"}\n\n", ROOM))
        },
        stream,
    ),
    refused(
        "connect_message",
        "lists in lists",
        || filled("", "[", "", ROOM),
        message,
    ),
    refused(
        "connect_message",
        "items without content",
        || {
            let front = r#"{"event":"connect","id":1,"payload":{"items":[{"name":""}"#;
            let behind = r#"],"device":{"appName":"","features":[]}}}"#;
            filled(front, r#",{"name":""}"#, behind, ROOM)
        },
        message,
    ),
    taken(
        "connect_message",
        "an end with a payload of numbers",
        || {
            filled(
                r#"{"event":"disconnect","id":1,"payload":[0"#,
                ",0",
                "]}",
                ROOM,
            )
        },
        message,
    ),
    taken(
        "connect_message",
        "a result of numbers",
        || filled(r#"{"id":1,"result":[0"#, ",0", "]}", ROOM),
        message,
    ),
    taken(
        "connect_message",
        "a result of the smallest cells",
        || result(&many(45 * KIB)),
        message,
    ),
    taken(
        "connect_message",
        "a result of 9,000 cells in a row",
        || result(&deep(9_000)),
        message,
    ),
    refused(
        "connect_message",
        "a first state of the smallest cells",
        || first_state(&many(11 * KIB)),
        message,
    ),
    refused(
        "connect_message",
        "a first state of 2,000 cells in a row",
        || first_state(&deep(2_000)),
        message,
    ),
    refused(
        "connect_message",
        "a first state that is longer than any",
        || first_state(&many(40 * KIB)),
        message,
    ),
    refused(
        "connect_message",
        "10 MiB of zeros",
        || vec![0; 10 * MIB],
        message,
    ),
];

/// A stream that arrives in pieces of 64 bytes.
fn of(stream: &[u8]) -> Vec<u8> {
    [&[64], stream].concat()
}

fn result(bag: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let result = base64::engine::general_purpose::STANDARD.encode(bag);
    json!({ "id": "1", "result": result })
        .to_string()
        .into_bytes()
}

fn first_state(bag: &[u8]) -> Vec<u8> {
    let said = connect(WalletKind::V4R2, bag, &json!(["SendTransaction"]));
    said.to_string().into_bytes()
}
