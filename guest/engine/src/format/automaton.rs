//! Where an answer stands in a grammar, and what one more byte makes of that.
//!
//! A place (`place`) is a node with how far it is written, and the places outside it. Where a
//! grammar leaves several ways open, an answer stands at several places at once, at most
//! [`MAX_PLACES`]. Every place can be brought to its end: what could not be is never entered.

use super::grammar::{Grammar, Literal, MAX_DEPTH, Members, Node, NodeId};
use super::place::{Arena, Place, Progress, Standing};
use super::text::{Digits, Inside, Step};

/// Places at which an answer stands at once.
pub(super) const MAX_PLACES: usize = 32;
/// Spaces and line ends in a row.
const MAX_BLANK: u8 = 32;

/// One step from one place.
pub(super) struct Stepper<'a> {
    pub(super) grammar: &'a Grammar,
    pub(super) arena: &'a mut Arena,
    /// Where it leads.
    pub(super) out: &'a mut Vec<Standing>,
    /// Where this step's own places begin in `out`.
    pub(super) start: usize,
}

impl Grammar {
    /// Before the first byte.
    pub(super) const fn before(&self) -> Place {
        Place {
            node: self.root,
            progress: Progress::Before,
            outer: None,
            depth: 0,
            blank: 0,
        }
    }
}

