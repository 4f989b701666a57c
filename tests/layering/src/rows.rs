//! Reads the tables of rows that say why something is here: `[[crate]]`, then `name = "text"` or
//! `name = ["text", "text"]`, one member a line. Not here: the rest of TOML, which they do not use.

use std::collections::BTreeMap;
use std::io::{Error, Result};

/// One row: its members' texts. A text alone is a list of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row(BTreeMap<String, Vec<String>>);

impl Row {
    /// The texts of a member; none when the row does not have it.
    #[must_use]
    pub fn list(&self, member: &str) -> &[String] {
        self.0.get(member).map_or(&[], Vec::as_slice)
    }

    /// The text of a member; empty when the row does not have it or it is not one text.
    #[must_use]
    pub fn text(&self, member: &str) -> &str {
        match self.list(member) {
            [text] => text,
            _ => "",
        }
    }
}

/// The rows of a text whose tables are all called `table` and have exactly these members.
///
/// # Errors
/// A line that is none of: empty, comment, `[[table]]`, member; a member that is unknown, missing
/// or there twice.
pub fn rows(text: &str, table: &str, members: &[&str]) -> Result<Vec<Row>> {
    let mut found: Vec<Row> = Vec::new();
    let header = format!("[[{table}]]");
    for line in text.lines() {
        let strange = || Error::other(format!("not a line of `{table}` rows: {line}"));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == header {
            found.push(Row::default());
            continue;
        }
        let (member, value) = line.split_once(" = ").ok_or_else(strange)?;
        let row = found.last_mut().ok_or_else(strange)?;
        let value = texts(value).ok_or_else(strange)?;
        if !members.contains(&member) || row.0.insert(member.to_owned(), value).is_some() {
            return Err(strange());
        }
    }
    let whole = |row: &Row| members.iter().all(|member| row.0.contains_key(*member));
    match found.iter().find(|row| !whole(row)) {
        Some(row) => Err(Error::other(format!("a member is missing: {row:?}"))),
        None => Ok(found),
    }
}

fn texts(value: &str) -> Option<Vec<String>> {
    match value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(list) => list.split(", ").map(quoted).collect(),
        None => quoted(value).map(|text| vec![text]),
    }
}

fn quoted(value: &str) -> Option<String> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains(['"', '\\'])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    const MEMBERS: &[&str] = &["name", "programs"];

    #[test]
    fn rows_give_their_members_in_order() {
        let text = "# why\n\n[[crate]]\nname = \"a\"\nprograms = [\"x\", \"y\"]\n\n[[crate]]\n\
                    name = \"b\"\nprograms = [\"x\"]\n";
        let rows = rows(text, "crate", MEMBERS).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.text("name")).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(rows.first().unwrap().list("programs"), ["x", "y"]);
    }

    #[test]
    fn refuses_what_is_not_a_row() {
        for text in [
            "name = \"a\"",
            "[[crate]]\nname = \"a\"",
            "[[other]]\nname = \"a\"\nprograms = [\"x\"]",
            "[[crate]]\nname = \"a\"\nname = \"b\"\nprograms = [\"x\"]",
            "[[crate]]\nname = \"a\"\nprograms = [\"x\"]\ntrust = \"all\"",
            "[[crate]]\nname = a\nprograms = [\"x\"]",
            "[[crate]]\nname = \"a\"b\"\nprograms = [\"x\"]",
        ] {
            assert!(rows(text, "crate", MEMBERS).is_err(), "{text}");
        }
    }
}
