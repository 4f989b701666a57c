//! The tokens of a model in the order of their bytes, so that whole ranges are passed over at once.
//!
//! Most tokens are plain: whole characters without quotes, backslashes and control characters.
//! Between two characters of a text any of them may come, so they need not be walked there.

/// A byte on the way to tokens.
pub(super) struct Branch {
    pub(super) byte: u8,
    /// Bytes before it.
    pub(super) depth: u16,
    /// Number of the branch after all that begin like this.
    pub(super) end: u32,
    /// The tokens that end here, as a range of [`Tree::tokens`].
    pub(super) first: u32,
    pub(super) last: u32,
}

/// Tokens by their bytes, each branch followed by those that go on from it.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) branches: Vec<Branch>,
    pub(super) tokens: Vec<u32>,
}

/// The tokens of a model.
pub(crate) struct Vocabulary {
    pub(super) size: usize,
    pub(super) plain: Tree,
    pub(super) other: Tree,
    /// Plain tokens by their number of characters, with that number.
    pub(super) by_length: Vec<(u16, u32)>,
    pub(super) ends: Vec<u32>,
}

/// A set of tokens.
pub(crate) struct Allowed {
    words: Vec<u64>,
    count: usize,
}

impl Allowed {
    pub(super) fn none(size: usize) -> Self {
        Self {
            words: vec![0; size.div_ceil(64)],
            count: 0,
        }
    }

    pub(super) fn insert(&mut self, token: u32) {
        let bit = 1_u64 << (token & 63);
        let at = usize::try_from(token >> 6).unwrap_or(usize::MAX);
        if let Some(word) = self.words.get_mut(at)
            && *word & bit == 0
        {
            *word |= bit;
            self.count = self.count.saturating_add(1);
        }
    }

    /// Whether a token is among them.
    pub(crate) fn holds(&self, token: u32) -> bool {
        let at = usize::try_from(token >> 6).unwrap_or(usize::MAX);
        let word = self.words.get(at).copied().unwrap_or(0);
        word & (1_u64 << (token & 63)) != 0
    }

    /// Whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Vocabulary {
    /// Of the bytes of each token, none for special ones, and the tokens that end an answer.
    pub(crate) fn of<'t>(texts: impl Iterator<Item = &'t [u8]>, ends: &[u32]) -> Self {
        let (mut plain, mut other, mut by_length) = (Vec::new(), Vec::new(), Vec::new());
        let mut size = 0_usize;
        for (token, text) in (0_u32..).zip(texts) {
            size = size.saturating_add(1);
            if text.is_empty() || ends.contains(&token) {
                continue;
            }
            match characters_if_plain(text) {
                Some(characters) => {
                    by_length.push((characters, token));
                    plain.push((text, token));
                }
                None => other.push((text, token)),
            }
        }
        by_length.sort_unstable();
        Self {
            size,
            plain: Tree::of(plain),
            other: Tree::of(other),
            by_length,
            ends: ends.to_vec(),
        }
    }
}

/// How many characters a text has that may stand between quotes as it is.
fn characters_if_plain(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = text.chars().all(|c| c >= ' ' && !matches!(c, '"' | '\\'));
    plain.then(|| u16::try_from(text.chars().count()).unwrap_or(u16::MAX))
}

impl Tree {
    fn of(mut texts: Vec<(&[u8], u32)>) -> Self {
        texts.sort_unstable();
        let mut tree = Self::default();
        // The branches of the text before, outermost first.
        let mut open: Vec<usize> = Vec::new();
        let mut before: &[u8] = &[];
        for (text, token) in texts {
            let common = text.iter().zip(before).take_while(|(a, b)| a == b).count();
            tree.close(&mut open, common);
            for (depth, byte) in text.iter().enumerate().skip(common) {
                open.push(tree.branches.len());
                let at = count(tree.tokens.len());
                tree.branches.push(Branch {
                    byte: *byte,
                    depth: u16::try_from(depth).unwrap_or(u16::MAX),
                    end: 0,
                    first: at,
                    last: at,
                });
            }
            tree.tokens.push(token);
            let last = count(tree.tokens.len());
            if let Some(branch) = tree.branches.last_mut() {
                branch.last = last;
            }
            before = text;
        }
        tree.close(&mut open, 0);
        tree
    }

    /// Ends the branches that the next text does not share.
    fn close(&mut self, open: &mut Vec<usize>, common: usize) {
        let end = count(self.branches.len());
        for at in open.drain(common.min(open.len())..) {
            if let Some(branch) = self.branches.get_mut(at) {
                branch.end = end;
            }
        }
    }

    pub(super) fn tokens_of(&self, branch: &Branch) -> &[u32] {
        let index = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let range = index(branch.first)..index(branch.last);
        self.tokens.get(range).unwrap_or_default()
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
