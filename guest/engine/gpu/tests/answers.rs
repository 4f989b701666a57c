//! Answers of a small seeded model on a device that computes on the CPU, beside those of the engine
//! on processors: the same tokens, whatever runs beside them and whatever they begin with. Shows
//! loading, pages, tables and the scheduler's part; no kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

mod seeded;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;

use cuda_lab::journal::{Call, Journal, Told};
use cuda_lab::mock::ROOM;
use cuda_lab::simulated::Simulated;
use engine::{Model, ModelError, Opened};
use engine_gpu::RunError;
use engine_gpu::load::onto;
use messages::engine_ipc::{
    ClientKey, Content, EngineEvent, EngineRefusal, EngineRequest, Form, MAX_FRAME, Prompt, Start,
    StepFigures, TokenBias,
};
use messages::framing::{frame, payload_length};
use protocol::receipt::{FinishReason, Sampling};
use seeded::{SHAPE, Seeded};

const GREEDY: Sampling = Sampling {
    temperature_milli: 0,
    top_p_milli: 1000,
    top_k: 0,
    min_p_milli: 0,
    presence_milli: 0,
    frequency_milli: 0,
    seed: 5,
    max_tokens: 12,
};

/// Of every step, whatever is in it.
const STEP: StepFigures = StepFigures {
    crossings: 2,
    bytes: 15_976,
    allocations: 0,
    launches: 1,
};

fn start(request: u64, client: u8, text: &str) -> Start {
    Start {
        request,
        client: ClientKey([client; 16]),
        sampling: GREEDY,
        grant: 100,
        prompt: Prompt::Text(Content(text.to_owned())),
        stops: Vec::new(),
        biases: Vec::new(),
        alternatives: None,
        form: Form::Free,
    }
}

/// What became of a request.
#[derive(Debug, Default, Clone, PartialEq)]
struct Answer {
    text: String,
    tokens: usize,
    cached: u32,
    refused: Option<(EngineRefusal, String)>,
}

fn event(serve: &mut UnixStream) -> EngineEvent {
    let mut header = [0; 4];
    serve.read_exact(&mut header).unwrap();
    let mut payload = vec![0; payload_length(header, MAX_FRAME).unwrap()];
    serve.read_exact(&mut payload).unwrap();
    EngineEvent::decode(&payload).unwrap()
}

/// Sends groups of requests, each group at once and after the last one's answers.
fn ask(mut serve: UnixStream, groups: Vec<Vec<Start>>) -> Vec<Answer> {
    assert!(matches!(event(&mut serve), EngineEvent::Loaded { .. }));
    let mut write = serve.try_clone().unwrap();
    let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
    for group in groups {
        let mut running = group.len();
        for start in group {
            let request = EngineRequest::Start(start);
            write.write_all(&frame(&request.encode())).unwrap();
        }
        while running > 0 {
            match event(&mut serve) {
                EngineEvent::Admitted {
                    request,
                    cached_tokens,
                    ..
                } => answers.entry(request).or_default().cached = cached_tokens,
                EngineEvent::Token { request, text, .. } => {
                    let answer = answers.entry(request).or_default();
                    answer.text.push_str(&text.0);
                    answer.tokens += 1;
                }
                EngineEvent::Finished { reason, .. } => {
                    assert_ne!(reason, FinishReason::Cancelled);
                    running -= 1;
                }
                EngineEvent::Refused {
                    request,
                    refusal,
                    keyword,
                } => {
                    answers.entry(request).or_default().refused = Some((refusal, keyword.0));
                    running -= 1;
                }
                EngineEvent::Prefilled { .. } => {}
                EngineEvent::Steps(figures) => assert_eq!(figures, STEP),
                other => panic!("{other:?}"),
            }
        }
    }
    answers.into_values().collect()
}

fn on_processors(model: &Seeded, groups: Vec<Vec<Start>>) -> Vec<Answer> {
    let model = Model::open(model.files()).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let engine = std::thread::spawn(move || engine::answer(&model, far, NonZeroUsize::MIN));
    let answers = ask(near, groups);
    engine.join().unwrap().unwrap();
    answers
}

