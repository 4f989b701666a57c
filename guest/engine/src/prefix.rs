//! What stays of answers that ended: whole pages of keys and values, for later prompts of the same
//! client that begin with the same tokens.
//!
//! A page is found by its client alone, and only by the very tokens that made it: neither results
//! nor look-ups of one client depend on what another wrote. How long a page stays depends on how
//! many others need: of the machine's load a client learns that much from its own counts. Pages are
//! wiped when they are dropped: to make room, or when serve says that the client is gone. What is
//! deliberately not here: who a client is (serve), and what live answers hold (`scheduler`).

use std::cmp::Reverse;

use messages::engine_ipc::ClientKey;
use zeroize::Zeroizing;

use crate::model::PAGE;

/// Pages that may be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quotas {
    /// Of all clients together.
    pub(crate) all: usize,
    /// Of each client.
    pub(crate) each: usize,
}

/// Pages of answers that ended.
pub(crate) struct PrefixCache<P> {
    kept: Vec<Kept<P>>,
    quotas: Quotas,
    /// Counts uses.
    clock: u64,
    next: u64,
}

/// A page, what it holds and what stands before it.
struct Kept<P> {
    client: ClientKey,
    /// Rises from a page to those after it.
    number: u64,
    /// The page before it; none at the start of a prompt.
    before: Option<u64>,
    tokens: Zeroizing<Vec<u32>>,
    page: P,
    /// When it was used last: never before a page that stands after it.
    used: u64,
}

impl<P: Clone> PrefixCache<P> {
    /// Nothing kept yet.
    pub(crate) const fn new(quotas: Quotas) -> Self {
        Self {
            kept: Vec::new(),
            quotas,
            clock: 0,
            next: 0,
        }
    }

    /// The pages with which a prompt of this client begins. At least its last token is left.
    pub(crate) fn find(&mut self, client: ClientKey, prompt: &[u32]) -> Vec<P> {
        self.clock = self.clock.saturating_add(1);
        let computed = prompt.split_last().map_or(prompt, |(_, before)| before);
        let mut pages = Vec::new();
        let mut before = None;
        for tokens in computed.chunks_exact(PAGE) {
            let Some(kept) = self.child(client, before, tokens) else {
                break;
            };
            before = Some(kept.number);
            pages.push(kept.page.clone());
        }
        pages
    }

    /// Keeps full pages of these tokens, as far as the quotas allow: pages that were used longest
    /// ago make room.
    pub(crate) fn keep(&mut self, client: ClientKey, tokens: &[u32], pages: Vec<P>) {
        self.clock = self.clock.saturating_add(1);
        let mut before = None;
        for (tokens, page) in tokens.chunks_exact(PAGE).zip(pages) {
            if let Some(kept) = self.child(client, before, tokens) {
                before = Some(kept.number);
                continue;
            }
            if !self.has_room(client) {
                return;
            }
            let number = self.next;
            self.next = self.next.saturating_add(1);
            self.kept.push(Kept {
                client,
                number,
                before,
                tokens: Zeroizing::new(tokens.to_vec()),
                page,
                used: self.clock,
            });
            before = Some(number);
        }
    }

    /// How many pages are kept.
    pub(crate) const fn pages(&self) -> usize {
        self.kept.len()
    }

    /// Drops pages until there are at most so many.
    pub(crate) fn shrink(&mut self, most: usize) {
        while self.kept.len() > most {
            self.drop_oldest(|_| true);
        }
    }

    /// Drops everything of a client.
    pub(crate) fn forget(&mut self, client: ClientKey) {
        self.kept.retain(|kept| kept.client != client);
    }

    /// The page of these tokens after that one, which is used now.
    fn child(
        &mut self,
        client: ClientKey,
        before: Option<u64>,
        tokens: &[u32],
    ) -> Option<&Kept<P>> {
        let now = self.clock;
        let kept = self.kept.iter_mut().find(|kept| {
            kept.client == client && kept.before == before && kept.tokens.as_slice() == tokens
        })?;
        kept.used = now;
        Some(kept)
    }

