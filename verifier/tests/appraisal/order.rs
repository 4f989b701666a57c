//! The order of the list, which decides what evidence is refused for: whatever fails, every check
//! keeps its place.

use mock_tee::Lie;
use mock_tee::nvidia::{Board, DeviceLie};
use mock_tee::tdx::QuoteVersion;
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::gpu_evidence::{DeviceKind, GpuEndorsements, GpuMode};
use protocol::reference_values::DeviceSet;
use verifier::{Allowed, Decision, Outcome, Verdict};

use crate::world::World;
use crate::{grant, snp, tdx};

const PAIR: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 2,
    switches: 1,
    mode: GpuMode::ProtectedPcie,
};

/// The lists as they are written down, one check a line: what it is about, and its code. The last
/// is of a granted Genoa with two GPUs and a switch.
const SNP: &str = include_str!("order/snp.txt");
const TDX: &str = include_str!("order/tdx.txt");
const DEVICES: &str = include_str!("order/devices.txt");

fn verdict(world: &World) -> Verdict {
    world.appraise_in_full(&world.evidence()).verdict
}

/// What is checked, one a line: what it is about, and the check.
pub(crate) fn order(verdict: &Verdict) -> String {
    let line = |check: &verifier::Check| format!("{} {}\n", check.of, check.check.code());
    verdict.checks().iter().map(line).collect()
}

fn with_devices(lie: Option<DeviceLie>) -> World {
    let board = Board::new(PAIR.architecture, PAIR.gpus, PAIR.switches, PAIR.mode);
    let board = match lie {
        Some(lie) => board.with(lie),
        None => board,
    };
    World::genoa().with_board(&board, PAIR)
}

fn assert_same(found: &str, written: &str, what: &str) {
    for (number, (found, written)) in found.lines().zip(written.lines()).enumerate() {
        assert_eq!(found, written, "{what}, line {}", number + 1);
    }
    assert_eq!(found.lines().count(), written.lines().count(), "{what}");
}

#[test]
fn every_check_of_an_honest_machine_stands_where_it_is_written_down() {
    for (what, world, written) in [
        ("SEV-SNP", World::genoa(), SNP),
        ("TDX", World::tdx(QuoteVersion::V5), TDX),
        ("devices", grant::with_board(), DEVICES),
    ] {
        let verdict = verdict(&world);
        assert_eq!(verdict.decision(), Decision::Accepted, "{what}");
        assert_same(&order(&verdict), written, what);
    }
}

#[test]
fn every_check_is_listed_where_nothing_of_the_hosts_can_be_read() {
    for (what, world, written) in [
        ("SEV-SNP", World::genoa(), SNP),
        ("TDX", World::tdx(QuoteVersion::V5), TDX),
    ] {
        let mut evidence = world.evidence();
        evidence.report.clear();
        evidence.endorsements = Endorsements::default();
        // That there is a list is enough for the checks of one.
        let list = evidence
            .endorsements
            .insert(EndorsementKind::SnpCrl, vec![0]);
        list.unwrap();
        let verdict = world.appraise_in_full(&evidence).verdict;
        assert_same(&order(&verdict), written, what);
    }
}

#[test]
fn what_only_some_evidence_has_stands_in_its_place() {
    let mut log = World::tdx(QuoteVersion::V5);
    log.event_log = vec![0];
    let mismatch = "event-log event-log-mismatch\n";
    let more = "event-log event-log-malformed\nevent-log event-log-replay\n";
    let written = TDX.replace(mismatch, &format!("{mismatch}{more}"));
    assert_same(&order(&verdict(&log)), &written, "an event log");
    // Where the policy names providers: all of the list of devices up to them.
    let mut granted = World::genoa();
    granted.policy.providers = Allowed::Only(Vec::new());
    let last = "gpu-evidence gpu-evidence-unexpected\n";
    let (before, _) = DEVICES.split_once(last).unwrap();
    let found = order(&verdict(&granted));
    assert_same(&found, &format!("{before}{last}"), "a grant");
}

/// Without the manifests that were found.
pub(crate) fn without_manifests(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("manifest"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_board_without_staples_or_minima_is_listed_as_every_other() {
    let mut world = grant::with_board();
    world.gpu_endorsements = None;
    let found = without_manifests(&order(&verdict(&world)));
    assert_same(&found, &without_manifests(DEVICES), "devices");
    // Manifests that cannot be read, and devices that the policy does not list.
    let mut broken = grant::with_board();
    let stapled = broken.gpu_endorsements.unwrap();
    let mut stapled = GpuEndorsements::decode(&stapled).unwrap();
    for rim in &mut stapled.rims {
        rim.document = vec![0];
    }
    broken.gpu_endorsements = Some(stapled.encode());
    assert_same(&order(&verdict(&broken)), DEVICES, "manifests");
    let mut unlisted = grant::with_board();
    unlisted.policy.nvidia.minima.clear();
    assert_same(&order(&verdict(&unlisted)), DEVICES, "minima");
}

#[test]
fn whatever_fails_every_check_keeps_its_place() {
    let honest = order(&verdict(&World::genoa()));
    for (lie, _) in snp::LIES {
        if [Lie::NoCrl, Lie::Vlek].contains(lie) {
            continue; // nothing to say of a list that is not there; another key's chain
        }
        let mut world = World::genoa();
        world.machine = world.machine.with(*lie);
        assert_eq!(order(&verdict(&world)), honest, "{lie}");
    }
    let honest = order(&verdict(&World::tdx(QuoteVersion::V5)));
    for (lie, _) in tdx::LIES {
        let mut world = World::tdx(QuoteVersion::V5);
        world.machine = world.machine.with(*lie);
        assert_eq!(order(&verdict(&world)), honest, "{lie}");
    }
}

/// What is listed of the devices themselves, without their manifests.
fn of_devices(text: &str) -> Vec<&str> {
    let lines = text.lines();
    let own = |line: &&str| line.starts_with("gpu-") || line.starts_with("switch-");
    lines.filter(own).collect()
}

#[test]
fn a_device_that_cannot_be_read_is_listed_as_the_others_are() {
    let honest = order(&verdict(&with_devices(None)));
    for lie in [DeviceLie::Truncated, DeviceLie::UnknownField] {
        let verdict = verdict(&with_devices(Some(lie)));
        let found = order(&verdict);
        assert_eq!(of_devices(&found), of_devices(&honest));
        let of = |name: &str, outcome| {
            let checks = verdict.checks().iter();
            let of = checks.filter(|check| check.of.to_string() == name);
            of.filter(|check| check.outcome == outcome).count()
        };
        assert!(of("gpu-0", Outcome::NotReached) > 5, "{lie:?}");
        assert_eq!(of("gpu-driver-0", Outcome::NotReached), 5, "{lie:?}");
    }
}
