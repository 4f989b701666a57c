//! What an appraisal costs on one thread, beside `dcap-qvl` and OpenSSL doing their part of it.
//!
//! Ours is the whole verdict: decoding, every signature, every rule, the list of checks. The peers
//! do less: `dcap-qvl` a quote's signatures and TCB level, OpenSSL the signatures alone, by its own
//! `openssl speed` in the same run. `ci/bench verifier` runs this; `--json` prints for machines.
//! `--bundles DIRECTORY` times honest bundles instead, from their bytes to the verdict's, for
//! `ci/bench browser`: milliseconds by name, as JSON.
#![allow(
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a table is what this program is for"
)]

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dcap_qvl::QuotePolicy;
use dcap_qvl::configs::RustCryptoConfig;
use dcap_qvl::verify::QuoteVerifier;
use mock_tee::nvidia::Board;
use mock_tee::snp::Product;
use mock_tee::tdx::QuoteVersion;
use protocol::endorsements::EndorsementKind;
use protocol::evidence::Evidence;
use protocol::gpu_evidence::{DeviceKind, GpuEndorsements, GpuEvidence, GpuMode};
use protocol::reference_values::{DeviceSet, ReferenceValues};
use serde_json::json;
use verifier::{AppraisalPolicy, Bundle, Decision, Pin, appraise_bundle};

mod clock;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/appraisal/world.rs"]
mod world;

use world::World;

const ROUNDS: usize = 41;
const GPUS: u8 = 8;
const SWITCHES: u8 = 4;

/// One line of the table.
struct Row {
    name: &'static str,
    /// Milliseconds: issue a limit only where one was promised.
    limit: Option<f64>,
    ours: Duration,
    peer: Option<(&'static str, Duration)>,
    openssl: Option<Duration>,
}

/// How many signatures of each kind a piece of evidence carries, each once.
#[derive(Default)]
struct Signatures {
    rsa_4096: u32,
    p256: u32,
    p384: u32,
}

/// OpenSSL's time for one verification.
struct Openssl {
    rsa_4096: Duration,
    p256: Duration,
    p384: Duration,
}

impl Openssl {
    /// `None` without the program.
    fn measure() -> Option<Self> {
        let one = |algorithm: &str| {
            let arguments = ["speed", "-mr", "-seconds", "1", algorithm];
            let output = Command::new("openssl").args(arguments).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            // +F2:number:bits:signed:verified and +F4:…, as many in a second.
            let line = text.lines().rev().find(|line| line.starts_with("+F"))?;
            let verified: f64 = line.rsplit(':').next()?.parse().ok()?;
            Some(Duration::from_secs_f64(1.0 / verified))
        };
        Some(Self {
            rsa_4096: one("rsa4096")?,
            p256: one("ecdsap256")?,
            p384: one("ecdsap384")?,
        })
    }

    fn time(&self, count: &Signatures) -> Duration {
        self.rsa_4096 * count.rsa_4096 + self.p256 * count.p256 + self.p384 * count.p384
    }
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--bundles");
    if let Some(folder) = arguments.nth(1) {
        println!("{}", bundles(Path::new(&folder)));
        return;
    }
    let openssl = Openssl::measure();
    let rows = [
        snp("SEV-SNP report and chain", Product::Genoa, openssl.as_ref()),
        tdx(
            "TDX quote v4 and collateral",
            QuoteVersion::V4,
            openssl.as_ref(),
        ),
        tdx(
            "TDX quote v5 and collateral",
            QuoteVersion::V5,
            openssl.as_ref(),
        ),
        board(openssl.as_ref()),
    ];
    if std::env::args().any(|argument| argument == "--json") {
        print_json(&rows);
    } else {
        print_table(&rows);
    }
}

/// The median of what the thread ran: other programs on the machine only ever add, but so does an
/// unlucky first round.
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS).map(|_| clock::measure(&mut run).1).collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn appraisal(world: &World, evidence: &Evidence) -> Duration {
    world.appraise_this(evidence).expect("honest evidence");
    median(|| {
        black_box(world.appraise_in_full(black_box(evidence)));
    })
}

/// What the program `bundles` of this crate wrote: `honest-NAME.bundle`, the reference values that
/// are pinned, `honest-NAME.json`, and the time, `at`.
fn bundles(folder: &Path) -> serde_json::Value {
    let read = |name: &str| std::fs::read(folder.join(name)).expect("a file of the folder");
    let at = String::from_utf8(read("at")).unwrap().parse().unwrap();
    let (policy, anchors) = (
        AppraisalPolicy::strict(),
        research_anchors::research_anchors(),
    );
    let mut times = serde_json::Map::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".bundle") else {
            continue;
        };
        if !name.starts_with("honest-") {
            continue;
        }
        let (bundle, pinned) = (read(&file), read(&format!("{name}.json")));
        let judge = || {
            let bundle = Bundle::decode(black_box(&bundle)).unwrap();
            let pinned = ReferenceValues::parse(black_box(&pinned)).unwrap();
            let found = appraise_bundle(&bundle, Pin::Values(&pinned), &policy, &anchors, at);
            assert_eq!(found.verdict.decision(), Decision::Accepted, "{name}");
            black_box(found.verdict.to_json().unwrap());
        };
        times.insert(name.to_owned(), ms(median(judge)).into());
    }
    times.into()
}

