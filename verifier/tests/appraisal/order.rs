//! The order of the list, which decides what evidence is refused for: whatever fails, every check
//! keeps its place.

use mock_tee::Lie;
use mock_tee::nvidia::{Board, DeviceLie};
use mock_tee::tdx::QuoteVersion;
use protocol::gpu_evidence::{DeviceKind, GpuMode};
use protocol::reference_values::DeviceSet;
use verifier::{Outcome, Verdict};

use crate::world::World;
use crate::{snp, tdx};

const PAIR: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 2,
    switches: 1,
    mode: GpuMode::ProtectedPcie,
};

fn verdict(world: &World) -> Verdict {
    world.appraise_in_full(&world.evidence()).verdict
}

/// What is checked, one a line: what it is about, and the check.
fn order(verdict: &Verdict) -> String {
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
