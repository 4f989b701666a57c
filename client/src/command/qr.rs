//! A link as a QR code in the terminal.
//!
//! Two rows of modules in a line of half blocks, dark on light by colours of the terminal, so that
//! it can be scanned on a dark terminal too. Not here: what the link says.

use core::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code, without which scanners do not find it.
const QUIET: i32 = 2;
/// Black on bright white, and back.
const DARK_ON_LIGHT: &str = "\u{1b}[30;107m";
const AS_BEFORE: &str = "\u{1b}[0m";

/// The lines to print; none when the text is longer than a code holds.
pub(super) fn lines(text: &str) -> Option<Vec<String>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let end = code.size().saturating_add(QUIET);
    let rows = (-QUIET..end).step_by(2);
    Some(rows.map(|row| line(&code, row, end)).collect())
}

fn line(code: &QrCode, row: i32, end: i32) -> String {
    let mut line = String::from(DARK_ON_LIGHT);
    for column in -QUIET..end {
        // Outside the code every module is light.
        let upper = code.get_module(column, row);
        let lower = code.get_module(column, row.saturating_add(1));
        line.push(match (upper, lower) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
    }
    // Writing to a string does not fail.
    let _written = write!(line, "{AS_BEFORE}");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the modules back from what is printed.
    fn modules(lines: &[String]) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in lines {
            let line = line.strip_prefix(DARK_ON_LIGHT).unwrap();
            let line = line.strip_suffix(AS_BEFORE).unwrap();
            rows.push(line.chars().map(|c| matches!(c, '█' | '▀')).collect());
            rows.push(line.chars().map(|c| matches!(c, '█' | '▄')).collect());
        }
        rows
    }

    #[test]
    fn what_is_printed_is_the_code_with_a_light_border() {
        let text = "tc://?v=2&id=00&r=%7B%7D&ret=none";
        let code = QrCode::encode_text(text, QrCodeEcc::Low).unwrap();
        let rows = modules(&lines(text).unwrap());
        let size = usize::try_from(code.size()).unwrap();
        assert!(rows.len() >= size + 4);
        for (y, row) in rows.iter().enumerate() {
            assert_eq!(row.len(), size + 4);
            for (x, dark) in row.iter().enumerate() {
                let at = |value: usize| i32::try_from(value).unwrap() - QUIET;
                assert_eq!(*dark, code.get_module(at(x), at(y)), "{x} {y}");
            }
        }
    }

    #[test]
    fn a_text_beyond_every_code_has_none() {
        assert!(lines(&"x".repeat(3_000)).is_none());
    }
}
