//! The checks of chain and account, one at a time: blocks of a small network, each member of a good
//! proof changed alone and refused with its code. `docs/spec/chain-proofs.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

use contracts::account::AccountState;
use contracts::proof::{
    AccountProof, Followed, Link, MAX_BAG_BYTES, MAX_LINKS, ProofError, ProvenAccount,
    SignatureSet, TrustedBlock,
};
use lite_server::blocks::{
    KEY_SEQNO, Made, NETWORK, SEQNO, Set, TIME, account, bag, block, candidate, cell, key_block,
    key_block_with, link, ordinary, pair, proof_without, set_cell, shard_block, simplex, tower,
};
use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::models::ShardIdent;

const FINALIZE: u32 = 0x40a7_e105;
const NOTARIZE: u32 = 0xcdf6_05a8;

/// A change, and the code with which it is refused.
type Case<'a, T> = (&'static str, &'a dyn Fn(&mut T));

fn pinned(made: &Made) -> TrustedBlock {
    TrustedBlock::pin(NetworkId(NETWORK), made.id).unwrap()
}

fn follow(from: &Made, links: &[Link]) -> Result<Followed, ProofError> {
    pinned(from).follow(links)
}

fn refusal(from: &Made, link: Link) -> &'static str {
    follow(from, &[link]).unwrap_err().code()
}

/// A key block of one validator, and a block that it signed.
fn two_blocks() -> (Made, Made) {
    let key = key_block(KEY_SEQNO, 0, &Set::default());
    let next = block(NETWORK, SEQNO, KEY_SEQNO, &[]);
    (key, next)
}

#[test]
fn a_block_that_the_validator_signed_is_trusted() {
    let (key, next) = two_blocks();
    let followed = follow(&key, &[link(&key, &next, &[1])]).unwrap();
    assert_eq!(*followed.block.id(), next.id);
    assert_eq!(*followed.key_block.id(), key.id);
    let nowhere = follow(&key, &[]).unwrap();
    assert_eq!(*nowhere.block.id(), key.id);
}

#[test]
fn a_change_of_validators_is_followed_and_the_old_ones_count_no_longer() {
    let new = Set {
        members: vec![(2, 1)],
        main: 1,
    };
    let first = key_block(KEY_SEQNO, 0, &Set::default());
    let second = key_block(KEY_SEQNO + 2, KEY_SEQNO, &new);
    let last = block(NETWORK, SEQNO, KEY_SEQNO + 2, &[]);
    let over = link(&first, &second, &[1]);
    let followed = follow(&first, &[over.clone(), link(&second, &last, &[2])]).unwrap();
    assert_eq!(*followed.block.id(), last.id);
    assert_eq!(*followed.key_block.id(), second.id);
    let old = follow(&first, &[over, link(&second, &last, &[1])]);
    assert_eq!(old, Err(ProofError::UnknownSigner));
    // Nor may the old ones sign past the new key block.
    assert_eq!(
        refusal(&first, link(&first, &last, &[1])),
        "proof-other-key-block"
    );
}

#[test]
fn each_member_of_a_link_is_checked() {
    let (key, next) = two_blocks();
    let other = block(
        NETWORK,
        SEQNO,
        KEY_SEQNO,
        &[(ShardIdent::BASECHAIN, next.clone())],
    );
    let changed = |change: &dyn Fn(&mut Link)| {
        let mut link = link(&key, &next, &[1]);
        change(&mut link);
        refusal(&key, link)
    };
    let table: [Case<'_, Link>; 16] = [
        ("proof-broken-chain", &|link| link.from.seqno += 1),
        ("proof-broken-chain", &|link| link.from.root.0[0] ^= 1),
        ("proof-broken-chain", &|link| link.from.file.0[0] ^= 1),
        ("proof-not-masterchain", &|link| link.to.workchain = 0),
        ("proof-not-masterchain", &|link| link.to.shard >>= 1),
        ("proof-not-forward", &|link| link.to.seqno = KEY_SEQNO),
        ("proof-not-forward", &|link| link.to.seqno = KEY_SEQNO - 1),
        ("proof-other-root", &|link| link.to.seqno += 1),
        ("proof-other-root", &|link| link.to.root.0[0] ^= 1),
        ("proof-signature", &|link| link.to.file.0[0] ^= 1),
        ("proof-other-root", &|link| {
            link.configuration = link.header.clone()
        }),
        ("proof-other-root", &|link| {
            link.header = bag(&other.header())
        }),
        ("proof-bag", &|link| {
            link.header = pair(&next.header(), &next.header())
        }),
        ("proof-bag", &|link| link.configuration.truncate(50)),
        ("proof-not-merkle", &|link| link.header = bag(&next.root)),
        ("proof-too-long", &|link| {
            link.header = vec![0; MAX_BAG_BYTES + 1]
        }),
    ];
    for (number, (code, change)) in table.into_iter().enumerate() {
        assert_eq!(changed(change), code, "{number}");
    }
}