fn on_the_device(model: &Seeded, groups: Vec<Vec<Start>>) -> Vec<Answer> {
    let files = model.files();
    let (near, far) = UnixStream::pair().unwrap();
    let engine = std::thread::spawn(move || {
        let opened = Opened::open(files).unwrap();
        let (language, backend) = onto(opened, || Ok(Simulated::with_room_of(ROOM))).unwrap();
        engine::answer_on(&language, backend, far)
    });
    let answers = ask(near, groups);
    engine.join().unwrap().unwrap();
    answers
}

/// A text of so many tokens, unlike others.
fn text(seed: usize, tokens: usize) -> String {
    let letter = |at: usize| char::from(b'A' + ((seed * 7 + at * at + at * 3) % 26) as u8);
    (0..tokens).map(letter).collect()
}

#[test]
fn answers_are_those_of_the_engine_on_processors_alone_and_together() {
    let model = Seeded::new(SHAPE);
    // Of a part of a page, of several pages, and of more rows than a step has for prompts.
    let lengths = [3, 33, 150];
    let each = |at: usize| start(at as u64, at as u8, &text(at, lengths[at]));
    let together = vec![(0..3).map(each).collect()];
    let alone = (0..3).map(|at| vec![each(at)]).collect();
    let expected = on_processors(&model, together);
    assert!(
        expected.iter().all(|answer| answer.tokens == 12),
        "{expected:?}"
    );
    assert!(expected[0].text != expected[1].text && expected[1].text != expected[2].text);
    let together = vec![(0..3).map(each).collect()];
    assert_eq!(on_the_device(&model, together), expected);
    assert_eq!(on_the_device(&model, alone), expected);
}

#[test]
fn a_prompt_that_begins_with_kept_pages_has_the_same_answer() {
    let model = Seeded::new(SHAPE);
    let (before, more) = (text(1, 100), text(2, 5));
    let longer = format!("{before}{more}");
    let groups = |client| vec![vec![start(1, 1, &before)], vec![start(2, client, &longer)]];
    let expected = on_processors(&model, groups(1));
    assert_eq!((expected[0].cached, expected[1].cached), (0, 96));
    assert_eq!(on_the_device(&model, groups(1)), expected);
    // Another client finds nothing, and has the same text.
    let other = on_the_device(&model, groups(2));
    assert_eq!((other[1].cached, &other[1].text), (0, &expected[1].text));
}

#[test]
fn more_kept_pages_than_there_are_rows_are_told_to_the_device_in_another_place() {
    let model = Seeded::new(SHAPE);
    let before = text(3, 193);
    let groups = || {
        vec![
            vec![start(1, 1, &before)],
            // Takes the place of the first answer, whose table the device still has.
            vec![
                start(2, 2, &text(5, 40)),
                start(3, 1, &format!("{before}Z")),
            ],
        ]
    };
    let expected = on_processors(&model, groups());
    assert_eq!(expected[2].cached, 192);
    assert_eq!(on_the_device(&model, groups()), expected);
}

#[test]
fn an_answer_that_ends_while_its_next_row_is_on_its_way_is_as_on_processors() {
    let model = Seeded::new(SHAPE);
    // With the token at which it stops, the prompt ends a page or is one short of it.
    for length in [27, 28, 29] {
        let asked = text(7, length);
        let whole = &on_processors(&model, vec![vec![start(1, 1, &asked)]])[0].text;
        let stop: String = whole.chars().skip(2).take(1).collect();
        let groups = || {
            let mut first = start(1, 1, &asked);
            first.stops = vec![Content(stop.clone())];
            // Beside another, in whose steps its rows are; then in its place, after what is kept.
            let second = start(3, 1, &format!("{asked}{whole}"));
            vec![vec![first, start(2, 2, &text(8, 40))], vec![second]]
        };
        let expected = on_processors(&model, groups());
        assert!(expected[0].text.len() < whole.len() && expected[0].tokens < 12);
        assert_eq!(on_the_device(&model, groups()), expected);
    }
}

