//! Writes bundles of simulated machines, one honest and one for each lie of each kind, with the
//! reference values beside each: `cargo run --release -p verifier --example bundles -- DIRECTORY`.
//! What other builds of the verifier must judge alike; nothing is judged here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bundle that cannot be made must stop the program"
)]

#[allow(dead_code, reason = "a world is made here and never appraised")]
#[path = "../tests/appraisal/world.rs"]
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use mock_tee::Lie;
use mock_tee::nvidia::{Board, DeviceLie};
use mock_tee::snp::Product;
use mock_tee::tdx::QuoteVersion;
use protocol::gpu_evidence::{DeviceKind, GpuMode};
use protocol::reference_values::DeviceSet;
use world::{NOW, World};

const BOARD: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 8,
    switches: 4,
    mode: GpuMode::ProtectedPcie,
};

/// A smaller one, on which the lies are told.
const PAIR: DeviceSet = DeviceSet {
    gpus: 2,
    switches: 1,
    ..BOARD
};

fn main() {
    let into = PathBuf::from(std::env::args_os().nth(1).expect("a directory"));
    fs::create_dir_all(&into).unwrap();
    fs::write(into.join("at"), NOW.to_string()).unwrap();
    honest(&into);
    for lie in Lie::ALL {
        for (kind, mut world) in [
            ("snp", World::genoa()),
            ("tdx", World::tdx(QuoteVersion::V5)),
        ] {
            world.machine = world.machine.with(*lie);
            write(&into, &format!("{kind}-{lie}"), &world);
        }
    }
    for (number, lie) in DeviceLie::ALL.iter().enumerate() {
        let world = with_board(PAIR, Some(*lie));
        write(
            &into,
            &format!("gpu-{number:02}-{lie:?}").to_lowercase(),
            &world,
        );
    }
}

fn honest(into: &Path) {
    write(into, "honest-snp", &World::genoa());
    write(into, "honest-snp-turin", &World::of(Product::Turin));
    write(into, "honest-tdx", &World::tdx(QuoteVersion::V4));
    write(into, "honest-tdx-v5", &World::tdx(QuoteVersion::V5));
    write(into, "honest-gpu", &with_board(BOARD, None));
    // A release that this machine does not run: another shape's measurement.
    let mut other = World::genoa();
    other.references.shapes.truncate(1);
    write(into, "other-release", &other);
    // A release with other models, and devices that this machine does not have.
    let mut other = World::genoa();
    other.references.models.clear();
    for shape in &mut other.references.shapes {
        shape.devices = vec![DeviceSet {
            gpus: 1,
            switches: 0,
            mode: GpuMode::SinglePass,
            ..BOARD
        }];
    }
    write(into, "other-models", &other);
}

fn with_board(set: DeviceSet, lie: Option<DeviceLie>) -> World {
    let board = Board::new(set.architecture, set.gpus, set.switches, set.mode);
    let board = match lie {
        Some(lie) => board.with(lie),
        None => board,
    };
    World::genoa().with_board(&board, set)
}

fn write(into: &Path, name: &str, world: &World) {
    let bundle = world.bundle();
    fs::write(
        into.join(format!("{name}.bundle")),
        bundle.encode().unwrap(),
    )
    .unwrap();
    let references = world.references.to_json().unwrap();
    fs::write(into.join(format!("{name}.json")), references).unwrap();
}