#[test]
fn what_a_proof_leaves_out_is_not_taken_as_read() {
    let (key, next) = two_blocks();
    let good = link(&key, &next, &[1]);
    let with = |header: Option<Cell>, configuration: Option<Cell>| Link {
        header: header.map_or_else(|| good.header.clone(), |cell| bag(&cell)),
        configuration: configuration.map_or_else(|| good.configuration.clone(), |cell| bag(&cell)),
        ..good.clone()
    };
    let withheld = "proof-withheld";
    assert_eq!(
        refusal(&key, with(Some(next.without(&[0])), None)),
        withheld
    );
    assert_eq!(refusal(&key, with(None, Some(key.header()))), withheld);
    // The validators alone.
    let validators = proof_without(&key.root, &[set_cell(&Set::default())]);
    assert_eq!(refusal(&key, with(None, Some(validators))), withheld);
}

#[test]
fn a_block_of_another_network_is_refused() {
    let (key, _) = two_blocks();
    let foreign = block(-3, SEQNO, KEY_SEQNO, &[]);
    assert_eq!(
        refusal(&key, link(&key, &foreign, &[1])),
        "proof-other-network"
    );
}

#[test]
fn only_a_key_block_names_validators() {
    let (_, plain) = two_blocks();
    let next = block(NETWORK, SEQNO + 1, SEQNO, &[]);
    assert_eq!(
        refusal(&plain, link(&plain, &next, &[1])),
        "proof-no-key-block"
    );
    let without_set = key_block_with(KEY_SEQNO, 0, &[]);
    let (_, next) = two_blocks();
    assert_eq!(
        refusal(&without_set, link(&without_set, &next, &[1])),
        "proof-layout"
    );
}

#[test]
fn a_temporary_set_overrules_the_current_one() {
    let set = |number| {
        set_cell(&Set {
            members: vec![(number, 1)],
            main: 1,
        })
    };
    let key = key_block_with(KEY_SEQNO, 0, &[(34, set(1)), (35, set(2))]);
    let (_, next) = two_blocks();
    assert_eq!(
        refusal(&key, link(&key, &next, &[1])),
        "proof-unknown-signer"
    );
    follow(&key, &[link(&key, &next, &[2])]).unwrap();
}

