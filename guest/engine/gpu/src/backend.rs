//! Steps on a GPU for the engine's scheduler: pages and tables of sequences, and tokens that are
//! chosen on the device.
//!
//! A step is one copy in, one launch and one copy out, all of one size. It is collected before the
//! next is launched: an answer that ends is known before it gets another row. What is deliberately
//! not here: which answer gets which row, and text.

use engine::backend::{Backend, BackendFailed, Given, PAGE, Pace, Row, Slot, Wanted};
use engine_cuda::decoder::{Decoder, STEP};
use engine_cuda::device::{Counters, Device, DeviceError};
use engine_cuda::shape::MAX_ROWS;
use engine_cuda::step::{self, Choice, Chosen, Source};
use messages::engine_ipc::{Form, Start, StepFigures};
use protocol::receipt::Sampling;

use crate::pages::{Page, Pool};

/// Prompt rows of a step, alone and beside answers. What is left of a step's rows is for pages that
/// a sequence begins with, one a row.
const PACE: Pace = Pace {
    alone: 128,
    beside: 64,
};

/// A position at which nothing is computed: a row that only tells of a page.
const NOWHERE: u32 = u32::MAX;

/// A model on a device, with its sequences.
#[derive(Debug)]
pub struct GpuBackend<D> {
    decoder: Decoder<D>,
    pool: Pool,
    sequences: Vec<Option<Sequence>>,
}

#[derive(Debug, Default)]
struct Sequence {
    pages: Vec<Page>,
    /// How many of them the device knows of.
    told: usize,
    /// Whether a number was not finite: what it computed is kept for nobody.
    broken: bool,
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

    /// One step. Whoever watches the bus must learn nothing from it: a step that crossed otherwise
    /// than every other is the last one.
    fn run(&mut self, rows: &[step::Row], wipes: &[u32]) -> Result<Vec<Chosen>, Failed> {
        let before = self.decoder.counters();
        self.decoder.launch(rows, wipes)?;
        let chosen = self.decoder.collect()?;
        match self.decoder.counters().since(before) == STEP {
            true => Ok(chosen),
            false => Err(Failed),
        }
    }

    fn compute(&mut self, rows: &[Row], wanted: &[Wanted]) -> Result<Vec<Chosen>, Failed> {
        // What is wiped in a step may be taken in it.
        let mut wipes = self.pool.wiped_next();
        let mut computed = Vec::with_capacity(rows.len());
        for row in rows {
            self.reach(row.slot, row.position)?;
            computed.push(step::Row {
                slot: u32::try_from(row.slot.0).map_err(|_| Failed)?,
                source: Source::Fed {
                    token: row.token,
                    position: u32::try_from(row.position).map_err(|_| Failed)?,
                },
                choice: None,
                page: self.untold(row.slot)?,
            });
        }
        for wanted in wanted {
            let row = computed.get_mut(wanted.row).ok_or(Failed)?;
            row.choice = Some(choice(wanted.sampling));
        }
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
        for rows in before.chunks(most) {
            self.run(rows, &wipes)?;
            wipes.clear();
        }
        computed.extend(pages);
        let chosen = self.run(&computed, &wipes)?;
        let of_row = |wanted: &Wanted| chosen.get(wanted.row).copied().ok_or(Failed);
        let given = wanted.iter().map(of_row).collect::<Result<Vec<_>, _>>()?;
        for (wanted, given) in wanted.iter().zip(&given) {
            if *given == Chosen::Broken
                && let Some(row) = rows.get(wanted.row)
            {
                self.sequence(row.slot)?.broken = true;
            }
        }
        Ok(given)
    }
}

/// How the device chooses: the greatest logit, or by temperature and seed.
fn choice(sampling: Sampling) -> Choice {
    let milli = u16::try_from(sampling.temperature_milli).unwrap_or(u16::MAX);
    Choice {
        temperature: f32::from(milli) / 1000.0,
        seed: sampling.seed,
    }
}

impl<D: Device> Backend for GpuBackend<D> {
    type Page = Page;
    type State = Chosen;

    fn figures(&self) -> Option<StepFigures> {
        let figure = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Some(StepFigures {
            crossings: figure(STEP.crossings),
            bytes: figure(STEP.bytes),
            allocations: figure(STEP.allocations),
            launches: figure(STEP.launches),
        })
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
        let Sampling {
            temperature_milli,
            top_p_milli,
            top_k,
            min_p_milli,
            presence_milli,
            frequency_milli,
            ..
        } = start.sampling;
        // Of the likeliest token no part of a distribution is left out.
        let draws = temperature_milli > 0;
        let form = match start.form {
            Form::Free => None,
            Form::Object | Form::Schema(_) => Some("response_format"),
            Form::Call(_) => Some("tool_choice"),
        };
        let asked = [
            (draws && top_p_milli != 1000, "top_p"),
            (draws && top_k != 0, "top_k"),
            (draws && min_p_milli != 0, "min_p"),
            (presence_milli != 0, "presence_penalty"),
            (frequency_milli != 0, "frequency_penalty"),
            (!start.biases.is_empty(), "logit_bias"),
            (start.alternatives.is_some(), "logprobs"),
        ];
        let found = asked.into_iter().find(|(asked, _)| *asked);
        found.map(|(_, parameter)| parameter).or(form)
    }

    fn open_after(&mut self, pages: Vec<Page>) -> Slot {
        let free = self.sequences.iter().position(Option::is_none);
        let free = free.unwrap_or(self.sequences.len());
        let opened = Some(Sequence {
            pages,
            ..Sequence::default()
        });
        // The scheduler lets in as many as there are slots; a further one finds none in `step`.
        if let Some(place) = self.sequences.get_mut(free) {
            *place = opened;
        }
        Slot(free)
    }

    fn close_keeping(&mut self, slot: Slot, pages: usize) -> Vec<Page> {
        let closed = self.sequences.get_mut(slot.0).and_then(Option::take);
        let Some(mut sequence) = closed.filter(|sequence| !sequence.broken) else {
            return Vec::new();
        };
        sequence.pages.truncate(pages);
        sequence.pages
    }

    fn step(&mut self, rows: &[Row], wanted: &[Wanted]) -> Result<Vec<Chosen>, BackendFailed> {
        Ok(self.compute(rows, wanted)?)
    }

    fn give(&mut self, states: &[&Chosen]) -> Vec<Given> {
        let given = |state: &&Chosen| match **state {
            Chosen::Token(token) => Given::Token(token),
            Chosen::Broken | Chosen::Nothing => Given::Broken,
        };
        states.iter().map(given).collect()
    }

    fn rest(&mut self) -> Result<(), BackendFailed> {
        while self.pool.is_dirty() {
            let wipes = self.pool.wiped_next();
            self.run(&[], &wipes).map_err(BackendFailed::from)?;
        }
        Ok(())
    }
}
