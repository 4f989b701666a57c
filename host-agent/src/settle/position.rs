//! One payment channel of the journal beside what the chain shows, and what the journal must be
//! told for it: a claim that was taken back, one that nobody saw arrive, jettons that bounced and
//! came later, with a payment of another epoch.
//!
//! Pure. Deliberately not here: what is sent (`claim`), whether it is worth it (`due`).

use std::collections::BTreeMap;

use contracts::asset::Asset;
use protocol::nano::Nano;
use protocol::ton::TonAddress;

use super::Prospect;
use crate::journal::{ClaimRecord, ClaimState};

/// One payment channel of the journal beside what the chain shows.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The channel.
    pub channel: TonAddress,
    /// Its epoch.
    pub epoch: u32,
    /// What it pays in; nothing when the chain shows no channel.
    pub asset: Option<Asset>,
    /// The highest voucher's total.
    pub promised: Nano,
    /// What the chain shows as paid in this epoch; nothing when the epoch is over.
    pub claimed: Option<Nano>,
    /// What bounced on its way here, of this epoch or another, and is owed since.
    pub due: Nano,
    /// What can be done.
    pub prospect: Prospect,
}

impl Position {
    /// The last claim that the journal holds for paid and that the chain no longer shows, so that
    /// the books can take it back. Nothing is known of an epoch that is over.
    #[must_use]
    pub fn taken_back(&self, last: Option<&ClaimRecord>) -> Option<ClaimRecord> {
        let claimed = self.claimed?;
        let last = last.filter(|last| last.state == ClaimState::Shown)?;
        (last.cumulative > claimed).then_some(*last)
    }

    /// The last claim that the journal does not hold for paid although the chain shows its total
    /// and owes nothing: the program ended before it saw that, or the chain took its time.
    #[must_use]
    pub fn caught_up(&self, last: Option<&ClaimRecord>) -> Option<ClaimRecord> {
        let claimed = self.claimed.filter(|_| self.due == Nano::ZERO)?;
        let last = last.filter(|last| last.state != ClaimState::Shown)?;
        (last.cumulative <= claimed).then_some(*last)
    }

    /// Of claims in the order in which they were recorded: the last one whose jettons are among
    /// what is due. One that the chain does not count never arrived, and nothing of it bounced.
    #[must_use]
    pub fn bounced(&self, claims: &[ClaimRecord]) -> Option<ClaimRecord> {
        let own = |claim: &&ClaimRecord| (claim.channel, claim.epoch) == (self.channel, self.epoch);
        let own = claims.iter().rev().filter(own);
        let before = own.clone().find(|claim| claim.state == ClaimState::Shown);
        let before = before.map_or(Nano::ZERO, |paid| paid.cumulative);
        own.take_while(|claim| claim.state != ClaimState::Shown)
            .find(|claim| match self.claimed {
                Some(claimed) => claim.cumulative <= claimed,
                // An epoch that is over tells no total: only the sum itself does.
                None => {
                    claim.state == ClaimState::Missing
                        || before.plus(self.due) == Ok(claim.cumulative)
                }
            })
            .copied()
    }
}

/// What the books hold as paid of one epoch of a channel, by the steps of its claims.
pub(super) fn paid(claims: &[ClaimRecord], channel: &TonAddress, epoch: u32) -> Nano {
    let own = |claim: &&ClaimRecord| (claim.channel, claim.epoch) == (*channel, epoch);
    let mut standing = Vec::new();
    for claim in claims.iter().filter(own) {
        match claim.state {
            ClaimState::Sent => {}
            ClaimState::Shown => standing.push(claim.cumulative),
            ClaimState::Missing => standing.retain(|total| *total < claim.cumulative),
        }
    }
    standing.into_iter().max().unwrap_or(Nano::ZERO)
}

