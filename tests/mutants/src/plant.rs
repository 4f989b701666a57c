//! Writes faults into a copy of the sources, all at once: each stands behind a question whether its
//! number is the one that was chosen for this run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::operators::{self, Fault, Form};

/// What is mutated: folders and files under the root.
const ROOMS: &[&str] = &[
    "verifier/src/snp",
    "verifier/src/tdx",
    "verifier/src/nvidia",
    "verifier/src/policy",
    "verifier/src/grant.rs",
    "verifier/src/event_log.rs",
    "verifier/src/secp384r1",
    "verifier/src/pss.rs",
    "verifier/src/appraise.rs",
    "verifier/src/checks.rs",
    "verifier/src/result.rs",
    "verifier/src/verdict.rs",
    "verifier/src/devices.rs",
    "verifier/src/certificate.rs",
    "verifier/src/crl.rs",
];
const ASKED: &str = "crate::planted::on";
const SWITCH: &str = include_str!("switch.txt");

/// A fault that was planted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planted {
    pub(crate) number: usize,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) function: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Bytes of the planted source that stand instead.
    text: Range<usize>,
    /// Bytes of the planted source that have to do with it.
    wrap: Range<usize>,
}

/// Plants every fault whose number is not in the list `dropped`, and lists them in `out`.
pub(crate) fn plant(from: &Path, to: &Path, dropped: &Path, out: &Path) -> anyhow::Result<()> {
    let dropped = read_numbers(dropped)?;
    let (mut all, mut next) = (Vec::new(), 0_usize);
    for file in files(from)? {
        let source = fs::read_to_string(from.join(&file))?;
        let faults = operators::faults(&source).with_context(|| file.clone())?;
        let numbered = (next..).zip(faults).collect::<Vec<_>>();
        next = next.saturating_add(numbered.len());
        let wanted = numbered
            .into_iter()
            .filter(|(number, _)| !dropped.contains(number));
        let (text, planted) = planted_source(&source, &file, &wanted.collect::<Vec<_>>());
        fs::write(to.join(&file), text)?;
        all.extend(planted);
    }
    let (switch, library) = ("verifier/src/planted.rs", "verifier/src/lib.rs");
    fs::write(
        to.join(switch),
        SWITCH.replace("NUMBERS", &next.to_string()),
    )?;
    let text = fs::read_to_string(from.join(library))?;
    fs::write(to.join(library), format!("{text}\nmod planted;\n"))?;
    fs::write(out, serde_json::to_string(&all)?)?;
    Ok(())
}

/// Adds to the list `dropped` every fault that the compiler refused.
pub(crate) fn drop_refused(list: &Path, messages: &Path, dropped: &Path) -> anyhow::Result<()> {
    let planted = read(list)?;
    let mut numbers = read_numbers(dropped)?;
    let before = numbers.len();
    for line in fs::read_to_string(messages)?.lines() {
        let Ok(found) = serde_json::from_str::<Line>(line) else {
            continue;
        };
        let Some(message) = found.message.filter(|message| message.level == "error") else {
            continue;
        };
        numbers.extend(refused(&planted, &message));
    }
    anyhow::ensure!(
        numbers.len() > before,
        "the compiler complains about something else"
    );
    fs::write(dropped, serde_json::to_string(&numbers)?)?;
    Ok(())
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    spans: Vec<MessageSpan>,
}

#[derive(Deserialize)]
struct MessageSpan {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
}

