//! Whole answers over the socket: the demonstration model's known ones, and on a tiny model the
//! rules of grants, cancellation, refusals and company.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

mod asked;
mod called;
mod same;
mod vectors;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use messages::engine_ipc::{
    CallSyntax, Candidate, ChatMessage, ChatRole, ClientKey, Content, EngineEvent, EngineRefusal,
    EngineRequest, Form, MAX_FRAME, Prompt, Start,
};
use messages::framing::{frame, payload_length};
use protocol::receipt::{FinishReason, Sampling};

use crate::fixture::{Tiny, demonstration_model};
use crate::scheduler::PROMPT_ROWS_BESIDE;
use crate::{IpcError, Model, answer};

/// serve's end of a running engine.
struct Serve {
    socket: UnixStream,
}

impl Serve {
    fn send(&mut self, request: &EngineRequest) {
        self.socket.write_all(&frame(&request.encode())).unwrap();
    }

    fn event(&mut self) -> EngineEvent {
        let mut header = [0; 4];
        self.socket.read_exact(&mut header).unwrap();
        let mut payload = vec![0; payload_length(header, MAX_FRAME).unwrap()];
        self.socket.read_exact(&mut payload).unwrap();
        EngineEvent::decode(&payload).unwrap()
    }

    /// Whether nothing comes for a while.
    fn is_silent(&mut self) -> bool {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let silent = self.socket.read(&mut [0]).is_err();
        self.socket.set_read_timeout(None).unwrap();
        silent
    }

    fn grant(&mut self, request: u64, tokens: u32) {
        self.send(&EngineRequest::Grant { request, tokens });
    }

    /// Reads until an answer's end: its tokens' texts, its end, and its prompt's length.
    fn finish(&mut self, request: u64) -> Answer {
        self.finish_all(&[request]).remove(&request).unwrap()
    }

    fn finish_all(&mut self, requests: &[u64]) -> HashMap<u64, Answer> {
        let mut answers: HashMap<u64, Answer> = HashMap::new();
        while requests
            .iter()
            .any(|request| answers.get(request).is_none_or(|a| a.end.is_none()))
        {
            let event = self.event();
            let answer = answers.entry(request_of(&event)).or_default();
            match event {
                EngineEvent::Admitted {
                    prompt_tokens,
                    cached_tokens,
                    calls,
                    ..
                } => {
                    (answer.prompt, answer.calls) = (prompt_tokens, calls);
                    answer.cached = cached_tokens;
                }
                EngineEvent::Prefilled { prompt_tokens, .. } => {
                    answer.prefilled.push(prompt_tokens)
                }
                EngineEvent::Token {
                    text, candidates, ..
                } => {
                    answer.texts.push(text.0);
                    answer.candidates.push(candidates);
                }
                EngineEvent::Finished {
                    reason,
                    completion_tokens,
                    ..
                } => {
                    assert_eq!(completion_tokens as usize, answer.texts.len());
                    answer.end = Some(Ok(reason));
                }
                EngineEvent::Refused { refusal, .. } => answer.end = Some(Err(refusal)),
                EngineEvent::Loaded { .. }
                | EngineEvent::Steps(_)
                | EngineEvent::Embedded { .. }
                | EngineEvent::Counted(_) => panic!("not of an answer"),
            }
        }
        answers
    }
}

#[derive(Debug, Default, PartialEq, Clone)]
struct Answer {
    prompt: u32,
    calls: Option<CallSyntax>,
    cached: u32,
    prefilled: Vec<u32>,
    texts: Vec<String>,
    candidates: Vec<Vec<Candidate>>,
    end: Option<Result<FinishReason, EngineRefusal>>,
}

fn request_of(event: &EngineEvent) -> u64 {
    match event {
        EngineEvent::Loaded { .. } | EngineEvent::Steps(_) => panic!("loaded twice"),
        EngineEvent::Counted(_) => panic!("nobody asked"),
        EngineEvent::Admitted { request, .. }
        | EngineEvent::Prefilled { request, .. }
        | EngineEvent::Token { request, .. }
        | EngineEvent::Finished { request, .. }
        | EngineEvent::Embedded { request, .. }
        | EngineEvent::Refused { request, .. } => *request,
    }
}

