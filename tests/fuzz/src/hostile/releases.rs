//! Hostile documents of a release, and notes, proofs and logs.

use measurements::transparency::log::MAX_LOG_BYTES;
use measurements::transparency::merkle::TreeHash;
use protocol::reference_values::MAX_BYTES;

use super::{Hostile, filled, nested, refused, taken};
use crate::pieces::join;
use crate::releases::{comparison, documents, transparency};

const KIB: usize = 1 << 10;
/// As long as a document may be that is compared.
const COMPARED: usize = 256 * KIB;

pub(super) const ALL: &[Hostile] = &[
    refused(
        "documents",
        "1 MiB of numbers",
        || values(r#"[0"#, ",0", "]"),
        documents,
    ),
    refused(
        "documents",
        "1 MiB of lists in lists",
        || behind(&nested(MAX_BYTES)),
        documents,
    ),
    refused("documents", "1 MiB of lists, 120 deep", deep, documents),
    refused(
        "documents",
        "1 MiB of objects",
        || values(r#"[{"":0}"#, r#",{"":0}"#, "]"),
        documents,
    ),
    refused(
        "documents",
        "a list in the place of registers",
        registers,
        documents,
    ),
    refused(
        "documents",
        "longer than is read",
        || behind(&vec![b' '; MAX_BYTES + 1]),
        documents,
    ),
    refused(
        "documents",
        "a manifest of 64 KiB of files",
        manifest,
        documents,
    ),
    taken(
        "comparison",
        "256 KiB of numbers",
        || filled("[0", ",0", "]", COMPARED),
        comparison,
    ),
    taken(
        "comparison",
        "256 KiB of objects",
        || filled(r#"[{"":0}"#, r#",{"":0}"#, "]", COMPARED),
        comparison,
    ),
    taken(
        "comparison",
        "256 KiB of namesakes",
        || filled(r#"[{"id":"a"}"#, r#",{"id":"a"}"#, "]", COMPARED),
        comparison,
    ),
    taken(
        "comparison",
        "a long list, 120 deep",
        long_and_deep,
        comparison,
    ),
    taken(
        "comparison",
        "a name of 128 KiB over a long list",
        long_name,
        comparison,
    ),
    refused(
        "comparison",
        "longer than is read",
        || vec![b' '; COMPARED + 1],
        comparison,
    ),
    refused(
        "comparison",
        "256 KiB of lists in lists",
        || nested(COMPARED),
        comparison,
    ),
    refused(
        "transparency",
        "64 KiB of empty lines",
        || vec![b'\n'; 64 * KIB],
        transparency,
    ),
    refused("transparency", "33 signatures", signatures, transparency),
    refused("transparency", "a path of 64 hashes", path, transparency),
    refused(
        "transparency",
        "a log of 1 MiB of one record",
        same_record,
        transparency,
    ),
    taken("transparency", "a log of 1 MiB", records, transparency),
    refused(
        "transparency",
        "a log of 1 MiB that ends too early",
        cut_log,
        transparency,
    ),
    refused(
        "transparency",
        "a log longer than is read",
        too_long,
        transparency,
    ),
];

fn long_name() -> Vec<u8> {
    let front = format!("{{\"{}\":[0", "a".repeat(COMPARED / 2));
    filled(&front, ",0", "]}", COMPARED)
}

fn behind(text: &[u8]) -> Vec<u8> {
    join(&[b"", text])
}

fn values(front: &str, again: &str, end: &str) -> Vec<u8> {
    behind(&filled(front, again, end, MAX_BYTES))
}

fn deep() -> Vec<u8> {
    let tower = format!(",{}{}", "[".repeat(120), "]".repeat(120));
    values("[0", &tower, "]")
}

fn long_and_deep() -> Vec<u8> {
    let (front, end) = ("[".repeat(120) + "0", "]".repeat(120));
    filled(&front, ",0", &end, COMPARED)
}

/// The tag of registers comes last: everything in front of it is kept until then.
fn registers() -> Vec<u8> {
    let front = r#"{"version":1,"image":"0.1.0","profile":"release","models":[],"shapes":[{"shape":
        "s","vcpus":1,"memory_mib":1,"registers":{"mrtd":[0"#;
    let tower = format!(",{}{}", "[".repeat(100), "]".repeat(100));
    values(front, &tower, r#"],"tee":"tdx"}}]}"#)
}

fn manifest() -> Vec<u8> {
    let front = r#"{"version":1,"image":"0.1.0","flavour":"cpu","profile":"release",
        "files":{"":{"sha256":""}"#;
    let text = filled(front, r#","..":{"sha256":""}"#, "}}", 60 * KIB);
    join(&[&text, b"{}"])
}

fn signatures() -> Vec<u8> {
    let line = "\u{2014} name AAAAAAA=\n";
    format!("text\n\n{}", line.repeat(33)).into_bytes()
}

fn path() -> Vec<u8> {
    let line = TreeHash([1; 32]).to_base64() + "\n";
    format!("c2sp.org/tlog-proof@v1\nindex 0\n{}\n", line.repeat(64)).into_bytes()
}

fn record(number: usize) -> String {
    let digest = "0".repeat(64);
    let (minor, patch) = (number / 65_536, number % 65_536);
    format!(
        "cocoon-release/v1\nversion 0.{minor}.{patch}\nflavour cpu\nprofile release\n\
         manifest {digest}\nreference-values {digest}\nsbom {digest}\nbuild-inputs {digest}\n\n"
    )
}

fn log_of(record: impl Fn(usize) -> String, length: usize) -> Vec<u8> {
    let mut log = String::new();
    for number in 0.. {
        let next = record(number);
        if log.len() + next.len() > length {
            break;
        }
        log.push_str(&next);
    }
    log.into_bytes()
}

fn same_record() -> Vec<u8> {
    log_of(|_| record(1), MAX_LOG_BYTES)
}

fn records() -> Vec<u8> {
    log_of(record, MAX_LOG_BYTES)
}

fn cut_log() -> Vec<u8> {
    let mut log = records();
    log.pop();
    log
}

fn too_long() -> Vec<u8> {
    log_of(record, 2 * MAX_LOG_BYTES)
}
