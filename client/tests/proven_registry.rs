//! The registry read by proof: two lite-servers, a pinned block, and a position that is kept.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "../../contracts/tests/lite_server/mod.rs"]
#[allow(
    dead_code,
    reason = "some faults are asked for by the contracts' own tests only"
)]
mod lite_server;
#[allow(dead_code, reason = "shared with tests that use all of it")]
#[path = "../../contracts/tests/one_validator/mod.rs"]
mod one_validator;

use std::path::PathBuf;
use std::sync::Arc;

use client::pins::Pins;
use client::registry::{LiteServers, ProvenReadError, Registry};
use client::wallet::StateDirectory;
use client::{NoRandomness, Surroundings};
use contracts::registry::{Listed, RegistryEntry, ReleaseKey};
use lite_server::{Fault, Served, start};
use one_validator::{
    KEY_SEQNO, Made, NETWORK, SEQNO, Set, TIME, account_of, bag, block, key_block, link, pair,
    proof_without, shard_block, tower,
};
use protocol::digest::{AccountId, LaunchDigest, ModelDigest};
use protocol::reference_values::{
    ExpectedRegisters, ImageVersion, ModelReference, Profile, ReferenceValues, ShapeReference,
};
use protocol::ton::{NetworkId, TonAddress};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::dict::Dict;
use tycho_types::models::ShardIdent;
use verifier::UnixTime;
use zeroize::Zeroizing;

const AT: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x51; 32]),
};
const RELEASE: [u8; 32] = [0xab; 32];

struct World;

