//! Steps on a GPU for the engine's scheduler: pages and tables of sequences, and tokens that are
//! chosen on the device.
//!
//! A step is one copy in, one launch and one copy out, all of one size. A step is launched before
//! the one in front is collected, so that the device never waits for the host; two are in flight
//! at most. What is deliberately not here: which answer gets which row, and text.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use engine::backend::{Backend, BackendFailed, Fed, Given, PAGE, Pace, Row, Slot, Wanted};
use engine_cuda::decoder::{COLLECTED, DEPTH, Decoder, LAUNCHED, STEP};
use engine_cuda::device::{Counters, Device, DeviceError};
use engine_cuda::shape::MAX_ROWS;
use engine_cuda::step::{self, Choice, Chosen, SHIFTS, Shifts, Source};
use messages::engine_ipc::{Form, MAX_BIASES, Start, StepFigures, TokenBias};

use crate::pages::{Page, Pool};

/// Prompt rows of a step, alone and beside answers. What is left of a step's rows is for pages that
/// a sequence begins with, one a row.
const PACE: Pace = Pace {
    alone: 128,
    beside: 64,
};

/// A position at which nothing is computed: a row that only tells of a page.
const NOWHERE: u32 = u32::MAX;

// Every answer's shifts have room in one step.
const _: () = assert!(MAX_BIASES <= SHIFTS);

/// A model on a device, with its sequences.
#[derive(Debug)]
pub struct GpuBackend<D> {
    decoder: Decoder<D>,
    pool: Pool,
    sequences: Vec<Option<Sequence>>,
    /// Steps that were launched and not collected, each with the rows that asked for a token.
    flying: VecDeque<Vec<Asked>>,
    /// Whether a step failed where nobody could be told: no other is launched.
    failed: bool,
}

#[derive(Debug, Default)]
struct Sequence {
    pages: Vec<Page>,
    /// How many of them the device knows of.
    told: usize,
    /// Tokens whose logits are shifted, with thousandths.
    shifts: Vec<(u32, i32)>,
    /// Whether the device knows of these.
    shifts_told: bool,
    broken: Broken,
}

/// Whether a number was not finite: what such a sequence computed is kept for nobody. Its rows in
/// flight hold it too, since the sequence may be closed before they are collected.
type Broken = Rc<Cell<bool>>;

/// What a row left: a token that the device chose, once its step is collected.
#[derive(Debug, Clone, Default)]
pub struct Left(Rc<Cell<Option<Chosen>>>);

/// A row in flight that asked for a token.
#[derive(Debug)]
struct Asked {
    row: usize,
    position: usize,
    broken: Broken,
    left: Left,
}

impl From<DeviceError> for Failed {
    fn from(_: DeviceError) -> Self {
        Self
    }
}

/// As `BackendFailed`, which is not ours to convert to.
struct Failed;

impl From<Failed> for BackendFailed {
    fn from(_: Failed) -> Self {
        Self
    }
}

impl<D: Device> GpuBackend<D> {
    /// With no sequence yet.
    #[must_use]
    pub fn new(decoder: Decoder<D>) -> Self {
        let limits = decoder.layout().limits;
        Self {
            pool: Pool::new(limits.pages),
            sequences: std::iter::repeat_with(|| None)
                .take(usize::try_from(limits.slots).unwrap_or(0))
                .collect(),
            flying: VecDeque::with_capacity(DEPTH),
            failed: false,
            decoder,
        }
    }

