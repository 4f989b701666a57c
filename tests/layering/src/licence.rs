//! Whether a licence expression leaves us a choice that we may take. Not here: which crates are
//! asked (`tests/dependencies.rs`), and advice: a licence that is not listed is refused, then read.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Licences under which code of others may be in a program that is shipped.
pub const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "MPL-2.0",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
];

/// Crates whose expression [`acceptable`] refuses and that are in a shipped program all the same,
/// with the reason. None today.
pub const EXCEPTIONS: &[(&str, &str)] = &[];

/// Whether an SPDX expression, or the old form `MIT/Apache-2.0`, can be met with [`LICENCES`].
/// An expression that is empty or malformed cannot.
#[must_use]
pub fn acceptable(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.into_iter().peekable();
    any(&mut words) == Some(true) && words.next().is_none()
}

type Words<'a> = Peekable<IntoIter<&'a str>>;

fn any(words: &mut Words<'_>) -> Option<bool> {
    let mut good = all(words)?;
    while words.next_if_eq(&"OR").is_some() {
        good |= all(words)?;
    }
    Some(good)
}

fn all(words: &mut Words<'_>) -> Option<bool> {
    let mut good = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        good &= one(words)?;
    }
    Some(good)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    match words.next()? {
        "(" => {
            let good = any(words)?;
            words.next_if_eq(&")").map(|_| good)
        }
        ")" | "AND" | "OR" | "WITH" => None,
        licence if words.next_if_eq(&"WITH").is_some() => {
            let whole = format!("{licence} WITH {}", words.next()?);
            Some(LICENCES.contains(&whole.as_str()))
        }
        licence => Some(LICENCES.contains(&licence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_an_expression_that_leaves_a_listed_choice() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "GPL-3.0-only OR MIT",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
            "ISC AND (Apache-2.0 OR ISC) AND MIT AND (Apache-2.0 OR ISC OR MIT-0)",
        ] {
            assert!(acceptable(expression), "{expression}");
        }
    }

    #[test]
    fn refuses_an_expression_that_asks_for_more_or_cannot_be_read() {
        for expression in [
            "",
            "LGPL-3.0",
            "AGPL-3.0-only OR GPL-3.0-only",
            "MIT AND GPL-2.0-only",
            "MIT OR Apache-2.0 AND",
            "(MIT",
            "MIT)",
            "MIT Apache-2.0",
            "GPL-2.0 WITH LLVM-exception",
            "OR",
        ] {
            assert!(!acceptable(expression), "{expression}");
        }
    }
}