/// Runs an engine beside `body`; returns how the engine ended after serve hung up.
fn with_engine(
    model: &Model,
    threads: usize,
    body: impl FnOnce(&mut Serve),
) -> Result<(), IpcError> {
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let engine = scope.spawn(|| answer(model, far, NonZeroUsize::new(threads).unwrap()));
        let mut serve = Serve { socket: near };
        let context_tokens = model.context_tokens();
        assert_eq!(serve.event(), EngineEvent::Loaded { context_tokens });
        body(&mut serve);
        drop(serve);
        engine.join().unwrap()
    })
}

/// The same with something changed.
fn changed(request: EngineRequest, change: impl FnOnce(&mut Start)) -> EngineRequest {
    let EngineRequest::Start(mut start) = request else {
        panic!("not a start");
    };
    change(&mut start);
    EngineRequest::Start(start)
}

/// A greedy start with all tokens granted.
fn start(request: u64, chat: &[(ChatRole, &str)], max_tokens: u32) -> EngineRequest {
    start_with(request, chat, (sampling(0, max_tokens), max_tokens), &[])
}

fn sampling(temperature_milli: u32, max_tokens: u32) -> Sampling {
    Sampling {
        temperature_milli,
        top_p_milli: 900,
        seed: 42,
        top_k: 0,
        min_p_milli: 0,
        presence_milli: 0,
        frequency_milli: 0,
        max_tokens,
    }
}

fn start_with(
    request: u64,
    chat: &[(ChatRole, &str)],
    (sampling, grant): (Sampling, u32),
    stops: &[&str],
) -> EngineRequest {
    let messages = chat.iter().map(|(role, text)| ChatMessage {
        role: *role,
        content: Content((*text).to_owned()),
        calls: Vec::new(),
    });
    EngineRequest::Start(Start {
        request,
        client: stranger(),
        sampling,
        grant,
        prompt: Prompt::Chat {
            messages: messages.collect(),
            tools: Vec::new(),
        },
        stops: stops
            .iter()
            .map(|stop| Content((*stop).to_owned()))
            .collect(),
        biases: Vec::new(),
        alternatives: None,
        form: Form::Free,
    })
}

