//! Dates at their very seconds. All hold from their first second on; a certificate to the end of
//! its last second, lists and collateral until theirs, which is no part of them.

use mock_tee::tdx::QuoteVersion;
use protocol::evidence::Evidence;
use verifier::{Outcome, Rejection, UnixTime, Verdict};

use crate::grant;
use crate::world::World;

/// What is too early, what is too late, and how many seconds of its end belong to it.
type Dates = ([Rejection; 2], u64);

const CERTIFICATE: Dates = (
    [
        Rejection::CertificateNotYetValid,
        Rejection::CertificateExpired,
    ],
    1,
);
const LIST: Dates = ([Rejection::CrlNotYetValid, Rejection::CrlExpired], 0);
const TEXT: Dates = (
    [
        Rejection::CollateralNotYetValid,
        Rejection::CollateralExpired,
    ],
    0,
);

fn verdict(world: &World, evidence: &Evidence, at: u64) -> Verdict {
    let at = UnixTime(at);
    let world = World {
        at,
        ..world.clone()
    };
    world.appraise_in_full(evidence).verdict
}

/// How the checks of one thing's dates ended, and the dates.
fn dates(verdict: &Verdict, of: &str, checks: [Rejection; 2]) -> ([Outcome; 2], String) {
    let [early, late] = checks.map(|check| {
        let mut all = verdict.checks().iter();
        let found = all.find(|one| one.check == check && one.of.to_string() == of);
        found.unwrap_or_else(|| panic!("{of} {check:?}"))
    });
    ([early.outcome, late.outcome], early.found.clone())
}

#[test]
fn all_dates_hold_from_their_first_second_to_their_last() {
    const IN_DATE: [Outcome; 2] = [Outcome::Passed; 2];
    let things: [(World, &[(&str, Dates)]); 3] = [
        (
            World::genoa(),
            &[
                ("ark", CERTIFICATE),
                ("ask", CERTIFICATE),
                ("vcek", CERTIFICATE),
                ("revocation-list", LIST),
            ],
        ),
        (
            World::tdx(QuoteVersion::V5),
            &[
                ("pck-chain", CERTIFICATE),
                ("collateral-issuers", CERTIFICATE),
                ("pck-revocation-list", LIST),
                ("root-revocation-list", LIST),
                ("tcb-info", TEXT),
                ("qe-identity", TEXT),
            ],
        ),
        (
            grant::with_board(),
            &[
                ("gpu-chain-0", CERTIFICATE),
                ("switch-chain-2", CERTIFICATE),
                ("manifest-chain-0", CERTIFICATE),
            ],
        ),
    ];
    for (world, rows) in things {
        let evidence = world.evidence();
        let honest = verdict(&world, &evidence, world.at.0);
        for (of, (checks, last)) in rows {
            let (outcomes, span) = dates(&honest, of, *checks);
            assert_eq!(outcomes, IN_DATE, "{of}");
            let (from, until) = span.split_once(" to ").unwrap();
            let [from, until] = [from, until].map(|time| time.parse::<UnixTime>().unwrap().0);
            let outcomes = |at| dates(&verdict(&world, &evidence, at), of, *checks).0;
            let early = [Outcome::Failed, Outcome::NotReached];
            assert_eq!(outcomes(from - 1), early, "{of}");
            assert_eq!(outcomes(from), IN_DATE, "{of}");
            assert_eq!(outcomes(until - 1 + last), IN_DATE, "{of}");
            let late = [Outcome::Passed, Outcome::Failed];
            assert_eq!(outcomes(until + last), late, "{of}");
        }
    }
}
