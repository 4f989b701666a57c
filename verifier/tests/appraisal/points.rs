//! One bit of every byte that a machine signs, changed before it is signed: what the byte means
//! is refused for its own reason, or is known not to be read. No signature stands before the rules.

use mock_tee::snp::Product;
use mock_tee::tdx::QuoteVersion;
use protocol::evidence::Evidence;
use verifier::{Rejection, TcbMinimum, Weakness};

use crate::world::{Machine, World};

/// A report of this world's machine with a change under its signature.
fn resigned(world: &World, honest: &Evidence, change: impl FnOnce(&mut Vec<u8>)) -> Evidence {
    let data = world.statement.report_data();
    let report = match &world.machine {
        Machine::Snp(machine) => machine.report_with(&data, change),
        Machine::Tdx(machine) => machine.quote_with(&data, change),
    };
    Evidence {
        report: report.unwrap(),
        ..honest.clone()
    }
}

fn refused(
    world: &World,
    honest: &Evidence,
    change: impl FnOnce(&mut Vec<u8>),
) -> Option<Rejection> {
    let evidence = resigned(world, honest, change);
    world.appraise_this(&evidence).err()
}

/// Flips one bit of each of so many bytes; each is refused as it should be.
fn sweep(world: &World, length: usize, expected: impl Fn(usize) -> Option<Rejection>) {
    let honest = world.evidence();
    assert_eq!(refused(world, &honest, |_| {}), None, "the honest one");
    let mut wrong = Vec::new();
    for at in 0..length {
        let found = refused(world, &honest, |bytes| bytes[at] ^= 1 << (at % 8));
        if found != expected(at) {
            wrong.push(format!("{at:#x}: {found:?}, not {:?}", expected(at)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// AMD publication 56860, table "ATTESTATION_REPORT"; what differs between products is `other`.
fn snp(at: usize, other: impl Fn(usize) -> Option<Rejection>) -> Option<Rejection> {
    use Rejection as R;
    match at {
        0x000..0x004 => Some(R::SnpReportVersion),
        0x00a => Some(R::SnpMigratable),
        0x00b..0x010 => Some(R::SnpGuestPolicy),
        0x030..0x034 => Some(R::SnpVmpl),
        0x034..0x038 => Some(R::SnpSignatureAlgorithm),
        // The first of the platform's bytes loses the bit of multithreading.
        0x041..0x048 | 0x049..0x050 => Some(R::SnpReportReserved),
        0x050..0x090 => Some(R::ReportDataMismatch),
        0x090..0x0c0 => Some(R::RegistersUnknown),
        0x0c0..0x0e0 => Some(R::ConfigurationMismatch),
        // The author key's bit, and the digests of both keys.
        0x048 | 0x0e0..0x140 => Some(R::SnpIdBlock),
        0x160..0x180 => Some(R::SnpMigrationAgent),
        0x180..0x188 => Some(R::SnpTcbMismatch),
        0x188 => Some(R::SnpProductUnknown),
        0x189 | 0x18a => Some(R::SnpTcbUnlisted),
        0x18b..0x1a0 | 0x1eb | 0x1ef | 0x208..0x2a0 => Some(R::SnpReportReserved),
        0x1a0..0x1e0 => Some(R::SnpChipMismatch),
        // An older build and minor run than are committed; a newer build and major are committed.
        0x1e8 | 0x1e9 | 0x1ec | 0x1ee => Some(R::SnpTcbOrder),
        // Levels and mitigations.
        0x038..0x040 | 0x1e0..0x1e8 | 0x1f0..0x208 => other(at),
        // GUEST_SVN, the interface, FAMILY_ID and IMAGE_ID, SMT, REPORT_ID, a newer major that
        // runs, an older minor that is committed.
        0x004..0x00a | 0x010..0x030 | 0x040 | 0x140..0x160 | 0x1ea | 0x1ed => None,
        _ => unreachable!("672 bytes"),
    }
}

#[test]
fn every_signed_byte_of_a_genoa_is_read_or_known_not_to_be() {
    sweep(&World::genoa(), 0x2a0, |at| {
        snp(at, |at| match at {
            // Boot loader, TEE, SNP and microcode of what runs: newer.
            0x038 | 0x039 | 0x03e | 0x03f => None,
            0x1e0 | 0x1e1 | 0x1e6 | 0x1e7 => Some(Rejection::SnpTcbOrder),
            0x1f0 | 0x1f1 | 0x1f6 | 0x1f7 => Some(Rejection::SnpTcbOrder),
            _ => Some(Rejection::SnpReportReserved),
        })
    });
}

#[test]
fn every_signed_byte_of_a_turin_is_read_or_known_not_to_be() {
    sweep(&World::of(Product::Turin), 0x2a0, |at| {
        snp(at, |at| match at {
            // FMC and boot loader of what runs are older, TEE, SNP and microcode newer.
            0x038 | 0x039 => Some(Rejection::SnpTcbOrder),
            0x03a | 0x03b | 0x03f => None,
            0x1e0..0x1e4 | 0x1e7 => Some(Rejection::SnpTcbOrder),
            // Launched under an older FMC and boot loader, of which no minimum speaks.
            0x1f0 | 0x1f1 => None,
            0x1f2 | 0x1f3 | 0x1f7 => Some(Rejection::SnpTcbOrder),
            // Mitigations, none of which the policy wants.
            0x1f8..0x208 => None,
            _ => Some(Rejection::SnpReportReserved),
        })
    });
}

/// One value at one place of a report, and what becomes of it.
type Point = (&'static str, usize, &'static [u8], Option<Rejection>);

/// On Genoa; honest are policy 0x30000, platform 0x21, levels 10, 0, 0x1b, 0x56.
const POINTS: &[Point] = &[
    (
        "all of the key's bits",
        0x48,
        &[0xff; 4],
        Some(Rejection::SnpReportReserved),
    ),
    (
        "the first bit that is none",
        0x48,
        &[0x20],
        Some(Rejection::SnpReportReserved),
    ),
    (
        "a key of kind 2",
        0x48,
        &[2 << 2],
        Some(Rejection::SnpSigningKey),
    ),
    (
        "a key of kind 6",
        0x48,
        &[6 << 2],
        Some(Rejection::SnpSigningKey),
    ),
    ("no key", 0x48, &[7 << 2], Some(Rejection::SnpSigningKey)),
    (
        "the mask alone",
        0x48,
        &[2],
        Some(Rejection::SnpChipKeyMasked),
    ),
    (
        "the author's bit alone",
        0x48,
        &[1],
        Some(Rejection::SnpIdBlock),
    ),
    (
        "no chip",
        0x1a0,
        &[0; 64],
        Some(Rejection::SnpChipKeyMasked),
    ),
    (
        "policy without bit 17",
        0x0a,
        &[1],
        Some(Rejection::SnpGuestPolicy),
    ),
    ("policy bit 26", 0x0b, &[4], Some(Rejection::SnpGuestPolicy)),
    (
        "policy bit 63",
        0x0f,
        &[0x80],
        Some(Rejection::SnpGuestPolicy),
    ),
    ("policy bit 25", 0x0b, &[2], None),
    ("policy bit 20", 0x0a, &[0x13], None),
    ("debug", 0x0a, &[0x0b], Some(Rejection::SnpDebug)),
    (
        "platform bit 6",
        0x40,
        &[0x61],
        Some(Rejection::SnpReportReserved),
    ),
    ("platform bit 7", 0x40, &[0xa1], None),
    (
        "platform bit 8",
        0x41,
        &[1],
        Some(Rejection::SnpReportReserved),
    ),
    (
        "aliases unchecked",
        0x40,
        &[1],
        Some(Rejection::SnpAliasCheck),
    ),
    (
        "a report that the host asked for",
        0x30,
        &[0xff; 4],
        Some(Rejection::SnpVmpl),
    ),
    (
        "the highest byte of the level",
        0x33,
        &[1],
        Some(Rejection::SnpVmpl),
    ),
    (
        "algorithm 0",
        0x34,
        &[0],
        Some(Rejection::SnpSignatureAlgorithm),
    ),
    (
        "algorithm 2",
        0x34,
        &[2],
        Some(Rejection::SnpSignatureAlgorithm),
    ),
    ("version 0", 0, &[0], Some(Rejection::SnpReportVersion)),
    ("version 1", 0, &[1], Some(Rejection::SnpReportVersion)),
    ("version 4", 0, &[4], Some(Rejection::SnpReportVersion)),
    ("version 6", 0, &[6], Some(Rejection::SnpReportVersion)),
    (
        "launch microcode below",
        0x1f7,
        &[0x55],
        Some(Rejection::SnpTcbBelowMinimum),
    ),
    (
        "launch SNP below",
        0x1f6,
        &[0x1a],
        Some(Rejection::SnpTcbBelowMinimum),
    ),
    ("launch boot loader older", 0x1f0, &[9], None),
    (
        "committed microcode older",
        0x1e7,
        &[0x55],
        Some(Rejection::SnpTcbOrder),
    ),
    (
        "running microcode older",
        0x3f,
        &[0x55],
        Some(Rejection::SnpTcbOrder),
    ),
    ("running microcode newer", 0x3f, &[0x57], None),
    (
        "launch microcode newer",
        0x1f7,
        &[0x57],
        Some(Rejection::SnpTcbOrder),
    ),
    ("a newer build runs", 0x1e8, &[42], None),
    ("a newer minor runs", 0x1e9, &[56], None),
    (
        "an older major with a newer minor",
        0x1e8,
        &[99, 99, 0],
        Some(Rejection::SnpTcbOrder),
    ),
    (
        "a newer minor with an older build",
        0x1e8,
        &[0, 56, 1],
        None,
    ),
    (
        "a Genoa of another stepping",
        0x18a,
        &[3],
        Some(Rejection::SnpTcbUnlisted),
    ),
    (
        "a Genoa of another model",
        0x189,
        &[0x12],
        Some(Rejection::SnpTcbUnlisted),
    ),
    (
        "a Milan",
        0x188,
        &[0x19, 0x01, 0x01],
        Some(Rejection::SnpProductMismatch),
    ),
    (
        "a family without a product",
        0x188,
        &[0x17],
        Some(Rejection::SnpProductUnknown),
    ),
];

#[test]
fn single_values_of_a_report_at_their_edges() {
    let world = World::genoa();
    let honest = world.evidence();
    for (name, at, value, expected) in POINTS {
        let change = |bytes: &mut Vec<u8>| bytes[*at..at + value.len()].copy_from_slice(value);
        assert_eq!(refused(&world, &honest, change), *expected, "{name}");
    }
}

/// What a policy without that weakness makes of one byte.
fn without(weakness: Weakness, at: usize, value: u8) -> Option<Rejection> {
    let mut world = World::genoa();
    world.policy.tolerated.retain(|named| *named != weakness);
    let honest = world.evidence();
    refused(&world, &honest, |bytes| bytes[at] = value)
}

#[test]
fn a_weakness_that_the_report_does_not_have_needs_no_name() {
    use Rejection as R;
    for (weakness, check, at, has, has_not) in [
        (
            Weakness::SnpSeveralSockets,
            R::SnpSeveralSockets,
            0x0a,
            0x03,
            0x13,
        ),
        (Weakness::SnpPageSwap, R::SnpPageSwap, 0x0b, 0x00, 0x02),
        (Weakness::SnpSmt, R::SnpSmt, 0x40, 0x21, 0x20),
        (Weakness::SnpTsmeOff, R::SnpTsmeOff, 0x40, 0x21, 0x23),
        (Weakness::SnpEccOff, R::SnpEccOff, 0x40, 0x21, 0x25),
        (
            Weakness::SnpRaplReadable,
            R::SnpRaplReadable,
            0x40,
            0x21,
            0x29,
        ),
        (
            Weakness::SnpCiphertextVisible,
            R::SnpCiphertextVisible,
            0x40,
            0x21,
            0x31,
        ),
        (
            Weakness::SnpAliasCheckIncomplete,
            R::SnpAliasCheck,
            0x40,
            0x01,
            0x21,
        ),
        (Weakness::SnpCxlMemory, R::SnpCxl, 0x0a, 0x23, 0x03),
    ] {
        assert_eq!(without(weakness, at, has), Some(check));
        assert_eq!(without(weakness, at, has_not), None, "{check:?}");
    }
}

#[test]
fn the_interface_that_a_guest_asks_for_is_compared_as_a_version() {
    let mut world = World::genoa();
    (
        world.policy.snp.minimum_abi.major,
        world.policy.snp.minimum_abi.minor,
    ) = (1, 55);
    let honest = world.evidence();
    for (minor, major, expected) in [
        (55, 1, None),
        (56, 1, None),
        (0, 2, None),
        (54, 1, Some(Rejection::SnpAbi)),
        (99, 0, Some(Rejection::SnpAbi)),
    ] {
        let change = |bytes: &mut Vec<u8>| (bytes[8], bytes[9]) = (minor, major);
        assert_eq!(
            refused(&world, &honest, change),
            expected,
            "{major}.{minor}"
        );
    }
}

#[test]
fn a_report_of_version_2_is_read_where_the_policy_names_that() {
    let mut world = World::genoa();
    world.policy.tolerated.push(Weakness::SnpReportVersion2);
    let every = |entry: &TcbMinimum| TcbMinimum {
        model: None,
        stepping: None,
        ..*entry
    };
    let honest = world.evidence();
    let older = |bytes: &mut Vec<u8>| {
        bytes[0] = 2;
        bytes[0x188..0x18b].fill(0);
    };
    // It names no processor, so only an entry for every one is for it.
    let unlisted = Some(Rejection::SnpTcbUnlisted);
    assert_eq!(refused(&world, &honest, older), unlisted);
    let own = world.policy.snp.tcb_minima[0];
    let model = TcbMinimum {
        stepping: None,
        ..own
    };
    let stepping = TcbMinimum { model: None, ..own };
    world.policy.snp.tcb_minima = vec![model, stepping];
    assert_eq!(refused(&world, &honest, older), unlisted);
    world.policy.snp.tcb_minima = vec![every(&own)];
    assert_eq!(refused(&world, &honest, older), None);
    // What newer versions have there is reserved in it.
    for at in [0x188, 0x189, 0x18a, 0x1f8, 0x207] {
        let named = |bytes: &mut Vec<u8>| {
            older(bytes);
            bytes[at] = 1;
        };
        let reserved = Some(Rejection::SnpReportReserved);
        assert_eq!(refused(&world, &honest, named), reserved, "{at:#x}");
    }
    // It has no vectors.
    world.policy.snp.tcb_minima[0].mitigations = 1;
    assert_eq!(
        refused(&world, &honest, older),
        Some(Rejection::SnpMitigation)
    );
}

/// Intel, "TDX DCAP Quote Generation Library", appendix A: header and a TD 1.0 report, from 0 on.
fn td(at: usize) -> Option<Rejection> {
    use Rejection as R;
    match at {
        // The other of the two versions, whose report is of another length; the key's type.
        0 | 2..4 => Some(R::TdxQuoteMalformed),
        1 | 4..8 => Some(R::TdxQuoteVersion),
        // The quoting enclave's vendor: the library's to judge.
        12..28 => Some(R::TdxVerification),
        // The module of a level that lacks updates; a module that Intel's text does not know.
        48 => Some(R::TdxTcbStatus),
        49 => Some(R::TdxVerification),
        112..168 => Some(R::TdxModule),
        168 => Some(R::TdxDebug),
        169..176 => Some(R::TdxAttributes),
        // Without protection keys: the policy lists that too.
        177 => None,
        176..184 => Some(R::TdxXfam),
        184..232 | 376..520 => Some(R::RegistersUnknown),
        232..280 => Some(R::ConfigurationMismatch),
        280..376 => Some(R::TdxOwner),
        520..568 => Some(R::TdxRtmr3),
        568..632 => Some(R::ReportDataMismatch),
        _ => None,
    }
}

#[test]
fn every_signed_byte_of_a_quote_is_read_or_known_not_to_be() {
    sweep(&World::tdx(QuoteVersion::V4), 632, td);
}

#[test]
fn every_signed_byte_of_a_quote_of_version_5_is_read_or_known_not_to_be() {
    // Between header and report lie type and length; behind the report, what TD 1.5 adds.
    sweep(
        &World::tdx(QuoteVersion::V5),
        48 + 6 + 584 + 64,
        |at| match at {
            0..48 => td(at),
            48..54 => Some(Rejection::TdxQuoteMalformed),
            // A loader older than any level's; for the rest more than runs now.
            56 => Some(Rejection::TdxVerification),
            54..70 => Some(Rejection::TdxTcbOrder),
            183 => Some(Rejection::TdxXfam),
            70..638 => td(at - 6),
            // What runs now: newer, of no known module, with an older loader, newer.
            639 => Some(Rejection::TdxVerification),
            640 => Some(Rejection::TdxTcbOrder),
            638..654 => None,
            _ => Some(Rejection::TdxServiceTd),
        },
    );
}