    /// Whether another page of a client may be kept; makes room for it.
    fn has_room(&mut self, client: ClientKey) -> bool {
        let now = self.clock;
        let of_client = self.kept.iter().filter(|kept| kept.client == client);
        if of_client.count() >= self.quotas.each
            && !self.drop_oldest(|kept| kept.client == client && kept.used < now)
        {
            return false;
        }
        self.kept.len() < self.quotas.all || self.drop_oldest(|kept| kept.used < now)
    }

    /// Drops the page that was used longest ago, of those that may go. Of pages that were used
    /// together it is the last one, so that none is left without what stands before it.
    fn drop_oldest(&mut self, may_go: impl Fn(&Kept<P>) -> bool) -> bool {
        let pages = self.kept.iter().enumerate();
        let pages = pages.filter(|(_, kept)| may_go(kept));
        let oldest = pages.min_by_key(|(_, kept)| (kept.used, Reverse(kept.number)));
        let Some(at) = oldest.map(|(at, _)| at) else {
            return false;
        };
        drop(self.kept.swap_remove(at));
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use proptest::prelude::*;

    use super::*;
    use crate::model::SharedPage;

    const QUOTAS: Quotas = Quotas { all: 12, each: 5 };

    fn client(number: u8) -> ClientKey {
        ClientKey([number; 16])
    }

    /// As many pages of tokens as letters; pages are alike where letters are.
    fn text(letters: &[u32]) -> Vec<u32> {
        let page = |letter: u32| (0..32).map(move |at| letter * 1000 + at);
        letters.iter().copied().flat_map(page).collect()
    }

    fn pages(count: usize) -> Vec<SharedPage> {
        (0..count).map(|_| SharedPage::marked(7)).collect()
    }

    /// Pages that are found for a prompt of these pages and one token.
    fn found(cache: &mut PrefixCache<SharedPage>, of: u8, letters: &[u32]) -> usize {
        let mut prompt = text(letters);
        prompt.push(9);
        cache.find(client(of), &prompt).len()
    }

    #[test]
    fn a_prompt_finds_the_pages_with_which_it_begins_and_leaves_its_last_token() {
        let mut cache = PrefixCache::new(QUOTAS);
        let kept = pages(3);
        cache.keep(client(1), &text(&[1, 2, 3]), kept.clone());
        let prompt = text(&[1, 2, 3]);
        let found = |cache: &mut PrefixCache<SharedPage>, length| {
            let found = cache.find(client(1), &prompt[..length]);
            assert!(found.iter().zip(&kept).all(|(found, kept)| found.is(kept)));
            found.len()
        };
        for (length, expected) in [(0, 0), (32, 0), (33, 1), (64, 1), (65, 2), (96, 2)] {
            assert_eq!(found(&mut cache, length), expected, "{length} tokens");
        }
        assert_eq!(self::found(&mut cache, 1, &[1, 2, 3]), 3);
        assert_eq!(self::found(&mut cache, 1, &[1, 3, 2]), 1);
        assert_eq!(self::found(&mut cache, 1, &[2, 3]), 0, "not at the start");
    }

    #[test]
    fn nobody_finds_another_clients_pages_and_a_client_that_is_gone_leaves_none() {
        let mut cache = PrefixCache::new(QUOTAS);
        let kept = pages(2);
        cache.keep(client(1), &text(&[1, 2]), kept.clone());
        assert_eq!(found(&mut cache, 2, &[1, 2]), 0);
        cache.keep(client(2), &text(&[1, 2]), pages(2));
        cache.forget(client(1));
        assert_eq!(found(&mut cache, 1, &[1, 2]), 0);
        assert_eq!(found(&mut cache, 2, &[1, 2]), 2);
        assert!(
            kept.iter().all(|page| page.holders() == 1),
            "only the test holds them"
        );
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut cache = PrefixCache::new(QUOTAS);
        for letter in 1..=4 {
            cache.keep(client(1), &text(&[letter]), pages(1));
        }
        assert_eq!(found(&mut cache, 1, &[1]), 1);
        cache.keep(client(1), &text(&[5, 6]), pages(2));
        assert_eq!(
            found(&mut cache, 1, &[2]),
            0,
            "the sixth page took its place"
        );
        for letter in [1, 3, 4, 5] {
            assert_eq!(found(&mut cache, 1, &[letter]), 1, "{letter}");
        }
        // Other clients' pages make room where all together are too many.
        for of in 2..=3 {
            cache.keep(client(of), &text(&[1, 2, 3, 4]), pages(4));
        }
        assert_eq!(cache.kept.len(), 12);
        assert_eq!(found(&mut cache, 3, &[1, 2, 3, 4]), 4);
        cache.shrink(4);
        assert_eq!(found(&mut cache, 3, &[1, 2, 3, 4]), 4);
        assert_eq!(found(&mut cache, 2, &[1]), 0);
    }

    #[test]
    fn of_a_prompt_that_exceeds_the_quota_its_beginning_is_kept() {
        let mut cache = PrefixCache::new(QUOTAS);
        cache.keep(client(1), &text(&[1, 2, 3, 4, 5, 6, 7]), pages(7));
        assert_eq!(found(&mut cache, 1, &[1, 2, 3, 4, 5, 6, 7]), 5);
    }

    /// What happens to a cache.
    #[derive(Debug, Clone)]
    enum Step {
        Keep(u8, Vec<u32>),
        Find(u8, Vec<u32>),
        Shrink(usize),
        Forget(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let letters = || prop::collection::vec(0..3_u32, 0..7);
        prop_oneof![
            8 => (0..4_u8, letters()).prop_map(|(of, letters)| Step::Keep(of, letters)),
            8 => (0..4_u8, letters()).prop_map(|(of, letters)| Step::Find(of, letters)),
            1 => (0..12_usize).prop_map(Step::Shrink),
            1 => (0..4_u8).prop_map(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn quotas_hold_and_only_what_the_client_kept_is_found(
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let mut cache = PrefixCache::new(QUOTAS);
            // Whose pages they are, and the letters up to each of them.
            let mut made: Vec<(u8, Vec<u32>, SharedPage)> = Vec::new();
            for step in steps {
                match step {
                    Step::Keep(of, letters) => {
                        let new = pages(letters.len());
                        for (at, page) in new.iter().enumerate() {
                            made.push((of, letters[..=at].to_vec(), page.clone()));
                        }
                        cache.keep(client(of), &text(&letters), new);
                    }
                    Step::Find(of, letters) => {
                        let mut prompt = text(&letters);
                        prompt.push(9);
                        for (at, page) in cache.find(client(of), &prompt).iter().enumerate() {
                            let (owner, before, _) =
                                made.iter().find(|(_, _, made)| made.is(page)).unwrap();
                            prop_assert_eq!((owner, before.as_slice()), (&of, &letters[..=at]));
                        }
                    }
                    Step::Shrink(most) => cache.shrink(most),
                    Step::Forget(of) => {
                        cache.forget(client(of));
                        let mut others = made.iter().filter(|(owner, _, _)| *owner == of);
                        prop_assert!(others.all(|(_, _, page)| page.holders() == 1));
                    }
                }
                prop_assert!(cache.kept.len() <= QUOTAS.all);
                for of in 0..4 {
                    let of_client = cache.kept.iter().filter(|kept| kept.client == client(of));
                    prop_assert!(of_client.count() <= QUOTAS.each);
                }
                // Nothing stands behind a page that is gone.
                let numbers: Vec<_> = cache.kept.iter().map(|kept| kept.number).collect();
                let mut before = cache.kept.iter().filter_map(|kept| kept.before);
                prop_assert!(before.all(|before| numbers.contains(&before)));
            }
        }
    }
}
