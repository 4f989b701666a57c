//! What an answer depends on: its request and the model, and nothing that runs, ran or waits beside
//! it; not what was kept of earlier prompts either.

use std::num::NonZeroUsize;

use messages::engine_ipc::{
    ChatMessage, ChatRole, ClientKey, Content, EngineEvent, EngineRefusal, EngineRequest, Form,
    Prompt, TokenBias,
};

use super::{Answer, changed, sampling, start_with, stranger, user, with_engine};
use crate::Model;
use crate::backend::Backend;
use crate::fixture::Tiny;
use crate::ipc::Desk as _;
use crate::model::with_runner;
use crate::scheduler::Scheduler;

fn roomy() -> Model {
    Tiny {
        context: 1024,
        ..Tiny::default()
    }
    .model()
}

/// Numbers in a fixed order.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn text(&mut self, letters: u64) -> String {
        let letter = |dice: &mut Self| char::from(b'a' + u8::try_from(dice.below(20)).unwrap());
        let length = 5 + self.below(letters);
        (0..length).map(|_| letter(self)).collect()
    }
}

/// A request with everything by which answers differ.
fn varied(dice: &mut Dice, request: u64, chat: Vec<ChatMessage>) -> EngineRequest {
    let mut drawn = sampling(u32::try_from(dice.below(3)).unwrap() * 700, 8);
    drawn.seed = dice.below(1 << 30);
    drawn.top_k = u32::try_from(dice.below(2)).unwrap() * 40;
    drawn.frequency_milli = i32::try_from(dice.below(2)).unwrap() * 600;
    let alternatives = Some(u8::try_from(dice.below(6)).unwrap());
    let form = dice.below(8) == 0;
    changed(start_with(request, &[], (drawn, 8), &["zq"]), |start| {
        start.prompt = Prompt::Chat {
            messages: chat,
            tools: Vec::new(),
        };
        start.alternatives = alternatives;
        start.biases = vec![TokenBias {
            token: 101,
            milli: 900,
        }];
        if form {
            start.form = Form::Object;
        }
    })
}

fn said(role: ChatRole, text: &str) -> ChatMessage {
    ChatMessage {
        role,
        content: Content(text.to_owned()),
        calls: Vec::new(),
    }
}

fn numbered(request: &EngineRequest, number: u64, client: ClientKey) -> EngineRequest {
    changed(request.clone(), |start| {
        start.request = number;
        start.client = client;
    })
}

/// What was said, less what is told of the way to it.
fn content(mut answer: Answer) -> Answer {
    answer.cached = 0;
    answer.prefilled.clear();
    answer
}

#[test]
fn an_answer_is_the_same_alone_beside_31_others_and_in_another_order() {
    let model = roomy();
    let mut dice = Dice(1);
    let requests: Vec<_> = (0..32)
        .map(|at| {
            let text = dice.text(60);
            varied(&mut dice, at, vec![said(ChatRole::User, &text)])
        })
        .collect();
    let mut alone = Vec::new();
    with_engine(&model, 1, |serve| {
        for (at, request) in (0..).zip(&requests) {
            serve.send(request);
            alone.push(content(serve.finish(at)));
        }
    })
    .unwrap();
    let tokens: usize = alone.iter().map(|answer| answer.texts.len()).sum();
    assert!(tokens > 100, "{tokens} tokens show little");
    let numbers: Vec<u64> = (0..32).collect();
    let backwards: Vec<u64> = numbers.iter().rev().copied().collect();
    for (order, threads) in [(&numbers, 2), (&backwards, 3)] {
        with_engine(&model, threads, |serve| {
            for at in order {
                serve.send(&requests[usize::try_from(*at).unwrap()]);
            }
            let mut together = serve.finish_all(&numbers);
            for (at, alone) in (0..).zip(&alone) {
                let found = content(together.remove(&at).unwrap());
                assert_eq!(&found, alone, "answer {at} with {threads} threads");
            }
        })
        .unwrap();
    }
}