/// A client that nobody else is: nothing is kept for its prompt.
fn stranger() -> ClientKey {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut key = [0xff; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    ClientKey(key)
}

fn user(text: &str) -> [(ChatRole, &str); 1] {
    [(ChatRole::User, text)]
}

#[test]
fn the_demonstration_model_names_the_capital_of_france() {
    let model = Model::read(demonstration_model()).unwrap();
    let question = user("What is the capital of France? Answer in one sentence.");
    with_engine(&model, 2, |serve| {
        serve.send(&start(7, &question, 16));
        let answer = serve.finish(7);
        assert_eq!(answer.texts.concat(), "The capital of France is Paris.");
        assert_eq!((answer.prompt, answer.texts.len()), (42, 8));
        assert_eq!(answer.prefilled.last(), Some(&42));
        assert_eq!(answer.end, Some(Ok(FinishReason::Stop)));
        // Another with a stop string that spans tokens; its text is not returned.
        serve.send(&start_with(
            8,
            &question,
            (sampling(0, 16), 16),
            &["France is"],
        ));
        let stopped = serve.finish(8);
        assert_eq!(stopped.texts.concat(), "The capital of ");
        assert_eq!(
            (stopped.texts.len(), stopped.end),
            (5, Some(Ok(FinishReason::Stop)))
        );
    })
    .unwrap();
}

#[test]
fn prompts_have_as_many_tokens_as_with_another_implementation() {
    // Prompt token counts by llama.cpp (PyPI xllamacpp 2026.10.11549) for the same file.
    let model = Model::read(demonstration_model()).unwrap();
    let turns = [
        (ChatRole::User, "Hi"),
        (ChatRole::Assistant, "Hello! How can I help?"),
        (ChatRole::User, "Tell me a joke about 42 cats."),
    ];
    let system = [
        (ChatRole::System, "You are terse."),
        (ChatRole::User, "Explain gravity."),
    ];
    let chats: [(&[(ChatRole, &str)], u32); 4] = [
        (&user("Write a haiku about rain."), 37),
        (&system, 22),
        (&user("Bonjour, comment ça va ? 😀"), 41),
        (&turns, 59),
    ];
    with_engine(&model, 2, |serve| {
        for (request, (chat, expected)) in (0..).zip(chats) {
            serve.send(&start(request, chat, 1));
            assert_eq!(serve.finish(request).prompt, expected);
        }
    })
    .unwrap();
}

#[test]
fn nothing_is_produced_beyond_the_grant() {
    let model = Tiny::default().model();
    with_engine(&model, 1, |serve| {
        serve.send(&start_with(1, &user("abc"), (sampling(1000, 20), 0), &[]));
        assert!(matches!(
            serve.event(),
            EngineEvent::Admitted { request: 1, .. }
        ));
        assert!(matches!(
            serve.event(),
            EngineEvent::Prefilled { request: 1, .. }
        ));
        assert!(serve.is_silent());
        for tokens in [1, 3] {
            serve.grant(1, tokens);
            for _ in 0..tokens {
                assert!(matches!(
                    serve.event(),
                    EngineEvent::Token { request: 1, .. }
                ));
            }
            assert!(serve.is_silent());
        }
    })
    .unwrap();
}

#[test]
fn a_cancelled_answer_ends_at_once_and_says_what_it_cost() {
    let model = Tiny::default().model();
    with_engine(&model, 1, |serve| {
        serve.send(&start_with(1, &user("abc"), (sampling(1000, 20), 2), &[]));
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.push(serve.event());
        }
        serve.send(&EngineRequest::Cancel { request: 1 });
        let reason = FinishReason::Cancelled;
        assert_eq!(
            serve.event(),
            EngineEvent::Finished {
                request: 1,
                reason,
                completion_tokens: 2
            }
        );
        // Late messages for it are nobody's, and its number is free again.
        serve.grant(1, 5);
        serve.send(&EngineRequest::Cancel { request: 1 });
        serve.send(&start(1, &user("abc"), 1));
        assert!(serve.finish(1).end.is_some());
    })
    .unwrap();
}

#[test]
fn a_long_prompt_does_not_stall_an_answer() {
    let model = Tiny {
        context: 4096,
        ..Tiny::default()
    }
    .model();
    with_engine(&model, 1, |serve| {
        serve.send(&start_with(1, &user("a"), (sampling(1000, 400), 400), &[]));
        assert!(matches!(serve.event(), EngineEvent::Admitted { .. }));
        serve.send(&start(2, &user(&"z ".repeat(1200)), 1));
        let (mut tokens, mut ended) = (0, false);
        loop {
            match serve.event() {
                EngineEvent::Token { request: 1, .. } => tokens += 1,
                EngineEvent::Finished { request: 1, .. } => ended = true,
                EngineEvent::Prefilled {
                    request: 2,
                    prompt_tokens,
                } if prompt_tokens > 2400 => break,
                _ => {}
            }
        }
        // One in each step, but for those around its beginning: one more or less of these.
        let steps = 2400 / PROMPT_ROWS_BESIDE;
        assert!(
            ended || tokens > steps * 3 / 4,
            "{tokens} tokens while 2400 were read"
        );
        // engine would find its socket closed under a running answer: both end first.
        let mut running = if ended { 1 } else { 2 };
        while running > 0 {
            if matches!(serve.event(), EngineEvent::Finished { .. }) {
                running -= 1;
            }
        }
    })
    .unwrap();
}