impl Stepper<'_> {
    /// Adds the places to which a byte leads.
    pub(super) fn step(&mut self, place: Place, byte: u8) {
        if is_blank(byte) && place.blank > 0 {
            self.blank(place);
            return;
        }
        let grammar = self.grammar;
        let Some(node) = grammar.node(place.node) else {
            return;
        };
        match (place.progress, node) {
            (Progress::Before, _) => self.begin(place, node, byte),
            (Progress::Literal { low, high, length }, Node::Literals(texts)) => {
                let found = narrow(low, high, length, byte, |at| texts.get(at).map(|t| &***t));
                self.literal(place, texts, found);
                if is_whole(texts.get(usize::from(low)).map(|t| &***t), length) {
                    self.leave_and_step(place, byte);
                }
            }
            (Progress::Text { inside, characters }, Node::Text { least, most }) => {
                self.text(place, (inside, characters), (*least, *most), byte);
            }
            (Progress::Text { inside, characters }, Node::Map { .. }) => {
                self.text(place, (inside, characters), (0, None), byte);
            }
            (Progress::Number(digits), Node::Number { whole }) => match digits.step(byte, *whole) {
                Some(next) => self.go(place, Progress::Number(next)),
                None if digits.is_number() => self.leave_and_step(place, byte),
                None => {}
            },
            (_, Node::Object(members)) => self.object(place, members, byte),
            (_, Node::Map { value }) => self.map(place, *value, byte),
            (_, Node::List { item, least, most }) => {
                self.list(place, *item, (*least, *most), byte);
            }
            (_, Node::Literals(_) | Node::Text { .. } | Node::Number { .. } | Node::Choice(_)) => {}
        }
    }

    /// Whether an answer may end at a place.
    pub(super) fn may_end(&self, standing: Standing) -> bool {
        let Standing::Within(place) = standing else {
            return true;
        };
        place.outer.is_none()
            && match (place.progress, self.grammar.node(place.node)) {
                (Progress::Number(digits), _) => digits.is_number(),
                (Progress::Literal { low, length, .. }, Some(Node::Literals(texts))) => {
                    is_whole(texts.get(usize::from(low)).map(|t| &***t), length)
                }
                _ => false,
            }
    }

    fn add(&mut self, standing: Standing) {
        let own = self.out.get(self.start..).unwrap_or_default();
        if own.len() < MAX_PLACES && !own.contains(&standing) {
            self.out.push(standing);
        }
    }

    fn go(&mut self, place: Place, progress: Progress) {
        self.add(Standing::Within(Place { progress, ..place }));
    }

    /// The same where spaces may come first.
    fn go_spaced(&mut self, place: Place, progress: Progress) {
        let blank = MAX_BLANK;
        self.add(Standing::Within(Place {
            progress,
            blank,
            ..place
        }));
    }

    fn blank(&mut self, place: Place) {
        let blank = place.blank.saturating_sub(1);
        // Behind a value, spaces come before the closing only, where that may come.
        let mut progress = place.progress;
        if let Progress::After { count } = progress {
            if !self.may_close(place, count) {
                return;
            }
            progress = Progress::Closing;
        }
        self.add(Standing::Within(Place {
            progress,
            blank,
            ..place
        }));
    }

    /// Whether an object or a list may be closed behind its member or item of this number.
    fn may_close(&self, place: Place, count: u16) -> bool {
        match self.grammar.node(place.node) {
            Some(Node::Object(members)) => members.barrier(count).is_none(),
            Some(Node::List { least, .. }) => count >= *least,
            Some(Node::Map { .. }) => true,
            Some(Node::Literals(_) | Node::Text { .. } | Node::Number { .. } | Node::Choice(_))
            | None => false,
        }
    }

    /// The value is written: what it stands in goes on.
    fn leave(&mut self, place: Place) {
        match place.outer.and_then(|outer| self.arena.get(outer)) {
            Some(outer) => self.add(Standing::Within(outer)),
            None => self.add(Standing::Complete),
        }
    }

    /// The value was written before this byte.
    fn leave_and_step(&mut self, place: Place, byte: u8) {
        if let Some(outer) = place.outer.and_then(|outer| self.arena.get(outer)) {
            // What it stands in is an object or a list behind a value: it leaves nothing at once.
            self.step(outer, byte);
        }
    }

    /// Whether a value of this node fits inside the place.
    fn fits(&self, place: Place, inner: NodeId) -> bool {
        let depth = place.depth.saturating_add(1);
        depth.saturating_add(self.grammar.height(inner)) <= MAX_DEPTH
    }

    /// Stands before a value inside the place, which goes on with `then`.
    fn enter(&mut self, place: Place, then: Progress, inner: NodeId) {
        if let Some(before) = self.inside(place, then, inner) {
            self.add(Standing::Within(before));
        }
    }

    fn inside(&mut self, place: Place, then: Progress, inner: NodeId) -> Option<Place> {
        let outer = Place {
            progress: then,
            blank: MAX_BLANK,
            ..place
        };
        Some(Place {
            node: inner,
            progress: Progress::Before,
            outer: Some(self.arena.push(outer)?),
            depth: place.depth.saturating_add(1),
            blank: MAX_BLANK,
        })
    }

    fn begin(&mut self, place: Place, node: &Node, byte: u8) {
        let depth = place.depth.saturating_add(self.grammar.height(place.node));
        if depth > MAX_DEPTH {
            return;
        }
        match node {
            Node::Choice(choices) => {
                for choice in choices {
                    if let Some(node) = self.grammar.node(*choice) {
                        let place = Place {
                            node: *choice,
                            ..place
                        };
                        self.begin(place, node, byte);
                    }
                }
            }
            Node::Literals(texts) => {
                let high = u16::try_from(texts.len()).unwrap_or(u16::MAX);
                let found = narrow(0, high, 0, byte, |at| texts.get(at).map(|t| &***t));
                let place = Place { blank: 0, ..place };
                self.literal(place, texts, found);
            }
            Node::Text { .. } if byte == b'"' => self.go(
                Place { blank: 0, ..place },
                Progress::Text {
                    inside: Inside::Plain,
                    characters: 0,
                },
            ),
            Node::Number { whole } => {
                if let Some(digits) = Digits::START.step(byte, *whole) {
                    let place = Place { blank: 0, ..place };
                    self.go(place, Progress::Number(digits));
                }
            }
            Node::Object(_) | Node::Map { .. } if byte == b'{' => {
                self.go_spaced(place, Progress::Open);
            }
            Node::List { .. } if byte == b'[' => self.go_spaced(place, Progress::Open),
            Node::Text { .. } | Node::Object(_) | Node::Map { .. } | Node::List { .. } => {}
        }
    }

    /// Goes on in the texts that are left, or leaves the only one that is written to its end.
    fn literal(&mut self, place: Place, texts: &[Literal], found: Option<(u16, u16, u16)>) {
        let Some((low, high, length)) = found else {
            return;
        };
        let only = high.saturating_sub(low) == 1;
        if only && is_whole(texts.get(usize::from(low)).map(|t| &***t), length) {
            self.leave(place);
        } else {
            self.go(place, Progress::Literal { low, high, length });
        }
    }

    fn text(
        &mut self,
        place: Place,
        (inside, characters): (Inside, u16),
        (least, most): (u16, Option<u16>),
        byte: u8,
    ) {
        let room = most.is_none_or(|most| characters < most);
        match inside.step(byte) {
            Some(Step::On(Inside::Slash)) if !room => {}
            Some(Step::On(inside)) => self.go(place, Progress::Text { inside, characters }),
            Some(Step::Character(inside)) if room => {
                let characters = characters.saturating_add(1);
                self.go(place, Progress::Text { inside, characters });
            }
            Some(Step::Closed) if characters >= least => match self.grammar.node(place.node) {
                // The name of a member.
                Some(Node::Map { .. }) => self.go(place, Progress::Colon { member: 0 }),
                _ => self.leave(place),
            },
            Some(Step::Character(_) | Step::Closed) | None => {}
        }
    }

    fn map(&mut self, place: Place, value: NodeId, byte: u8) {
        let name = Progress::Text {
            inside: Inside::Plain,
            characters: 0,
        };
        let unspaced = Place { blank: 0, ..place };
        let fits = self.fits(place, value);
        match (place.progress, byte) {
            (Progress::Open, b'"') if fits => self.go(unspaced, name),
            (Progress::Comma { .. }, b'"') => self.go(unspaced, name),
            (Progress::Colon { .. }, b':') => {
                self.enter(place, Progress::After { count: 0 }, value);
            }
            (Progress::After { .. }, b',') if fits => {
                self.go_spaced(place, Progress::Comma { from: 0 });
            }
            (Progress::Open | Progress::After { .. } | Progress::Closing, b'}') => {
                self.leave(place);
            }
            _ => {}
        }
    }

    fn list(&mut self, place: Place, item: NodeId, (least, most): (u16, Option<u16>), byte: u8) {
        if (place.progress, byte) == (Progress::Closing, b']') {
            self.leave(place);
        }
        let opening = place.progress == Progress::Open;
        let count = if let Progress::After { count } = place.progress {
            count
        } else if opening {
            0
        } else {
            return;
        };
        if byte == b']' && count >= least {
            self.leave(place);
        }
        let then = Progress::After {
            count: count.saturating_add(1),
        };
        if !self.fits(place, item) || most.is_some_and(|most| count >= most) {
            return;
        }
        if opening {
            // The first item's own first byte; spaces came before it, if any.
            if let Some(first) = self.inside(place, then, item) {
                self.step(Place { blank: 0, ..first }, byte);
            }
        } else if byte == b',' {
            self.enter(place, then, item);
        }
    }

    fn object(&mut self, place: Place, members: &Members, byte: u8) {
        match (place.progress, byte) {
            (Progress::Open, b'"') => self.begin_name(place, members, 0),
            (Progress::Comma { from }, b'"') => self.begin_name(place, members, from),
            (
                Progress::Name {
                    from,
                    low,
                    high,
                    length,
                },
                _,
            ) => self.name(place, members, (from, low, high, length), byte),
            (Progress::Colon { member }, b':') => {
                if let Some(found) = members.list.get(usize::from(member)) {
                    let count = member.saturating_add(1);
                    self.enter(place, Progress::After { count }, found.value);
                }
            }
            (Progress::After { count: from }, b',') if self.has_member(place, members, from) => {
                self.go_spaced(place, Progress::Comma { from });
            }
            (Progress::Open, b'}') if self.may_close(place, 0) => self.leave(place),
            (Progress::After { count }, b'}') if self.may_close(place, count) => {
                self.leave(place);
            }
            (Progress::Closing, b'}') => self.leave(place),
            _ => {}
        }
    }

    fn begin_name(&mut self, place: Place, members: &Members, from: u16) {
        let high = u16::try_from(members.names.len()).unwrap_or(u16::MAX);
        let place = Place { blank: 0, ..place };
        self.name(place, members, (from, 0, high, 0), b'"');
    }

    /// Whether a member may come next: one from `from` on, up to the first that is required.
    fn may_come(&self, place: Place, members: &Members, turn: (u16, u16), member: u16) -> bool {
        let (from, barrier) = turn;
        let value = members.list.get(usize::from(member));
        (from..=barrier).contains(&member) && value.is_some_and(|one| self.fits(place, one.value))
    }

    fn has_member(&self, place: Place, members: &Members, from: u16) -> bool {
        let last = u16::try_from(members.list.len()).unwrap_or(u16::MAX);
        let turn = (from, members.barrier(from).unwrap_or(u16::MAX));
        (from..last).any(|member| self.may_come(place, members, turn, member))
    }

    /// One more byte of a member's quoted name.
    fn name(
        &mut self,
        place: Place,
        members: &Members,
        (from, low, high, length): (u16, u16, u16, u16),
        byte: u8,
    ) {
        let text = |at: usize| members.names.get(at).map(|(name, _)| &***name);
        let Some((low, high, length)) = narrow(low, high, length, byte, text) else {
            return;
        };
        let range = usize::from(low)..usize::from(high);
        let left = members.names.get(range).unwrap_or_default();
        let turn = (from, members.barrier(from).unwrap_or(u16::MAX));
        let mut open = left
            .iter()
            .filter(|(_, member)| self.may_come(place, members, turn, *member));
        let Some((name, member)) = open.next() else {
            return;
        };
        // No quoted text is the beginning of another.
        if is_whole(Some(name), length) {
            self.go(place, Progress::Colon { member: *member });
        } else {
            self.go(
                place,
                Progress::Name {
                    from,
                    low,
                    high,
                    length,
                },
            );
        }
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t')
}

fn is_whole(text: Option<&[u8]>, length: u16) -> bool {
    text.is_some_and(|text| text.len() == usize::from(length))
}

/// Of sorted texts that are alike in `length` bytes, those that go on with this byte.
fn narrow<'t>(
    low: u16,
    high: u16,
    length: u16,
    byte: u8,
    text: impl Fn(usize) -> Option<&'t [u8]>,
) -> Option<(u16, u16, u16)> {
    let at = |number: u16| text(usize::from(number)).and_then(|t| t.get(usize::from(length)));
    // The one that ends here, if there is one, is the first.
    let first = boundary(low, high, |number| {
        at(number).is_none_or(|found| *found < byte)
    });
    let last = boundary(first, high, |number| at(number) == Some(&byte));
    (first < last).then_some((first, last, length.saturating_add(1)))
}

/// The first number from `low` on for which it does not hold, when it holds for none after that.
fn boundary(mut low: u16, mut high: u16, holds: impl Fn(u16) -> bool) -> u16 {
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    low
}
