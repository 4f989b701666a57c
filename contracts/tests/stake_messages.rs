//! ProviderStake in Rust, held against what its scenarios recorded: every state that the contract
//! stored is read, and every message that moves or takes a stake is the very cell that the
//! scenarios sent and the contract took (`scenarios/stake.test.ts`, `stake-late.test.ts`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

#[allow(dead_code, reason = "shared with tests that do transactions again")]
mod traces;

use std::collections::BTreeSet;

use contracts::message::Transfer;
use contracts::proof::{BlockId, FileHash, RootHash};
use contracts::registry::{RegistryEntry, RegistryTerms};
use contracts::stake::{
    self, BeaconBlock, Binding, Conflict, EvidenceError, Late, SignedBinding, StakeState,
    StakeTerms, Standing,
};
use ed25519_dalek::SigningKey;
use protocol::digest::{
    AccountId, BootId, Freshness, MeasurementKey, ModelDigest, ProviderKey, ReceiptDigest,
    ReceiptKey, RequestDigest, ResponseDigest, StatementDigest,
};
use protocol::nano::Nano;
use protocol::receipt::{FinishReason, Receipt, Sampling, SignedReceipt, TokenCounts, TokenPrices};
use protocol::reference_values::ImageVersion;
use protocol::tee::EvidenceClass;
use protocol::ton::{NetworkId, TonAddress};
use traces::{Recorded, Trace, receiver, recorded};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellSlice, HashBytes};
use tycho_types::models::{AccountState, ComputePhase, OwnedMessage, TxInfo};

const NETWORK: NetworkId = NetworkId(-7357);
const START: u32 = 1_795_000_000;
const DAY: u32 = 86_400;
const GRACE: u32 = 3600;
/// When the scenario revokes its image.
const REVOKED: u32 = START + 2 * DAY;
const COIN: u64 = 1_000_000_000;
const TELL: u32 = 0x5247_0007;