    /// What happened on the device so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.decoder.counters()
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        self.decoder.device()
    }

    fn sequence(&mut self, slot: Slot) -> Result<&mut Sequence, Failed> {
        let sequence = self.sequences.get_mut(slot.0).and_then(Option::as_mut);
        sequence.ok_or(Failed)
    }

    /// Gives a sequence pages up to a position.
    fn reach(&mut self, slot: Slot, position: usize) -> Result<(), Failed> {
        let wanted = position / PAGE;
        while self.sequence(slot)?.pages.len() <= wanted {
            let page = self.pool.take().ok_or(Failed)?;
            self.sequence(slot)?.pages.push(page);
        }
        Ok(())
    }

    /// The next page of a sequence that the device does not know of: its place and number.
    fn untold(&mut self, slot: Slot) -> Result<Option<(u32, u32)>, Failed> {
        let sequence = self.sequence(slot)?;
        let Some(page) = sequence.pages.get(sequence.told) else {
            return Ok(None);
        };
        let place = u32::try_from(sequence.told).map_err(|_| Failed)?;
        let told = (place, page.number());
        sequence.told = sequence.told.saturating_add(1);
        Ok(Some(told))
    }

    /// Launches a step, behind one at most. Whoever watches the bus must learn nothing from it: a
    /// step that crossed otherwise than every other is the last one.
    fn launch(
        &mut self,
        rows: &[step::Row],
        wipes: &[u32],
        shifts: Option<Slot>,
        asked: Vec<Asked>,
    ) -> Result<(), Failed> {
        if self.failed {
            return Err(Failed);
        }
        while self.flying.len() >= DEPTH {
            self.collect()?;
        }
        let before = self.decoder.counters();
        let of = shifts.and_then(|slot| self.sequences.get(slot.0)?.as_ref());
        let shifts = match (shifts, of) {
            (Some(slot), Some(sequence)) => Some(Shifts {
                slot: u32::try_from(slot.0).map_err(|_| Failed)?,
                of: &sequence.shifts,
            }),
            (Some(_), None) | (None, _) => None,
        };
        self.decoder.launch(rows, wipes, shifts)?;
        self.flying.push_back(asked);
        match self.decoder.counters().since(before) == LAUNCHED {
            true => Ok(()),
            false => Err(Failed),
        }
    }

    /// Waits for the oldest step in flight, and tells its rows what was chosen.
    fn collect(&mut self) -> Result<(), Failed> {
        let asked = self.flying.pop_front().ok_or(Failed)?;
        let before = self.decoder.counters();
        let chosen = self.decoder.collect()?;
        if self.decoder.counters().since(before) != COLLECTED {
            return Err(Failed);
        }
        for asked in asked {
            let chosen = chosen.get(asked.row).copied().ok_or(Failed)?;
            if chosen == Chosen::Broken {
                asked.broken.set(true);
            }
            asked.left.0.set(Some(chosen));
        }
        Ok(())
    }

    fn collect_all(&mut self) -> Result<(), Failed> {
        while !self.flying.is_empty() {
            self.collect()?;
        }
        Ok(())
    }

    fn compute(&mut self, rows: &[Row], wanted: &[Wanted]) -> Result<Vec<Left>, Failed> {
        // What is wiped in a step may be taken in it.
        let mut wipes = self.pool.wiped_next();
        let mut computed = Vec::with_capacity(rows.len());
        for row in rows {
            self.reach(row.slot, row.position)?;
            computed.push(step::Row {
                slot: u32::try_from(row.slot.0).map_err(|_| Failed)?,
                source: match row.token {
                    Fed::Known(token) => Source::Fed {
                        token,
                        position: u32::try_from(row.position).map_err(|_| Failed)?,
                    },
                    Fed::Chosen => Source::Chosen,
                },
                choice: None,
                page: self.untold(row.slot)?,
            });
        }
        let asked = self.asked(rows, wanted, &mut computed)?;
        let mut pages = Vec::new();
        for (at, row) in (0..).zip(rows) {
            while let Some(page) = self.untold(row.slot)? {
                pages.push(step::Row {
                    slot: computed.get(at).ok_or(Failed)?.slot,
                    source: Source::Fed {
                        token: 0,
                        position: NOWHERE,
                    },
                    choice: None,
                    page: Some(page),
                });
            }
        }
        let most = usize::try_from(MAX_ROWS).map_err(|_| Failed)?;
        let beside = most.saturating_sub(computed.len());
        let before = pages.split_off(beside.min(pages.len()));
        let mut shifts = self.shifts_to_tell(rows, wanted)?;
        let last = shifts.pop();
        let mut before = before.chunks(most);
        let mut shifts = shifts.into_iter();
        // Two answers whose shifts must be known in one step, or many kept pages: steps before it.
        loop {
            let (rows, slot) = (before.next(), shifts.next());
            if rows.is_none() && slot.is_none() {
                break;
            }
            self.launch(rows.unwrap_or_default(), &wipes, slot, Vec::new())?;
            wipes.clear();
        }
        computed.extend(pages);
        let left = asked.iter().map(|asked| asked.left.clone()).collect();
        self.launch(&computed, &wipes, last, asked)?;
        Ok(left)
    }

    /// Has a token chosen after each wanted row.
    fn asked(
        &mut self,
        rows: &[Row],
        wanted: &[Wanted],
        computed: &mut [step::Row],
    ) -> Result<Vec<Asked>, Failed> {
        let mut asked = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let row = computed.get_mut(wanted.row).ok_or(Failed)?;
            let of = rows.get(wanted.row).ok_or(Failed)?;
            let sequence = self.sequence(of.slot)?;
            row.choice = Some(Choice {
                shifted: !sequence.shifts.is_empty(),
                ..choice(wanted)
            });
            asked.push(Asked {
                row: wanted.row,
                position: of.position,
                broken: Rc::clone(&sequence.broken),
                left: Left::default(),
            });
        }
        Ok(asked)
    }

    /// The sequences whose shifts the device must know of in a step, one for each step in front and
    /// the last for itself: those of whose answers a token is chosen; else one that has a row.
    fn shifts_to_tell(&mut self, rows: &[Row], wanted: &[Wanted]) -> Result<Vec<Slot>, Failed> {
        let chosen = wanted.iter().filter_map(|wanted| rows.get(wanted.row));
        let chosen: Vec<_> = chosen.map(|row| row.slot).collect();
        let mut told = Vec::new();
        let all = chosen.into_iter().chain(rows.iter().map(|row| row.slot));
        for (at, slot) in all.enumerate() {
            let must = at < wanted.len();
            let sequence = self.sequence(slot)?;
            if !sequence.shifts_told && (must || told.is_empty()) {
                sequence.shifts_told = true;
                told.push(slot);
            }
        }
        Ok(told)
    }

    /// What a row left; waits for its step.
    fn read(&mut self, left: &Left) -> Result<Given, Failed> {
        loop {
            match left.0.get() {
                Some(Chosen::Token(token)) => return Ok(Given::Token(token)),
                Some(Chosen::Broken | Chosen::Nothing) => return Ok(Given::Broken),
                None => self.collect()?,
            }
        }
    }

    /// Whether rows of a sequence before a position were not collected.
    fn is_unread(&self, sequence: &Sequence, before: usize) -> bool {
        let mut asked = self.flying.iter().flatten();
        asked.any(|asked| Rc::ptr_eq(&asked.broken, &sequence.broken) && asked.position < before)
    }
}