#[test]
fn more_than_two_thirds_of_the_weight_must_sign() {
    let (_, next) = two_blocks();
    let signed = |members: &[(u8, u64)], main: u16, signers: &[u8]| {
        let set = Set {
            members: members.to_vec(),
            main,
        };
        let key = key_block(KEY_SEQNO, 0, &set);
        follow(&key, &[link(&key, &next, signers)])
            .map(|_| ())
            .map_err(|error| error.code())
    };
    let equal = [(1, 5), (2, 5), (3, 5), (4, 1)];
    assert_eq!(signed(&equal, 3, &[1, 2]), Err("proof-too-little-weight"));
    assert_eq!(signed(&equal, 3, &[]), Err("proof-too-little-weight"));
    assert_eq!(signed(&equal, 3, &[3, 1, 2]), Ok(()));
    // Weight counts, not heads.
    assert_eq!(signed(&[(1, 7), (2, 2), (3, 1)], 3, &[1]), Ok(()));
    assert_eq!(
        signed(&[(1, 6), (2, 2), (3, 2)], 3, &[1]),
        Err("proof-too-little-weight")
    );
    // The fourth validates shards only.
    assert_eq!(signed(&equal, 3, &[1, 2, 4]), Err("proof-unknown-signer"));
    assert_eq!(signed(&equal, 3, &[1, 2, 1]), Err("proof-repeated-signer"));
    // One key under two numbers would be counted twice.
    assert_eq!(signed(&[(1, 1), (1, 1)], 2, &[1]), Err("proof-layout"));
    assert_eq!(
        signed(&[(1, u64::MAX), (2, 1)], 2, &[1]),
        Err("proof-layout")
    );
    assert_eq!(signed(&[(1, 1)], 2, &[1]), Err("proof-layout"));
}

#[test]
fn no_more_validators_are_counted_than_the_bound() {
    let mut set = CellBuilder::new();
    set.store_u8(0x12).unwrap();
    set.store_zeros(64).unwrap();
    set.store_u16(2000).unwrap();
    set.store_u16(1025).unwrap();
    set.store_u64(1).unwrap();
    set.store_bit_one().unwrap();
    set.store_reference(tower(1)).unwrap();
    let key = key_block_with(KEY_SEQNO, 0, &[(34, set.build().unwrap())]);
    let (_, next) = two_blocks();
    assert_eq!(
        refusal(&key, link(&key, &next, &[1])),
        "proof-too-many-validators"
    );
}

#[test]
fn a_changed_signature_is_refused_even_beside_enough_good_ones() {
    let set = Set {
        members: vec![(1, 9), (2, 1)],
        main: 2,
    };
    let key = key_block(KEY_SEQNO, 0, &set);
    let (_, next) = two_blocks();
    let mut bad = link(&key, &next, &[1, 2]);
    let SignatureSet::Ordinary { signatures } = &mut bad.signatures else {
        unreachable!("made above");
    };
    signatures[1].signature[0] ^= 1;
    assert_eq!(refusal(&key, bad), "proof-signature");
}

#[test]
fn votes_of_the_newer_consensus_count_for_the_block_that_they_name() {
    let (key, next) = two_blocks();
    let other = block(NETWORK, SEQNO + 1, KEY_SEQNO, &[]);
    let with = |signatures| Link {
        signatures,
        ..link(&key, &next, &[1])
    };
    let good = simplex(candidate(&next.id), FINALIZE, &[1]);
    follow(&key, &[with(good)]).unwrap();
    let mut empty_slot = candidate(&next.id);
    empty_slot[..4].copy_from_slice(&0x72b4_d933_u32.to_le_bytes());
    follow(&key, &[with(simplex(empty_slot, FINALIZE, &[1]))]).unwrap();
    let refused = |signatures| refusal(&key, with(signatures));
    assert_eq!(
        refused(simplex(candidate(&other.id), FINALIZE, &[1])),
        "proof-other-candidate"
    );
    assert_eq!(
        refused(simplex(candidate(&next.id), NOTARIZE, &[1])),
        "proof-signature"
    );
    let mut unknown = candidate(&next.id);
    unknown[0] ^= 1;
    assert_eq!(refused(simplex(unknown, FINALIZE, &[1])), "proof-layout");
    let mut short = candidate(&next.id);
    short.truncate(60);
    assert_eq!(refused(simplex(short, FINALIZE, &[1])), "proof-layout");
    for change in 0..3 {
        let mut changed = simplex(candidate(&next.id), FINALIZE, &[1]);
        let SignatureSet::Simplex {
            session,
            slot,
            candidate,
            ..
        } = &mut changed
        else {
            unreachable!("made above");
        };
        match change {
            0 => session[0] ^= 1,
            1 => *slot += 1,
            _ => candidate[100] ^= 1,
        }
        assert_eq!(refused(changed), "proof-signature", "{change}");
    }
    // A signature of one form is none of the other.
    let SignatureSet::Ordinary { signatures } = ordinary(&next.id, &[1]) else {
        unreachable!("made here");
    };
    let mixed = SignatureSet::Simplex {
        signatures,
        session: [8; 32],
        slot: 12,
        candidate: candidate(&next.id),
    };
    assert_eq!(refused(mixed), "proof-signature");
}