fn account(index: u8) -> TonAddress {
    TonAddress {
        workchain: 0,
        account: AccountId([index; 32]),
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

/// As `scenarios/stake-stage.ts` has them, up to the end of the file.
fn terms() -> StakeTerms {
    let registry = RegistryTerms {
        adder: account(1),
        revoker: account(2),
        delay: DAY,
    };
    StakeTerms {
        owner: account(5),
        registry: registry.address().unwrap(),
        sink: account(6),
        provider_key: ProviderKey(public(11)),
        unbonding: 14 * DAY,
        grace: GRACE,
    }
}

fn image(number: u16) -> MeasurementKey {
    let mut key = [0; 32];
    key[30..].copy_from_slice(&number.to_be_bytes());
    MeasurementKey(key)
}

fn binding() -> Binding {
    Binding {
        network: NETWORK,
        stake: terms().address().unwrap(),
        receipt_key: ReceiptKey(public(12)),
        measurement: image(0xabcd),
    }
}

fn bound() -> SignedBinding {
    binding().sign(&key(11)).unwrap()
}

fn receipt() -> Receipt {
    Receipt {
        network: NETWORK,
        statement: StatementDigest([1; 32]),
        boot_id: BootId([2; 32]),
        class: EvidenceClass::Epoch,
        beacon: Freshness([3; 32]),
        request: RequestDigest([4; 32]),
        response: ResponseDigest([5; 32]),
        model: ModelDigest([6; 32]),
        image: ImageVersion {
            major: 0,
            minor: 1,
            patch: 0,
        },
        sampling: Sampling {
            temperature_milli: 700,
            top_p_milli: 1000,
            top_k: 0,
            min_p_milli: 0,
            presence_milli: 0,
            frequency_milli: 0,
            seed: 7,
            max_tokens: 100,
        },
        tokens: TokenCounts {
            prompt: 10,
            cached: 0,
            completion: 20,
        },
        prices: TokenPrices {
            prompt: 20,
            cached: 2,
            completion: 160,
        },
        charged: Nano::from_u64(3400),
        finish: FinishReason::Stop,
        channel: account(40),
        epoch: START,
        sequence: 9,
        previous: ReceiptDigest([8; 32]),
        host_time: 1_795_000_100,
    }
}

fn signed(change: impl FnOnce(&mut Receipt)) -> SignedReceipt {
    let mut it = receipt();
    change(&mut it);
    it.sign(&key(12))
}

fn other_answer() -> SignedReceipt {
    signed(|it| it.response = ResponseDigest([55; 32]))
}

fn built(fill: impl FnOnce(&mut CellBuilder) -> Result<(), tycho_types::error::Error>) -> Cell {
    let mut builder = CellBuilder::new();
    fill(&mut builder).unwrap();
    builder.build().unwrap()
}

/// The block of no chain that the scenarios name in receipts: its name, and its proof.
fn block(time: u32, file: FileHash) -> (BlockId, Vec<u8>) {
    const SEQNO: u32 = 777_000;
    let below = built(|it| it.store_u8(1));
    let header = built(|it| {
        it.store_u32(0x9bc7_a987)?;
        it.store_zeros(32 + 8 + 8)?;
        it.store_u32(SEQNO)?;
        it.store_zeros(32 + 8)?;
        it.store_u32(u32::MAX)?;
        it.store_zeros(64)?;
        it.store_u32(time)?;
        it.store_zeros(64 + 64 + 32 * 4)?;
        it.store_reference(below)
    });
    let other = |index: u8| {
        (0..index).fold(Cell::default(), |below, _| {
            built(|it| {
                it.store_u8(index)?;
                it.store_reference(below)
            })
        })
    };
    let root = built(|it| {
        it.store_u32(0x11ef_55aa)?;
        it.store_u32(NETWORK.0.cast_unsigned())?;
        it.store_reference(header)?;
        (1..4).try_for_each(|index| it.store_reference(other(index)))
    });
    let name = BlockId::masterchain(SEQNO, RootHash(root.repr_hash().0), file);
    let mut proof = CellBuilder::new();
    proof.set_exotic(true);
    proof.store_u8(3).unwrap();
    proof.store_u256(root.hash(0)).unwrap();
    proof.store_u16(root.depth(0)).unwrap();
    proof.store_reference(root).unwrap();
    (name, Boc::encode(proof.build().unwrap()))
}

/// The body of a transfer, as the cell that it is.
fn body(transfer: &Transfer) -> HashBytes {
    *transfer.body.as_ref().unwrap().repr_hash()
}

fn exit_code(trace: &Trace) -> i32 {
    let TxInfo::Ordinary(info) = trace.transaction.load_info().unwrap() else {
        panic!("not an ordinary transaction");
    };
    match info.compute_phase {
        ComputePhase::Executed(phase) => phase.exit_code,
        ComputePhase::Skipped(_) => i32::MIN,
    }
}

/// The bodies of all messages that an account took.
fn taken(recorded: &Recorded, by: &TonAddress) -> Vec<Cell> {
    let here = |trace: &&Trace| receiver(&trace.transaction).address.0 == by.account.0;
    let successful = recorded.traces.iter().filter(here);
    let successful = successful.filter(|trace| exit_code(trace) == 0);
    let body = |trace: &Trace| {
        let message = trace.transaction.in_msg.clone().unwrap();
        let message: OwnedMessage = message.parse().unwrap();
        let mut body = CellBuilder::new();
        let slice = CellSlice::apply(&message.body).unwrap();
        body.store_slice(slice).unwrap();
        body.build().unwrap()
    };
    successful.map(body).collect()
}

#[test]
fn every_state_that_the_scenarios_stored_is_read() {
    let code = Boc::decode(include_bytes!("../compiled/stake.boc")).unwrap();
    let mut standings = BTreeSet::new();
    let mut states = 0;
    for trace in recorded().traces {
        let Some(account) = trace.after.load_account().unwrap() else {
            continue;
        };
        let AccountState::Active(state) = account.state else {
            continue;
        };
        if state.code.as_ref() != Some(&code) {
            continue;
        }
        let read = StakeState::parse(&state.data.unwrap()).unwrap();
        let address = receiver(&trace.transaction).address.0;
        // The terms are those out of which the address was made.
        assert_eq!(read.terms.address().unwrap().account.0, address);
        states += 1;
        standings.insert(match read.standing() {
            Standing::Empty => "empty",
            Standing::Bonded => "bonded",
            Standing::Unbonding { .. } => "unbonding",
            Standing::Slashed { .. } => "slashed",
        });
    }
    assert!(states > 100, "{states} states");
    let all = ["bonded", "empty", "slashed", "unbonding"];
    assert_eq!(standings, BTreeSet::from(all));
}

#[test]
fn staking_leaving_and_a_conflict_are_the_messages_that_the_scenarios_sent() {
    let (terms, stake) = (terms(), terms().address().unwrap());
    let bodies: BTreeSet<HashBytes> = taken(&recorded(), &stake)
        .iter()
        .map(|body| *body.repr_hash())
        .collect();
    let receipts = (signed(|_| {}), other_answer());
    let conflict = Conflict::of(NETWORK, &terms, bound(), receipts).unwrap();
    for (what, transfer) in [
        ("stake", terms.stake(Nano::from_u64(100 * COIN)).unwrap()),
        ("add", terms.stake(Nano::from_u64(COIN)).unwrap()),
        ("unbond", stake::unbond(&stake).unwrap()),
        ("withdraw", stake::withdraw(&stake).unwrap()),
        ("conflict", conflict.report().unwrap()),
    ] {
        assert_eq!(transfer.to, stake, "{what}");
        assert!(bodies.contains(&body(&transfer)), "{what}");
    }
    let never = terms.stake(Nano::from_u64(COIN + 17)).unwrap();
    assert!(!bodies.contains(&body(&never)));
}

/// A receipt that is late for the revocation at `REVOKED`.
fn late(time: u32, file: FileHash) -> Result<Late, EvidenceError> {
    let (name, proof) = block(time, file);
    let block = BeaconBlock::of_proof(NETWORK, name, &proof).unwrap();
    assert_eq!(block.time(), time);
    let receipt = signed(|it| it.beacon = block.beacon());
    let entry = RegistryEntry {
        valid_from: START + DAY,
        revoked_at: REVOKED,
    };
    Late::of(NETWORK, &terms(), bound(), &entry, receipt, block)
}

#[test]
fn a_late_receipt_goes_through_the_registry_as_the_scenarios_sent_it() {
    let told = taken(&recorded(), &terms().registry);
    let mut found = 0;
    for recorded in told {
        let mut slice = recorded.as_slice().unwrap();
        if slice.load_u32() != Ok(TELL) || slice.size_refs() == 0 {
            continue;
        }
        // The file hash is of the recording: it is over a bag of cells of another library's.
        let evidence = slice.load_reference_cloned().unwrap();
        let Some(block) = evidence.reference_cloned(2) else {
            continue;
        };
        let file = FileHash(block.as_slice().unwrap().load_u256().unwrap().0);
        let report = late(REVOKED + GRACE + 1, file).unwrap().report().unwrap();
        assert_eq!(report.to, terms().registry);
        found += u32::from(body(&report) == *recorded.repr_hash());
    }
    assert!(found > 0, "no scenario sent these cells");
}

#[test]
fn what_the_contract_would_refuse_is_no_evidence() {
    let of = |first, second| {
        let conflict = Conflict::of(NETWORK, &terms(), bound(), (first, second));
        conflict.map(|_| ()).map_err(|error| error.code())
    };
    let no_conflict = Err("stake-no-conflict");
    assert_eq!(of(signed(|_| {}), other_answer()), Ok(()));
    assert_eq!(of(signed(|_| {}), signed(|_| {})), no_conflict);
    for change in [
        (|it| it.sequence = 10) as fn(&mut Receipt),
        |it| it.channel = account(41),
        |it| it.boot_id = BootId([9; 32]),
    ] {
        assert_eq!(of(signed(|_| {}), signed(change)), no_conflict);
    }
    // An amount that no tokens cost contradicts the one that they cost.
    let changed = signed(|it| it.charged = Nano::from_u64(3401));
    assert_eq!(of(signed(|_| {}), changed), Ok(()));
    let mut foreign = other_answer();
    foreign.receipt.host_time += 1;
    let unsigned = Err("stake-receipt-signature");
    assert_eq!(of(foreign, signed(|_| {})), unsigned);
    let elsewhere = signed(|it| it.network = NetworkId(-239));
    assert_eq!(of(signed(|_| {}), elsewhere), Err("stake-other-network"));
    let file = FileHash([7; 32]);
    assert!(late(REVOKED + GRACE + 1, file).is_ok());
    for time in [REVOKED + GRACE, REVOKED, START] {
        let refused = late(time, file).unwrap_err();
        assert_eq!(refused.code(), "stake-not-late", "{time}");
    }
}

#[test]
fn a_binding_is_its_provider_s_for_one_stake_and_comes_back_from_its_bytes() {
    let bytes = bound().encode().unwrap();
    let read = SignedBinding::decode(&bytes).unwrap();
    assert_eq!(read, bound());
    let refusal = |signed: SignedBinding, network| {
        let refused = signed.for_stake(network, &terms()).unwrap_err();
        refused.code()
    };
    assert_eq!(read.for_stake(NETWORK, &terms()), Ok(&binding()));
    let unsigned = "stake-binding-signature";
    assert_eq!(
        refusal(binding().sign(&key(13)).unwrap(), NETWORK),
        unsigned
    );
    let mut changed = bound();
    changed.binding.measurement = image(1);
    assert_eq!(refusal(changed, NETWORK), unsigned);
    assert_eq!(refusal(bound(), NetworkId(-239)), "stake-other-network");
    let elsewhere = Binding {
        stake: account(9),
        ..binding()
    };
    let elsewhere = elsewhere.sign(&key(11)).unwrap();
    assert_eq!(refusal(elsewhere, NETWORK), "stake-other-stake");
    let mut long = bytes.clone();
    long.resize(stake::MAX_BINDING_BYTES + 1, 0);
    for bad in [&bytes[..bytes.len() - 1], &long, b""] {
        let refused = SignedBinding::decode(bad).unwrap_err();
        assert_eq!(refused.code(), "stake-not-a-binding");
    }
}

#[test]
fn a_block_is_shown_by_its_own_proof_alone() {
    let (name, proof) = block(START, FileHash([7; 32]));
    let refusal = |network, name, proof: &[u8]| {
        let refused = BeaconBlock::of_proof(network, name, proof).unwrap_err();
        refused.code()
    };
    let (_, other) = block(START + 1, FileHash([7; 32]));
    assert_eq!(refusal(NETWORK, name, &other), "proof-other-root");
    assert_eq!(
        refusal(NetworkId(-239), name, &proof),
        "proof-other-network"
    );
    assert_eq!(refusal(NETWORK, name, b""), "proof-bag");
    let renumbered = BlockId {
        seqno: name.seqno + 1,
        ..name
    };
    assert_eq!(refusal(NETWORK, renumbered, &proof), "proof-other-root");
}
