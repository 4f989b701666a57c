//! What a genuine report binds: question, connection, configuration, models, registers.

use mock_tee::Lie;
use protocol::digest::{
    ConfigDigest, EventLogDigest, Exporter, GpuEvidenceDigest, ModelDigest, ModelsDigest, Nonce,
    SpkiDigest,
};
use protocol::launch_configuration::config_digest;
use protocol::reference_values::{ModelReference, Profile};
use protocol::statement::models_digest;
use protocol::tee::EvidenceClass;
use verifier::{Allowed, Rejection, Weakness};

use crate::world::{NOW, World, configuration};

/// A change to the good world, and the reason for which it is refused.
pub(crate) type Change = (&'static str, Rejection, fn(&mut World));

pub(crate) const CHANGES: &[Change] = &[
    (
        "an empty list of classes",
        Rejection::ClassNotAccepted,
        |w| {
            w.policy.classes.clear();
        },
    ),
    ("another class", Rejection::ClassNotAccepted, |w| {
        w.statement.class = EvidenceClass::Epoch;
    }),
    (
        "reference values of a release",
        Rejection::ProfileMismatch,
        |w| {
            w.references.profile = Profile::Release;
        },
    ),
    (
        "a host an hour in the past",
        Rejection::HostTimeImplausible,
        |w| {
            w.statement.host_time = NOW - 3601;
        },
    ),
    (
        "a host an hour in the future",
        Rejection::HostTimeImplausible,
        |w| {
            w.statement.host_time = NOW + 3601;
        },
    ),
    ("multithreading, not tolerated", Rejection::SnpSmt, |w| {
        forbid(w, Weakness::SnpSmt);
    }),
    (
        "visible ciphertext, not tolerated",
        Rejection::SnpCiphertextVisible,
        |w| {
            forbid(w, Weakness::SnpCiphertextVisible);
        },
    ),
    (
        "memory that is not encrypted for all, not tolerated",
        Rejection::SnpTsmeOff,
        |w| {
            forbid(w, Weakness::SnpTsmeOff);
        },
    ),
    (
        "memory without error correction, not tolerated",
        Rejection::SnpEccOff,
        |w| {
            forbid(w, Weakness::SnpEccOff);
        },
    ),
    (
        "a guest on several sockets, not tolerated",
        Rejection::SnpSeveralSockets,
        |w| {
            forbid(w, Weakness::SnpSeveralSockets);
        },
    ),
    (
        "a guest policy below the policy's interface",
        Rejection::SnpAbi,
        |w| {
            w.policy.snp.minimum_abi.minor = 1;
        },
    ),
    (
        "energy counters, not tolerated",
        Rejection::SnpRaplReadable,
        |w| {
            forbid(w, Weakness::SnpRaplReadable);
        },
    ),
    ("an empty list of minima", Rejection::SnpTcbUnlisted, |w| {
        w.policy.snp.tcb_minima.clear();
    }),
    (
        "a chip that is allowed and denied",
        Rejection::ChipNotAccepted,
        |w| {
            let chip = *w.appraise().unwrap().chip().claimed();
            w.policy.chips.allowed = Allowed::Only(vec![chip]);
            w.policy.chips.denied.push(chip);
        },
    ),
    (
        "pages that the host may swap, not tolerated",
        Rejection::SnpPageSwap,
        |w| {
            forbid(w, Weakness::SnpPageSwap);
        },
    ),
    (
        "a report without mitigation vectors where one is wanted",
        Rejection::SnpMitigation,
        |w| {
            w.policy.snp.tcb_minima[0].mitigations = 1;
        },
    ),
    ("an empty list of chips", Rejection::ChipNotAccepted, |w| {
        w.policy.chips.allowed = Allowed::Only(Vec::new());
    }),
    ("a denied chip", Rejection::ChipNotAccepted, |w| {
        let chip = *w.appraise().unwrap().chip().claimed();
        w.policy.chips.denied.push(chip);
    }),
    (
        "an allow list, and a key that is of no chip",
        Rejection::ChipNotCertified,
        |w| {
            under_a_vlek(w);
            let chip = *w.appraise().unwrap().chip().claimed();
            w.policy.chips.allowed = Allowed::Only(vec![chip]);
        },
    ),
    (
        "a denied chip, by nobody's word but the report's",
        Rejection::ChipNotAccepted,
        |w| {
            under_a_vlek(w);
            let chip = *w.appraise().unwrap().chip().claimed();
            w.policy.chips.denied.push(chip);
        },
    ),
    ("another nonce", Rejection::FreshnessMismatch, |w| {
        w.channel.nonce = Nonce([0x12; 32]);
    }),
    (
        "another connection's exporter",
        Rejection::FreshnessMismatch,
        |w| {
            w.channel.exporter = Exporter([0x23; 32]);
        },
    ),
    (
        "another place among the challenges",
        Rejection::FreshnessMismatch,
        |w| {
            w.proof.index = 0;
        },
    ),
    (
        "a connection to another key",
        Rejection::TlsKeyMismatch,
        |w| {
            w.channel.tls_key = SpkiDigest([0x34; 32]);
        },
    ),
    (
        "another configuration than the measured one",
        Rejection::ConfigurationMismatch,
        |w| {
            w.configuration.push(b' ');
        },
    ),
    (
        "a Statement of another configuration",
        Rejection::ConfigurationMismatch,
        |w| {
            w.statement.configuration = ConfigDigest([1; 32]);
        },
    ),
    (
        "a measured configuration that is not canonical",
        Rejection::ConfigurationMalformed,
        |w| {
            w.configuration.push(b'\n');
            let digest = config_digest(&w.configuration);
            w.statement.configuration = digest;
            w.machine = w.machine.clone().configured(digest);
        },
    ),
    (
        "a Statement of other models",
        Rejection::ModelsMismatch,
        |w| {
            w.statement.models = ModelsDigest([1; 32]);
        },
    ),
    ("an unpinned model", Rejection::ModelNotPinned, |w| {
        w.references.models[0].digest = ModelDigest([1; 32]);
    }),
    ("an empty list of models", Rejection::ModelNotPinned, |w| {
        w.references.models.clear();
    }),
    (
        "an empty list of shapes",
        Rejection::RegistersUnknown,
        |w| {
            w.references.shapes.clear();
        },
    ),
    (
        "an event log on SEV-SNP",
        Rejection::EventLogUnexpected,
        |w| {
            w.event_log = vec![1];
        },
    ),
    (
        "GPU evidence without a GPU",
        Rejection::GpuEvidenceUnexpected,
        |w| {
            w.gpu_evidence = vec![1];
        },
    ),
    (
        "a digest of GPU evidence without any",
        Rejection::GpuEvidenceUnexpected,
        |w| {
            w.statement.gpu_evidence = GpuEvidenceDigest([1; 32]);
        },
    ),
];

/// The machine reports under a VLEK, and the policy tolerates that by name.
#[test]
fn every_loaded_model_is_pinned_and_others_may_be_pinned_beside_it() {
    let mut world = World::genoa();
    let own = world.references.models[0].clone();
    let other = ModelReference {
        name: "another".to_owned(),
        digest: ModelDigest([7; 32]),
    };
    for models in [[&own, &other], [&other, &own]] {
        world.references.models = models.map(Clone::clone).to_vec();
        assert!(world.appraise().is_ok());
    }
    // Two are loaded, and one of them is pinned.
    let mut configuration = configuration();
    let mut second = configuration.models[0].clone();
    second.name = "second".to_owned();
    second.verity.root = [3; 32];
    configuration.models.push(second);
    let bytes = configuration.to_canonical_bytes().unwrap();
    let digest = config_digest(&bytes);
    world.machine = world.machine.configured(digest);
    world.configuration = bytes;
    world.statement.configuration = digest;
    world.statement.models = models_digest(&configuration.model_digests());
    assert_eq!(world.appraise(), Err(Rejection::ModelNotPinned));
    let digest = configuration.model_digests()[1];
    world
        .references
        .models
        .push(ModelReference { digest, ..other });
    assert!(world.appraise().is_ok());
}

pub(crate) fn under_a_vlek(world: &mut World) {
    world.machine = world.machine.clone().with(Lie::Vlek);
    world.policy.tolerated.push(Weakness::SnpVlek);
}

fn forbid(world: &mut World, weakness: Weakness) {
    world.policy.tolerated.retain(|named| *named != weakness);
}

#[test]
fn refuses_every_change_for_its_own_reason() {
    for (name, reason, change) in CHANGES {
        let mut world = World::genoa();
        change(&mut world);
        assert_eq!(world.appraise(), Err(*reason), "{name}");
    }
}

#[test]
fn a_hosts_clock_may_be_as_far_away_as_the_policy_says_either_way() {
    for host_time in [NOW - 3600, NOW, NOW + 3600] {
        let mut world = World::genoa();
        world.statement.host_time = host_time;
        assert!(world.appraise().is_ok(), "{host_time}");
    }
}

#[test]
fn refuses_an_event_log_digest_on_sev_snp() {
    let mut world = World::genoa();
    world.statement.event_log = EventLogDigest([1; 32]);
    assert_eq!(world.appraise(), Err(Rejection::EventLogUnexpected));
}

#[test]
fn refuses_evidence_that_answered_somebody_elses_challenge() {
    // Relay: genuine, fresh for another connection, forwarded to ours.
    let honest = World::genoa();
    let mut relayed = World::genoa();
    relayed.channel.exporter = Exporter([0x77; 32]);
    let refused = relayed.appraise_this(&honest.evidence());
    assert_eq!(refused, Err(Rejection::FreshnessMismatch));
}

#[test]
fn a_changed_statement_no_longer_fits_its_report() {
    let world = World::genoa();
    let mut evidence = world.evidence();
    evidence.statement.receipt_key = protocol::digest::ReceiptKey([9; 32]);
    let refused = world.appraise_this(&evidence);
    assert_eq!(refused, Err(Rejection::ReportDataMismatch));
}