fn snp(name: &'static str, product: Product, openssl: Option<&Openssl>) -> Row {
    let world = World::of(product);
    // The authority's and the chip's certificate, the list; the report. The root is pinned.
    let count = Signatures {
        rsa_4096: 3,
        p384: 1,
        ..Signatures::default()
    };
    Row {
        name,
        limit: Some(2.0),
        ours: appraisal(&world, &world.evidence()),
        peer: None,
        openssl: openssl.map(|speed| speed.time(&count)),
    }
}

fn tdx(name: &'static str, version: QuoteVersion, openssl: Option<&Openssl>) -> Row {
    let world = World::tdx(version);
    let evidence = world.evidence();
    let stapled = evidence.endorsements.get(EndorsementKind::TdxCollateral);
    let collateral: dcap_qvl::QuoteCollateralV3 = serde_json::from_slice(stapled.unwrap()).unwrap();
    let quote = dcap_qvl::quote::Quote::parse(&evidence.report).unwrap();
    let chain = dcap_qvl::intel::extract_cert_chain(&quote).unwrap();
    let root = chain.last().unwrap().clone();
    let at = world.at.0;
    let peer = median(|| {
        let verified = QuoteVerifier::new(root.clone())
            .with_config::<RustCryptoConfig>()
            .verify_with_policy(
                black_box(&evidence.report),
                collateral.clone(),
                at,
                &QuotePolicy::claims_only(at),
            );
        black_box(verified.expect("an honest quote"));
    });
    // Authority, PCK; two lists; signer, both texts; the enclave's report; the quote.
    let count = Signatures {
        p256: 9,
        ..Signatures::default()
    };
    Row {
        name,
        limit: Some(5.0),
        ours: appraisal(&world, &evidence),
        peer: Some(("dcap-qvl", peer)),
        openssl: openssl.map(|speed| speed.time(&count)),
    }
}

/// The board alone: what it adds to the machine that it stands in.
fn board(openssl: Option<&Openssl>) -> Row {
    let set = DeviceSet {
        architecture: DeviceKind::Hopper,
        gpus: GPUS,
        switches: SWITCHES,
        mode: GpuMode::ProtectedPcie,
    };
    let board = Board::new(set.architecture, GPUS, SWITCHES, set.mode);
    let bare = World::genoa();
    let world = bare.clone().with_board(&board, set);
    let whole = appraisal(&world, &world.evidence());
    let count = Signatures {
        p384: board_signatures(&world),
        ..Signatures::default()
    };
    Row {
        name: "8 GPUs and 4 switches, manifests",
        limit: Some(40.0),
        ours: whole.saturating_sub(appraisal(&bare, &bare.evidence())),
        peer: None,
        openssl: openssl.map(|speed| speed.time(&count)),
    }
}

/// Each certificate once, however many devices show it; each report, manifest and answer.
fn board_signatures(world: &World) -> u32 {
    let evidence = GpuEvidence::decode(&world.gpu_evidence).unwrap();
    let stapled = world.gpu_endorsements.as_ref().unwrap();
    let stapled = GpuEndorsements::decode(stapled).unwrap();
    let mut certificates: Vec<_> = evidence.devices.iter().flat_map(|d| &d.chain).collect();
    certificates.sort_unstable();
    certificates.dedup();
    let all = [
        certificates.len(),
        evidence.devices.len(),
        stapled.rims.len(),
        stapled.ocsp.len(),
    ];
    u32::try_from(all.iter().sum::<usize>()).unwrap()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn print_table(rows: &[Row]) {
    println!(
        "{:<34} {:>9} {:>9}  {:<20} {:>9}",
        "appraisal, one thread, median", "ours ms", "limit ms", "peer ms", "openssl ms"
    );
    for row in rows {
        let limit = row
            .limit
            .map_or(String::new(), |limit| format!("{limit:.0}"));
        let peer = row.peer.map_or(String::new(), |(name, time)| {
            format!("{name} {:.2}", ms(time))
        });
        let openssl = row
            .openssl
            .map_or("absent".to_owned(), |time| format!("{:.2}", ms(time)));
        println!(
            "{:<34} {:>9.2} {limit:>9}  {peer:<20} {openssl:>9}",
            row.name,
            ms(row.ours)
        );
    }
    println!("openssl: its own `speed` of one signature, times the signatures in the evidence");
}

fn print_json(rows: &[Row]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "ours_ms": ms(row.ours),
                "limit_ms": row.limit,
                "peer": row.peer.map(|(name, _)| name),
                "peer_ms": row.peer.map(|(_, time)| ms(time)),
                "openssl_signatures_ms": row.openssl.map(ms),
            })
        })
        .collect();
    println!("{}", json!({ "rounds": ROUNDS, "rows": rows }));
}
