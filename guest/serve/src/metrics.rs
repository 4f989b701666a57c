//! What a client may read of its own connection, in Prometheus' text format.
//!
//! Counts of this connection alone, and facts that its evidence states anyway: a number that
//! another client's request could change would tell one client of another.
//! `docs/spec/serving.md` §9. Totals of the machine are the host's, from the events that it gets.

use core::fmt::Write as _;

use messages::engine_ipc::StepFigures;
use protocol::launch_configuration::Limits;
use protocol::nano::{AmountOverflow, Nano};
use protocol::receipt::TokenCounts;
use protocol::reference_values::ImageVersion;

/// Prometheus' text format.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4";
/// Documents are multiples of so many bytes, so that digits do not show in their length.
const STEP: usize = 4096;

/// What happened on one connection.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: u64,
    refusals: u64,
    answers: u64,
    prompt: u64,
    cached: u64,
    completion: u64,
    charged: Nano,
}

/// What is known beside it.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Seconds since the last challenge was answered.
    pub(crate) evidence_age: u64,
    /// Whether requests can be answered.
    pub(crate) engine: bool,
    /// Of each step of an engine with a GPU, the same in all.
    pub(crate) steps: Option<StepFigures>,
    /// Of the launch configuration.
    pub(crate) limits: Limits,
    /// Of this image.
    pub(crate) image: ImageVersion,
}

impl Tally {
    /// A request came.
    pub(crate) fn request(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// One was refused.
    pub(crate) fn refusal(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// An answer ended, whole or not, after so much was delivered.
    pub(crate) fn answer(&mut self, tokens: &TokenCounts, charged: Nano) {
        self.answers = self.answers.saturating_add(1);
        self.prompt = self.prompt.saturating_add(tokens.prompt.into());
        self.cached = self.cached.saturating_add(tokens.cached.into());
        self.completion = self.completion.saturating_add(tokens.completion.into());
        self.charged = match self.charged.plus(charged) {
            Ok(sum) => sum,
            // Above all coins that there are: it stands still.
            Err(AmountOverflow) => self.charged,
        };
    }

    /// The document.
    pub(crate) fn exposition(&self, facts: &Facts) -> Vec<u8> {
        let ImageVersion {
            major,
            minor,
            patch,
        } = facts.image;
        let image = format!("{{version=\"{major}.{minor}.{patch}\"}}");
        let rows: [Row; 8] = [
            ("connection_requests_total", "counter", one(self.requests)),
            ("connection_refusals_total", "counter", one(self.refusals)),
            ("connection_answers_total", "counter", one(self.answers)),
            (
                "connection_tokens_total",
                "counter",
                vec![
                    ("{class=\"prompt\"}".to_owned(), self.prompt.to_string()),
                    ("{class=\"cached\"}".to_owned(), self.cached.to_string()),
                    (
                        "{class=\"completion\"}".to_owned(),
                        self.completion.to_string(),
                    ),
                ],
            ),
            (
                "connection_delivered_nano_total",
                "counter",
                one(self.charged),
            ),
            ("evidence_age_seconds", "gauge", one(facts.evidence_age)),
            ("engine_up", "gauge", one(u8::from(facts.engine))),
            ("image_info", "gauge", vec![(image, "1".to_owned())]),
        ];
        let mut text = String::new();
        for row in rows {
            write(&mut text, row);
        }
        for (name, limit) in [
            ("limit_streams", u32::from(facts.limits.streams)),
            ("limit_context_tokens", facts.limits.context_tokens),
            ("limit_increment_tokens", facts.limits.increment_tokens),
        ] {
            write(&mut text, (name, "gauge", one(limit)));
        }
        for (name, figure) in facts.steps.iter().flat_map(of_step) {
            write(&mut text, (name, "gauge", one(figure)));
        }
        padded(text)
    }
}

fn of_step(figures: &StepFigures) -> [(&'static str, u32); 4] {
    [
        ("engine_crossings_per_step", figures.crossings),
        ("engine_bytes_per_step", figures.bytes),
        ("engine_allocations_per_step", figures.allocations),
        ("engine_launches_per_step", figures.launches),
    ]
}

/// A metric's name less its prefix, its kind, and its samples: labels and value.
type Row = (&'static str, &'static str, Vec<(String, String)>);

fn one(value: impl ToString) -> Vec<(String, String)> {
    vec![(String::new(), value.to_string())]
}

fn write(text: &mut String, (name, kind, samples): Row) {
    // Writing to a string does not fail.
    let _written = writeln!(text, "# TYPE cocoon_{name} {kind}");
    for (labels, value) in samples {
        let _written = writeln!(text, "cocoon_{name}{labels} {value}");
    }
}

/// Behind a comment that fills it up.
fn padded(text: String) -> Vec<u8> {
    let shortest = text.len().saturating_add("#\n".len());
    let points = shortest.next_multiple_of(STEP).saturating_sub(shortest);
    let mut whole = format!("#{}\n", ".".repeat(points));
    whole.push_str(&text);
    whole.into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    const FACTS: Facts = Facts {
        evidence_age: 9,
        engine: true,
        steps: Some(StepFigures {
            crossings: 2,
            bytes: 12_544,
            allocations: 0,
            launches: 1,
        }),
        limits: Limits {
            streams: 4,
            context_tokens: 2048,
            increment_tokens: 64,
        },
        image: ImageVersion {
            major: 0,
            minor: 1,
            patch: 0,
        },
    };

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let mut tally = Tally::default();
        tally.request();
        let tokens = TokenCounts {
            prompt: 5,
            cached: 7,
            completion: 3,
        };
        tally.answer(&tokens, Nano::from_u64(12));
        tally.answer(&tokens, Nano::from_u64(12));
        let text = String::from_utf8(tally.exposition(&FACTS)).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("cocoon_"), "{line}");
            assert!(value.parse::<u64>().is_ok(), "{line}");
        }
        for line in [
            "# TYPE cocoon_connection_requests_total counter",
            "cocoon_connection_requests_total 1",
            "cocoon_connection_tokens_total{class=\"cached\"} 14",
            "cocoon_connection_delivered_nano_total 24",
            "cocoon_evidence_age_seconds 9",
            "cocoon_engine_up 1",
            "cocoon_image_info{version=\"0.1.0\"} 1",
            "cocoon_limit_streams 4",
            "cocoon_engine_crossings_per_step 2",
            "cocoon_engine_bytes_per_step 12544",
            "cocoon_engine_allocations_per_step 0",
            "cocoon_engine_launches_per_step 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn its_length_says_nothing_of_the_numbers() {
        let mut much = Tally {
            requests: u64::MAX,
            refusals: u64::MAX,
            answers: u64::MAX,
            prompt: u64::MAX,
            cached: u64::MAX,
            completion: u64::MAX,
            charged: Nano::from_u64(u64::MAX),
        };
        much.request();
        let lengths = [Tally::default(), much].map(|tally| tally.exposition(&FACTS).len());
        assert_eq!(lengths, [STEP, STEP]);
    }
}
