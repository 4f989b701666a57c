//! The committed list: one row per check, six columns and no line that is not understood.

use std::collections::BTreeSet;

use thiserror::Error;

/// How bad a miss is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// A miss fails, whatever the score.
    Must,
    /// A miss lowers the score.
    Should,
    /// Known to be missed, with the reason in the row; lowers the score all the same. A row that
    /// holds must not be called missed.
    Missed,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The recommendations of the Kernel Self Protection Project.
    Kspp,
    /// Fewer ways in: what a guest like this one has no use for.
    Surface,
    /// What the host supplies and the guest must not take.
    Host,
}

/// What a row asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Exactly this value; for a parameter without a value, the empty one.
    Equals(String),
    /// One of the words between commas.
    Holds(String),
    /// Not set, or not there at all.
    Absent,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where in the list, for messages.
    pub line: usize,
    /// How bad a miss is.
    pub grade: Grade,
    /// Where it comes from.
    pub source: Source,
    /// `CONFIG_…`, or a parameter of the command line.
    pub item: String,
    /// What is asked for.
    pub wish: Wish,
    /// Why, in a sentence.
    pub reason: String,
}

impl Row {
    /// Whether the row is about the configuration, not about the command line.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.item.starts_with("CONFIG_")
    }
}

/// Why a list is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ListError {
    /// A line has another shape.
    #[error("line {line}: not `grade source item wish reason`")]
    Columns {
        /// Which line.
        line: usize,
    },
    /// A column holds a word that it does not know.
    #[error("line {line}: unknown word `{word}`")]
    Word {
        /// Which line.
        line: usize,
        /// The word.
        word: String,
    },
    /// The same thing is asked for twice.
    #[error("line {line}: `{item}` is asked for before")]
    Twice {
        /// Which line.
        line: usize,
        /// What is asked for.
        item: String,
    },
    /// There is no row at all.
    #[error("the list is empty")]
    Empty,
    /// An exception from what no `must` row asks for.
    #[error("exceptions, line {line}: no `must` row asks for `{item}`")]
    NoSuchRow {
        /// Which line.
        line: usize,
        /// What is excepted.
        item: String,
    },
}

/// Reads the list: `grade source item wish reason…`; empty lines and those with `#` say nothing.
///
/// # Errors
/// On the first line that is not understood.
pub fn parse(text: &str) -> Result<Vec<Row>, ListError> {
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        let row = parse_row(line, text)?;
        if !seen.insert((row.item.clone(), format!("{:?}", row.wish))) {
            return Err(ListError::Twice {
                line,
                item: row.item,
            });
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(ListError::Empty);
    }
    Ok(rows)
}

/// Calls rows missed that a flavour cannot hold: `item reason…`, one `must` row each. A row that
/// holds all the same is then stale like any other.
///
/// # Errors
/// On the first line that is not understood or excepts from nothing.
pub fn except(rows: &mut [Row], exceptions: &str) -> Result<(), ListError> {
    for (line, text) in (1..).zip(exceptions.lines()) {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        let (item, reason) = text
            .split_once(char::is_whitespace)
            .ok_or(ListError::Columns { line })?;
        let mut of_item = rows.iter_mut().filter(|row| row.item == item);
        let row = of_item.find(|row| row.grade == Grade::Must);
        let item = item.to_owned();
        let row = row.ok_or(ListError::NoSuchRow { line, item })?;
        row.grade = Grade::Missed;
        row.reason = reason.trim().to_owned();
    }
    Ok(())
}