#[test]
fn a_row_is_sent_ahead_only_for_a_token_that_was_granted() {
    let model = Seeded::new(SHAPE);
    let journal = Journal::default();
    let (mut near, far) = UnixStream::pair().unwrap();
    let (files, told) = (model.files(), journal.clone());
    let engine = std::thread::spawn(move || {
        let opened = Opened::open(files).unwrap();
        let device = || Ok(Told::new(Simulated::with_room_of(ROOM), told));
        let (language, backend) = onto(opened, device).unwrap();
        engine::answer_on(&language, backend, far)
    });
    let mut waits = start(1, 1, "ABC");
    waits.grant = 2;
    let request = EngineRequest::Start(waits);
    near.write_all(&frame(&request.encode())).unwrap();
    let mut tokens = 0;
    while tokens < 2 {
        tokens += usize::from(matches!(event(&mut near), EngineEvent::Token { .. }));
    }
    near.shutdown(std::net::Shutdown::Write).unwrap();
    engine.join().unwrap().unwrap();
    // The prompt's step and those of both tokens, whose choice nobody was given.
    let launched = |call: &&Call| matches!(call, Call::Launched(_));
    let calls = journal.calls();
    assert_eq!(calls.iter().filter(launched).count(), 3);
    let at = |call| calls.iter().position(|found| *found == call).unwrap();
    for step in [1, 2] {
        assert!(at(Call::Launched(step + 1)) < at(Call::Waited(step)));
    }
}

#[test]
fn a_model_with_a_head_of_its_own_and_angles_of_llama_3_answers_alike() {
    let mut model = Seeded::new(SHAPE);
    model.tied = false;
    model.llama_3 = true;
    let groups = || vec![vec![start(1, 1, &text(4, 70))]];
    let expected = on_processors(&model, groups());
    assert_eq!(on_the_device(&model, groups()), expected);
}

#[test]
fn draws_are_those_of_the_engine_on_processors_whatever_narrows_them() {
    let model = Seeded::new(SHAPE);
    type Change = fn(&mut Sampling);
    let changes: [Change; 6] = [
        |_| {},
        |sampling| sampling.top_k = 20,
        |sampling| sampling.top_p_milli = 800,
        |sampling| sampling.min_p_milli = 100,
        |sampling| (sampling.top_k, sampling.top_p_milli) = (50, 900),
        |sampling| (sampling.top_k, sampling.min_p_milli) = (60, 20),
    ];
    let drawn = |seed: u64| {
        let each = |(at, change): (usize, &Change)| {
            let mut start = start(at as u64, 1, &text(at, 20 + at));
            start.sampling.temperature_milli = 1500;
            start.sampling.seed = seed;
            change(&mut start.sampling);
            start
        };
        vec![changes.iter().enumerate().map(each).collect()]
    };
    let expected = [1, 2].map(|seed| on_processors(&model, drawn(seed)));
    for (seed, expected) in [1, 2].into_iter().zip(&expected) {
        assert_eq!(&on_the_device(&model, drawn(seed)), expected);
    }
    let [first, second] = expected;
    assert!(
        first
            .iter()
            .zip(second)
            .all(|(one, other)| one.text != other.text)
    );
}