/// How the device chooses: the greatest logit, or a draw as the engine on processors draws.
fn choice(wanted: &Wanted) -> Choice {
    let sampling = wanted.sampling;
    let milli = |milli| u16::try_from(milli).unwrap_or(u16::MAX);
    let signed = |milli: i32| i16::try_from(milli).unwrap_or(0);
    Choice {
        sharpness: match milli(sampling.temperature_milli) {
            0 => 0.0,
            temperature => 1000.0 / f32::from(temperature),
        },
        drawn: wanted.drawn,
        top_k: sampling.top_k,
        top_p_milli: milli(sampling.top_p_milli),
        min_p_milli: milli(sampling.min_p_milli),
        presence_milli: signed(sampling.presence_milli),
        frequency_milli: signed(sampling.frequency_milli),
        first: wanted.place == 0,
        shifted: false,
    }
}

impl<D: Device> Backend for GpuBackend<D> {
    type Page = Page;
    type State = Left;

    fn figures(&self) -> Option<StepFigures> {
        let figure = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Some(StepFigures {
            crossings: figure(STEP.crossings),
            bytes: figure(STEP.bytes),
            allocations: figure(STEP.allocations),
            launches: figure(STEP.launches),
        })
    }

    fn ahead(&self) -> u64 {
        1
    }

    fn pace(&self) -> Pace {
        PACE
    }

    fn rows_at(&self, _: usize) -> usize {
        PACE.alone
    }

    fn most_pages(&self) -> usize {
        usize::try_from(self.decoder.layout().limits.pages).unwrap_or(0)
    }

    fn unsupported(&self, start: &Start) -> Option<&'static str> {
        let form = match start.form {
            Form::Free => None,
            Form::Object | Form::Schema(_) => Some("response_format"),
            Form::Call(_) => Some("tool_choice"),
        };
        start.alternatives.map(|_| "logprobs").or(form)
    }

    fn open_after(&mut self, pages: Vec<Page>, biases: &[TokenBias]) -> Slot {
        let free = self.sequences.iter().position(Option::is_none);
        let free = free.unwrap_or(self.sequences.len());
        let opened = Some(Sequence {
            pages,
            shifts: biases.iter().map(|bias| (bias.token, bias.milli)).collect(),
            shifts_told: biases.is_empty(),
            ..Sequence::default()
        });
        // The scheduler lets in as many as there are slots; a further one finds none in `step`.
        if let Some(place) = self.sequences.get_mut(free) {
            *place = opened;
        }
        Slot(free)
    }

    fn close_keeping(&mut self, slot: Slot, pages: usize) -> Vec<Page> {
        let Some(mut sequence) = self.sequences.get_mut(slot.0).and_then(Option::take) else {
            return Vec::new();
        };
        // Of an answer that ends, all that is kept was looked at; of one that is cancelled, not.
        if self.is_unread(&sequence, pages.saturating_mul(PAGE)) {
            self.failed |= self.collect_all().is_err();
        }
        if self.failed || sequence.broken.get() {
            return Vec::new();
        }
        sequence.pages.truncate(pages);
        sequence.pages
    }

    fn step(&mut self, rows: &[Row], wanted: &[Wanted]) -> Result<Vec<Left>, BackendFailed> {
        Ok(self.compute(rows, wanted)?)
    }

    fn give(&mut self, states: &[&Left]) -> Result<Vec<Given>, BackendFailed> {
        let given = states.iter().map(|left| Ok(self.read(left)?));
        given.collect()
    }

    fn rest(&mut self) -> Result<(), BackendFailed> {
        while self.pool.is_dirty() {
            let wipes = self.pool.wiped_next();
            self.launch(&[], &wipes, None, Vec::new())?;
        }
        Ok(self.collect_all()?)
    }
}
