//! A rendered template, cut at its placeholders, and what stands in their places.

use std::borrow::Cow;

use super::ChatRefused;
use crate::tokenizer::Piece;

const OPEN: char = '\u{10f8f0}';
const CLOSE: char = '\u{10f8f1}';
const TRIMMED: char = '\u{10f8f2}';
const IN_JSON: char = '\u{10f8f3}';
/// What no template may contain.
pub(super) const RESERVED: [char; 4] = [OPEN, CLOSE, TRIMMED, IN_JSON];
/// Texts in their places, in bytes: a template may show some of them more than once.
const MAX_SHOWN: usize = 4 << 20;

/// How often a text must be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    AtMostOnce,
    AtLeastOnce,
    Any,
}

/// The texts that a template shows without seeing them.
#[derive(Default)]
pub(super) struct Hidden<'a>(Vec<(Cow<'a, str>, Times)>);

impl<'a> Hidden<'a> {
    /// The placeholder of one more text.
    pub(super) fn add(&mut self, text: impl Into<Cow<'a, str>>, times: Times) -> String {
        let number = self.0.len();
        self.0.push((text.into(), times));
        format!("{OPEN}{number}{CLOSE}")
    }

    pub(super) fn cut(&self, rendered: &str) -> Result<Skeleton, ChatRefused> {
        let mut parts = Vec::new();
        let mut shown = vec![0_usize; self.0.len()];
        let mut room = MAX_SHOWN;
        let mut rest = rendered;
        while let Some((before, from)) = rest.split_once(OPEN) {
            let (inner, after) = from.split_once(CLOSE).ok_or(ChatRefused)?;
            let (inner, in_json) = without(inner, IN_JSON);
            let (digits, trimmed) = without(inner, TRIMMED);
            let number: usize = digits.parse().map_err(|_| ChatRefused)?;
            let (text, _) = self.0.get(number).ok_or(ChatRefused)?;
            if let Some(times) = shown.get_mut(number) {
                *times = times.saturating_add(1);
            }
            let text = if trimmed { text.trim() } else { text };
            let text = if in_json {
                escaped(text)?
            } else {
                text.to_owned()
            };
            room = room.checked_sub(text.len()).ok_or(ChatRefused)?;
            parts.push(Part::Skeleton(before.into()));
            parts.push(Part::Content(text));
            rest = after;
        }
        let clean = !rest.contains(RESERVED);
        parts.push(Part::Skeleton(rest.into()));
        let as_wanted = shown.iter().zip(&self.0).all(|(shown, (_, times))| {
            matches!(
                (times, shown),
                (Times::Once, 1)
                    | (Times::AtMostOnce, 0 | 1)
                    | (Times::AtLeastOnce, 1..)
                    | (Times::Any, _)
            )
        });
        (clean && as_wanted)
            .then_some(Skeleton { parts })
            .ok_or(ChatRefused)
    }
}

fn without(text: &str, mark: char) -> (&str, bool) {
    text.strip_suffix(mark)
        .map_or((text, false), |rest| (rest, true))
}

/// As it stands between the quotes of a JSON text.
fn escaped(text: &str) -> Result<String, ChatRefused> {
    let quoted = serde_json::to_string(text).map_err(|_| ChatRefused)?;
    let inner = quoted.strip_prefix('"');
    let inner = inner.and_then(|inner| inner.strip_suffix('"'));
    inner.map(str::to_owned).ok_or(ChatRefused)
}

/// A chat as its template writes it.
pub(crate) struct Skeleton {
    parts: Vec<Part>,
}

enum Part {
    Skeleton(String),
    Content(String),
}

impl Skeleton {
    /// Goes on with a text of ours, in which special tokens are recognised.
    pub(crate) fn push(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Skeleton(last)) => last.push_str(text),
            Some(Part::Content(_)) | None => self.parts.push(Part::Skeleton(text.into())),
        }
    }

    /// For the tokenizer.
    pub(crate) fn pieces(&self) -> Vec<Piece<'_>> {
        let pieces = self.parts.iter().map(|part| match part {
            Part::Skeleton(text) => Piece::Skeleton(text),
            Part::Content(text) => Piece::Content(text),
        });
        pieces.collect()
    }

    /// All of it as one text.
    pub(super) fn text(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Skeleton(text) | Part::Content(text) => text.as_str(),
        });
        texts.collect()
    }
}

pub(super) fn is_placeholder(text: &str) -> bool {
    text.starts_with(OPEN) && text.ends_with(CLOSE)
}

/// Trims a text; marks a placeholder instead.
pub(super) fn trim(text: &str) -> String {
    match text.strip_suffix(CLOSE) {
        Some(inner) if text.starts_with(OPEN) && !inner.ends_with(TRIMMED) => {
            format!("{inner}{TRIMMED}{CLOSE}")
        }
        Some(_) | None => text.trim().to_owned(),
    }
}

/// Marks the placeholders of a JSON document: what stands there is written as JSON. A document
/// within a document is marked twice, and refused.
pub(super) fn in_json(document: &str) -> String {
    document.replace(CLOSE, &format!("{IN_JSON}{CLOSE}"))
}
