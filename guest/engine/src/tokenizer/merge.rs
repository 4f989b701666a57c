//! Byte-pair merging with a queue: the best pair first, the leftmost among equals, in
//! `n log n` steps for a word of `n` bytes whatever its text.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use zeroize::Zeroize as _;

/// Merge rules: a pair of tokens to its rank and the token that it makes.
pub(super) struct Merges {
    rules: HashMap<(u32, u32), (u32, u32)>,
}

/// Marks the end of the list of symbols.
const NONE: usize = usize::MAX;

/// A symbol of a word, in a doubly linked list.
#[derive(Clone, Copy)]
struct Symbol {
    token: u32,
    before: usize,
    after: usize,
    alive: bool,
}

impl Merges {
    /// These rules.
    pub(super) const fn of(rules: HashMap<(u32, u32), (u32, u32)>) -> Self {
        Self { rules }
    }

    /// Reads rules of the form `left right`; none when one of them makes no token.
    pub(super) fn read(merges: &[&str], ids: &HashMap<&str, u32>) -> Option<Self> {
        Self::pairs(merges.iter().map(|merge| merge.split_once(' ')), ids)
    }

    /// Rules that join these pairs; none when one of them makes no token.
    pub(super) fn pairs<'a>(
        pairs: impl Iterator<Item = Option<(&'a str, &'a str)>>,
        ids: &HashMap<&str, u32>,
    ) -> Option<Self> {
        let mut rules = HashMap::with_capacity(pairs.size_hint().0);
        let mut joined = String::new();
        for (rank, pair) in (0_u32..).zip(pairs) {
            let (left, right) = pair?;
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let pair = (*ids.get(left)?, *ids.get(right)?);
            let made = *ids.get(joined.as_str())?;
            rules.entry(pair).or_insert((rank, made));
        }
        Some(Self { rules })
    }

    /// Replaces a word's byte tokens by merged ones; returns how many offers it weighed.
    pub(super) fn apply(&self, word: &mut Vec<u32>) -> usize {
        let mut symbols: Vec<Symbol> = word
            .iter()
            .enumerate()
            .map(|(at, token)| Symbol {
                token: *token,
                before: at.checked_sub(1).unwrap_or(NONE),
                after: at.saturating_add(1),
                alive: true,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.after = NONE;
        }
        let mut queue = BinaryHeap::new();
        for at in 0..symbols.len() {
            self.offer(&symbols, at, &mut queue);
        }
        let mut weighed: usize = 0;
        while let Some(Reverse((_, at, made, pair))) = queue.pop() {
            weighed = weighed.saturating_add(1);
            merge(&mut symbols, at, made, pair);
            if symbols
                .get(at)
                .is_some_and(|symbol| symbol.alive && symbol.token == made)
            {
                self.offer(&symbols, at, &mut queue);
                let before = symbols.get(at).map_or(NONE, |symbol| symbol.before);
                self.offer(&symbols, before, &mut queue);
            }
        }
        word.clear();
        word.extend(
            symbols
                .iter()
                .filter(|symbol| symbol.alive)
                .map(|symbol| symbol.token),
        );
        symbols.iter_mut().for_each(|symbol| symbol.token.zeroize());
        weighed
    }

    /// Puts the pair that starts at `at` into the queue, if a rule joins it.
    fn offer(&self, symbols: &[Symbol], at: usize, queue: &mut Queue) {
        let Some(left) = symbols.get(at) else { return };
        let Some(right) = symbols.get(left.after) else {
            return;
        };
        let pair = (left.token, right.token);
        if let Some((rank, made)) = self.rules.get(&pair) {
            queue.push(Reverse((*rank, at, *made, pair)));
        }
    }
}

/// Rank, position, made token, and the pair that it was offered for.
type Queue = BinaryHeap<Reverse<(u32, usize, u32, (u32, u32))>>;

/// Joins the symbol at `at` with the next one, unless they changed since they were offered.
fn merge(symbols: &mut [Symbol], at: usize, made: u32, pair: (u32, u32)) {
    let Some(left) = symbols.get(at).copied() else {
        return;
    };
    let Some(right) = symbols.get(left.after).copied() else {
        return;
    };
    if !left.alive || (left.token, right.token) != pair {
        return;
    }
    if let Some(gone) = symbols.get_mut(left.after) {
        gone.alive = false;
    }
    if let Some(next) = symbols.get_mut(right.after) {
        next.before = at;
    }
    if let Some(left) = symbols.get_mut(at) {
        left.token = made;
        left.after = right.after;
    }
}