#[test]
fn the_context_holds_prompt_and_completion_and_not_one_more() {
    let model = Tiny::default().model();
    with_engine(&model, 1, |serve| {
        serve.send(&start(1, &user("xyz"), 1));
        let prompt = serve.finish(1).prompt;
        serve.send(&start_with(
            2,
            &user("xyz"),
            (sampling(0, 256 - prompt), 1),
            &[],
        ));
        assert!(matches!(
            serve.event(),
            EngineEvent::Admitted { request: 2, .. }
        ));
        serve.send(&EngineRequest::Cancel { request: 2 });
        serve.finish(2);
        for (request, max_tokens) in [(3, 257 - prompt), (4, 256), (5, u32::MAX)] {
            serve.send(&start(request, &user("xyz"), max_tokens));
            assert_eq!(
                serve.finish(request).end,
                Some(Err(EngineRefusal::ContextTooLong))
            );
        }
        let long = "long ".repeat(80);
        serve.send(&start(6, &user(&long), 1));
        assert_eq!(
            serve.finish(6).end,
            Some(Err(EngineRefusal::ContextTooLong))
        );
    })
    .unwrap();
}

#[test]
fn more_answers_than_there_is_room_for_are_refused_and_the_rest_go_on() {
    let model = Tiny::default().model();
    with_engine(&model, 1, |serve| {
        for request in 0..33 {
            serve.send(&start_with(request, &user("a"), (sampling(0, 5), 0), &[]));
        }
        assert_eq!(serve.finish(32).end, Some(Err(EngineRefusal::Busy)));
        serve.grant(31, 5);
        assert!(matches!(serve.finish(31).end, Some(Ok(_))));
        serve.send(&start(40, &user("a"), 1));
        assert!(matches!(serve.finish(40).end, Some(Ok(_))));
    })
    .unwrap();
}

#[test]
fn an_answer_that_leaves_the_range_of_numbers_fails_alone() {
    let model = Tiny {
        poisoned: Some(usize::from(b'Q')),
        ..Tiny::default()
    }
    .model();
    with_engine(&model, 2, |serve| {
        serve.send(&start(1, &user("sound"), 20));
        serve.send(&start(2, &user("Q"), 20));
        let answers = serve.finish_all(&[1, 2]);
        assert_eq!(answers[&2].end, Some(Err(EngineRefusal::Numeric)));
        assert!(matches!(answers[&1].end, Some(Ok(_))));
    })
    .unwrap();
}

#[test]
fn the_limit_of_tokens_ends_an_answer_with_all_its_text() {
    let model = Tiny::default().model();
    with_engine(&model, 1, |serve| {
        serve.send(&start_with(
            1,
            &user("a"),
            (sampling(1000, 9), 9),
            &["\u{1}\u{2}\u{3}"],
        ));
        let answer = serve.finish(1);
        if answer.end == Some(Ok(FinishReason::Length)) {
            assert_eq!(answer.texts.len(), 9);
        }
        serve.send(&start_with(2, &user("a"), (sampling(0, 1), 1), &[]));
        let one = serve.finish(2);
        assert_eq!(one.texts.len(), 1);
    })
    .unwrap();
}

#[test]
fn what_serve_never_sends_ends_the_engine_with_its_code() {
    let model = Tiny::default().model();
    let ended = |bytes: &[u8]| {
        let result = with_engine(&model, 1, |serve| {
            serve.socket.write_all(bytes).unwrap();
            // The engine hangs up.
            let mut rest = Vec::new();
            let _ended = serve.socket.read_to_end(&mut rest);
        });
        result.unwrap_err().code()
    };
    assert_eq!(ended(&[255; 8]), "engine-ipc-frame");
    assert_eq!(ended(&frame(&[9, 9])), "engine-ipc-request");
    let mut twice = frame(&start_with(1, &user("a"), (sampling(0, 5), 0), &[]).encode());
    twice.extend_from_within(..);
    assert_eq!(ended(&twice), "engine-ipc-repeated-request");
}