/// Those whose own text the message is about; else all of the innermost place around it; else all
/// that lie within what it is about.
fn refused(planted: &[Planted], message: &Message) -> Vec<usize> {
    let within = |span: &MessageSpan, fault: &Planted, range: &Range<usize>| {
        fault.file == span.file_name && range.contains(&span.byte_start)
    };
    let own = planted.iter().filter(|fault| {
        let mut spans = message.spans.iter();
        spans.any(|span| within(span, fault, &fault.text))
    });
    let own: Vec<_> = own.map(|fault| fault.number).collect();
    if !own.is_empty() {
        return own;
    }
    let primary = message.spans.iter().find(|span| span.is_primary);
    let around = planted
        .iter()
        .filter(|fault| primary.is_some_and(|span| within(span, fault, &fault.wrap)));
    let innermost = around.clone().map(|fault| fault.wrap.len()).min();
    let of_it = around.filter(|fault| Some(fault.wrap.len()) == innermost);
    let of_it: Vec<_> = of_it.map(|fault| fault.number).collect();
    if !of_it.is_empty() {
        return of_it;
    }
    // Or the other way round: what the message is about has faults within.
    let inside = planted.iter().filter(|fault| {
        primary.is_some_and(|span| {
            fault.file == span.file_name
                && (span.byte_start..span.byte_end).contains(&fault.text.start)
        })
    });
    inside.map(|fault| fault.number).collect()
}

pub(crate) fn read(list: &Path) -> anyhow::Result<Vec<Planted>> {
    Ok(serde_json::from_str(&fs::read_to_string(list)?)?)
}