fn parse_row(line: usize, text: &str) -> Result<Row, ListError> {
    let mut words = text.split_ascii_whitespace();
    let mut word = || words.next().ok_or(ListError::Columns { line });
    let (grade, source, item, wish) = (word()?, word()?, word()?, word()?);
    let reason = words.collect::<Vec<_>>().join(" ");
    if reason.is_empty() {
        return Err(ListError::Columns { line });
    }
    let unknown = |word: &str| ListError::Word {
        line,
        word: word.to_owned(),
    };
    Ok(Row {
        line,
        grade: match grade {
            "must" => Grade::Must,
            "should" => Grade::Should,
            "missed" => Grade::Missed,
            other => return Err(unknown(other)),
        },
        source: match source {
            "kspp" => Source::Kspp,
            "surface" => Source::Surface,
            "host" => Source::Host,
            other => return Err(unknown(other)),
        },
        item: item.to_owned(),
        wish: parse_wish(wish).ok_or_else(|| unknown(wish))?,
        reason,
    })
}

fn parse_wish(word: &str) -> Option<Wish> {
    if word == "absent" {
        return Some(Wish::Absent);
    }
    let value = |rest: &str| rest.to_owned();
    word.strip_prefix('=')
        .map(|rest| Wish::Equals(value(rest)))
        .or_else(|| {
            let held = word.strip_prefix('~').filter(|rest| !rest.is_empty());
            held.map(|rest| Wish::Holds(value(rest)))
        })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    #[test]
    fn a_row_has_five_columns_and_the_reason_is_a_sentence() {
        let rows = parse("# said before\n\nmust host CONFIG_LSM ~lockdown it is named\n").unwrap();
        assert_eq!(rows[0].line, 3);
        assert_eq!(rows[0].grade, Grade::Must);
        assert_eq!(rows[0].source, Source::Host);
        assert_eq!(rows[0].wish, Wish::Holds("lockdown".to_owned()));
        assert_eq!(rows[0].reason, "it is named");
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused() {
        let refused = |text: &str| parse(text).unwrap_err();
        assert_eq!(
            refused("must kspp CONFIG_A =y"),
            ListError::Columns { line: 1 }
        );
        assert_eq!(refused("must kspp"), ListError::Columns { line: 1 });
        for (text, word) in [
            ("perhaps kspp CONFIG_A =y why", "perhaps"),
            ("must hearsay CONFIG_A =y why", "hearsay"),
            ("must kspp CONFIG_A y why", "y"),
            ("must kspp CONFIG_A ~ why", "~"),
        ] {
            let word = word.to_owned();
            assert_eq!(refused(text), ListError::Word { line: 1, word });
        }
        assert_eq!(refused("# nothing"), ListError::Empty);
    }

    #[test]
    fn an_exception_calls_one_must_row_missed_and_says_why() {
        let text = "must kspp CONFIG_A =y why\nshould kspp CONFIG_B =y because\n";
        let mut rows = parse(text).unwrap();
        except(
            &mut rows,
            "# said before\n\nCONFIG_A  the driver needs it so\n",
        )
        .unwrap();
        assert_eq!(rows[0].grade, Grade::Missed);
        assert_eq!(rows[0].reason, "the driver needs it so");
        assert_eq!(rows[1].grade, Grade::Should);
        for (line, item) in [("CONFIG_A twice", "CONFIG_A"), ("CONFIG_B why", "CONFIG_B")] {
            let item = item.to_owned();
            let refused = ListError::NoSuchRow { line: 1, item };
            assert_eq!(except(&mut rows, line), Err(refused));
        }
        assert_eq!(
            except(&mut rows, "CONFIG_A"),
            Err(ListError::Columns { line: 1 })
        );
    }

    #[test]
    fn the_same_wish_twice_is_refused_and_two_words_of_one_list_are_not() {
        let twice = "must kspp CONFIG_A =y why\nshould kspp CONFIG_A =y because\n";
        let item = "CONFIG_A".to_owned();
        assert_eq!(parse(twice), Err(ListError::Twice { line: 2, item }));
        let words = "must kspp CONFIG_LSM ~yama why\nmust kspp CONFIG_LSM ~landlock why\n";
        assert_eq!(parse(words).unwrap().len(), 2);
    }
}