#[test]
fn conversations_are_the_same_with_and_without_what_was_kept_of_them() {
    let model = roomy();
    let mut dice = Dice(2);
    let (mut asked, mut answers) = (Vec::new(), Vec::new());
    let mut cached = 0;
    for _ in 0..2 {
        with_engine(&model, 2, |serve| {
            let clients: Vec<ClientKey> = (0..3).map(|_| stranger()).collect();
            let mut chats = vec![Vec::new(); clients.len()];
            let mut before = vec![0; clients.len()];
            for _ in 0..4 {
                let mut numbers = Vec::new();
                for (client, chat) in clients.iter().zip(&mut chats) {
                    let text = dice.text(60);
                    chat.push(said(ChatRole::User, &text));
                    let number = u64::try_from(asked.len()).unwrap();
                    let request = varied(&mut dice, number, chat.clone());
                    serve.send(&numbered(&request, number, *client));
                    // Somebody asks the same; nothing is kept for them.
                    serve.send(&numbered(&request, number + 1_000_000, stranger()));
                    asked.push(request);
                    numbers.extend([number, number + 1_000_000]);
                }
                let mut ended = serve.finish_all(&numbers);
                for (at, pair) in numbers.chunks(2).enumerate() {
                    let (own, other) = (ended.remove(&pair[0]), ended.remove(&pair[1]));
                    let (own, other) = (own.unwrap(), other.unwrap());
                    assert_eq!(other.cached, 0);
                    // All of the prompt before, at least, as far as pages go.
                    assert!(own.cached >= before[at], "{} of {}", own.cached, before[at]);
                    assert!(own.cached < own.prompt && own.cached.is_multiple_of(32));
                    assert_eq!(own.prefilled.last(), Some(&own.prompt));
                    before[at] = own.prompt / 32 * 32;
                    cached += own.cached;
                    chats[at].push(said(ChatRole::Assistant, &own.texts.concat()));
                    assert_eq!(content(own.clone()), content(other));
                    answers.push(content(own));
                }
            }
        })
        .unwrap();
    }
    assert!(cached > 1000, "{cached} tokens from before show little");
    with_engine(&model, 1, |serve| {
        for (at, (request, answer)) in (0..).zip(asked.iter().zip(&answers)) {
            serve.send(&numbered(request, at, stranger()));
            assert_eq!(&content(serve.finish(at)), answer, "request {at}");
        }
    })
    .unwrap();
}

/// A prompt of more than two pages.
fn long(request: u64, client: ClientKey, grant: u32) -> EngineRequest {
    let text = "kept ".repeat(20);
    let start = start_with(request, &user(&text), (sampling(700, 40), grant), &[]);
    changed(start, |start| start.client = client)
}

#[test]
fn what_is_kept_of_an_answer_ends_before_the_token_that_was_not_computed() {
    let model = roomy();
    // Letters alone, which are a token each, so that the answer has its own tokens in a prompt.
    let letters = (100..120).map(|token| TokenBias {
        token,
        milli: 100_000,
    });
    let letters: Vec<TokenBias> = letters.collect();
    let continued = |client, text: &str, tokens| {
        let start = start_with(1, &[], (sampling(1000, tokens), tokens), &[]);
        changed(start, |start| {
            start.client = client;
            start.prompt = Prompt::Text(Content(text.to_owned()));
            start.biases = letters.clone();
        })
    };
    with_engine(&model, 1, |serve| {
        let text = "defg".repeat(15);
        // Sixty tokens and the answer's; its last one never was an input.
        for (tokens, kept) in [(4, 32), (5, 64)] {
            let client = stranger();
            serve.send(&continued(client, &text, tokens));
            let answer = serve.finish(1);
            assert_eq!(answer.prompt, 60);
            let longer = format!("{text}{}hij", answer.texts.concat());
            serve.send(&continued(client, &longer, 8));
            let found = serve.finish(1);
            assert_eq!((found.prompt, found.cached), (63 + tokens, kept));
            serve.send(&continued(stranger(), &longer, 8));
            assert_eq!(content(serve.finish(1)), content(found));
        }
    })
    .unwrap();
}

