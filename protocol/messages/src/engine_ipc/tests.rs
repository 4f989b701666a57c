//! What the socket's messages promise.

use super::*;
use protocol::receipt::Sampling;
use std::string::ToString;

/// Greedy, sixteen tokens.
const GREEDY: Sampling = Sampling {
    temperature_milli: 0,
    top_p_milli: 1000,
    top_k: 0,
    min_p_milli: 0,
    presence_milli: 0,
    frequency_milli: 0,
    seed: 0,
    max_tokens: 16,
};

fn start(text: &str) -> Start {
    Start {
        request: 1,
        client: ClientKey([0xc1; 16]),
        sampling: GREEDY,
        grant: 64,
        prompt: Prompt::Chat(std::vec![ChatMessage {
            role: ChatRole::User,
            content: Content(text.to_string()),
        }]),
        stops: std::vec![Content("\n".to_string())],
        biases: std::vec![shift(7, -100_000), shift(9, 1)],
        alternatives: Some(20),
        form: Form::Free,
    }
}

fn decoded(start: Start) -> Result<EngineRequest, DecodeError> {
    EngineRequest::decode(&EngineRequest::Start(start).encode())
}

fn shift(token: u32, milli: i32) -> TokenBias {
    TokenBias { token, milli }
}

#[test]
fn refuses_shifts_out_of_order_out_of_range_and_too_many() {
    for bad in [
        std::vec![shift(7, 1), shift(7, 2)],
        std::vec![shift(8, 1), shift(7, 2)],
        std::vec![shift(7, 100_001)],
        std::vec![shift(7, i32::MIN)],
        (0..301).map(|token| shift(token, 1)).collect(),
    ] {
        let start = Start {
            biases: bad,
            ..start("hello")
        };
        let refused = DecodeError::OutOfRange { field: "biases" };
        assert_eq!(decoded(start), Err(refused));
    }
}

#[test]
fn requests_round_trip_and_no_prefix_is_taken() {
    for request in [
        EngineRequest::Start(start("hello")),
        EngineRequest::Start(Start {
            alternatives: None,
            form: Form::Object,
            ..start("hello")
        }),
        EngineRequest::Start(Start {
            prompt: Prompt::Text(Content("Once".to_string())),
            ..start("hello")
        }),
        EngineRequest::Start(Start {
            form: Form::Schema(Content("{}".to_string())),
            ..start("hello")
        }),
        EngineRequest::Grant {
            request: 1,
            tokens: 64,
        },
        EngineRequest::Cancel { request: 1 },
        EngineRequest::Forget {
            client: ClientKey([0xc1; 16]),
        },
    ] {
        let bytes = request.encode();
        assert_eq!(EngineRequest::decode(&bytes), Ok(request));
        for end in 0..bytes.len() {
            assert!(EngineRequest::decode(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn events_round_trip() {
    let text = Content("Paris".to_string());
    for event in [
        EngineEvent::Loaded {
            context_tokens: 8192,
        },
        EngineEvent::Admitted {
            request: 1,
            prompt_tokens: 42,
            cached_tokens: 32,
        },
        EngineEvent::Prefilled {
            request: 1,
            prompt_tokens: 42,
        },
        EngineEvent::Token {
            request: 1,
            text: text.clone(),
            candidates: Vec::new(),
        },
        EngineEvent::Token {
            request: 1,
            text,
            candidates: std::vec![candidate(256); 21],
        },
        EngineEvent::Finished {
            request: 1,
            reason: FinishReason::Stop,
            completion_tokens: 8,
        },
        EngineEvent::Refused {
            request: 1,
            refusal: EngineRefusal::Schema,
            keyword: Content("pattern".to_string()),
        },
    ] {
        assert_eq!(EngineEvent::decode(&event.encode()), Ok(event));
    }
}

#[test]
fn refuses_a_prompt_of_which_nothing_is_computed() {
    for (prompt_tokens, cached_tokens) in [(32, 32), (32, 64), (0, 0)] {
        let event = EngineEvent::Admitted {
            request: 1,
            prompt_tokens,
            cached_tokens,
        };
        let field = "cached tokens";
        let refused = Err(DecodeError::OutOfRange { field });
        assert_eq!(EngineEvent::decode(&event.encode()), refused);
    }
}

fn candidate(bytes: usize) -> Candidate {
    Candidate {
        micro: u32::MAX,
        bytes: std::vec![0xff; bytes],
    }
}

#[test]
fn refuses_more_candidates_and_longer_ones_than_are_asked_for() {
    let start = Start {
        alternatives: Some(21),
        ..start("hello")
    };
    let field = "alternatives";
    assert_eq!(decoded(start), Err(DecodeError::OutOfRange { field }));
    for candidates in [std::vec![candidate(1); 22], std::vec![candidate(257)]] {
        let event = EngineEvent::Token {
            request: 1,
            text: Content(String::new()),
            candidates,
        };
        assert!(EngineEvent::decode(&event.encode()).is_err());
    }
}

#[test]
fn refuses_a_schema_and_a_keyword_over_their_limits() {
    let start = Start {
        form: Form::Schema(Content(" ".repeat(MAX_SCHEMA_BYTES + 1))),
        ..start("hello")
    };
    assert!(decoded(start).is_err());
    let event = EngineEvent::Refused {
        request: 1,
        refusal: EngineRefusal::Schema,
        keyword: Content("k".repeat(MAX_KEYWORD_BYTES + 1)),
    };
    assert!(EngineEvent::decode(&event.encode()).is_err());
}

#[test]
fn content_never_prints() {
    let printed = std::format!("{:?}", start("the secret"));
    assert!(!printed.contains("secret"));
    assert!(printed.contains("Content(10 bytes)"));
    let bytes = b"secret".to_vec();
    let printed = std::format!("{:?}", Candidate { micro: 0, bytes });
    assert_eq!(printed, "Candidate(6 bytes)");
    let printed = std::format!("{:?}", ClientKey([0xc1; 16]));
    assert_eq!(printed, "ClientKey");
}