#[test]
fn no_more_links_are_followed_than_the_bound() {
    let (key, next) = two_blocks();
    let links = vec![link(&key, &next, &[1]); MAX_LINKS + 1];
    assert_eq!(
        follow(&key, &links),
        Err(ProofError::TooManyLinks {
            count: MAX_LINKS + 1
        })
    );
}

#[test]
fn only_a_block_of_the_masterchain_can_be_pinned() {
    let shard = shard_block(NETWORK, ShardIdent::BASECHAIN, &[]);
    assert_eq!(
        TrustedBlock::pin(NetworkId(NETWORK), shard.id),
        Err(ProofError::NotMasterchain)
    );
}

const OURS: [u8; 32] = [0x51; 32];
const NEIGHBOUR: [u8; 32] = [0x52; 32];
const NOBODY: [u8; 32] = [0xe0; 32];

/// A masterchain block over one shard with two accounts, and proofs about [`OURS`].
struct Stage {
    trusted: TrustedBlock,
    master: Made,
    shard: Made,
    account: Cell,
    shard_proof: Vec<u8>,
    proof: Vec<u8>,
    state: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let account = account(OURS, 1_500_000_000, tower(5));
        let accounts = [(OURS, account.clone()), (NEIGHBOUR, neighbour())];
        let shard = shard_block(NETWORK, ShardIdent::BASECHAIN, &accounts);
        let master = block(
            NETWORK,
            SEQNO,
            KEY_SEQNO,
            &[(ShardIdent::BASECHAIN, shard.clone())],
        );
        Self {
            trusted: pinned(&master),
            shard_proof: pair(&master.header(), &proof_without(&master.state, &[])),
            proof: pair(
                &shard.header(),
                &proof_without(&shard.state, &[account.clone(), neighbour()]),
            ),
            state: bag(&account),
            master,
            shard,
            account,
        }
    }

    fn read(&self, address: [u8; 32]) -> Result<ProvenAccount, ProofError> {
        self.read_of(0, address)
    }

    fn read_of(&self, workchain: i8, address: [u8; 32]) -> Result<ProvenAccount, ProofError> {
        let address = TonAddress {
            workchain,
            account: AccountId(address),
        };
        let proof = AccountProof {
            shard: &self.shard_proof,
            account: &self.proof,
            state: &self.state,
        };
        self.trusted.account(&address, &proof)
    }

    fn refusal(&self) -> &'static str {
        self.read(OURS).unwrap_err().code()
    }
}

fn neighbour() -> Cell {
    account(NEIGHBOUR, 7, tower(6))
}

#[test]
fn an_account_is_proven_with_the_block_s_height_and_time() {
    let proven = Stage::new().read(OURS).unwrap();
    let account = proven.account();
    assert_eq!(account.balance, Nano::from_u64(1_500_000_000));
    assert_eq!(account.last_lt, 4_000_001);
    assert_eq!(account.chain_time, TIME);
    assert_eq!(proven.block().seqno, SEQNO);
    let AccountState::Active { code, data } = &account.state else {
        unreachable!("made active");
    };
    assert_eq!((code, data), (&tower(2), &tower(5)));
}

#[test]
fn a_proof_is_fresh_for_as_long_as_its_block_is_young() {
    let proven = Stage::new().read(OURS).unwrap();
    let time = u64::from(TIME);
    assert!(proven.is_fresh(time + 30, 30));
    assert!(!proven.is_fresh(time + 31, 30));
    assert!(proven.is_fresh(time - 10, 0));
}

