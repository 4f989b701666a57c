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
        prompt: chat(std::vec![message(ChatRole::User, text)], Vec::new()),
        stops: std::vec![Content("\n".to_string())],
        biases: std::vec![shift(7, -100_000), shift(9, 1)],
        alternatives: Some(20),
        form: Form::Free,
    }
}

fn chat(messages: Vec<ChatMessage>, tools: Vec<Tool>) -> Prompt {
    Prompt::Chat { messages, tools }
}

fn message(role: ChatRole, text: &str) -> ChatMessage {
    ChatMessage {
        role,
        content: Content(text.to_string()),
        calls: Vec::new(),
    }
}

fn tool(name: &str) -> Tool {
    Tool {
        name: ToolName::new(name.to_string()).unwrap(),
        description: Some(Content("what it does".to_string())),
        parameters: None,
    }
}

/// A message in which the model calls a function twice.
fn calling() -> ChatMessage {
    let call = Call {
        name: tool("add").name,
        arguments: Content("{}".to_string()),
    };
    ChatMessage {
        calls: std::vec![call.clone(), call],
        ..message(ChatRole::Assistant, "")
    }
}

fn answering(call: u16) -> ChatMessage {
    message(ChatRole::Tool { call }, "3")
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
        EngineRequest::Start(Start {
            prompt: chat(
                std::vec![calling(), answering(1), answering(0)],
                std::vec![tool("add"), tool("a-b_C9")],
            ),
            form: Form::Call(Some(1)),
            ..start("hello")
        }),
        EngineRequest::Grant {
            request: 1,
            tokens: 64,
        },
        EngineRequest::Cancel { request: 1 },
        EngineRequest::Count,
        EngineRequest::Forget {
            client: ClientKey([0xc1; 16]),
        },
        embed(std::vec![text("Once"), tokens(2)]),
        EngineRequest::Embed(Embed {
            request: 1,
            inputs: std::vec![tokens(1)],
            dimensions: Some(1024),
        }),
    ] {
        let bytes = request.encode();
        assert_eq!(EngineRequest::decode(&bytes), Ok(request));
        for end in 0..bytes.len() {
            assert!(EngineRequest::decode(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn figures_of_steps_round_trip_and_are_whole() {
    let event = EngineEvent::Steps(StepFigures {
        crossings: 2,
        bytes: 12_544,
        allocations: 0,
        launches: 1,
    });
    let bytes = event.encode();
    assert_eq!(EngineEvent::decode(&bytes), Ok(event));
    for end in 0..bytes.len() {
        assert!(EngineEvent::decode(&bytes[..end]).is_err());
    }
}

fn admitted(calls: Option<CallSyntax>) -> EngineEvent {
    EngineEvent::Admitted {
        request: 1,
        prompt_tokens: 42,
        cached_tokens: 32,
        calls,
    }
}

#[test]
fn events_round_trip() {
    let text = Content("Paris".to_string());
    for event in [
        EngineEvent::Loaded {
            context_tokens: 8192,
        },
        admitted(None),
        admitted(Some(CallSyntax::Tagged)),
        admitted(Some(CallSyntax::Listed)),
        admitted(Some(CallSyntax::Bare)),
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
        embedded(&[0.5, -1.0]),
        EngineEvent::Counted(Holdings {
            answers: 1,
            pages: 728,
            reserved: 5,
            kept: 3,
            held: 4,
        }),
    ] {
        assert_eq!(EngineEvent::decode(&event.encode()), Ok(event));
    }
}

fn embed(inputs: Vec<Input>) -> EngineRequest {
    EngineRequest::Embed(Embed {
        request: 1,
        inputs,
        dimensions: None,
    })
}

fn text(text: &str) -> Input {
    Input::Text(Content(text.to_string()))
}

fn tokens(count: u32) -> Input {
    Input::Tokens(TokenIds((0..count).collect()))
}

fn embedded(elements: &[f32]) -> EngineEvent {
    let bytes = elements.iter().flat_map(|element| element.to_le_bytes());
    EngineEvent::Embedded {
        request: 1,
        vector: Vector(bytes.collect()),
    }
}

#[test]
fn refuses_no_input_an_empty_one_and_more_than_the_limits() {
    let decoded = |inputs| EngineRequest::decode(&embed(inputs).encode());
    let most = u32::try_from(MAX_PROMPT_BYTES / 4).unwrap();
    for inputs in [
        std::vec![text("a"); MAX_INPUTS],
        std::vec![text(&"a".repeat(MAX_PROMPT_BYTES))],
        std::vec![tokens(most)],
        std::vec![text("aaaa"), tokens(most - 1)],
    ] {
        assert!(embed(inputs.clone()).encode().len() <= MAX_FRAME);
        assert!(decoded(inputs).is_ok());
    }
    for inputs in [
        Vec::new(),
        std::vec![text("a"), text("")],
        std::vec![tokens(0)],
        std::vec![text("a"); MAX_INPUTS + 1],
        std::vec![text("a"), text(&"a".repeat(MAX_PROMPT_BYTES))],
        std::vec![tokens(most + 1)],
        std::vec![text("a"), tokens(most)],
    ] {
        assert!(decoded(inputs).is_err());
    }
}

#[test]
fn refuses_a_vector_without_elements_with_part_of_one_or_with_none_that_is_a_number() {
    let refused = Err(DecodeError::OutOfRange { field: "vector" });
    let longest = std::vec![1.0; MAX_VECTOR_BYTES / 4];
    assert!(EngineEvent::decode(&embedded(&longest).encode()).is_ok());
    for bad in [&[][..], &[1.0, f32::NAN], &[f32::INFINITY]] {
        assert_eq!(
            EngineEvent::decode(&embedded(bad).encode()),
            refused.clone()
        );
    }
    let part = EngineEvent::Embedded {
        request: 1,
        vector: Vector(std::vec![0; 6]),
    };
    assert_eq!(EngineEvent::decode(&part.encode()), refused);
    let longer = std::vec![1.0; MAX_VECTOR_BYTES / 4 + 1];
    assert!(EngineEvent::decode(&embedded(&longer).encode()).is_err());
}

#[test]
fn refuses_a_prompt_of_which_nothing_is_computed() {
    for (prompt_tokens, cached_tokens) in [(32, 32), (32, 64), (0, 0)] {
        let event = EngineEvent::Admitted {
            request: 1,
            prompt_tokens,
            cached_tokens,
            calls: None,
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
fn refuses_functions_that_share_a_name_and_too_many() {
    let with = |tools| Start {
        prompt: chat(std::vec![message(ChatRole::User, "hi")], tools),
        ..start("hello")
    };
    let field = "tools";
    let doubled = with(std::vec![tool("add"), tool("add")]);
    assert_eq!(decoded(doubled), Err(DecodeError::OutOfRange { field }));
    let many = |count| (0..count).map(|at| tool(&std::format!("f{at}"))).collect();
    assert!(decoded(with(many(MAX_TOOLS))).is_ok());
    assert!(decoded(with(many(MAX_TOOLS + 1))).is_err());
}

#[test]
fn refuses_an_answer_to_a_call_that_was_not_made_before_it() {
    let with = |messages| Start {
        prompt: chat(messages, Vec::new()),
        ..start("hello")
    };
    let refused = Err(DecodeError::OutOfRange { field: "chat role" });
    assert!(decoded(with(std::vec![calling(), answering(1)])).is_ok());
    assert_eq!(
        decoded(with(std::vec![calling(), answering(2)])),
        refused.clone()
    );
    assert_eq!(decoded(with(std::vec![answering(0), calling()])), refused);
}

#[test]
fn refuses_to_have_a_function_called_that_is_not_offered() {
    let with = |function| Start {
        prompt: chat(
            std::vec![message(ChatRole::User, "hi")],
            std::vec![tool("add")],
        ),
        form: Form::Call(function),
        ..start("hello")
    };
    let refused = Err(DecodeError::OutOfRange { field: "form" });
    assert!(decoded(with(Some(0))).is_ok());
    assert_eq!(decoded(with(Some(1))), refused.clone());
    let text = Start {
        prompt: Prompt::Text(Content("Once".to_string())),
        ..with(None)
    };
    assert_eq!(decoded(text), refused);
}

#[test]
fn a_function_has_a_name_that_no_other_text_can_be() {
    for name in [
        "",
        "a b",
        "a.b",
        "é",
        "<|im_end|>",
        &"x".repeat(MAX_TOOL_NAME + 1),
    ] {
        assert_eq!(ToolName::new(name.to_string()), None, "{name}");
    }
    assert!(ToolName::new("x".repeat(MAX_TOOL_NAME)).is_some());
}

#[test]
fn the_largest_chat_that_is_taken_fits_a_frame() {
    const SPENT: usize = MAX_MESSAGES * MAX_CALLS * 2;
    let call = Call {
        name: ToolName::new("x".repeat(MAX_TOOL_NAME)).unwrap(),
        arguments: Content("{}".to_string()),
    };
    let calling = ChatMessage {
        calls: std::vec![call; MAX_CALLS],
        ..message(ChatRole::Assistant, "")
    };
    let mut messages = std::vec![calling; MAX_MESSAGES];
    messages[0].content = Content("x".repeat(MAX_PROMPT_BYTES - SPENT));
    let start = Start {
        prompt: chat(
            messages,
            (0..MAX_TOOLS)
                .map(|at| tool(&std::format!("{at:0>64}")))
                .collect(),
        ),
        form: Form::Schema(Content(" ".repeat(MAX_SCHEMA_BYTES))),
        ..start("hello")
    };
    assert!(EngineRequest::Start(start).encode().len() <= MAX_FRAME);
}

#[test]
fn content_never_prints() {
    let printed = std::format!("{:?}", start("the secret"));
    assert!(!printed.contains("secret"));
    assert!(printed.contains("Content(10 bytes)"));
    let printed = std::format!("{:?}", tool("secret"));
    assert!(!printed.contains("secret"));
    let bytes = b"secret".to_vec();
    let printed = std::format!("{:?}", Candidate { micro: 0, bytes });
    assert_eq!(printed, "Candidate(6 bytes)");
    let printed = std::format!(
        "{:?}{:?}",
        embed(std::vec![text("secret"), tokens(2)]),
        embedded(&[2.5])
    );
    assert!(printed.contains("TokenIds(2)") && printed.contains("Vector(4 bytes)"));
    assert!(!printed.contains("secret") && !printed.contains("2.5"));
    let printed = std::format!("{:?}", ClientKey([0xc1; 16]));
    assert_eq!(printed, "ClientKey");
}
