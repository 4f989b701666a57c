//! Rows against a kernel: what holds, what is missed, and whether that is good enough.

use crate::kernel::{CommandLine, Configuration};
use crate::list::{Grade, Row, Source, Wish};

/// The least share of the rows of one kind that must hold, in percent.
pub const LEAST_PERCENT: usize = 87;

/// One row that does not say what is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<'list> {
    /// The row.
    pub row: &'list Row,
    /// What the kernel has instead.
    pub found: Option<String>,
}

/// What the kernel is like.
#[derive(Debug, Default)]
pub struct Report<'list> {
    /// Rows that do not hold; these lower the score.
    pub misses: Vec<Finding<'list>>,
    /// Rows that are called missed and hold: the list is out of date.
    pub stale: Vec<Finding<'list>>,
    /// Rows from the recommendations of KSPP: that hold, of how many.
    pub kspp: (usize, usize),
    /// All rows: that hold, of how many.
    pub all: (usize, usize),
}

impl Report<'_> {
    /// Whether nothing that must hold is missed, the list is true, and enough holds.
    #[must_use]
    pub fn passes(&self) -> bool {
        let forgiven = |finding: &Finding<'_>| finding.row.grade != Grade::Must;
        self.misses.iter().all(forgiven)
            && self.stale.is_empty()
            && enough(self.kspp)
            && enough(self.all)
    }
}

fn enough((held, of): (usize, usize)) -> bool {
    of > 0 && held.saturating_mul(100) >= of.saturating_mul(LEAST_PERCENT)
}

/// Holds every row against a kernel.
#[must_use]
pub fn judge<'list>(
    rows: &'list [Row],
    configuration: &Configuration,
    line: &CommandLine<'_>,
) -> Report<'list> {
    let mut report = Report::default();
    for row in rows {
        let found = if row.is_configuration() {
            configuration.value(&row.item)
        } else {
            line.value(&row.item)
        };
        let held = holds(&row.wish, found);
        count(&mut report.all, held);
        if row.source == Source::Kspp {
            count(&mut report.kspp, held);
        }
        let finding = Finding {
            row,
            found: found.map(str::to_owned),
        };
        match (held, row.grade) {
            (true, Grade::Missed) => report.stale.push(finding),
            (true, Grade::Must | Grade::Should) => {}
            (false, Grade::Must | Grade::Should | Grade::Missed) => report.misses.push(finding),
        }
    }
    report
}

fn holds(wish: &Wish, found: Option<&str>) -> bool {
    match wish {
        Wish::Equals(value) => found == Some(value),
        Wish::Holds(word) => found.is_some_and(|list| list.split(',').any(|held| held == word)),
        Wish::Absent => found.is_none(),
    }
}

fn count(pair: &mut (usize, usize), held: bool) {
    pair.0 = pair.0.saturating_add(usize::from(held));
    pair.1 = pair.1.saturating_add(1);
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;
    use crate::list::parse;

    const CONFIGURATION: &str = "CONFIG_A=y\nCONFIG_LSM=\"landlock,lockdown\"\n";
    const LINE: &str = "pti=on nosmt pci=noaer,nocrs";

    fn passes(list: &str) -> bool {
        let rows = parse(list).unwrap();
        let configuration = Configuration::read(CONFIGURATION);
        judge(&rows, &configuration, &CommandLine::new(LINE)).passes()
    }

    #[test]
    fn what_is_asked_for_and_there_passes() {
        assert!(passes(
            "must kspp CONFIG_A =y why\nmust kspp CONFIG_B absent why\n\
             must kspp CONFIG_LSM ~lockdown why\nmust kspp pti =on why\nmust kspp nosmt = why\n\
             must kspp pci ~nocrs why\nmust kspp debug absent why\n"
        ));
    }

    #[test]
    fn one_miss_of_what_must_hold_fails_whatever_the_score() {
        let good: String = (0..100)
            .map(|at| format!("must kspp CONFIG_OFF{at} absent why\n"))
            .collect();
        assert!(passes(&good));
        for miss in [
            "must kspp CONFIG_A absent why\n",
            "must kspp CONFIG_A =m why\n",
            "must kspp CONFIG_NOT_BUILT =y why\n",
            "must kspp CONFIG_LSM ~lock why\n",
            "must host nosmt absent why\n",
            "must host pti =off why\n",
        ] {
            assert!(!passes(&format!("{good}{miss}")), "{miss}");
        }
    }

    #[test]
    fn thirteen_misses_in_a_hundred_pass_and_fourteen_do_not() {
        let list = |misses: usize| {
            (0..100)
                .map(|at| {
                    let wish = if at < misses { "=y" } else { "absent" };
                    format!("should kspp CONFIG_OFF{at} {wish} why\n")
                })
                .collect::<String>()
        };
        assert!(passes(&list(13)));
        assert!(!passes(&list(14)));
    }

    #[test]
    fn a_known_miss_counts_and_one_that_is_none_makes_the_list_untrue() {
        let good: String = (0..9)
            .map(|at| format!("must kspp CONFIG_OFF{at} absent why\n"))
            .collect();
        assert!(passes(&format!("{good}missed kspp CONFIG_B =y why\n")));
        assert!(!passes(&format!("{good}missed kspp CONFIG_A =y why\n")));
        assert!(!passes("missed kspp CONFIG_B =y why\n"));
    }
}