#[test]
fn that_there_is_no_account_must_be_proven_too() {
    let mut stage = Stage::new();
    assert_eq!(
        stage.read(NOBODY).unwrap_err(),
        ProofError::OtherAccount,
        "a state, though there is none"
    );
    stage.state.clear();
    let nobody = stage.read(NOBODY).unwrap();
    assert_eq!(nobody.account().state, AccountState::Uninitialized);
    assert_eq!(nobody.account().chain_time, TIME);
    assert_eq!(stage.refusal(), "proof-other-account", "withheld");
    let accounts = stage.shard.state.reference_cloned(1).unwrap();
    stage.proof = pair(
        &stage.shard.header(),
        &proof_without(&stage.shard.state, &[accounts]),
    );
    let unsaid = stage.read(NOBODY).unwrap_err();
    assert_eq!(unsaid.code(), "proof-withheld");
}

#[test]
fn another_state_than_the_bound_one_is_refused() {
    let mut stage = Stage::new();
    stage.state = bag(&neighbour());
    assert_eq!(stage.refusal(), "proof-other-account");
    stage.state = bag(&account(OURS, 1_500_000_001, tower(5)));
    assert_eq!(stage.refusal(), "proof-other-account");
    // The same hash, with the contract's data replaced by its hash.
    let pruned = proof_without(&stage.account, &[tower(5)]);
    stage.state = bag(&pruned.reference_cloned(0).unwrap());
    assert_eq!(stage.refusal(), "proof-withheld");
    stage.state = bag(&pruned);
    assert_eq!(stage.refusal(), "proof-withheld");
    stage.state = b"not a bag".to_vec();
    assert_eq!(stage.refusal(), "proof-bag");
}

#[test]
fn each_part_of_an_account_s_proof_is_checked() {
    let changed = |change: &dyn Fn(&mut Stage)| {
        let mut stage = Stage::new();
        change(&mut stage);
        stage.refusal()
    };
    let foreign = block(NETWORK, SEQNO, KEY_SEQNO, &[]);
    let elsewhere = shard_block(NETWORK, ShardIdent::BASECHAIN, &[(OURS, neighbour())]);
    let whole = |made: &Made| proof_without(&made.state, &[]);
    let table: [Case<'_, Stage>; 12] = [
        ("proof-other-root", &|stage| {
            stage.shard_proof = pair(&foreign.header(), &whole(&foreign));
        }),
        ("proof-other-root", &|stage| {
            stage.shard_proof = pair(&stage.master.header(), &whole(&foreign));
        }),
        ("proof-other-root", &|stage| {
            stage.proof = pair(&elsewhere.header(), &whole(&elsewhere));
        }),
        ("proof-other-root", &|stage| {
            stage.proof = pair(&stage.shard.header(), &whole(&elsewhere));
        }),
        ("proof-withheld", &|stage| {
            let extra = stage.master.state.reference_cloned(3).unwrap();
            let state = proof_without(&stage.master.state, &[extra]);
            stage.shard_proof = pair(&stage.master.header(), &state);
        }),
        ("proof-withheld", &|stage| {
            stage.shard_proof = pair(&stage.master.without(&[2]), &whole(&stage.master));
        }),
        ("proof-withheld", &|stage| {
            stage.proof = pair(&stage.shard.without(&[0]), &whole(&stage.shard));
        }),
        ("proof-bag", &|stage| {
            stage.shard_proof = bag(&stage.master.header())
        }),
        ("proof-bag", &|stage| {
            stage.proof = bag(&stage.shard.header())
        }),
        ("proof-not-merkle", &|stage| {
            stage.proof = pair(&stage.shard.root, &whole(&stage.shard));
        }),
        ("proof-bag", &|stage| stage.shard_proof.clear()),
        ("proof-too-long", &|stage| {
            stage.state = vec![0; MAX_BAG_BYTES + 1]
        }),
    ];
    for (number, (code, change)) in table.into_iter().enumerate() {
        assert_eq!(changed(change), code, "{number}");
    }
}

