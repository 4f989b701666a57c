//! One report with its endorsements and no Statement: is it genuine, and what does it say?
//!
//! For people who look at a machine. There is a verdict and no result: nothing was said of a
//! connection, a configuration or an image, so nothing can be opened with it.

use protocol::endorsements::Endorsements;
use protocol::tee::TeeKind;

use crate::anchors::TrustAnchors;
use crate::appraise::{self, Terms};
use crate::checks::Checks;
use crate::policy::AppraisalPolicy;
use crate::time::UnixTime;
use crate::verdict::{Inputs, Kind, Verdict};

/// Appraises a SEV-SNP report or a TDX quote: `docs/spec/evidence.md` §6.2 and §6.3.
#[must_use]
pub fn appraise_hardware(
    tee: TeeKind,
    report: &[u8],
    endorsements: &Endorsements,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Verdict {
    let terms = Terms {
        policy,
        anchors,
        at,
    };
    let mut checks = Checks::default();
    appraise::appraise_hardware(tee, report, endorsements, terms, &mut checks);
    let decided = checks.outcome().map(|()| None);
    let inputs = Inputs {
        kind: match tee {
            TeeKind::SevSnp => Kind::SnpReport,
            TeeKind::Tdx => Kind::TdxQuote,
        },
        tee,
        references: None,
    };
    Verdict::of(inputs, terms, checks, decided)
}
