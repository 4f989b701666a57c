//! What hostile input costs, at every door by which it comes: prefixes and flips of what is honest,
//! bombs, things twice, in another order, and ten megabytes of them. Prints the slowest input and
//! the one that held the most memory, beside 50 ms and 64 MiB. `ci/bench hostile` runs this.
//!
//! Time is that of the thread alone, so a busy machine changes little; nothing is asserted.
#![allow(
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a table is what this program is for"
)]

use std::time::Duration;

use ed25519_dalek::SigningKey;
use mock_tee::nvidia::Board;
use mock_tee::snp::Product;
use mock_tee::tdx::QuoteVersion;
use peak_alloc::PeakAlloc;
use protocol::digest::{ConfigDigest, Ppid};
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::Evidence;
use protocol::gpu_evidence::{DeviceKind, GpuMode};
use protocol::launch_configuration::LaunchConfiguration;
use protocol::machine_grant::{ChipIdentity, MachineGrant, SignedGrant};
use protocol::reference_values::{DeviceSet, ReferenceValues};
use protocol::ton::NetworkId;
use verifier::{
    AppraisalPolicy, Bundle, DeviceExpectations, DeviceNonces, Pin, appraise_bundle, appraise_gpus,
};

#[path = "../clock/mod.rs"]
mod clock;
mod staples;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/appraisal/world.rs"]
mod world;

use staples::nested;
use world::World;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const TIME: Duration = Duration::from_millis(50);
const ROOM: usize = 64 << 20;
const MIB: usize = 1 << 20;
/// Prefixes, and flips, that are tried of one honest input.
const PLACES: usize = 64;
/// The best of so many, for what seems slow.
const ROUNDS: usize = 3;
const SET: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 8,
    switches: 4,
    mode: GpuMode::ProtectedPcie,
};

/// Whether what is behind a way in takes these bytes.
type Open<'d> = Box<dyn Fn(&[u8]) -> bool + 'd>;

/// One way in.
struct Door<'d> {
    name: &'static str,
    honest: Vec<u8>,
    /// Inputs of its own, besides those that every door gets.
    bombs: Vec<(String, Vec<u8>)>,
    /// Whether the input is accepted.
    open: Open<'d>,
}

/// The worst of one kind.
#[derive(Default)]
struct Worst<T> {
    value: T,
    what: String,
}

impl<T: PartialOrd> Worst<T> {
    fn note(&mut self, value: T, what: &str) {
        if value > self.value {
            *self = Self {
                value,
                what: what.to_owned(),
            };
        }
    }
}

fn main() {
    let genoa = World::genoa();
    let tdx = World::tdx(QuoteVersion::V5);
    let board = Board::new(SET.architecture, SET.gpus, SET.switches, SET.mode);
    let whole = World::of(Product::Turin).with_board(&board, SET);
    let doors = [
        evidence("SEV-SNP evidence", &genoa, snp_bombs(&genoa)),
        evidence("TDX evidence", &tdx, tdx_bombs(&tdx)),
        devices(&whole),
        bundle(&whole),
        document("policy", policy(), |bytes| {
            AppraisalPolicy::parse(bytes).is_ok()
        }),
        document("reference values", references(&whole), |bytes| {
            ReferenceValues::parse(bytes).is_ok()
        }),
        document(
            "launch configuration",
            genoa.configuration.clone(),
            |bytes| LaunchConfiguration::parse(bytes).is_ok(),
        ),
        document("machine grant", grant(), |bytes| {
            SignedGrant::decode(bytes).is_ok_and(|grant| grant.is_signed())
        }),
    ];
    println!(
        "{:<22} {:>6} {:>9} {:>9}  {:<44} {:>9}  what held it",
        "door", "inputs", "honest ms", "worst ms", "slowest refused input", "memory"
    );
    for door in doors {
        print_door(&door);
    }
    println!(
        "limits: {} ms, {ROOM} bytes besides the input",
        TIME.as_millis()
    );
}

fn print_door(door: &Door<'_>) {
    let (mut slowest, mut largest) = (Worst::<Duration>::default(), Worst::<usize>::default());
    let mut count = 0;
    let (_, honest, _) = cost(door, &door.honest);
    let mut take = |what: String, input: &[u8]| {
        let (accepted, time, memory) = cost(door, input);
        count += 1;
        largest.note(memory, &what);
        if !accepted {
            slowest.note(time, &what);
        }
    };
    every_input(&door.honest, &mut take);
    for (what, input) in &door.bombs {
        take(what.clone(), input);
    }
    let marks = [
        if slowest.value > TIME { " SLOW" } else { "" },
        if largest.value > ROOM { " LARGE" } else { "" },
    ];
    println!(
        "{:<22} {count:>6} {:>9.2} {:>9.2}  {:<44} {:>9}  {}{}",
        door.name,
        ms(honest),
        ms(slowest.value),
        slowest.what,
        largest.value,
        largest.what,
        marks.concat(),
    );
}

