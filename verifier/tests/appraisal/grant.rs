//! Machine grants: a policy that names providers takes the machine that one of them granted, and
//! no other.

use ed25519_dalek::SigningKey;
use mock_tee::nvidia::Board;
use mock_tee::tdx::QuoteVersion;
use protocol::digest::{ChipId, ConfigDigest, ProviderKey};
use protocol::gpu_evidence::{DeviceKind, GpuMode};
use protocol::machine_grant::{ChipIdentity, MachineGrant, SignedGrant};
use protocol::reference_values::DeviceSet;
use protocol::ton::NetworkId;
use verifier::{Allowed, Bundle, Check, Outcome, Pin, Rejection, UnixTime, appraise_bundle};

use crate::binding::{Change, under_a_vlek};
use crate::world::{NOW, World};

const END: u64 = NOW + 1_000;
const BOARD: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 2,
    switches: 1,
    mode: GpuMode::ProtectedPcie,
};

/// Changes to a granted machine with a board of devices.
pub(crate) const CHANGES: &[Change] = &[
    ("no grant", Rejection::GrantMissing, |w| w.grant = None),
    (
        "a grant with a byte too many",
        Rejection::GrantMalformed,
        |w| w.grant.as_mut().unwrap().push(0),
    ),
    (
        "an empty list of providers",
        Rejection::GrantProvider,
        |w| {
            w.policy.providers = Allowed::Only(Vec::new());
        },
    ),
    (
        "a grant of another provider",
        Rejection::GrantProvider,
        |w| w.grant = Some(grant_of(w).sign(&key(6)).encode()),
    ),
    (
        "a grant that names the provider and is signed by another",
        Rejection::GrantSignature,
        |w| {
            let signed = grant_of(w).sign(&key(6));
            let provider = provider();
            w.grant = Some(SignedGrant { provider, ..signed }.encode());
        },
    ),
    ("a grant of another network", Rejection::GrantNetwork, |w| {
        regrant(w, |grant| grant.network = NetworkId::MAIN);
    }),
    (
        "a granted chip that no certificate names",
        Rejection::ChipNotCertified,
        under_a_vlek,
    ),
    ("a grant of another chip", Rejection::GrantChip, |w| {
        regrant(w, |grant| {
            grant.chip = ChipIdentity::SevSnp(ChipId([1; 64]))
        });
    }),
    (
        "a device that was not granted",
        Rejection::GrantDevices,
        |w| {
            regrant(w, |grant| {
                grant.devices.pop_last();
            });
        },
    ),
    (
        "a granted device that does not report",
        Rejection::GrantDevices,
        |w| {
            regrant(w, |grant| {
                grant.devices.insert(vec![1; 16]);
            });
        },
    ),
    (
        "a grant of another configuration",
        Rejection::GrantConfiguration,
        |w| regrant(w, |grant| grant.configuration = ConfigDigest([1; 32])),
    ),
    ("a grant of the past", Rejection::GrantExpired, |w| {
        regrant(w, |grant| grant.not_after = NOW - 1);
    }),
];

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn provider() -> ProviderKey {
    ProviderKey(key(5).verifying_key().to_bytes())
}

/// The grant that is stapled.
fn grant_of(world: &World) -> MachineGrant {
    SignedGrant::decode(world.grant.as_ref().unwrap())
        .unwrap()
        .grant
}

fn regrant(world: &mut World, change: impl Fn(&mut MachineGrant)) {
    let mut grant = grant_of(world);
    change(&mut grant);
    world.grant = Some(grant.sign(&key(5)).encode());
}

/// The world's machine, granted by the provider whom its policy names.
fn granted(mut world: World) -> World {
    let result = world.appraise().unwrap();
    let grant = MachineGrant {
        network: result.launch_configuration().network,
        chip: *result.chip().certified().unwrap(),
        devices: result.devices().iter().map(|d| d.serial.clone()).collect(),
        configuration: world.statement.configuration,
        not_after: END,
    };
    world.grant = Some(grant.sign(&key(5)).encode());
    world.policy.providers = Allowed::Only(vec![provider()]);
    world
}