#[test]
fn nothing_is_kept_of_a_prompt_before_a_token_was_granted() {
    let model = roomy();
    with_engine(&model, 1, |serve| {
        let client = stranger();
        for (grant, found) in [(0, false), (0, false), (1, false), (0, true)] {
            serve.send(&long(1, client, grant));
            let EngineEvent::Admitted { cached_tokens, .. } = serve.event() else {
                panic!("not admitted");
            };
            assert_eq!(cached_tokens > 0, found, "{cached_tokens} from before");
            assert!(matches!(serve.event(), EngineEvent::Prefilled { .. }));
            serve.send(&EngineRequest::Cancel { request: 1 });
            serve.finish(1);
        }
    })
    .unwrap();
}

#[test]
fn a_client_that_is_gone_leaves_nothing_not_even_of_an_answer_that_ends_later() {
    let model = roomy();
    with_engine(&model, 1, |serve| {
        let (client, other) = (stranger(), stranger());
        let cached = |serve: &mut super::Serve, client| {
            serve.send(&long(1, client, 40));
            serve.finish(1).cached
        };
        assert_eq!(cached(serve, client), 0);
        assert_eq!(cached(serve, other), 0);
        assert!(cached(serve, client) > 0);
        serve.send(&EngineRequest::Forget { client });
        assert_eq!(cached(serve, client), 0);
        serve.send(&long(2, client, 1));
        serve.send(&EngineRequest::Forget { client });
        serve.grant(2, 40);
        serve.finish(2);
        assert_eq!(cached(serve, client), 0);
        assert!(cached(serve, other) > 0, "the other client is still there");
    })
    .unwrap();
}

/// Takes a request and computes to its end; how many tokens were kept from before.
fn computed(
    scheduler: &mut Scheduler<'_, impl Backend>,
    request: EngineRequest,
) -> Result<u32, EngineRefusal> {
    let cached = match scheduler.take(request).unwrap() {
        Some(EngineEvent::Admitted { cached_tokens, .. }) => cached_tokens,
        Some(EngineEvent::Refused { refusal, .. }) => return Err(refusal),
        other => panic!("{other:?}"),
    };
    while !scheduler.is_idle() {
        scheduler.sample().unwrap();
        scheduler.advance().unwrap();
    }
    Ok(cached)
}

#[test]
fn live_answers_take_the_place_of_what_is_kept_and_are_never_refused_for_it() {
    let model = roomy();
    let threads = NonZeroUsize::MIN;
    with_runner(&model.weights, model.kernels, threads, |runner| {
        // Two answers fit, of five pages each; five pages are kept of all and two of each client.
        let mut scheduler = Scheduler::within(&model.language, runner, 10);
        let clients = [stranger(), stranger(), stranger()];
        for client in clients {
            assert_eq!(computed(&mut scheduler, long(1, client, 40)), Ok(0));
        }
        // Six would be too many: each in its turn finds one page and makes the next one lose one.
        for client in clients {
            assert_eq!(computed(&mut scheduler, long(1, client, 40)), Ok(32));
        }
        // Two live answers take everything; a third has no room.
        for request in [1, 2] {
            let waits = long(request, stranger(), 0);
            assert_eq!(computed(&mut scheduler, waits), Ok(0));
        }
        let third = computed(&mut scheduler, long(3, clients[2], 0));
        assert_eq!(third, Err(EngineRefusal::Busy));
        scheduler
            .take(EngineRequest::Cancel { request: 1 })
            .unwrap();
        assert_eq!(computed(&mut scheduler, long(3, clients[2], 0)), Ok(0));
    });
}
