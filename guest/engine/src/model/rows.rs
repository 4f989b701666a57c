//! What a step works on: its rows, the lanes in which threads do the work of single rows, and the
//! items into which attention is cut.

use zeroize::Zeroize;

use super::cache::KvCache;
use super::experts::Choice;
use super::matrix::Activations;
use super::team::Part;
use crate::kernels::{BlockRoom, ROWS, SPAN, SpanScratch, span_floats};

/// Queries of an item, as far as rows allow: enough to pay for turning f16 into floats.
const ITEM_QUERIES: usize = 12;

/// What a row of an item costs beside its positions, in positions.
const PER_ROW: usize = 16;

/// Names the cache of one sequence, by a number that its backend chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

/// One token of one sequence in a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The sequence.
    pub(crate) slot: Slot,
    /// The token, below the vocabulary's size.
    pub(crate) token: u32,
    /// Its position; all earlier ones are in the cache or before it in the same step.
    pub(crate) position: usize,
}

impl Zeroize for Row {
    fn zeroize(&mut self) {
        self.token.zeroize();
        self.position.zeroize();
    }
}

/// Neighbouring positions of one sequence, which share what is read of its cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) slot: Slot,
    /// Its first row in the step, how many there are, and that row's position.
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) position: usize,
    /// Where a row sees its whole text: how many positions it has.
    whole: Option<usize>,
    /// Spans that its last row reaches into.
    pub(super) spans: usize,
    first_item: usize,
}

/// One key head of a block over one span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) block: Block,
    pub(super) kv_head: usize,
    pub(super) span: usize,
    /// Where its floats start in the results of all items.
    pub(super) start: usize,
}

/// How attention is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) kv_heads: usize,
    /// Query heads that share a key head.
    pub(super) group: usize,
    pub(super) head: usize,
}

/// What a step works on.
#[derive(Default)]
pub(super) struct State {
    pub(super) rows: Vec<Row>,
    blocks: Vec<Block>,
    pub(super) items: Vec<Item>,
    /// Where the items of each part end, so that parts have about as much to do.
    cuts: Vec<usize>,
    /// Hidden states for the head.
    pub(super) head_input: Activations,
    /// Of each lane, its first row among those of the expert at work.
    pub(super) expert_rows: Vec<usize>,
    pub(super) caches: Vec<Option<KvCache>>,
}

/// What the thread of that number knows of its rows.
#[derive(Default)]
pub(super) struct Lane {
    /// Residual stream, row after row.
    pub(super) stream: Vec<f32>,
    /// Input of the next product.
    pub(super) input: Activations,
    /// Rotated queries, row after row; keys and values.
    pub(super) query: Vec<f32>,
    pub(super) key: Vec<f32>,
    pub(super) value: Vec<f32>,
    /// Cosine and sine of each pair of a head, row after row.
    pub(super) angles: Vec<(f32, f32)>,
    /// A row of products, and a normed row.
    pub(super) products: Vec<f32>,
    pub(super) normed: Vec<f32>,
    /// Experts of each row with their weights, their inputs and what they gave.
    pub(super) chosen: Vec<Choice>,
    pub(super) kept: Vec<f32>,
    pub(super) mixed: Vec<f32>,
}

/// What one thread computes for all rows.
#[derive(Default)]
pub(super) struct Share {
    pub(super) out: Vec<f32>,
    pub(super) beside: Vec<f32>,
    pub(super) span: SpanScratch,
    pub(super) room: BlockRoom,
}

/// The rows of a part's lane. Whole groups of what kernels take at once.
pub(super) fn lane_rows(part: Part, rows: usize) -> std::ops::Range<usize> {
    let groups = part.share(rows.div_ceil(ROWS));
    let row = |group: usize| group.saturating_mul(ROWS).min(rows);
    row(groups.start)..row(groups.end)
}

impl State {
    /// Takes the rows of a step and cuts their attention for so many parts; perhaps of whole texts,
    /// each of which is in this step from its first position to its last.
    pub(super) fn take_rows(&mut self, rows: &[Row], cut: &Cut, whole: bool, parts: usize) {
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        self.blocks.clear();
        self.items.clear();
        let most = ITEM_QUERIES.checked_div(cut.group).unwrap_or(1).max(1);
        let (mut at, mut start) = (0_usize, 0_usize);
        while let Some((first, rest)) = rows.get(at..).and_then(<[Row]>::split_first) {
            let follows = |(step, row): &(usize, &Row)| {
                row.slot == first.slot && row.position == first.position.saturating_add(*step)
            };
            let beside = (1..most).zip(rest).take_while(follows).count();
            let last = first.position.saturating_add(beside);
            let own = rest.iter().take_while(|row| row.slot == first.slot);
            let end = own.last().map_or(first.position, |row| row.position);
            let whole = whole.then(|| end.saturating_add(1));
            let block = Block {
                whole,
                slot: first.slot,
                row: at,
                rows: beside.saturating_add(1),
                position: first.position,
                spans: (whole.map_or(last, |_| end) / SPAN).saturating_add(1),
                first_item: self.items.len(),
            };
            self.blocks.push(block);
            for kv_head in 0..cut.kv_heads {
                for span in 0..block.spans {
                    self.items.push(Item {
                        block,
                        kv_head,
                        span,
                        start,
                    });
                    start = start.saturating_add(cut.item_floats(&block));
                }
            }
            at = at.saturating_add(block.rows);
        }
        self.cut_items(parts);
    }

