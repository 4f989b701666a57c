//! What a verifier is handed: the wire, the policy, and every part of evidence that a vendor or a
//! host wrote, each in the place of that part of honest evidence, so that it is reached the way a
//! client reaches it.

use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::{Challenge, Evidence};
use protocol::machine_grant::SignedGrant;
use protocol::statement::Statement;
use verifier::AppraisalPolicy;

use crate::honest::{self, Machine};
use crate::{Outcome, pieces};

/// Challenge, evidence, Statement and endorsements, as they cross the wire.
pub fn wire(input: &[u8]) -> Outcome {
    let challenge = Challenge::decode(input);
    if let Ok(challenge) = &challenge {
        assert_eq!(challenge.encode(), input);
    }
    let evidence = Evidence::decode(input);
    if let Ok(evidence) = &evidence {
        assert_eq!(evidence.encode(), input, "two encodings of one evidence");
    }
    let statement = Statement::decode(input);
    if let Ok(statement) = &statement {
        assert_eq!(statement.encode(), input, "two encodings of one Statement");
    }
    let endorsements = Endorsements::decode(input);
    if let Ok(endorsements) = &endorsements {
        assert_eq!(endorsements.encode(), input);
    }
    Outcome::of(&challenge)
        .or(Outcome::of(&evidence))
        .or(Outcome::of(&statement))
        .or(Outcome::of(&endorsements))
}

/// A provider's grant, alone and stapled to honest evidence where the policy names its provider.
pub fn machine_grant(input: &[u8]) -> Outcome {
    let decoded = SignedGrant::decode(input);
    if let Ok(signed) = &decoded {
        assert_eq!(signed.encode(), input, "two encodings of one grant");
    }
    let mut evidence = Machine::Genoa.evidence().clone();
    let stapled = &mut evidence.endorsements;
    let kind = EndorsementKind::MachineGrant;
    if stapled.insert(kind, input.to_vec()).is_ok() && honest::appraise_granted(&evidence).is_ok() {
        assert_eq!(input, honest::grant(), "a forged grant");
    }
    Outcome::of(&decoded)
}

/// A client's policy.
pub fn policy(input: &[u8]) -> Outcome {
    let parsed = AppraisalPolicy::parse(input);
    if let Ok(policy) = &parsed {
        let again = policy.to_json().expect("what was read can be written");
        assert_eq!(
            AppraisalPolicy::parse(again.as_bytes()).as_ref(),
            Ok(policy)
        );
    }
    Outcome::of(&parsed)
}

/// Evidence as a whole, on the wire, for the connection of the honest one.
pub fn appraise(input: &[u8]) -> Outcome {
    match Evidence::decode(input) {
        Ok(evidence) => judged(&evidence),
        Err(_) => Outcome::Refused,
    }
}

/// An attestation report with AMD's endorsements, of the machine whose CPUID family it names.
pub fn snp_report(input: &[u8]) -> Outcome {
    let machine = match input.get(0x188) {
        Some(0x1a) => Machine::Turin,
        Some(_) | None => Machine::Genoa,
    };
    let mut evidence = machine.evidence().clone();
    evidence.report = input.to_vec();
    judged(&evidence)
}

/// AMD's certificates (root, intermediate, the chip's), in the evidence of the root's machine.
pub fn snp_certificates(input: &[u8]) -> Outcome {
    let [ark, ask, vcek] = pieces::split::<3>(input);
    let items = [
        (EndorsementKind::SnpArk, ark),
        (EndorsementKind::SnpAsk, ask),
        (EndorsementKind::SnpVcek, vcek),
    ];
    let turin = Machine::Turin
        .evidence()
        .endorsements
        .get(EndorsementKind::SnpArk);
    let machine = match turin == Some(ark) {
        true => Machine::Turin,
        false => Machine::Genoa,
    };
    endorsed(machine, &items)
}

/// AMD's revocation list.
pub fn snp_crl(input: &[u8]) -> Outcome {
    endorsed(Machine::Genoa, &[(EndorsementKind::SnpCrl, input)])
}

/// A quote with Intel's collateral.
pub fn tdx_quote(input: &[u8]) -> Outcome {
    let mut evidence = Machine::TdxV4.evidence().clone();
    evidence.report = input.to_vec();
    judged(&evidence)
}

/// Intel's collateral.
pub fn tdx_collateral(input: &[u8]) -> Outcome {
    endorsed(Machine::TdxV4, &[(EndorsementKind::TdxCollateral, input)])
}

/// Honest evidence with some endorsements replaced.
fn endorsed(machine: Machine, items: &[(EndorsementKind, &[u8])]) -> Outcome {
    let mut evidence = machine.evidence().clone();
    let mut stapled = Endorsements::default();
    for (kind, bytes) in items {
        if stapled.insert(*kind, bytes.to_vec()).is_err() {
            return Outcome::Refused;
        }
    }
    for kind in KINDS {
        let is_replaced = stapled.get(kind).is_some();
        let honest = evidence.endorsements.get(kind).filter(|_| !is_replaced);
        if honest.is_some_and(|bytes| stapled.insert(kind, bytes.to_vec()).is_err()) {
            return Outcome::Refused;
        }
    }
    evidence.endorsements = stapled;
    judged(&evidence)
}

const KINDS: [EndorsementKind; 6] = [
    EndorsementKind::SnpArk,
    EndorsementKind::SnpAsk,
    EndorsementKind::SnpVcek,
    EndorsementKind::SnpCrl,
    EndorsementKind::TdxCollateral,
    EndorsementKind::MachineGrant,
];

/// The verdict. Nobody but a simulated machine can sign, so what is accepted says what it said.
fn judged(evidence: &Evidence) -> Outcome {
    let verdict = honest::appraise(evidence);
    if let Ok(result) = &verdict {
        let same = |machine: &Machine| machine.evidence().statement == *result.statement();
        assert!(Machine::ALL.iter().any(same), "a forged Statement");
        assert_eq!(*result.launch_configuration(), honest::configuration());
    }
    Outcome::of(&verdict)
}
