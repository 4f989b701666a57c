//! The log of releases against cases that others published, and against everything that a keeper
//! of the log, or somebody between it and a client, could change.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use protocol::reference_values::Profile;
use serde::Deserialize;
use transparency::checkpoint::Checkpoint;
use transparency::log::{LogError, ReleaseLog};
use transparency::merkle::{
    PathError, TreeHash, consistency_path, inclusion_path, leaf_hash, root, verify_consistency,
    verify_inclusion,
};
use transparency::note::{SignedNote, SignerKey};
use transparency::proof::{ConsistencyProof, InclusionProof, MAX_PROOF_BYTES, ProofError};
use transparency::record::{FileDigest, Flavour, ReleaseRecord};

#[derive(Deserialize)]
struct Published {
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    file: String,
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    file: String,
    size1: u64,
    size2: u64,
    root1: Option<String>,
    root2: Option<String>,
    proof: Option<Vec<String>>,
    want_err: bool,
}

fn published() -> Published {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/transparency/merkle.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hashes(lines: Option<&Vec<String>>) -> Option<Vec<TreeHash>> {
    lines.map_or(Some(Vec::new()), |lines| {
        let read = |line: &String| TreeHash::from_base64(line);
        lines.iter().map(read).collect()
    })
}

#[test]
fn every_published_inclusion_case_is_judged_as_its_authors_say() {
    for case in published().inclusion {
        let judged = || {
            let leaf = TreeHash::from_base64(&case.leaf_hash)?;
            let path = hashes(case.proof.as_ref())?;
            let root = TreeHash::from_base64(&case.root)?;
            verify_inclusion(leaf, case.leaf_idx, case.tree_size, &path, root).ok()
        };
        assert_eq!(judged().is_none(), case.want_err, "{}", case.file);
    }
}

/// Its equal "roots" are ten bytes of text, which this type cannot hold.
const NO_HASHES: &str =
    "testdata/consistency/additional/sizes-are-equal-one-and-proof-is-empty.json";

#[test]
fn every_published_consistency_case_is_judged_as_its_authors_say() {
    for case in published().consistency {
        let judged = || {
            let old = TreeHash::from_base64(case.root1.as_deref()?)?;
            let new = TreeHash::from_base64(case.root2.as_deref()?)?;
            let path = hashes(case.proof.as_ref())?;
            verify_consistency((case.size1, old), (case.size2, new), &path).ok()
        };
        let refuse = case.want_err || case.file == NO_HASHES;
        assert_eq!(judged().is_none(), refuse, "{}", case.file);
    }
}

#[test]
fn the_hashes_are_those_of_rfc_6962() {
    let hex = |hash: TreeHash| format!("{hash:?}");
    // Roots over the eight leaves with which Certificate Transparency's implementations are tested.
    let long: Vec<u8> = (0x60..=0x6f).collect();
    let leaves: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &long,
    ];
    let leaves: Vec<TreeHash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex(root(&[])), empty);
    let of_empty = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(hex(leaves[0]), of_empty);
    let eight = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
    assert_eq!(hex(root(&leaves)), eight);
}

fn leaves(count: u8) -> Vec<TreeHash> {
    (0..count).map(|number| leaf_hash(&[number])).collect()
}

#[test]
fn every_path_of_every_tree_up_to_33_leaves_holds_and_no_changed_one_does() {
    for size in 1..=33 {
        let tree = leaves(size);
        let top = root(&tree);
        for (index, leaf) in tree.iter().enumerate() {
            let path = inclusion_path(&tree, index).unwrap();
            let number = u64::try_from(index).unwrap();
            let check =
                |path: &[TreeHash]| verify_inclusion(*leaf, number, u64::from(size), path, top);
            assert_eq!(check(&path), Ok(()), "{index} of {size}");
            for at in 0..path.len() {
                let mut changed = path.clone();
                changed[at].0[0] ^= 1;
                assert_eq!(check(&changed), Err(PathError::OtherRoot));
            }
            let mut longer = path.clone();
            longer.push(top);
            assert_eq!(check(&longer), Err(PathError::Length));
            if let Some((_, shorter)) = path.split_last() {
                assert_eq!(check(shorter), Err(PathError::Length));
            }
        }
        assert_eq!(inclusion_path(&tree, usize::from(size)), None);
    }
}

#[test]
fn every_growth_up_to_33_leaves_is_shown_and_no_rewriting_is() {
    for new in 0..=33_u8 {
        let tree = leaves(new);
        for old in 0..=new {
            let path = consistency_path(&tree, usize::from(old)).unwrap();
            let then = (u64::from(old), root(&leaves(old)));
            let now = (u64::from(new), root(&tree));
            assert_eq!(
                verify_consistency(then, now, &path),
                Ok(()),
                "{old} to {new}"
            );
            let other = (then.0, leaf_hash(b"another history"));
            assert!(verify_consistency(other, now, &path).is_err());
            if old != 0 {
                let other = (now.0, leaf_hash(b"another present"));
                assert!(verify_consistency(then, other, &path).is_err());
            }
            if old < new {
                let shrunk = PathError::Shrunk {
                    old: now.0,
                    new: then.0,
                };
                assert_eq!(verify_consistency(now, then, &path), Err(shrunk));
            }
        }
        assert_eq!(consistency_path(&tree, usize::from(new) + 1), None);
    }
}

fn key() -> SignerKey {
    SignerKey::from_seed("log.example/releases".parse().unwrap(), &[9; 32])
}

