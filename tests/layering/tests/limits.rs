//! The limits that every source keeps. Length of functions and the rest are clippy's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use layering::{
    EMPTY_NAMES, EXPORTS, MAX_COLUMNS, MAX_FILE_LINES, MAX_ROOM_LINES, UNSAFE_ROOMS, production,
    root, sources,
};

fn each(mut check: impl FnMut(&str, &str) -> Vec<String>) {
    let mut refused = Vec::new();
    for path in sources().unwrap() {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        let name = path.to_string_lossy();
        refused.extend(
            check(&name, &text)
                .into_iter()
                .map(|what| format!("{name}: {what}")),
        );
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.starts_with("tests/e2e") || path.starts_with("tests/layering")
}

#[test]
fn every_source_begins_with_its_duty() {
    each(|_, text| {
        let good = text.starts_with("//! ");
        if good {
            vec![]
        } else {
            vec!["does not begin with `//! `".to_owned()]
        }
    });
}

#[test]
fn no_source_outgrows_its_duty() {
    each(|path, text| {
        let lines = production(text).lines().count();
        if is_test(path) || lines <= MAX_FILE_LINES {
            return vec![];
        }
        vec![format!("{lines} lines of production code")]
    });
}

#[test]
fn what_everybody_trusts_can_be_read_in_a_day() {
    for (room, limit) in MAX_ROOM_LINES {
        let mut lines = 0;
        each(|path, text| {
            let tests = path.ends_with("/tests.rs") || is_test(path);
            if path.starts_with(room) && !tests {
                let code = production(text).lines().map(str::trim);
                lines += code
                    .filter(|line| !line.is_empty() && !line.starts_with("//"))
                    .count();
            }
            vec![]
        });
        assert!(
            (1..=*limit).contains(&lines),
            "{room}: {lines} lines of code"
        );
    }
}

#[test]
fn no_line_is_wider_than_the_page() {
    each(|_, text| {
        let wide = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.chars().count() > MAX_COLUMNS);
        wide.map(|(at, _)| format!("line {} is too wide", at + 1))
            .collect()
    });
}

#[test]
fn unsafe_stands_only_where_the_design_puts_it() {
    each(|path, text| {
        let allowed = UNSAFE_ROOMS.iter().any(|room| path.starts_with(room));
        let found = text.lines().enumerate().filter(|(_, line)| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        if allowed || path.starts_with("tests/layering") {
            return vec![];
        }
        found
            .map(|(at, _)| format!("unsafe in line {}", at + 1))
            .collect()
    });
}

#[test]
fn a_name_is_exported_only_where_a_page_looks_for_it() {
    let mut found = Vec::new();
    each(|path, text| {
        let lines = text.lines().filter(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("#[unsafe(")
        });
        let lines = lines.count();
        if lines > 0 && !path.starts_with("tests/layering") {
            found.push((path.to_owned(), lines));
        }
        vec![]
    });
    let expected: Vec<_> = EXPORTS.iter().map(|path| ((*path).to_owned(), 3)).collect();
    assert_eq!(found, expected);
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    each(|path, _| {
        let parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
        let empty = parts.filter(|part| EMPTY_NAMES.contains(part));
        empty.map(|part| format!("`{part}` says nothing")).collect()
    });
}

#[test]
fn nothing_is_left_unfinished() {
    each(|path, text| {
        if path.starts_with("tests/layering") {
            return vec![];
        }
        let marks = ["todo!", "unimplemented!", "FIXME", "XXX", "TODO"];
        let found = marks.iter().filter(|mark| text.contains(**mark));
        found.map(|mark| format!("holds `{mark}`")).collect()
    });
}

#[test]
fn a_source_ends_where_its_tests_begin_and_not_where_a_file_of_tests_is_named() {
    let named = "//! Duty.\nmod a;\n#[cfg(test)]\nmod tests;\n\nfn on() {}\n";
    assert_eq!(production(named), named);
    for tests in [
        "\n#[cfg(test)]\nmod tests;\n",
        "\n#[cfg(test)]\nmod tests {\n}\n",
    ] {
        assert_eq!(
            production(&format!("fn on() {{}}\n{tests}")),
            "fn on() {}\n"
        );
    }
}