    /// Cuts the items where the work before is that of so many parts.
    fn cut_items(&mut self, parts: usize) {
        self.cuts.clear();
        let all = self
            .items
            .iter()
            .fold(0, |sum: usize, item| sum.saturating_add(item.work()));
        let mut before = 0_usize;
        for (number, item) in self.items.iter().enumerate() {
            let due = all.saturating_mul(self.cuts.len().saturating_add(1));
            if before.saturating_mul(parts) >= due && self.cuts.len().saturating_add(1) < parts {
                self.cuts.push(number);
            }
            before = before.saturating_add(item.work());
        }
        self.cuts.resize(parts, self.items.len());
    }

    /// The items of a part.
    pub(super) fn items_of(&self, part: usize) -> std::ops::Range<usize> {
        let end = |part: Option<usize>| part.and_then(|part| self.cuts.get(part)).copied();
        end(part.checked_sub(1)).unwrap_or(0)..end(Some(part)).unwrap_or(self.items.len())
    }

    /// The block of a row.
    pub(super) fn block_of(&self, row: usize) -> Option<&Block> {
        let after = self.blocks.partition_point(|block| block.row <= row);
        self.blocks.get(after.checked_sub(1)?)
    }

    pub(super) fn wipe(&mut self) {
        self.rows.zeroize();
        self.blocks.clear();
        self.items.clear();
        self.cuts.clear();
        self.head_input.zeroize();
    }
}

impl Cut {
    /// Floats that an item of a block leaves.
    pub(super) const fn item_floats(&self, block: &Block) -> usize {
        let queries = block.rows.saturating_mul(self.group);
        queries.saturating_mul(span_floats(self.head))
    }
}

impl Item {
    /// What it costs beside others: its rows by the positions that the last of them sees.
    const fn work(&self) -> usize {
        let seen = self.block.seen(self.block.rows.saturating_sub(1));
        let seen = seen.saturating_sub(self.span.saturating_mul(SPAN));
        let seen = if seen < SPAN { seen } else { SPAN };
        self.block.rows.saturating_mul(seen.saturating_add(PER_ROW))
    }
}

impl Block {
    /// How many positions a row of it sees.
    pub(super) const fn seen(&self, row: usize) -> usize {
        match self.whole {
            Some(whole) => whole,
            None => self.position.saturating_add(row).saturating_add(1),
        }
    }

    /// Number of the item of a key head and a span.
    pub(super) const fn item(&self, kv_head: usize, span: usize) -> usize {
        let heads = kv_head.saturating_mul(self.spans);
        self.first_item.saturating_add(heads).saturating_add(span)
    }
}

impl Lane {
    pub(super) fn wipe(&mut self) {
        for floats in [
            &mut self.stream,
            &mut self.query,
            &mut self.key,
            &mut self.value,
            &mut self.products,
            &mut self.normed,
            &mut self.kept,
            &mut self.mixed,
        ] {
            floats.zeroize();
        }
        self.input.zeroize();
        self.angles.clear();
        self.chosen.zeroize();
    }
}

impl Share {
    pub(super) fn wipe(&mut self) {
        self.out.zeroize();
        self.beside.zeroize();
        self.span.zeroize();
        self.room.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_belongs_to_one_part_and_parts_have_about_as_much_to_do() {
        let cut = Cut {
            kv_heads: 3,
            group: 3,
            head: 64,
        };
        for (first, count) in [
            (0_usize, 1_usize),
            (0, 128),
            (700, 128),
            (4096, 32),
            (255, 5),
        ] {
            let row = |at: usize| Row {
                slot: Slot(0),
                token: 1,
                position: first + at,
            };
            let rows: Vec<Row> = (0..count).map(row).collect();
            for parts in 1..6 {
                let mut state = State::default();
                state.take_rows(&rows, &cut, false, parts);
                let own: Vec<_> = (0..parts).map(|part| state.items_of(part)).collect();
                assert_eq!((own[0].start, own[parts - 1].end), (0, state.items.len()));
                assert!(own.windows(2).all(|two| two[0].end == two[1].start));
                let work = |items: &std::ops::Range<usize>| {
                    let items = &state.items[items.clone()];
                    items.iter().map(Item::work).sum::<usize>()
                };
                let most = state.items.iter().map(Item::work).max().unwrap();
                let due = work(&(0..state.items.len())) / parts;
                assert!(own.iter().all(|items| work(items) <= due + 2 * most));
            }
        }
    }
}