#[test]
fn a_shard_of_another_network_or_a_missing_one_is_refused() {
    let accounts = [(OURS, account(OURS, 1, tower(1)))];
    let foreign = shard_block(-3, ShardIdent::BASECHAIN, &accounts);
    let of = |shards: &[(ShardIdent, Made)]| block(NETWORK, SEQNO, KEY_SEQNO, shards);
    let mut stage = Stage::new();
    stage.master = of(&[(ShardIdent::BASECHAIN, foreign.clone())]);
    stage.trusted = pinned(&stage.master);
    stage.shard_proof = pair(
        &stage.master.header(),
        &proof_without(&stage.master.state, &[]),
    );
    stage.proof = pair(&foreign.header(), &proof_without(&foreign.state, &[]));
    assert_eq!(stage.refusal(), "proof-other-network");
    stage.master = of(&[]);
    stage.trusted = pinned(&stage.master);
    stage.shard_proof = pair(
        &stage.master.header(),
        &proof_without(&stage.master.state, &[]),
    );
    assert_eq!(stage.refusal(), "proof-layout");
}

#[test]
fn an_account_is_read_from_the_shard_that_has_it() {
    let (left, right) = ShardIdent::BASECHAIN.split().unwrap();
    let (left_left, left_right) = left.split().unwrap();
    let accounts = [(OURS, account(OURS, 1_500_000_000, tower(5)))];
    // 0x51 begins with 01.
    let ours = shard_block(NETWORK, left_right, &accounts);
    let empty = |shard| shard_block(NETWORK, shard, &[]);
    let mut stage = Stage::new();
    stage.master = block(
        NETWORK,
        SEQNO,
        KEY_SEQNO,
        &[
            (left_left, empty(left_left)),
            (left_right, ours.clone()),
            (right, empty(right)),
        ],
    );
    stage.trusted = pinned(&stage.master);
    stage.shard_proof = pair(
        &stage.master.header(),
        &proof_without(&stage.master.state, &[]),
    );
    stage.proof = pair(
        &ours.header(),
        &proof_without(&ours.state, std::slice::from_ref(&stage.account)),
    );
    let proven = stage.read(OURS).unwrap();
    assert_eq!(proven.account().balance, Nano::from_u64(1_500_000_000));
    // The neighbour's shard proves nothing about ours.
    let other = empty(right);
    stage.state.clear();
    stage.proof = pair(&other.header(), &proof_without(&other.state, &[]));
    assert_eq!(stage.refusal(), "proof-other-root");
}

#[test]
fn workchains_that_are_not_read_are_refused_by_name() {
    let refused = Stage::new().read_of(1, OURS).unwrap_err();
    assert_eq!(refused, ProofError::Workchain(1));
    assert_eq!(refused.code(), "proof-workchain");
}

#[test]
fn an_uninitialized_and_a_frozen_account_are_told_apart() {
    let read = |state| {
        use tycho_types::models;
        let made = models::Account {
            address: models::IntAddr::Std(models::StdAddr::new(0, HashBytes(OURS))),
            storage_stat: Default::default(),
            last_trans_lt: 1,
            balance: models::CurrencyCollection::ZERO,
            state,
        };
        let made = cell(models::OptionalAccount(Some(made)));
        let shard = shard_block(NETWORK, ShardIdent::BASECHAIN, &[(OURS, made.clone())]);
        let shards = [(ShardIdent::BASECHAIN, shard.clone())];
        let master = block(NETWORK, SEQNO, KEY_SEQNO, &shards);
        let stage = Stage {
            trusted: pinned(&master),
            shard_proof: pair(&master.header(), &proof_without(&master.state, &[])),
            proof: pair(&shard.header(), &proof_without(&shard.state, &[])),
            state: bag(&made),
            account: made,
            master,
            shard,
        };
        stage.read(OURS).unwrap().into_account().state
    };
    use tycho_types::models::AccountState as Written;
    assert_eq!(read(Written::Uninit), AccountState::Uninitialized);
    let frozen = Written::Frozen(HashBytes([1; 32]));
    assert_eq!(read(frozen), AccountState::Frozen);
}