fn record(number: u8) -> ReleaseRecord {
    ReleaseRecord {
        version: format!("0.1.{number}").parse().unwrap(),
        flavour: Flavour::Cpu,
        profile: Profile::Release,
        manifest: FileDigest([number; 32]),
        reference_values: FileDigest([2; 32]),
        sbom: FileDigest([3; 32]),
        build_inputs: FileDigest([4; 32]),
    }
}

fn log(count: u8) -> ReleaseLog {
    let mut log = ReleaseLog::default();
    for number in 0..count {
        log.append(record(number)).unwrap();
    }
    log
}

#[test]
fn a_published_release_proves_itself_offline_and_no_other_does() {
    let log = log(5);
    let proof = log.inclusion(3, log.sign(&key()).unwrap()).unwrap();
    let read = InclusionProof::parse(proof.to_string().as_bytes()).unwrap();
    assert_eq!(read, proof);
    let ours = record(3).to_string();
    let checkpoint = read.verify(ours.as_bytes(), &key().verifier()).unwrap();
    assert_eq!(checkpoint.size, 5);
    for other in [0, 2, 4, 9] {
        let refused = read.verify(record(other).to_string().as_bytes(), &key().verifier());
        assert_eq!(refused, Err(ProofError::Refuted(PathError::OtherRoot)));
    }
    let other = SignerKey::from_seed("log.example/releases".parse().unwrap(), &[8; 32]);
    assert!(read.verify(ours.as_bytes(), &other.verifier()).is_err());
}

#[test]
fn no_changed_byte_of_a_proof_goes_unnoticed() {
    let log = log(5);
    let ours = record(3).to_string();
    let proof = log.inclusion(3, log.sign(&key()).unwrap()).unwrap();
    let text = proof.to_string();
    for at in 0..text.len() {
        for mask in [1, 0x20, 0x80] {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= mask;
            let judged = InclusionProof::parse(&changed)
                .and_then(|proof| proof.verify(ours.as_bytes(), &key().verifier()));
            assert!(judged.is_err(), "byte {at} ^ {mask}");
        }
        let cut = InclusionProof::parse(&text.as_bytes()[..at]);
        assert!(cut.is_err(), "cut at {at}");
    }
}

#[test]
fn a_client_with_an_old_checkpoint_sees_that_the_log_only_grew() {
    let (old, new) = (log(3), log(8));
    let note = old.sign(&key()).unwrap();
    let then = Checkpoint::open(&note, &key().verifier()).unwrap();
    let proof = new.consistency(3, new.sign(&key()).unwrap()).unwrap();
    let read = ConsistencyProof::parse(proof.to_string().as_bytes()).unwrap();
    assert_eq!(read.verify(&then, &key().verifier()).unwrap().size, 8);
    // The same keeper, another history.
    let mut other = ReleaseLog::default();
    for number in [0, 7, 2, 3, 4] {
        other.append(record(number)).unwrap();
    }
    let forged = other.consistency(3, other.sign(&key()).unwrap()).unwrap();
    let refused = forged.verify(&then, &key().verifier());
    assert_eq!(refused, Err(ProofError::Refuted(PathError::OtherRoot)));
    let later = new.consistency(4, new.sign(&key()).unwrap()).unwrap();
    let start = ProofError::OtherStart {
        proof: 4,
        checkpoint: 3,
    };
    assert_eq!(later.verify(&then, &key().verifier()), Err(start));
}

#[test]
fn the_keeper_cannot_go_on_from_a_log_that_was_rewritten_or_cut() {
    let note = log(5).sign(&key()).unwrap();
    let key = key().verifier();
    assert_eq!(log(7).extends(&note, &key).unwrap().size, 5);
    let is_rewritten = |log: &ReleaseLog| {
        matches!(
            log.extends(&note, &key),
            Err(LogError::Rewritten { size: 5, .. })
        )
    };
    assert!(is_rewritten(&log(4)));
    let mut other = log(4);
    other.append(record(9)).unwrap();
    assert!(is_rewritten(&other));
}

#[test]
fn a_log_file_reads_back_and_a_version_is_published_once() {
    let mut log = log(3);
    let text = log.to_string();
    assert_eq!(ReleaseLog::parse(text.as_bytes()), Ok(log.clone()));
    assert_eq!(ReleaseLog::parse(b""), Ok(ReleaseLog::default()));
    let mut again = record(1);
    again.manifest = FileDigest([77; 32]);
    assert_eq!(log.append(again), Err(LogError::Published { index: 1 }));
    assert!(ReleaseLog::parse(&text.as_bytes()[1..]).is_err());
    let cut = &text.as_bytes()[..text.len() - 1];
    assert_eq!(ReleaseLog::parse(cut), Err(LogError::Form));
}

#[test]
fn a_proof_longer_than_accepted_is_refused_before_it_is_read() {
    let long = vec![b'a'; MAX_PROOF_BYTES + 1];
    assert_eq!(InclusionProof::parse(&long), Err(ProofError::TooLong));
    assert_eq!(ConsistencyProof::parse(&long), Err(ProofError::TooLong));
    let note: SignedNote = log(1).sign(&key()).unwrap();
    let path = format!("{}\n", leaf_hash(b"x").to_base64()).repeat(64);
    let text = format!("c2sp.org/tlog-proof@v1\nindex 0\n{path}\n{note}");
    let refused = InclusionProof::parse(text.as_bytes());
    assert_eq!(refused, Err(ProofError::Path { line: 64 }));
}
