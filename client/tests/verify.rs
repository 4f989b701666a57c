//! `cocoon verify` as a program: files in, one verdict out, three exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod peer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::wallet::KeptReceipt;
use ed25519_dalek::SigningKey;
use peer::{Answering, Peer, Script, Stage, WHOLE_COST, WORDS, enough, question};
use protocol::digest::{BootId, Salt};
use protocol::nano::Nano;
use protocol::statement::Statement;
use serde_json::Value;
use verifier::{AppraisalPolicy, Bundle, DocumentDigest};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
/// In date for every certificate of the real SEV-SNP reports.
const AT: &str = "2026-11-22T00:00:00Z";

struct Answer {
    exit: i32,
    out: String,
    error: String,
}

impl Answer {
    fn verdict(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

fn cocoon(arguments: &[&str]) -> Answer {
    let answer = Command::new(env!("CARGO_BIN_EXE_cocoon"))
        .arg("verify")
        .args(arguments)
        .output()
        .unwrap();
    Answer {
        exit: answer.status.code().unwrap(),
        out: String::from_utf8(answer.stdout).unwrap(),
        error: String::from_utf8(answer.stderr).unwrap(),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fixture(path: &str) -> PathBuf {
    Path::new(FIXTURES).join(path)
}

/// AMD's two certificates as its service hands them out.
fn chain(folder: &Path, case: &str) -> PathBuf {
    let block = |name: &str| {
        let der = fs::read(fixture(&format!("snp/{case}/{name}"))).unwrap();
        let body = STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    };
    let path = folder.join(format!("{case}.pem"));
    fs::write(&path, block("ask.der") + &block("ark.der")).unwrap();
    path
}

fn snp(folder: &Path, case: &str, policy: &str) -> Answer {
    cocoon(&[
        "snp",
        "--report",
        text(&fixture(&format!("snp/{case}/report.bin"))),
        "--vcek",
        text(&fixture(&format!("snp/{case}/vcek.der"))),
        "--authorities",
        text(&chain(folder, case)),
        "--policy",
        policy,
        "--at",
        AT,
    ])
}

fn tdx(name: &str, policy: &str, at: &str) -> Answer {
    cocoon(&[
        "tdx",
        "--quote",
        text(&fixture(&format!("tdx/dcap-qvl/{name}.bin"))),
        "--collateral",
        text(&fixture(&format!("tdx/dcap-qvl/{name}_collateral.json"))),
        "--policy",
        policy,
        "--at",
        at,
    ])
}

#[test]
fn real_sev_snp_reports_are_taken_or_refused_as_their_readme_says() {
    let folder = tempfile::tempdir().unwrap();
    let good = snp(folder.path(), "milan-v2", "testing");
    assert_eq!(good.exit, 0, "{}", good.out);
    assert_eq!(good.verdict()["verdict"], "accepted");
    assert_eq!(good.verdict()["channel_binding"], "not checked");
    let strict = snp(folder.path(), "milan-v2", "strict");
    assert_eq!(strict.exit, 20);
    assert_eq!(strict.verdict()["rejection"], "snp-report-version");
    let debug = snp(folder.path(), "milan-v2-debug", "testing");
    assert_eq!(debug.exit, 20);
    assert_eq!(debug.verdict()["rejection"], "snp-debug");
}

#[test]
fn real_quotes_are_taken_or_refused_as_their_readme_says() {
    let good = tdx("tdx_quote", "testing", "1750329148");
    assert_eq!(good.exit, 0, "{}", good.out);
    let strict = tdx("tdx_quote", "strict", "1750329148");
    assert_eq!(strict.exit, 20);
    assert_eq!(strict.verdict()["rejection"], "tdx-evaluation-number");
    let expired = tdx("tdx_quote", "testing", AT);
    assert_eq!(expired.exit, 20);
    let outdated = tdx("tdx_quote_outdated", "testing", "2026-03-01T00:00:00Z");
    assert_eq!(outdated.exit, 20);
    assert_eq!(outdated.verdict()["rejection"], "tdx-verification");
    let extended = tdx("tdx_quote_td15ex", "testing", "1792000000");
    assert_eq!(extended.verdict()["rejection"], "tdx-rtmr3");
    for (quote, reason) in [
        ("tdx_v5_quote_servtd", "tdx-service-td"),
        ("tdx_v4_quote", "endorsement-missing"),
    ] {
        let path = fixture(&format!("tdx/automata/{quote}.bin"));
        let bare = cocoon(&[
            "tdx",
            "--quote",
            text(&path),
            "--policy",
            "testing",
            "--at",
            AT,
        ]);
        assert_eq!(bare.exit, 20);
        assert_eq!(bare.verdict()["rejection"], reason);
    }
}

const WHOLE_BOARD: &str = "hopper,8,4,protected-pcie";
const BOARD_NONCE: &str = "4760e30534a0621357d458b1a7936551b5dc4cd1e69718adf7ed9fb0252a537e";
const SINGLE_NONCE: &str = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb";

fn gpu(name: &str, set: &str, nonce: &str, policy: &str) -> Answer {
    let evidence = fixture(&format!("nvidia/evidence/{name}.bin"));
    let mut arguments = vec!["gpu", "--evidence", text(&evidence), "--set", set];
    arguments.extend(["--nonce", nonce, "--policy", policy, "--at", AT]);
    cocoon(&arguments)
}

/// What failed of a verdict, and of what, in its order.
fn failures(verdict: &Value) -> Vec<String> {
    let checks = verdict["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["outcome"] == "failed");
    let text = |member: &Value| member.as_str().unwrap().to_owned();
    failed
        .map(|check| format!("{} of {}", text(&check["check"]), text(&check["of"])))
        .collect()
}

#[test]
fn real_gpus_and_switches_pass_every_check_but_those_of_what_is_not_public() {
    let board = gpu("board", WHOLE_BOARD, BOARD_NONCE, "testing");
    assert_eq!(board.exit, 20);
    let verdict = board.verdict();
    assert_eq!(verdict["rejection"], "gpu-endorsements-missing");
    assert_eq!(verdict["tee"], Value::Null);
    let gpus =
        (0..8).flat_map(|number| ["driver", "firmware"].map(|of| format!("gpu-{of}-{number}")));
    let switches = (8..12).map(|number| format!("switch-firmware-{number}"));
    let manifests = gpus
        .chain(switches)
        .map(|of| format!("rim-missing of {of}"));
    let mut expected = vec!["gpu-endorsements-missing of gpu-endorsements".to_owned()];
    expected.extend(manifests);
    assert_eq!(failures(&verdict), expected);
    let strict = gpu("board", WHOLE_BOARD, BOARD_NONCE, "strict").verdict();
    assert!(failures(&strict).contains(&"ocsp-missing of gpu-chain-3".to_owned()));
}

#[test]
fn a_real_gpu_is_refused_for_its_nonce_mode_or_signature() {
    let failed = |name, set, nonce| failures(&gpu(name, set, nonce, "testing").verdict());
    let single = "hopper,1,0,single-pass";
    for (name, set, nonce, fails) in [
        ("h100-550.90.07", single, BOARD_NONCE, "gpu-nonce of gpu-0"),
        (
            "h100-550.90.07",
            "hopper,1,0,multi-pass",
            SINGLE_NONCE,
            "gpu-mode of gpu-0",
        ),
        (
            "h100-550.90.07",
            "hopper,2,0,multi-pass",
            SINGLE_NONCE,
            "gpu-count of devices",
        ),
        (
            "h100-bad-signature",
            single,
            SINGLE_NONCE,
            "gpu-signature-invalid of gpu-0",
        ),
    ] {
        let failed = failed(name, set, nonce);
        assert!(failed.contains(&fails.to_owned()), "{name}: {failed:?}");
    }
}

#[test]
fn both_built_in_policies_are_printed_in_full_and_can_be_given_back() {
    let all = cocoon(&["policy"]);
    assert_eq!(all.exit, 0);
    let folder = tempfile::tempdir().unwrap();
    for (name, policy) in AppraisalPolicy::built_in() {
        let printed = cocoon(&["policy", name]);
        assert_eq!(printed.out, policy.to_json().unwrap());
        assert!(all.out.contains(&printed.out));
        let path = folder.path().join("policy.json");
        fs::write(&path, &printed.out).unwrap();
        assert_eq!(cocoon(&["policy", text(&path)]).out, printed.out);
    }
    let path = folder.path().join("policy.json");
    fs::write(&path, "{}").unwrap();
    let refused = cocoon(&["policy", text(&path)]);
    assert_eq!(refused.exit, 2);
    assert!(
        refused.error.contains("policy-malformed"),
        "{}",
        refused.error
    );
}

#[test]
fn bad_input_ends_with_2_and_prints_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, vec![0; 10 * 1024 * 1024]).unwrap();
    let missing = folder.path().join("missing");
    for (arguments, code) in [
        (vec!["bundle", text(&file)], "input"),
        (vec!["bundle", text(&missing)], "input"),
        (vec!["tdx", "--quote", text(&file)], "input"),
        (vec!["receipt", text(&file)], "input"),
        (
            vec![
                "gpu",
                "--evidence",
                text(&file),
                "--set",
                WHOLE_BOARD,
                "--nonce",
                BOARD_NONCE,
            ],
            "input",
        ),
        (vec!["gpu", "--evidence", text(&file)], "--set"),
        (vec!["bundle", FIXTURES], "input"),
    ] {
        let refused = cocoon(&arguments);
        assert_eq!(refused.exit, 2, "{arguments:?}");
        assert!(
            refused.error.contains(code),
            "{arguments:?}: {}",
            refused.error
        );
        assert_eq!(refused.out, "", "{arguments:?}");
    }
    fs::write(&file, b"COCOBNDL").unwrap();
    let refused = cocoon(&["bundle", text(&file)]);
    assert_eq!(refused.exit, 2);
    assert!(
        refused.error.contains("bundle-malformed"),
        "{}",
        refused.error
    );
    fs::write(&file, b"{}").unwrap();
    assert_eq!(cocoon(&["receipt", text(&file)]).exit, 2);
    assert_eq!(
        cocoon(&["bundle", text(&file), "--at", "yesterday"]).exit,
        2
    );
}

#[tokio::test]
async fn a_bundle_of_a_simulated_machine_is_refused_by_the_release_program_for_its_marker() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let session = stage.attester(peer.address).connect().await.unwrap();
    let answer = session.evidence();
    let references = peer::references();
    let bundle = Bundle {
        made_at: verifier::UnixTime(0),
        channel: answer.binding,
        evidence: answer.evidence.clone(),
        references: references.clone(),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.bundle");
    fs::write(&file, bundle.encode().unwrap()).unwrap();
    let at = answer.evidence.statement.host_time.to_string();
    let digest = DocumentDigest::of_references(&references).to_string();
    let judged = |pin: &[&str]| {
        let arguments = [&["bundle", text(&file), "--at", &at], pin].concat();
        cocoon(&arguments)
    };
    let unpinned = judged(&[]);
    assert_eq!(unpinned.exit, 20);
    assert_eq!(
        unpinned.verdict()["rejection"],
        "reference-values-not-pinned"
    );
    let pinned = judged(&["--reference-digest", &digest]);
    assert_eq!(pinned.exit, 20);
    let verdict = pinned.verdict();
    assert_eq!(verdict["rejection"], "profile-mismatch");
    assert_eq!(verdict["channel_binding"], "not checked");
    let failed = |verdict: &Value| -> Vec<String> {
        let checks = verdict["checks"].as_array().unwrap().iter();
        let failed = checks.filter(|check| check["outcome"] == "failed");
        failed
            .map(|check| check["check"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(failed(&verdict).contains(&"research-certificate".to_owned()));
    assert_eq!(
        judged(&["--reference-digest", &digest]).out,
        pinned.out,
        "the same bytes"
    );
    let pretty = judged(&["--reference-digest", &digest, "--pretty"]);
    assert_eq!(pretty.exit, 20);
    assert!(
        pretty.out.starts_with("rejected: profile-mismatch"),
        "{}",
        pretty.out
    );
    assert!(pretty.out.contains("channel binding not checked"));
    assert!(
        pretty
            .out
            .contains("FAILED       research-certificate of ark")
    );
}

/// One answer's receipt as the client keeps it, and the body that it was asked for with.
async fn kept_receipt() -> (Value, Vec<u8>) {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let chat = stage.chat(&peer, enough()).await;
    let mut answering = chat.ask(&question()).await.unwrap();
    while answering.next().await.unwrap().is_some() {}
    let [name] = <[String; 1]>::try_from(stage.kept_receipts()).unwrap();
    let receipts = stage.state.within("receipts").unwrap();
    let file = receipts.read(&name, 8192).unwrap().unwrap();
    let body = peer.seen.lock().unwrap().bodies[0].to_vec();
    (serde_json::from_slice(&file).unwrap(), body)
}

/// Takes the kept file, and `request` and `response` where they are given, through the program.
fn receipt(kept: &Value, request: Option<&[u8]>, response: Option<&[u8]>) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        text(&path).to_owned()
    };
    let mut arguments = vec![
        "receipt".to_owned(),
        written("kept", kept.to_string().as_bytes()),
    ];
    for (name, bytes) in [("request", request), ("response", response)] {
        if let Some(bytes) = bytes {
            arguments.extend([format!("--{name}"), written(name, bytes)]);
        }
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    cocoon(&arguments)
}

fn refused(answer: &Answer) -> (i32, Value) {
    let verdict = answer.verdict();
    assert_eq!(verdict["verdict"], "rejected");
    assert_eq!(verdict["receipt"], Value::Null);
    (answer.exit, verdict["rejection"].clone())
}

#[tokio::test]
async fn a_receipt_is_taken_for_what_was_asked_and_answered_and_for_nothing_else() {
    let (kept, body) = kept_receipt().await;
    let words = WORDS.concat();
    let alone = receipt(&kept, None, None);
    assert_eq!(alone.exit, 0, "{}", alone.out);
    let verdict = alone.verdict();
    assert_eq!(verdict["kind"], "receipt");
    assert_eq!(verdict["verdict"], "accepted");
    assert_eq!(verdict["receipt"]["charged"], WHOLE_COST.to_string());
    assert_eq!(verdict["receipt"]["completion_tokens"], 5);
    assert_eq!(verdict["receipt"]["statement_appraised"], false);
    assert_eq!(verdict["receipt"]["request_checked"], false);
    assert_eq!(verdict["receipt"]["response_checked"], false);

    let both = receipt(&kept, Some(&body), Some(words.as_bytes()));
    assert_eq!(both.exit, 0, "{}", both.out);
    assert_eq!(both.verdict()["receipt"]["request_checked"], true);
    assert_eq!(both.verdict()["receipt"]["response_checked"], true);

    let request = receipt(&kept, Some(b"{}"), None);
    assert_eq!(refused(&request), (20, "receipt-other-request".into()));
    let response = receipt(&kept, Some(&body), Some(b"Lyon."));
    assert_eq!(refused(&response), (20, "receipt-other-response".into()));
    let mut salted = kept.clone();
    salted["salt"] = Salt([9; 32]).to_string().into();
    let salted = receipt(&salted, None, Some(words.as_bytes()));
    assert_eq!(refused(&salted), (20, "receipt-other-response".into()));
}

#[tokio::test]
async fn a_receipt_that_proves_nothing_is_rejected_and_what_is_none_is_bad_input() {
    let (kept, _) = kept_receipt().await;
    let parsed = KeptReceipt::parse(kept.to_string().as_bytes()).unwrap();
    let judged = |name: &str, value: String| {
        let mut changed = kept.clone();
        changed[name] = value.into();
        receipt(&changed, None, None)
    };
    let mut signed = parsed.receipt.encode();
    *signed.last_mut().unwrap() ^= 1;
    let unsigned = judged("receipt", STANDARD.encode(&signed));
    assert_eq!(refused(&unsigned), (20, "receipt-signature".into()));
    let short = judged("receipt", STANDARD.encode(&signed[1..]));
    assert_eq!(refused(&short), (20, "receipt-malformed".into()));

    let key = SigningKey::from_bytes(&Script::default().receipt_seed);
    let mut dear = parsed.receipt.receipt.clone();
    dear.charged = Nano::from_u64(WHOLE_COST + 1);
    let dear = judged("receipt", STANDARD.encode(dear.sign(&key).encode()));
    assert_eq!(refused(&dear), (20, "receipt-amount".into()));

    let other = Statement {
        boot_id: BootId([9; 32]),
        ..parsed.statement
    };
    let other = judged("statement", STANDARD.encode(other.encode()));
    assert_eq!(refused(&other), (20, "receipt-statement".into()));

    for (name, value) in [("receipt", "?"), ("statement", "AAAA"), ("salt", "")] {
        let bad = judged(name, value.to_owned());
        assert_eq!((bad.exit, bad.out.as_str()), (2, ""), "{name}");
    }
}
