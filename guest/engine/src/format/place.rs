//! The places of a grammar at which an answer stands, and what they stand in.

use super::grammar::NodeId;
use super::text::{Digits, Inside};

/// How far a node is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not begun.
    Before,
    /// Some texts begin like this: those from `low` on, before `high`.
    Literal { low: u16, high: u16, length: u16 },
    /// Within a text or a name, after so many characters.
    Text { inside: Inside, characters: u16 },
    /// Within a number.
    Number(Digits),
    /// After the opening brace or bracket.
    Open,
    /// In an object: after a comma; the next member is this one or a later one.
    Comma { from: u16 },
    /// In the name of a member, this one or a later one.
    Name {
        from: u16,
        low: u16,
        high: u16,
        length: u16,
    },
    /// After a member's name.
    Colon { member: u16 },
    /// After a member's value, or so many items.
    After { count: u16 },
    /// Only the closing brace or bracket is left.
    Closing,
}

/// One place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) progress: Progress,
    /// What it stands in; none for the whole answer.
    pub(super) outer: Option<u32>,
    /// How many it stands in.
    pub(super) depth: u8,
    /// Spaces that may still come.
    pub(super) blank: u8,
}

/// Where an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Within the answer.
    Within(Place),
    /// The answer is complete.
    Complete,
}

/// The places outside those at which an answer stands.
#[derive(Debug, Default)]
pub(super) struct Arena(pub(super) Vec<Place>);

impl Arena {
    pub(super) fn push(&mut self, place: Place) -> Option<u32> {
        let at = u32::try_from(self.0.len()).ok()?;
        self.0.push(place);
        Some(at)
    }

    pub(super) fn get(&self, at: u32) -> Option<Place> {
        self.0.get(usize::try_from(at).ok()?).copied()
    }

    /// A copy of what these places stand in, and of nothing else; they are turned to it.
    pub(super) fn compact(&self, standing: &mut [Standing]) -> Self {
        let mut moved = vec![None; self.0.len()];
        let mut kept = Self::default();
        // What a place stands in was pushed before it: outer ones come first.
        let mut wanted = vec![false; self.0.len()];
        let mark = |wanted: &mut Vec<bool>, outer: Option<u32>| {
            let at = outer.and_then(|at| usize::try_from(at).ok());
            if let Some(slot) = at.and_then(|at| wanted.get_mut(at)) {
                *slot = true;
            }
        };
        for one in standing.iter() {
            if let Standing::Within(place) = one {
                mark(&mut wanted, place.outer);
            }
        }
        for at in (0..self.0.len()).rev() {
            if wanted.get(at) == Some(&true) {
                mark(&mut wanted, self.0.get(at).and_then(|place| place.outer));
            }
        }
        let turn = |moved: &[Option<u32>], outer: Option<u32>| {
            let at = usize::try_from(outer?).ok()?;
            moved.get(at).copied().flatten()
        };
        for (at, place) in self.0.iter().enumerate() {
            if wanted.get(at) == Some(&true) {
                let outer = turn(&moved, place.outer);
                let new = kept.push(Place { outer, ..*place });
                if let Some(slot) = moved.get_mut(at) {
                    *slot = new;
                }
            }
        }
        for one in standing {
            if let Standing::Within(place) = one {
                place.outer = turn(&moved, place.outer);
            }
        }
        kept
    }
}