impl Surroundings for World {
    fn now(&self) -> UnixTime {
        UnixTime(u64::from(TIME) + 30)
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        Ok(Zeroizing::new([7; 32]))
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

/// The contract's data with one release in its list: since when it counts, when it was revoked.
fn registry(valid_from: u32, revoked_at: u32) -> Cell {
    let mut releases = Dict::<HashBytes, (u32, u32, bool)>::new();
    releases
        .set(HashBytes(RELEASE), (valid_from, revoked_at, false))
        .unwrap();
    let releases = CellBuilder::build_from(releases).unwrap();
    let mut lists = CellBuilder::new();
    lists.store_zeros(2).unwrap();
    lists.store_bit_one().unwrap();
    lists.store_bit_zero().unwrap();
    lists
        .store_reference(releases.reference_cloned(0).unwrap())
        .unwrap();
    let mut data = CellBuilder::new();
    data.store_zeros(32 + 32 + 256).unwrap();
    data.store_reference(lists.build().unwrap()).unwrap();
    for _ in ["prices", "adder", "revoker"] {
        data.store_reference(tower(1)).unwrap();
    }
    data.build().unwrap()
}

fn served(first: &Made, seqno: u32, data: Cell) -> Served {
    let code = Boc::decode(include_bytes!("../../contracts/compiled/registry.boc")).unwrap();
    let state = account_of(AT.account.0, 1_000_000_000, code, data);
    let shard = shard_block(
        NETWORK,
        ShardIdent::BASECHAIN,
        &[(AT.account.0, state.clone())],
    );
    let head = block(
        NETWORK,
        seqno,
        KEY_SEQNO,
        &[(ShardIdent::BASECHAIN, shard.clone())],
    );
    Served {
        last: head.id,
        links: vec![(first.id, vec![link(first, &head, &[1])])],
        shard_proof: pair(&head.header(), &proof_without(&head.state, &[])),
        proof: pair(
            &shard.header(),
            &proof_without(&shard.state, std::slice::from_ref(&state)),
        ),
        state: bag(&state),
        fault: Fault::None,
        sent: Arc::default(),
    }
}

async fn servers(first: &Made, both: [Served; 2]) -> LiteServers {
    let mut servers = Vec::new();
    for (number, served) in (20_u8..).zip(both) {
        servers.push(start(number, served).await.parse().unwrap());
    }
    LiteServers {
        servers,
        pinned: first.id,
    }
}

async fn prove(by: &LiteServers, state: &StateDirectory) -> Result<Registry, ProvenReadError> {
    Registry::prove(by, NetworkId(NETWORK), &AT, state, &World).await
}

#[tokio::test]
async fn what_the_registry_lists_is_read_by_proof_and_heights_stay_known_to_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let first = key_block(KEY_SEQNO, 0, &Set::default());
    let revoked = registry(5, TIME - 100);
    let newer = [
        served(&first, SEQNO, registry(5, 0)),
        served(&first, SEQNO + 1, revoked),
    ];
    let read = prove(&servers(&first, newer).await, &state).await.unwrap();
    let listed = Listed::Release(ReleaseKey(RELEASE));
    assert_eq!(
        read.entry(&listed).await.unwrap(),
        RegistryEntry {
            valid_from: 5,
            revoked_at: TIME - 100
        }
    );
    assert_eq!(read.time().await.unwrap(), u64::from(TIME));
    // In another run, servers that still show the time before the revocation.
    let older = [
        served(&first, SEQNO, registry(5, 0)),
        served(&first, SEQNO - 1, registry(5, 0)),
    ];
    let refused = prove(&servers(&first, older).await, &state).await;
    assert_eq!(refused.unwrap_err().code(), "lite-behind");
}

#[tokio::test]
async fn a_damaged_position_and_another_contract_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let first = key_block(KEY_SEQNO, 0, &Set::default());
    let both = || [SEQNO, SEQNO + 1].map(|seqno| served(&first, seqno, registry(5, 0)));
    let file = format!("chain-position.{NETWORK}");
    state.replace(&file, b"105").unwrap();
    let refused = prove(&servers(&first, both()).await, &state).await;
    assert_eq!(refused.unwrap_err().code(), "state-malformed");
    std::fs::remove_file(state.path(&file)).unwrap();
    let other = account_of(AT.account.0, 1, tower(2), registry(5, 0));
    let shard = shard_block(
        NETWORK,
        ShardIdent::BASECHAIN,
        &[(AT.account.0, other.clone())],
    );
    let shards = [(ShardIdent::BASECHAIN, shard.clone())];
    let head = block(NETWORK, SEQNO + 2, KEY_SEQNO, &shards);
    let wrong = Served {
        last: head.id,
        links: vec![(first.id, vec![link(&first, &head, &[1])])],
        shard_proof: pair(&head.header(), &proof_without(&head.state, &[])),
        proof: pair(&shard.header(), &proof_without(&shard.state, &[])),
        state: bag(&other),
        fault: Fault::None,
        sent: Arc::default(),
    };
    let [honest, _] = both();
    let refused = prove(&servers(&first, [honest, wrong]).await, &state).await;
    assert_eq!(refused.unwrap_err().code(), "chain-other-code");
}

#[tokio::test]
async fn pins_that_the_proven_registry_does_not_list_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let first = key_block(KEY_SEQNO, 0, &Set::default());
    let both = [SEQNO, SEQNO + 1].map(|seqno| served(&first, seqno, registry(5, 0)));
    let read = prove(&servers(&first, both).await, &state).await.unwrap();
    let values = ReferenceValues {
        version: 1,
        image: ImageVersion {
            major: 0,
            minor: 1,
            patch: 0,
        },
        profile: Profile::Research,
        shapes: vec![ShapeReference {
            shape: "cpu-2x2048".to_owned(),
            vcpus: 2,
            memory_mib: 2048,
            registers: ExpectedRegisters::SevSnp {
                vcpu_type: "EPYC-v4".to_owned(),
                guest_features: 1,
                launch_digest: LaunchDigest([0x1a; 48]),
            },
            devices: Vec::new(),
        }],
        models: vec![ModelReference {
            name: "scripted".to_owned(),
            digest: ModelDigest([2; 32]),
        }],
    };
    let values = serde_json::to_vec(&values).unwrap();
    let pins = Pins::parse(&values, Profile::Research).unwrap();
    let narrowed = pins.narrowed_by(&read).await.unwrap();
    assert!(narrowed.references().shapes.is_empty());
    assert!(!narrowed.dropped().is_empty());
    assert_eq!(narrowed.dropped()[0].code(), "registry-not-listed");
}