/// Claims of a channel's other epochs whose jettons came along with a payment of `epoch`: so much
/// was due for other epochs than that, and nothing is due since. What each of them lacks in the
/// books must make up the sum, all together or one alone; else nothing is guessed.
pub(super) fn brought_along(
    claims: &[ClaimRecord],
    (channel, epoch): (&TonAddress, u32),
    due: Nano,
) -> Vec<ClaimRecord> {
    let mut open: BTreeMap<u32, Vec<(ClaimRecord, Nano)>> = BTreeMap::new();
    for claim in claims {
        if claim.channel != *channel || claim.epoch == epoch || claim.state == ClaimState::Shown {
            continue;
        }
        let paid = paid(claims, channel, claim.epoch);
        let lacks = claim.cumulative.minus(paid).unwrap_or(Nano::ZERO);
        if lacks > Nano::ZERO {
            open.entry(claim.epoch).or_default().push((*claim, lacks));
        }
    }
    let last: Vec<_> = open.values().filter_map(|of_one| of_one.last()).collect();
    let all = last
        .iter()
        .try_fold(Nano::ZERO, |sum, (_, lacks)| sum.plus(*lacks));
    if due > Nano::ZERO && all == Ok(due) {
        return last.into_iter().map(|(claim, _)| *claim).collect();
    }
    let alone = |of_one: &Vec<(ClaimRecord, Nano)>| {
        let mut fitting = of_one.iter().rev().filter(|(_, lacks)| *lacks == due);
        fitting.next().map(|(claim, _)| *claim)
    };
    let alone: Vec<_> = open.values().filter_map(alone).collect();
    if alone.len() == 1 { alone } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixSeconds;
    use crate::samples::{CHANNEL, EPOCH, PAYEE};
    use protocol::digest::ReceiptsRoot;

    use ClaimState::{Missing, Sent, Shown};

    fn claim(total: u64, state: ClaimState) -> ClaimRecord {
        ClaimRecord {
            channel: CHANNEL,
            epoch: EPOCH,
            cumulative: Nano::from_u64(total),
            receipts_root: ReceiptsRoot::ZERO,
            state,
            at: UnixSeconds(1),
            fees: None,
            asset: Asset::Jetton(PAYEE),
        }
    }

    fn position(claimed: Option<u64>, due: u64) -> Position {
        Position {
            channel: CHANNEL,
            epoch: EPOCH,
            asset: Some(Asset::Jetton(PAYEE)),
            promised: Nano::from_u64(1_000),
            claimed: claimed.map(Nano::from_u64),
            due: Nano::from_u64(due),
            prospect: Prospect::Paid,
        }
    }

    #[test]
    fn a_claim_that_arrived_while_nobody_looked_is_found_and_one_that_did_not_is_not() {
        let found = |claimed, due, state| {
            let last = claim(700, state);
            position(claimed, due).caught_up(Some(&last)).is_some()
        };
        for state in [Sent, Missing] {
            assert!(found(Some(700), 0, state));
            assert!(found(Some(900), 0, state));
            assert!(!found(Some(699), 0, state), "the chain shows less");
            assert!(!found(Some(700), 1, state), "it bounced");
            assert!(!found(None, 0, state), "the epoch is over");
        }
        assert!(!found(Some(700), 0, Shown), "it is in the books");
        assert_eq!(position(Some(700), 0).caught_up(None), None);
    }

    #[test]
    fn what_a_reorganisation_took_back_is_told_and_nothing_else() {
        let lost = |claimed, state| {
            let last = claim(700, state);
            position(claimed, 0).taken_back(Some(&last)).is_some()
        };
        assert!(lost(Some(699), Shown));
        assert!(!lost(Some(700), Shown));
        assert!(!lost(Some(699), Sent) && !lost(Some(699), Missing));
        assert!(
            !lost(None, Shown),
            "nothing is known of an epoch that is over"
        );
    }

    #[test]
    fn what_bounced_is_of_the_claim_that_the_chain_counts() {
        let bounced = |claimed, due, steps: &[(u64, ClaimState)]| {
            let steps = steps.iter().map(|(total, state)| claim(*total, *state));
            let claims: Vec<_> = steps.collect();
            let found = position(claimed, due).bounced(&claims);
            found.map(|claim| claim.cumulative.units())
        };
        // The program ended after it had sent, or saw the payout bounce.
        let paid = (200, Shown);
        assert_eq!(bounced(Some(500), 300, &[paid, (500, Sent)]), Some(500));
        let seen = [paid, (500, Sent), (500, Missing)];
        assert_eq!(bounced(Some(500), 300, &seen), Some(500));
        // Another claim came after it, and never arrived: nothing says that it was paid.
        for state in [Sent, Missing] {
            let steps = [paid, (500, Missing), (700, state)];
            assert_eq!(bounced(Some(500), 300, &steps), Some(500));
        }
        // What was paid since is not sent for again.
        assert_eq!(
            bounced(Some(500), 300, &[(500, Missing), (500, Shown)]),
            None
        );
        assert_eq!(bounced(Some(500), 300, &[]), None);
        // Of an epoch that is over: what was seen to bounce, or adds up.
        assert_eq!(bounced(None, 300, &[paid, (500, Missing)]), Some(500));
        assert_eq!(bounced(None, 300, &[paid, (500, Sent)]), Some(500));
        assert_eq!(bounced(None, 299, &[paid, (500, Sent)]), None);
        let mut elsewhere = claim(500, Missing);
        elsewhere.epoch += 1;
        assert_eq!(position(Some(500), 300).bounced(&[elsewhere]), None);
    }

    #[test]
    fn what_is_paid_is_what_the_chain_showed_and_did_not_take_back() {
        let paid = |steps: &[(u64, ClaimState)]| {
            let steps = steps.iter().map(|(total, state)| claim(*total, *state));
            super::paid(&steps.collect::<Vec<_>>(), &CHANNEL, EPOCH).units()
        };
        assert_eq!(paid(&[]), 0);
        assert_eq!(paid(&[(100, Shown), (250, Sent)]), 100);
        assert_eq!(paid(&[(100, Shown), (250, Shown), (250, Missing)]), 100);
        let again = [(250, Shown), (250, Missing), (250, Shown)];
        assert_eq!(paid(&again), 250);
        let steps = [claim(100, Shown)];
        assert_eq!(super::paid(&steps, &CHANNEL, EPOCH + 1), Nano::ZERO);
        assert_eq!(super::paid(&steps, &PAYEE, EPOCH), Nano::ZERO);
    }

    #[test]
    fn what_came_along_is_of_the_epochs_whose_gaps_make_up_the_sum() {
        let came = |due: u64, steps: &[(u32, u64, ClaimState)]| -> Vec<(u32, u128)> {
            let steps = steps.iter().map(|(epoch, total, state)| ClaimRecord {
                epoch: *epoch,
                ..claim(*total, *state)
            });
            let steps: Vec<_> = steps.collect();
            let found = brought_along(&steps, (&CHANNEL, 9), Nano::from_u64(due));
            let found = found
                .iter()
                .map(|claim| (claim.epoch, claim.cumulative.units()));
            found.collect()
        };
        let one = [(7, 200, Shown), (7, 500, Missing), (9, 40, Sent)];
        assert_eq!(came(300, &one), [(7, 500)]);
        for other in [299, 301, 500] {
            assert_eq!(came(other, &one), [], "{other} is not what it lacks");
        }
        // Another claim followed, and never arrived.
        let later = [(7, 200, Shown), (7, 500, Missing), (7, 700, Sent)];
        assert_eq!(came(300, &later), [(7, 500)]);
        // Of two epochs that lack something: both, or the one whose part it is.
        let two = [(7, 300, Missing), (8, 20, Sent)];
        assert_eq!(came(320, &two), [(7, 300), (8, 20)]);
        assert_eq!(came(300, &two), [(7, 300)]);
        // Two that lack as much: which of them it was nobody knows.
        assert_eq!(came(300, &[(7, 300, Missing), (8, 300, Missing)]), []);
        // In the books already, or the payment's own epoch.
        assert_eq!(came(300, &[(7, 300, Missing), (7, 300, Shown)]), []);
        assert_eq!(came(300, &[(9, 300, Missing)]), []);
    }
}
