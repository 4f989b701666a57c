//! One answer on its way through a grammar: which tokens may come, and that one came.

use super::automaton::Stepper;
use super::grammar::{Grammar, Node};
use super::place::{Arena, Place, Progress, Standing};
use super::text::Inside;
use super::vocabulary::{Allowed, Tree, Vocabulary};

/// A token that the grammar does not allow here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAllowed;

/// One answer's grammar and where it stands.
pub(crate) struct Follower {
    grammar: Grammar,
    arena: Arena,
    standing: Vec<Standing>,
}

impl Follower {
    /// At the beginning of an answer.
    pub(crate) fn new(grammar: Grammar) -> Self {
        let standing = vec![Standing::Within(grammar.before())];
        Self {
            grammar,
            arena: Arena::default(),
            standing,
        }
    }

    /// Takes what was written. The end of an answer is no text and changes nothing.
    ///
    /// # Errors
    /// `NotAllowed`; the answer must not go on.
    pub(crate) fn take(&mut self, text: &[u8]) -> Result<(), NotAllowed> {
        let mut next = Vec::new();
        for byte in text {
            self.step(*byte, &mut next);
            std::mem::swap(&mut self.standing, &mut next);
            next.clear();
        }
        self.arena = self.arena.compact(&mut self.standing);
        if self.standing.is_empty() {
            return Err(NotAllowed);
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, out: &mut Vec<Standing>) {
        let mut stepper = Stepper {
            grammar: &self.grammar,
            arena: &mut self.arena,
            out,
            start: 0,
        };
        for standing in &self.standing {
            if let Standing::Within(place) = standing {
                stepper.step(*place, byte);
            }
        }
    }

    /// Whether the answer is whole.
    #[cfg(test)]
    pub(crate) fn may_end(&mut self) -> bool {
        let standing = self.standing.clone();
        let stepper = Stepper {
            grammar: &self.grammar,
            arena: &mut self.arena,
            out: &mut Vec::new(),
            start: 0,
        };
        standing.iter().any(|one| stepper.may_end(*one))
    }

    /// The tokens that may come next, those that end the answer among them where it is whole.
    pub(crate) fn allowed(&mut self, vocabulary: &Vocabulary) -> Allowed {
        let mut allowed = Allowed::none(vocabulary.size);
        let (mut room, mut others) = (None, Vec::new());
        for standing in &self.standing {
            if let Standing::Within(place) = standing
                && Self::is_between_characters(*place)
            {
                room = room.max(Some(self.room(*place)));
            } else {
                others.push(*standing);
            }
        }
        if let Some(room) = room {
            // Where the room has no limit, the longest token has place.
            let fitting = vocabulary.by_length.iter();
            let fitting = fitting.take_while(|(characters, _)| *characters <= room);
            fitting.for_each(|(_, token)| allowed.insert(*token));
        }
        let all = self.standing.clone();
        let mut walk = Walk {
            grammar: &self.grammar,
            arena: &mut self.arena,
            allowed: &mut allowed,
        };
        walk.walk(&vocabulary.other, &all);
        walk.walk(&vocabulary.plain, &others);
        let stepper = Stepper {
            grammar: &self.grammar,
            arena: &mut self.arena,
            out: &mut Vec::new(),
            start: 0,
        };
        if all.iter().any(|one| stepper.may_end(*one)) {
            vocabulary.ends.iter().for_each(|end| allowed.insert(*end));
        }
        allowed
    }

    /// Whether any plain token may come that there is room for.
    fn is_between_characters(place: Place) -> bool {
        matches!(
            place.progress,
            Progress::Text {
                inside: Inside::Plain,
                ..
            }
        )
    }

    fn room(&self, place: Place) -> u16 {
        match (place.progress, self.grammar.node(place.node)) {
            (
                Progress::Text { characters, .. },
                Some(Node::Text {
                    most: Some(most), ..
                }),
            ) => most.saturating_sub(characters),
            _ => u16::MAX,
        }
    }
}

/// Through the tokens of a tree.
struct Walk<'a> {
    grammar: &'a Grammar,
    arena: &'a mut Arena,
    allowed: &'a mut Allowed,
}

impl Walk<'_> {
    fn walk(&mut self, tree: &Tree, from: &[Standing]) {
        // The places of each depth behind one another, with where they and the arena ended before.
        let mut places = from.to_vec();
        let mut levels = vec![(0_usize, self.arena.0.len())];
        let mut at = 0_usize;
        while let Some(branch) = tree.branches.get(at) {
            let depth = usize::from(branch.depth);
            while levels.len() > depth.saturating_add(1) {
                let (start, arena) = levels.pop().unwrap_or_default();
                places.truncate(start);
                self.arena.0.truncate(arena);
            }
            let (start, _) = levels.last().copied().unwrap_or_default();
            let (end, arena) = (places.len(), self.arena.0.len());
            for number in start..end {
                if let Some(Standing::Within(place)) = places.get(number).copied() {
                    let mut stepper = Stepper {
                        grammar: self.grammar,
                        arena: &mut *self.arena,
                        out: &mut places,
                        start: end,
                    };
                    stepper.step(place, branch.byte);
                }
            }
            if places.len() > end {
                for token in tree.tokens_of(branch) {
                    self.allowed.insert(*token);
                }
                levels.push((end, arena));
                at = at.saturating_add(1);
            } else {
                self.arena.0.truncate(arena);
                at = usize::try_from(branch.end).unwrap_or(usize::MAX);
            }
        }
        let (_, arena) = levels.first().copied().unwrap_or_default();
        self.arena.0.truncate(arena);
    }
}