#[test]
fn shifts_and_penalties_are_those_of_the_engine_on_processors() {
    let model = Seeded::new(SHAPE);
    type Change = fn(&mut Start);
    let many = |start: &mut Start| {
        let bias = |token| TokenBias {
            token,
            milli: if token % 3 == 0 {
                -100_000
            } else {
                token as i32
            },
        };
        start.biases = (0..250).map(bias).collect();
    };
    let changes: [Change; 6] = [
        |start| start.sampling.presence_milli = 2000,
        |start| start.sampling.frequency_milli = -2000,
        |start| {
            (
                start.sampling.presence_milli,
                start.sampling.frequency_milli,
            ) = (-300, 1500)
        },
        many,
        |start| {
            start.biases = vec![TokenBias {
                token: 65,
                milli: 100_000,
            }]
        },
        |_| {},
    ];
    // Twice, in other places: what an answer had counts for none behind it.
    let groups = |temperature_milli| {
        let each = |(at, change): (usize, &Change), round: usize| {
            let mut start = start((round * 10 + at) as u64, 1, &text(at, 20 + at));
            start.sampling.temperature_milli = temperature_milli;
            start.sampling.max_tokens = 40;
            change(&mut start);
            start
        };
        let forth = changes.iter().enumerate().map(|change| each(change, 0));
        let back = changes
            .iter()
            .enumerate()
            .rev()
            .map(|change| each(change, 1));
        vec![forth.collect(), back.collect()]
    };
    for temperature in [0, 800] {
        let expected = on_processors(&model, groups(temperature));
        let texts: Vec<_> = expected.iter().map(|answer| &answer.text).collect();
        assert_eq!(*texts[4], "A".repeat(texts[4].len()));
        assert_eq!(texts[..6], texts[6..]);
        assert_eq!(on_the_device(&model, groups(temperature)), expected);
    }
}

#[test]
fn what_the_kernels_do_not_choose_by_is_refused_by_its_name() {
    let model = Seeded::new(SHAPE);
    type Change = fn(&mut Start);
    let cases: [(&str, Change); 3] = [
        ("logprobs", |start| start.alternatives = Some(0)),
        ("response_format", |start| start.form = Form::Object),
        ("logprobs", |start| {
            start.alternatives = Some(20);
            start.form = Form::Object;
        }),
    ];
    let changed = |(at, (_, change)): (usize, &(&str, Change))| {
        let mut start = start(at as u64, 1, "AB");
        start.sampling.temperature_milli = 500;
        change(&mut start);
        start
    };
    let groups = vec![cases.iter().enumerate().map(changed).collect()];
    let answers = on_the_device(&model, groups);
    for ((parameter, _), answer) in cases.iter().zip(answers) {
        let expected = (EngineRefusal::Parameter, (*parameter).to_owned());
        assert_eq!(answer.refused, Some(expected));
    }
}

#[test]
fn a_step_that_crosses_otherwise_than_the_others_is_the_last() {
    let model = Seeded::new(SHAPE);
    let (near, far) = UnixStream::pair().unwrap();
    let files = model.files();
    let engine = std::thread::spawn(move || {
        let opened = Opened::open(files).unwrap();
        let device = || Ok(Simulated::with_room_of(ROOM).crossing_once_more_at(4));
        let (language, backend) = onto(opened, device).unwrap();
        engine::answer_on(&language, backend, far)
    });
    let request = EngineRequest::Start(start(1, 1, "ABC"));
    (&near).write_all(&frame(&request.encode())).unwrap();
    let ended = engine.join().unwrap();
    assert_eq!(ended.unwrap_err().code(), "engine-device");
    let mut said = Vec::new();
    (&near).read_to_end(&mut said).unwrap();
    // Three steps passed, a prompt's and two tokens'; the third's token was not looked at yet.
    let tokens = said.windows(5).filter(|bytes| *bytes == [4, 1, 0, 0, 0]);
    assert_eq!(tokens.count(), 2);
}

#[test]
fn a_model_for_which_there_are_no_kernels_is_refused_by_what_it_has() {
    let refused = |change: fn(&mut Seeded)| {
        let mut model = Seeded::new(SHAPE);
        change(&mut model);
        let opened = Opened::open(model.files()).unwrap();
        match onto(opened, || Ok(Simulated::with_room_of(ROOM))) {
            Err(error) => error,
            Ok(_) => panic!("taken"),
        }
    };
    let error = refused(|model| model.family = "qwen2");
    assert!(
        matches!(error, RunError::Model(ModelError::Part { part: "offsets" })),
        "{error:?}"
    );
    let error = refused(|model| model.shape.head = 32);
    let RunError::Shape(unsupported) = error else {
        panic!("{error:?}");
    };
    assert_eq!(unsupported.what, "pair of head width and group");
}
