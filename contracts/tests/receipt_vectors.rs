//! Receipts, their digests and signatures, and the Merkle tree over them: `protocol` agrees with a
//! second implementation in TypeScript, which made the vectors.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

use protocol::digest::{ReceiptDigest, ReceiptKey, Salt, parse_hex};
use protocol::merkle;
use protocol::receipt::{SignedReceipt, receipts_root, request_digest, response_digest};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    public_key: String,
    salted: Salted,
    receipts: Vec<Signed>,
    trees: Vec<Tree>,
}

#[derive(Deserialize)]
struct Salted {
    salt: String,
    request: String,
    request_digest: String,
    response: String,
    response_digest: String,
}

#[derive(Deserialize)]
struct Signed {
    name: String,
    signed: String,
    digest: String,
}

#[derive(Deserialize)]
struct Tree {
    count: u32,
    root: String,
    paths: Vec<Vec<String>>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/fixtures/receipt/vectors.json")).unwrap()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(digits).collect()
}

fn hash(hex: &str) -> [u8; 32] {
    parse_hex(hex).unwrap()
}

#[test]
fn another_implementation_signs_the_same_receipts() {
    let vectors = vectors();
    let key = ReceiptKey(hash(&vectors.public_key));
    assert!(vectors.receipts.len() >= 7);
    for vector in vectors.receipts {
        let bytes = bytes_of(&vector.signed);
        let signed = SignedReceipt::decode(&bytes).unwrap();
        let receipt = signed.verify(&key).unwrap();
        assert_eq!(receipt.digest().0, hash(&vector.digest), "{}", vector.name);
        assert_eq!(signed.encode(), bytes, "{}", vector.name);
        let mut changed = bytes.clone();
        changed[200] ^= 1;
        let refused = SignedReceipt::decode(&changed).map(|it| it.verify(&key).is_err());
        assert!(refused.unwrap_or(true), "{}", vector.name);
    }
}

#[test]
fn another_implementation_hides_content_behind_the_same_salted_digests() {
    let Salted {
        salt,
        request,
        request_digest: of_request,
        response,
        response_digest: of_response,
    } = vectors().salted;
    let salt = Salt(hash(&salt));
    assert_eq!(
        request_digest(&salt, request.as_bytes()).0,
        hash(&of_request)
    );
    assert_eq!(
        response_digest(&salt, response.as_bytes()).0,
        hash(&of_response)
    );
}

#[test]
fn another_implementation_proves_each_receipt_under_the_same_root() {
    let vectors = vectors();
    let leaves: Vec<[u8; 32]> = vectors.receipts.iter().map(|it| hash(&it.digest)).collect();
    for tree in vectors.trees {
        let count = usize::try_from(tree.count).unwrap();
        let under = &leaves[..count];
        let digests: Vec<_> = under.iter().copied().map(ReceiptDigest).collect();
        let root = hash(&tree.root);
        assert_eq!(receipts_root(&digests).0, root);
        assert_eq!(tree.paths.len(), count);
        for (index, hashes) in (0..tree.count).zip(&tree.paths) {
            let path: Vec<_> = hashes.iter().map(|it| hash(it)).collect();
            let at = usize::try_from(index).unwrap();
            assert_eq!(merkle::path(under, at), Some(path.clone()));
            let through = |leaf: &[u8; 32]| merkle::root_through(leaf, index, tree.count, &path);
            assert_eq!(through(&under[at]), Some(root));
            assert_ne!(through(&[0; 32]), Some(root));
        }
    }
}
