//! A receipt's proof: made from what the client kept, read by somebody who has nothing but the file
//! and the root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod peer;

use std::path::Path;
use std::process::{Command, Output};

use client::wallet::{AnchorProof, KeptReceipt};
use peer::{Answering, Peer, Script, Stage, enough, question};
use protocol::digest::{ReceiptDigest, ReceiptsRoot};
use protocol::receipt::receipts_root;

/// Receipts of answers that a client got one after the other, in that order.
async fn receipts(count: usize) -> (Vec<KeptReceipt>, Vec<ReceiptDigest>) {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let chat = stage.chat(&peer, enough()).await;
    for _ in 0..count {
        let mut answering = chat.ask(&question()).await.unwrap();
        while answering.next().await.unwrap().is_some() {}
    }
    drop(chat);
    let digests = stage.ledger().receipts().to_vec();
    let directory = stage.state.within("receipts").unwrap();
    let mut kept: Vec<_> = stage
        .kept_receipts()
        .iter()
        .map(|name| directory.read(name, 8192).unwrap().unwrap())
        .map(|bytes| KeptReceipt::parse(&bytes).unwrap())
        .collect();
    let place = |kept: &KeptReceipt| {
        let digest = kept.receipt.receipt.digest();
        digests.iter().position(|one| *one == digest).unwrap()
    };
    kept.sort_by_key(place);
    (kept, digests)
}

#[tokio::test]
async fn every_receipt_is_shown_under_every_root_that_is_over_it_and_under_no_other() {
    let (kept, digests) = receipts(5).await;
    assert_eq!(digests.len(), 5);
    for count in 0..=5 {
        let root = receipts_root(&digests[..count]);
        for (index, one) in kept.iter().enumerate() {
            let proof = AnchorProof::of(one, &digests, &root);
            if index >= count {
                assert_eq!(proof.unwrap_err().code(), "anchor-root");
                continue;
            }
            let proof = proof.unwrap();
            let place = (proof.index as usize, proof.count as usize);
            assert_eq!(place, (index, count));
            let read = AnchorProof::parse(proof.to_json().unwrap().as_bytes()).unwrap();
            assert_eq!(read, proof);
            assert_eq!(read.root(), Ok(root));
        }
    }
    let other = AnchorProof::of(&kept[0], &digests[1..], &receipts_root(&digests[1..]));
    assert_eq!(other.unwrap_err().code(), "anchor-unknown-receipt");
}

fn verify(file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cocoon"))
        .args(["verify", "anchor"])
        .arg(file)
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn a_proof_is_written_into_a_new_file_only() {
    let place = tempfile::tempdir().unwrap();
    let [receipt, file] = ["receipt.json", "proof.json"].map(|name| place.path().join(name));
    let prove = || {
        let output = Command::new(env!("CARGO_BIN_EXE_cocoon"))
            .args(["--json", "--state"])
            .arg(place.path().join("state"))
            .arg("prove")
            .args([&receipt, Path::new("--out"), &file])
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), said["code"].clone())
    };
    assert_eq!(prove(), (Some(2), "input".into()), "there is no receipt");
    std::fs::write(&file, "kept").unwrap();
    assert_eq!(prove(), (Some(2), "output-exists".into()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[tokio::test]
async fn a_stranger_verifies_the_file_offline_and_changes_are_refused() {
    let (kept, digests) = receipts(3).await;
    let root = receipts_root(&digests);
    let proof = AnchorProof::of(&kept[1], &digests, &root).unwrap();
    let text = proof.to_json().unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("proof.json");
    let judged = |text: &str, root: ReceiptsRoot| {
        std::fs::write(&file, text).unwrap();
        let output = verify(&file, &["--root", &root.to_string()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let found: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        (output.status.code().unwrap(), found)
    };
    let (code, found) = judged(&text, root);
    assert_eq!((code, &found["verdict"]), (0, &"accepted".into()));
    assert_eq!(found["receipt"]["index"], 1);
    assert_eq!(found["receipt"]["chain_read"], false);
    let (code, found) = judged(&text, receipts_root(&digests[..2]));
    assert_eq!((code, &found["rejection"]), (20, &"anchor-root".into()));

    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let changed = |name: &str, value: serde_json::Value| {
        let mut changed = document.clone();
        changed[name] = value;
        changed.to_string()
    };
    let (code, found) = judged(&changed("index", 0.into()), root);
    assert_eq!((code, &found["rejection"]), (20, &"anchor-root".into()));
    let other = AnchorProof::of(&kept[0], &digests, &root).unwrap();
    let other: serde_json::Value = serde_json::from_str(&other.to_json().unwrap()).unwrap();
    let (code, _) = judged(&changed("receipt", other["receipt"].clone()), root);
    assert_eq!(code, 20, "another receipt has another place");
    for (name, value) in [
        ("version", 2.into()),
        ("index", 3.into()),
        ("count", 0.into()),
        ("count", 100.into()),
        ("path", "".into()),
        ("path", "AAAA".into()),
        ("path", "A".repeat(44 * 22).into()),
        ("statement", "AAAA".into()),
        ("more", 1.into()),
    ] {
        let (code, _) = judged(&changed(name, value), root);
        assert_eq!(code, 2, "{name}");
    }
    let (code, found) = judged(&changed("receipt", "".into()), root);
    assert_eq!(
        (code, &found["rejection"]),
        (20, &"receipt-malformed".into())
    );
    std::fs::write(&file, &text).unwrap();
    let without = verify(&file, &[]);
    assert_eq!(without.status.code(), Some(2), "neither chain nor root");
}
