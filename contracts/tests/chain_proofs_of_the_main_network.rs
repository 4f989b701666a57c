//! Proofs that servers of TON's main network gave, checked from the block that its public
//! configuration pins; and one bit changed anywhere in them. Where they come from:
//! `tests/fixtures/ton/README.md`. `docs/spec/chain-proofs.md`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

use std::collections::HashMap;

use contracts::account::AccountState;
use contracts::lite::BlockProof;
use contracts::proof::{
    AccountProof, BlockId, FileHash, ProofError, ProvenAccount, RootHash, SignatureSet,
    TrustedBlock,
};
use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};

const THREE_LINKS: &[u8] = include_bytes!("../../tests/fixtures/ton/proofs/three-links.tl");
const SIMPLEX_LINK: &[u8] = include_bytes!("../../tests/fixtures/ton/proofs/simplex-link.tl");
const MASTERCHAIN: &str = include_str!("../../tests/fixtures/ton/proofs/account-masterchain.txt");
const BASECHAIN: &str = include_str!("../../tests/fixtures/ton/proofs/account-basechain.txt");
const ABSENT: &str = include_str!("../../tests/fixtures/ton/proofs/account-absent.txt");

/// `init_block` of the main network's public configuration.
const INIT: &str = "46894135:\
    3048e69a12cf946ebc99b4cf9ca61c3ff4b3fcc88c4015763ac01204ecc1bf9f:\
    bbdac0b4543e9141449ceb37c3c63ba6e9cc4e2c904d77f56d17e44acf1d1bed";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn hash(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

struct Read {
    block: TrustedBlock,
    address: TonAddress,
    shard: Vec<u8>,
    account: Vec<u8>,
    state: Vec<u8>,
}

impl Read {
    fn of(text: &str) -> Self {
        let members: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let block = BlockId::masterchain(
            members["block_seqno"].parse().unwrap(),
            RootHash(hash(members["block_root_hash"])),
            // Not recorded, and below a root hash not needed.
            FileHash([0; 32]),
        );
        Self {
            block: TrustedBlock::pin(NetworkId::MAIN, block).unwrap(),
            address: TonAddress {
                workchain: members["workchain"].parse().unwrap(),
                account: AccountId(hash(members["account_id"])),
            },
            shard: bytes(members["shard_proof"]),
            account: bytes(members["proof"]),
            state: bytes(members["state"]),
        }
    }

    fn check(&self) -> Result<ProvenAccount, ProofError> {
        let proof = AccountProof {
            shard: &self.shard,
            account: &self.account,
            state: &self.state,
        };
        self.block.account(&self.address, &proof)
    }
}

#[test]
fn a_chain_from_the_pinned_block_holds_over_a_change_of_validators() {
    let pinned = TrustedBlock::pin(NetworkId::MAIN, INIT.parse().unwrap()).unwrap();
    let proof = BlockProof::read(THREE_LINKS).unwrap();
    assert_eq!(proof.links.len(), 3);
    let followed = pinned.follow(&proof.links).unwrap();
    assert_eq!(followed.block.id().seqno, 46_920_655);
    assert_eq!(followed.block, followed.key_block);
}

#[test]
fn a_link_that_the_newer_consensus_signed_holds() {
    let proof = BlockProof::read(SIMPLEX_LINK).unwrap();
    let [link] = proof.links.as_slice() else {
        panic!("one link");
    };
    assert!(matches!(link.signatures, SignatureSet::Simplex { .. }));
    let from = TrustedBlock::pin(NetworkId::MAIN, link.from).unwrap();
    assert_eq!(from.id().seqno, 59_238_081);
    let followed = from.follow(&proof.links).unwrap();
    assert_eq!(followed.block.id().seqno, 59_379_986);
}

#[test]
fn another_network_s_program_takes_none_of_it() {
    let pinned = TrustedBlock::pin(NetworkId(-3), INIT.parse().unwrap()).unwrap();
    let proof = BlockProof::read(THREE_LINKS).unwrap();
    let refused = pinned.follow(&proof.links).unwrap_err();
    assert_eq!(refused.code(), "proof-other-network");
}

#[test]
fn accounts_of_both_chains_are_proven_with_the_balances_that_others_reported() {
    let masterchain = Read::of(MASTERCHAIN).check().unwrap();
    assert_eq!(
        masterchain.account().balance,
        Nano::from_u64(222_859_282_039_087)
    );
    let basechain = Read::of(BASECHAIN).check().unwrap();
    assert_eq!(
        basechain.account().balance,
        Nano::from_u64(1_067_259_229_327)
    );
    assert!(matches!(
        basechain.account().state,
        AccountState::Active { .. }
    ));
    assert_eq!(basechain.block().seqno, 81_037_208);
}

#[test]
fn an_address_that_nobody_paid_is_proven_to_be_empty() {
    let nobody = Read::of(ABSENT).check().unwrap();
    assert_eq!(nobody.account().state, AccountState::Uninitialized);
    assert_eq!(nobody.account().balance, Nano::from_u64(0));
    assert_eq!(nobody.account().last_lt, 0);
}

#[test]
fn no_changed_bit_of_a_proof_changes_what_it_proves() {
    for text in [MASTERCHAIN, BASECHAIN, ABSENT] {
        let good = Read::of(text).check().unwrap();
        let mut refused = 0_u32;
        let length = |read: &Read| [read.shard.len(), read.account.len(), read.state.len()];
        let lengths = length(&Read::of(text));
        for (part, length) in lengths.into_iter().enumerate() {
            for at in (0..length).step_by(7) {
                let mut read = Read::of(text);
                let parts = [&mut read.shard, &mut read.account, &mut read.state];
                parts[part][at] ^= 1 << (at % 8);
                match read.check() {
                    // The bag's own index, say: what it proves is the same.
                    Ok(proven) => assert_eq!(proven, good, "part {part}, byte {at}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 100, "{refused}");
    }
}

#[test]
fn no_changed_bit_of_a_chain_leads_elsewhere() {
    let proof = BlockProof::read(SIMPLEX_LINK).unwrap();
    let from = TrustedBlock::pin(NetworkId::MAIN, proof.links[0].from).unwrap();
    let good = from.follow(&proof.links).unwrap();
    for at in (0..SIMPLEX_LINK.len()).step_by(997) {
        let mut answer = SIMPLEX_LINK.to_vec();
        answer[at] ^= 1 << (at % 8);
        if let Ok(changed) = BlockProof::read(&answer)
            && let Ok(followed) = from.follow(&changed.links)
        {
            assert_eq!(followed, good, "byte {at}");
        }
    }
}