/// Whether it is accepted, how long that took, and the most memory held besides the input.
fn cost(door: &Door<'_>, input: &[u8]) -> (bool, Duration, usize) {
    let once = || {
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let (accepted, time) = clock::measure(|| (door.open)(input));
        (accepted, time, MEMORY.peak_usage().saturating_sub(before))
    };
    let (accepted, mut time, memory) = once();
    for _ in 1..ROUNDS {
        if time > TIME / 2 {
            time = time.min(once().1);
        }
    }
    (accepted, time, memory)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What every door gets.
fn every_input(honest: &[u8], take: &mut dyn FnMut(String, &[u8])) {
    let step = honest.len().div_ceil(PLACES).max(1);
    for at in (0..honest.len()).step_by(step) {
        take(format!("the first {at} bytes"), &honest[..at]);
    }
    let mut flipped = honest.to_vec();
    for at in (step / 2..honest.len()).step_by(step) {
        flipped[at] ^= 1 << (at % 8);
        take(format!("byte {at} flipped"), &flipped);
        flipped[at] = honest[at];
    }
    let mut long = honest.to_vec();
    long.resize(10 * MIB, 0);
    take("itself, up to 10 MiB".to_owned(), &long);
    for byte in [0, 0x30, b'[', b'<', 0xff] {
        take(format!("10 MiB of {byte:#04x}"), &vec![byte; 10 * MIB]);
    }
}

fn document<'d>(
    name: &'static str,
    honest: Vec<u8>,
    open: impl Fn(&[u8]) -> bool + 'd,
) -> Door<'d> {
    let fill = |again: &str| again.repeat(64 * 1024 / again.len()).into_bytes();
    let bombs = ["[", "{\"a\":", "[0,", "1", "\"", "{\"version\":1,"];
    Door {
        name,
        honest,
        bombs: bombs
            .iter()
            .map(|again| (format!("64 KiB of {again}"), fill(again)))
            .collect(),
        open: Box::new(open),
    }
}

fn policy() -> Vec<u8> {
    AppraisalPolicy::testing().to_json().unwrap().into_bytes()
}

fn references(world: &World) -> Vec<u8> {
    world.references.to_json().unwrap().into_bytes()
}

fn grant() -> Vec<u8> {
    let grant = MachineGrant {
        network: NetworkId(-7357),
        chip: ChipIdentity::Tdx(Ppid([1; 16])),
        devices: (0..32).map(|number| vec![number; 21]).collect(),
        configuration: ConfigDigest([2; 32]),
        not_after: world::NOW,
    };
    grant.sign(&SigningKey::from_bytes(&[5; 32])).encode()
}

/// Evidence as it crosses the wire.
fn evidence<'d>(
    name: &'static str,
    world: &'d World,
    bombs: Vec<(String, Endorsements)>,
) -> Door<'d> {
    let honest = world.evidence();
    let bombs = bombs.into_iter().map(|(what, endorsements)| {
        let other = Evidence {
            endorsements,
            ..honest.clone()
        };
        (what, other.encode())
    });
    Door {
        name,
        bombs: bombs.collect(),
        honest: honest.encode(),
        open: Box::new(|bytes| {
            let decoded = Evidence::decode(bytes).ok();
            decoded.is_some_and(|evidence| world.appraise_this(&evidence).is_ok())
        }),
    }
}

fn bundle(world: &World) -> Door<'_> {
    Door {
        name: "bundle",
        honest: world.bundle().encode().unwrap(),
        bombs: Vec::new(),
        open: Box::new(|bytes| {
            let Ok(bundle) = Bundle::decode(bytes) else {
                return false;
            };
            let pin = Pin::Values(&world.references);
            let (policy, anchors) = (&world.policy, &world.anchors);
            appraise_bundle(&bundle, pin, policy, anchors, world.at)
                .result
                .is_ok()
        }),
    }
}

/// The endorsements with these kinds replaced.
fn stapled(of: &Endorsements, others: &[(EndorsementKind, &[u8])]) -> Endorsements {
    let mut items = Endorsements::default();
    for kind in [
        EndorsementKind::SnpArk,
        EndorsementKind::SnpAsk,
        EndorsementKind::SnpVcek,
        EndorsementKind::SnpCrl,
        EndorsementKind::TdxCollateral,
    ] {
        let other = others.iter().find(|(of, _)| *of == kind);
        let bytes = other.map(|(_, bytes)| *bytes).or_else(|| of.get(kind));
        if let Some(bytes) = bytes {
            items.insert(kind, bytes.to_vec()).unwrap();
        }
    }
    items
}

