//! The registry read by proof: two lite-servers, a pinned block, and a position that is kept.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "proven/mod.rs"]
mod proven;

use client::pins::Pins;
use client::registry::Registry;
use client::wallet::StateDirectory;
use contracts::lite::LiteServers;
use contracts::registry::{Listed, RegistryEntry, ReleaseKey};
use contracts::toncenter::ChainError;
use lite_server::accounts::{not_a_registry, registry};
use lite_server::blocks::{NETWORK, SEQNO, TIME};
use lite_server::{AccountCell, Scene};
use protocol::digest::{AccountId, LaunchDigest, ModelDigest};
use protocol::reference_values::{
    ExpectedRegisters, ImageVersion, ModelReference, Profile, ReferenceValues, ShapeReference,
};
use protocol::ton::TonAddress;
use proven::accounts;

const AT: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x51; 32]),
};
const RELEASE: [u8; 32] = [0xab; 32];

/// The registry lists the release: since when it counts, when it was revoked.
fn listed(valid_from: u32, revoked_at: u32) -> AccountCell {
    registry(&AT, RELEASE, (valid_from, revoked_at))
}

async fn prove(by: LiteServers, state: &StateDirectory) -> Result<Registry, ChainError> {
    Registry::prove(&accounts(by, state)?, &AT).await
}

#[tokio::test]
async fn what_the_registry_lists_is_read_by_proof_and_heights_stay_known_to_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let scene = Scene::default();
    let newer = [
        scene.at(SEQNO, &[listed(5, 0)]),
        scene.at(SEQNO + 1, &[listed(5, TIME - 100)]),
    ];
    let read = prove(scene.start(newer).await, &state).await.unwrap();
    let release = Listed::Release(ReleaseKey(RELEASE));
    assert_eq!(
        read.entry(&release).await.unwrap(),
        RegistryEntry {
            valid_from: 5,
            revoked_at: TIME - 100
        }
    );
    assert_eq!(read.time().await.unwrap(), u64::from(TIME));
    // In another run, servers that still show the time before the revocation.
    let older = [SEQNO, SEQNO - 1].map(|seqno| scene.at(seqno, &[listed(5, 0)]));
    let refused = prove(scene.start(older).await, &state).await;
    assert_eq!(refused.unwrap_err().code(), "lite-behind");
}

#[tokio::test]
async fn a_damaged_position_and_another_contract_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let scene = Scene::default();
    let honest = |seqno| scene.at(seqno, &[listed(5, 0)]);
    let file = format!("chain-position.{NETWORK}");
    state.replace(&file, b"105").unwrap();
    let servers = scene.start([honest(SEQNO), honest(SEQNO + 1)]).await;
    let refused = prove(servers, &state).await;
    assert_eq!(refused.unwrap_err().code(), "chain-position");
    std::fs::remove_file(state.path(&file)).unwrap();
    let other = scene.at(SEQNO + 2, &[not_a_registry(&AT, RELEASE, (5, 0))]);
    let servers = scene.start([honest(SEQNO), other]).await;
    let refused = prove(servers, &state).await;
    assert_eq!(refused.unwrap_err().code(), "chain-other-code");
}

#[tokio::test]
async fn pins_that_the_proven_registry_does_not_list_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let scene = Scene::default();
    let both = [SEQNO, SEQNO + 1].map(|seqno| scene.at(seqno, &[listed(5, 0)]));
    let read = prove(scene.start(both).await, &state).await.unwrap();
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