pub(crate) fn with_board() -> World {
    let board = Board::new(BOARD.architecture, BOARD.gpus, BOARD.switches, BOARD.mode);
    granted(World::genoa().with_board(&board, BOARD))
}

#[test]
fn a_granted_machine_is_accepted_until_the_grants_end_and_its_provider_is_named() {
    let worlds = [
        granted(World::genoa()),
        granted(World::tdx(QuoteVersion::V5)),
        with_board(),
    ];
    for mut world in worlds {
        let evidence = world.evidence();
        let result = world.appraise_this(&evidence).unwrap();
        assert_eq!(result.provider(), Some(&provider()));
        assert_eq!(result.not_after(), UnixTime(END));
        let verdict = world.appraise_in_full(&evidence).verdict;
        assert_eq!(verdict.machine().unwrap().provider, Some(provider()));
        world.at = UnixTime(END);
        assert!(world.appraise_this(&evidence).is_ok());
        world.at = UnixTime(END + 1);
        let refused = world.appraise_this(&evidence);
        assert_eq!(refused, Err(Rejection::GrantExpired));
    }
}

#[test]
fn refuses_every_change_for_its_own_reason() {
    for (name, reason, change) in CHANGES {
        let mut world = with_board();
        change(&mut world);
        let verdict = world.appraise_in_full(&world.evidence()).verdict;
        assert_eq!(verdict.rejection(), Some(*reason), "{name}");
    }
}

#[test]
fn no_flipped_byte_and_no_prefix_of_a_grant_is_accepted() {
    let good = granted(World::genoa());
    let bytes = good.grant.clone().unwrap();
    for at in 0..bytes.len() {
        let mut world = good.clone();
        world.grant = Some(bytes[..at].to_vec());
        assert_eq!(
            world.appraise(),
            Err(Rejection::GrantMalformed),
            "{at} bytes"
        );
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        world.grant = Some(flipped);
        assert!(world.appraise().is_err(), "byte {at}");
    }
}

#[test]
fn a_machine_under_a_vlek_matches_no_grant_of_its_chip() {
    let mut world = granted(World::genoa());
    under_a_vlek(&mut world);
    let verdict = world.appraise_in_full(&world.evidence()).verdict;
    let failed = |check: &&Check| check.outcome == Outcome::Failed;
    let failed: Vec<_> = verdict.checks().iter().filter(failed).collect();
    let reasons: Vec<_> = failed.iter().map(|check| check.check).collect();
    assert_eq!(reasons, [Rejection::ChipNotCertified, Rejection::GrantChip]);
    assert!(
        failed
            .iter()
            .all(|check| check.of.to_string() == "machine-grant")
    );
}

#[test]
fn where_every_provider_is_taken_no_grant_is_looked_at() {
    let mut world = granted(World::genoa());
    world.policy.providers = Allowed::Every;
    world.grant = Some(vec![0]);
    let appraisal = world.appraise_in_full(&world.evidence());
    assert_eq!(appraisal.result.unwrap().provider(), None);
    let mut checks = appraisal.verdict.checks().iter();
    assert!(checks.all(|check| check.of.to_string() != "machine-grant"));
}

#[test]
fn a_bundle_carries_the_grant_and_gets_the_same_verdict() {
    let world = with_board();
    let bytes = world.bundle().encode().unwrap();
    let bundle = Bundle::decode(&bytes).unwrap();
    let judge = |bundle: &Bundle| {
        let pin = Pin::Values(&world.references);
        appraise_bundle(bundle, pin, &world.policy, &world.anchors, world.at)
    };
    let verdict = judge(&bundle).verdict;
    assert_eq!(verdict.machine().unwrap().provider, Some(provider()));
    let mut without = world.clone();
    without.grant = None;
    let refused = judge(&without.bundle()).result;
    assert_eq!(refused, Err(Rejection::GrantMissing));
}