fn snp_bombs(world: &World) -> Vec<(String, Endorsements)> {
    use EndorsementKind::{SnpArk, SnpAsk, SnpCrl, SnpVcek};
    let of = world.evidence().endorsements;
    let item = |kind| of.get(kind).unwrap();
    let mut bombs = Vec::new();
    let mut add = |what: String, others: &[(EndorsementKind, &[u8])]| {
        bombs.push((what, stapled(&of, others)));
    };
    for kind in [SnpArk, SnpAsk, SnpVcek, SnpCrl] {
        for length in [8, 512, 900].map(|kib| kib * 1024) {
            add(
                format!("{kind:?}: DER in DER, {length}"),
                &[(kind, &nested(length))],
            );
            let empty = [[0x30, 0]].repeat(length / 2).concat();
            add(format!("{kind:?}: empty DER, {length}"), &[(kind, &empty)]);
        }
    }
    for (one, other) in [(SnpArk, SnpAsk), (SnpAsk, SnpVcek), (SnpArk, SnpVcek)] {
        add(format!("{one:?} twice"), &[(other, item(one))]);
        let swapped = [(one, item(other)), (other, item(one))];
        add(format!("{one:?} and {other:?} swapped"), &swapped);
    }
    let list = [0x30, 0x83, 0x07, 0xff, 0xfb].to_vec();
    let entries = [list, [[0x30, 0]].repeat(256 * 1024 - 3).concat()].concat();
    add("a list of empty entries".to_owned(), &[(SnpCrl, &entries)]);
    bombs
}

fn tdx_bombs(world: &World) -> Vec<(String, Endorsements)> {
    let of = world.evidence().endorsements;
    let honest = of.get(EndorsementKind::TdxCollateral).unwrap();
    let document: serde_json::Value = serde_json::from_slice(honest).unwrap();
    let mut bombs = Vec::new();
    let mut add = |what: String, bytes: &[u8]| {
        let kind = EndorsementKind::TdxCollateral;
        bombs.push((what, stapled(&of, &[(kind, bytes)])));
    };
    for again in ["[", "{\"a\":", "[0,", "{\"tcb_info\":\"\","] {
        let text = again.repeat((MIB - 64) / again.len());
        add(format!("1 MiB of {again}"), text.as_bytes());
    }
    let chains = ["pck_crl_issuer_chain", "tcb_info_issuer_chain"];
    for member in chains {
        let chain = document[member].as_str().unwrap();
        for (what, text) in [
            ("begins", "-----BEGIN CERTIFICATE-----\n".repeat(30_000)),
            (
                "certificates again and again",
                chain.repeat(400_000 / chain.len()),
            ),
            ("certificates twice", chain.repeat(2)),
        ] {
            let mut other = document.clone();
            other[member] = text.into();
            add(format!("{member}: {what}"), other.to_string().as_bytes());
        }
    }
    for member in ["tcb_info", "qe_identity"] {
        for again in ["[", "{\"tcbLevels\":[", "{\"a\":{},\"a\":", "0,"] {
            let mut other = document.clone();
            other[member] = again.repeat(400_000 / again.len()).into();
            add(format!("{member}: {again}"), other.to_string().as_bytes());
        }
    }
    for member in ["root_ca_crl", "pck_crl"] {
        for bytes in [nested(300_000), [[0x30, 0]].repeat(150_000).concat()] {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut other = document.clone();
            other[member] = hex.into();
            add(format!("{member}: DER"), other.to_string().as_bytes());
        }
    }
    bombs
}

/// Devices alone, and what is stapled for them.
fn devices(world: &World) -> Door<'_> {
    let stapled = world.gpu_endorsements.as_ref().unwrap();
    Door {
        name: "8 GPUs, 4 switches",
        honest: staples::pair(&world.gpu_evidence, stapled),
        bombs: staples::bombs(&world.gpu_evidence, stapled),
        open: Box::new(|bytes| {
            let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
                return false;
            };
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap();
            let (evidence, stapled) = rest.split_at(length.min(rest.len()));
            let expected = DeviceExpectations {
                nonces: DeviceNonces::OfBoot(&world.statement.boot_id),
                sets: &[SET],
                ocsp_nonce: None,
            };
            let (policy, anchors) = (&world.policy, &world.anchors);
            let verdict = appraise_gpus(
                evidence,
                Some(stapled),
                &expected,
                policy,
                anchors,
                world.at,
            );
            verdict.rejection().is_none()
        }),
    }
}