fn read_numbers(list: &Path) -> anyhow::Result<BTreeSet<usize>> {
    match fs::read_to_string(list) {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}

/// The sources of the mutated rooms, relative to the root, in order; none of tests.
fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for room in ROOMS {
        let path = root.join(room);
        if path.is_file() {
            found.push((*room).to_owned());
            continue;
        }
        for entry in fs::read_dir(&path).with_context(|| (*room).to_owned())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rs") && name != "tests.rs" {
                found.push(format!("{room}/{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// One text to be put in at one place; at one place those of a lower rank come first.
struct Insertion {
    at: usize,
    rank: (u8, usize),
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    /// Instead of what stands there, by this fault.
    Instead(usize, String),
}

/// The planted source, and what was planted with its places in it.
fn planted_source(source: &str, file: &str, faults: &[(usize, Fault)]) -> (String, Vec<Planted>) {
    let mut groups = BTreeMap::<_, Vec<&(usize, Fault)>>::new();
    for fault in faults {
        let range = &fault.1.range;
        let form = match fault.1.form {
            Form::Expression => 0,
            Form::Statement => 1,
            Form::Entry => 2,
            Form::Arm => 3,
        };
        let group = groups.entry((range.start, range.end, form)).or_default();
        group.push(fault);
    }
    let mut insertions: Vec<Insertion> = Vec::new();
    for ((start, end, _), group) in &groups {
        insertions.extend(insertions_of(*start, *end, group));
    }
    insertions.sort_by_key(|insertion| (insertion.at, insertion.rank));
    let (mut text, mut copied) = (String::new(), 0);
    let mut places: BTreeMap<usize, Range<usize>> = BTreeMap::new();
    for insertion in insertions {
        text.push_str(source.get(copied..insertion.at).unwrap_or_default());
        copied = insertion.at;
        for piece in insertion.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(&piece),
                Piece::Instead(number, piece) => {
                    let from = text.len();
                    text.push_str(&piece);
                    places.insert(number, from..text.len());
                }
            }
        }
    }
    text.push_str(source.get(copied..).unwrap_or_default());
    let planted = faults.iter().map(|(number, fault)| {
        let place = places.get(number).cloned().unwrap_or_default();
        Planted {
            number: *number,
            file: file.to_owned(),
            line: fault.line,
            column: fault.column,
            function: fault.function.clone(),
            from: fault.from.clone(),
            to: fault.to.clone(),
            wrap: place.start..place.end.saturating_add(fault.range.len()),
            text: place,
        }
    });
    let planted = planted.collect();
    (text, planted)
}

fn insertions_of(start: usize, end: usize, group: &[&(usize, Fault)]) -> Vec<Insertion> {
    let form = group.first().map(|fault| &fault.1.form);
    let mut pieces = Vec::new();
    let mut choose = |open: &str| {
        let mut before = open.to_owned();
        for (number, fault) in group.iter().copied() {
            pieces.push(Piece::Text(format!("{before}if {ASKED}({number}) {{ ")));
            pieces.push(Piece::Instead(*number, fault.to.clone()));
            pieces.push(Piece::Text(" }".to_owned()));
            before = " else ".to_owned();
        }
    };
    let longest = usize::MAX;
    // At one place: what closes, the inner first; what stands alone; what opens, the outer first.
    let closing = |text: &str| Insertion {
        at: end,
        rank: (0, longest.saturating_sub(start)),
        pieces: vec![Piece::Text(text.to_owned())],
    };
    let opening = (2, longest.saturating_sub(end));
    match form {
        None => Vec::new(),
        Some(Form::Expression) => {
            choose("(");
            pieces.push(Piece::Text(" else { ".to_owned()));
            let opens = Insertion {
                at: start,
                rank: opening,
                pieces,
            };
            vec![opens, closing(" })")]
        }
        Some(Form::Statement) => {
            choose("");
            pieces.push(Piece::Text(" else { ".to_owned()));
            let opens = Insertion {
                at: start,
                rank: opening,
                pieces,
            };
            vec![opens, closing(" }")]
        }
        Some(Form::Entry) => {
            choose(" ");
            vec![Insertion {
                at: end,
                rank: (1, 0),
                pieces,
            }]
        }
        Some(Form::Arm) => {
            for (number, _) in group.iter().copied() {
                let text = format!(" if !{ASKED}({number})");
                pieces.push(Piece::Instead(*number, text));
            }
            vec![Insertion {
                at: end,
                rank: (1, 0),
                pieces,
            }]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(source: &str) -> (String, Vec<Planted>) {
        let faults = operators::faults(source).unwrap();
        let numbered: Vec<_> = (0..).zip(faults).collect();
        planted_source(source, "any.rs", &numbered)
    }

    #[test]
    fn every_fault_stands_where_its_place_says_and_the_whole_still_parses() {
        let source = "fn f(a: u8, b: Option<u8>) -> Result<(), E> {
            check(a)?;
            if a < 4 && b.is_some() { go(!(a == 1)); }
            match a { 1 => one(), _ => other() }
        }
        #[cfg(test)]
        mod tests { fn not_here() { assert!(1 < 2); } }";
        let (text, all) = planted(source);
        syn::parse_file(&text).unwrap();
        for fault in &all {
            let there = text.get(fault.text.clone()).unwrap();
            assert!(there == fault.to || fault.to == "no such arm", "{there}");
        }
        let to: Vec<_> = all.iter().map(|fault| fault.to.as_str()).collect();
        for wanted in [
            "return Ok(());",
            "let _ = check(a);",
            "(a) <= (4)",
            "(a) >= (4)",
            "(a < 4) || (b.is_some())",
            "!(b.is_some())",
            "(a) != (1)",
            "5",
            "no such arm",
        ] {
            assert!(to.contains(&wanted), "{wanted}: {to:?}");
        }
        assert!(all.iter().all(|fault| fault.line < 6));
    }

    #[test]
    fn without_a_chosen_number_a_planted_source_is_the_original() {
        let source = "fn f(a: u8) -> bool { !(a < 3 || a == 7) }";
        let (text, all) = planted(source);
        let mut rest = text;
        for fault in all.iter().rev() {
            let question = format!("{ASKED}({})", fault.number);
            assert_eq!(rest.matches(&question).count(), 1, "{question}");
            rest = rest.replace(&question, "false");
        }
        assert!(!rest.contains(ASKED));
    }

    #[test]
    fn what_the_compiler_says_of_a_text_drops_its_fault_alone() {
        let (_, all) = planted("fn f(a: u8) -> bool { a < 3 }");
        let fault = all.iter().find(|fault| fault.to == "(a) >= (3)").unwrap();
        let message = Message {
            level: "error".to_owned(),
            spans: vec![MessageSpan {
                file_name: "any.rs".to_owned(),
                byte_start: fault.text.start,
                byte_end: fault.text.end,
                is_primary: true,
            }],
        };
        assert_eq!(refused(&all, &message), [fault.number]);
    }
}
