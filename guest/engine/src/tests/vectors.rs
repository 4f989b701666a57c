//! Vectors over the socket: those of transformers, in company and cut into steps; what is refused;
//! when they are told.

use std::fs::File;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use messages::engine_ipc::{
    Content, Embed, EngineEvent, EngineRefusal, EngineRequest, Input, TokenIds,
};
use model_format::sentence;
use protocol::receipt::FinishReason;

use super::{Model, Serve, start, user, with_engine};
use crate::fixture::Tiny;
use crate::gguf::ModelFile;
use crate::model::{Naming, Pooling, Shape, TensorSource as _, Weights};
use crate::refusal::ModelError;
use crate::safetensors::WeightFiles;

/// What `tests/fixtures/models/make.py` makes vectors of.
const LENGTHS: [u32; 3] = [1, 7, 24];
/// Of the greatest element.
const TOLERANCE: f32 = 1e-4;

fn fixture(family: &str, file: &str) -> File {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models");
    File::open(models.join(family).join(file)).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks::<4>();
    floats
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

fn read(family: &str, file: &str) -> Vec<u8> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fixture(family, file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn from_gguf(family: &str) -> Weights {
    let mut file = ModelFile::open(fixture(family, "model.gguf")).unwrap();
    let shape = Shape::read(&file).unwrap();
    Weights::read(&mut file, shape).unwrap()
}

fn from_safetensors(family: &str) -> Weights {
    let mut shape = Shape::from_config(&read(family, "config.json")).unwrap();
    let pooling = sentence::pooling(&read(family, "1_Pooling/config.json")).unwrap();
    shape.pooling = Some(Pooling::described(pooling.mode));
    let mut files = WeightFiles::open(vec![fixture(family, "model.safetensors")]).unwrap();
    assert_ne!(files.naming(), Naming::Transformers);
    Weights::read(&mut files, shape).unwrap()
}

/// The first tokens of what the fixtures' vectors are made of.
fn prompt(length: u32) -> Input {
    Input::Tokens(TokenIds(
        (0..length).map(|at| (at * 37 + 3) % 260).collect(),
    ))
}

fn embed(request: u64, inputs: Vec<Input>) -> EngineRequest {
    EngineRequest::Embed(Embed {
        request,
        inputs,
        dimensions: None,
    })
}

fn text(text: &str) -> Input {
    Input::Text(Content(text.to_owned()))
}

/// What came of a request.
#[derive(Debug, Default)]
struct Told {
    tokens: u32,
    prefilled: Vec<u32>,
    vectors: Vec<Vec<u8>>,
}

/// Reads until the end of one request, all others' events aside.
fn told(serve: &mut Serve, request: u64) -> Result<Told, EngineRefusal> {
    let mut told = Told::default();
    loop {
        match serve.event() {
            EngineEvent::Admitted {
                request: of,
                prompt_tokens,
                cached_tokens,
                calls,
            } if of == request => {
                assert_eq!((cached_tokens, calls), (0, None));
                told.tokens = prompt_tokens;
            }
            EngineEvent::Prefilled {
                request: of,
                prompt_tokens,
            } if of == request => told.prefilled.push(prompt_tokens),
            EngineEvent::Embedded {
                request: of,
                vector,
            } if of == request => told.vectors.push(vector.0),
            EngineEvent::Finished {
                request: of,
                reason,
                completion_tokens,
            } if of == request => {
                assert_eq!((reason, completion_tokens), (FinishReason::Stop, 0));
                return Ok(told);
            }
            EngineEvent::Refused {
                request: of,
                refusal,
                ..
            } if of == request => return Err(refusal),
            _ => {}
        }
    }
}

fn vectors(model: &Model, threads: usize, inputs: Vec<Input>) -> Result<Told, EngineRefusal> {
    let mut found = Err(EngineRefusal::Busy);
    with_engine(model, threads, |serve| {
        serve.send(&embed(1, inputs));
        serve.grant(1, 1);
        found = told(serve, 1);
    })
    .unwrap();
    found
}

/// A tiny model that pools as llama.cpp's number says.
fn tiny(pooling: u32) -> Tiny {
    Tiny {
        pooling: Some(pooling),
        matrices: GgmlDType::F32,
        embedding: GgmlDType::F32,
        ..Tiny::default()
    }
}

fn check(family: &str) {
    let expected = floats(&read(family, "vectors.f32"));
    let width = expected.len() / LENGTHS.len();
    for weights in [from_gguf(family), from_safetensors(family)] {
        // The vocabulary is of no matter here; the shape says how vectors are made.
        let mut model = tiny(3).model();
        model.language.shape = weights.shape;
        model.weights = weights;
        let found = vectors(&model, 2, LENGTHS.map(prompt).to_vec()).unwrap();
        assert_eq!(found.vectors.len(), LENGTHS.len());
        for (found, expected) in found.vectors.iter().zip(expected.chunks_exact(width)) {
            let found = floats(found);
            let pairs = || found.iter().zip(expected);
            let most = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let error = pairs().fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(error / most < TOLERANCE, "{family}: {error} of {most}");
            assert_eq!(found.len(), width);
        }
    }
}

#[test]
fn qwen3_embedding_has_the_vectors_of_transformers() {
    check("qwen3-embedding");
}

#[test]
fn bert_has_the_vectors_of_transformers() {
    check("bert");
}

#[test]
fn an_encoder_that_nobody_says_the_pooling_of_is_refused() {
    let shape = Shape::from_config(&read("bert", "config.json")).unwrap();
    let mut files = WeightFiles::open(vec![fixture("bert", "model.safetensors")]).unwrap();
    let refused = Weights::read(&mut files, shape).err();
    let member = "pooling_mode";
    assert_eq!(refused, Some(ModelError::Config { member }));
}

#[test]
fn an_encoders_vector_has_the_same_bits_alone_and_among_others_and_over_two_spans() {
    let model = Model::read(fixture("bert", "model.gguf")).unwrap();
    let lengths = [5, 300, 1, 40, 512];
    let alone = |threads| {
        let of = |length| {
            vectors(&model, threads, vec![prompt(length)])
                .unwrap()
                .vectors
        };
        lengths.into_iter().flat_map(of).collect::<Vec<_>>()
    };
    let together = vectors(&model, 2, lengths.map(prompt).to_vec()).unwrap();
    assert_eq!(together.vectors, alone(1));
    assert_eq!(together.vectors, alone(3));
    let long = vectors(&model, 1, vec![prompt(513)]).map(|told| told.tokens);
    assert_eq!(long, Err(EngineRefusal::ContextTooLong));
}

#[test]
fn a_text_of_an_encoder_has_the_tokens_of_transformers() {
    #[derive(serde::Deserialize)]
    struct Split {
        text: String,
        tokens: Vec<u32>,
    }
    let model = Model::read(fixture("bert", "model.gguf")).unwrap();
    let all: Vec<Split> = serde_json::from_slice(&read("bert", "texts.json")).unwrap();
    assert_eq!(all.len(), 20);
    for Split { text: one, tokens } in all {
        let found = model.language.tokenizer.encode_text(&one, 512).unwrap();
        assert_eq!(found.to_vec(), tokens, "{one:?}");
        let told = |input| vectors(&model, 1, vec![input]).unwrap().vectors;
        assert_eq!(told(text(&one)), told(Input::Tokens(TokenIds(tokens))));
    }
}

#[test]
fn a_vector_has_the_same_bits_alone_and_among_others_and_however_its_text_is_cut() {
    for pooling in [1, 2, 3] {
        let model = tiny(pooling).model();
        let alone = |length| {
            let told = vectors(&model, 1, vec![prompt(length)]).unwrap();
            told.vectors.into_iter().next().unwrap()
        };
        let lengths = [5, 90, 1, 1, 40, 31];
        let alone: Vec<_> = lengths.into_iter().map(alone).collect();
        let together = vectors(&model, 2, lengths.map(prompt).to_vec()).unwrap();
        assert_eq!(together.vectors, alone, "{pooling}");
        assert_eq!(together.tokens, 168);
        assert_eq!(together.prefilled.last(), Some(&168));
        // What is to come changes nothing of the first position.
        assert_eq!(alone[0] == alone[1], pooling == 2);
        assert_eq!(alone[2], alone[3]);
    }
}

#[test]
fn requests_are_computed_in_turn_and_told_when_they_are_granted() {
    let model = tiny(3).model();
    with_engine(&model, 1, |serve| {
        serve.send(&embed(1, vec![prompt(200); 20]));
        serve.send(&embed(2, vec![prompt(4)]));
        serve.send(&EngineRequest::Grant {
            request: 2,
            tokens: 64,
        });
        // The short one does not wait for the long one, which has no grant.
        assert_eq!(told(serve, 2).unwrap().vectors.len(), 1);
        while !matches!(
            serve.event(),
            EngineEvent::Prefilled {
                request: 1,
                prompt_tokens: 4000
            }
        ) {}
        assert!(serve.is_silent(), "told without a grant");
        serve.grant(1, 1);
        assert_eq!(told(serve, 1).unwrap().vectors.len(), 20);
    })
    .unwrap();
}

#[test]
fn a_cancelled_request_is_told_no_further_and_leaves_nothing() {
    let model = tiny(3).model();
    with_engine(&model, 1, |serve| {
        serve.send(&embed(1, vec![prompt(200); 100]));
        serve.send(&EngineRequest::Cancel { request: 1 });
        loop {
            match serve.event() {
                EngineEvent::Finished { reason, .. } => {
                    assert_eq!(reason, FinishReason::Cancelled);
                    break;
                }
                event => assert!(!matches!(event, EngineEvent::Embedded { .. })),
            }
        }
        serve.grant(1, 1);
        assert!(serve.is_silent());
        serve.send(&embed(1, vec![prompt(3)]));
        serve.grant(1, 1);
        assert_eq!(told(serve, 1).unwrap().tokens, 3);
    })
    .unwrap();
}

#[test]
fn a_text_has_the_tokens_that_the_model_wants_around_it() {
    let model = tiny(3).model();
    let closed = Tiny {
        closes: true,
        ..tiny(3)
    };
    let closed = closed.model();
    let of = |model: &Model, input| vectors(model, 1, vec![input]).unwrap();
    let open = of(&model, text("abc<|e|>"));
    let with_end = of(&closed, text("abc"));
    // "abc" is one token; the end is token 259.
    assert_eq!((open.tokens, with_end.tokens), (6, 2));
    let named = Input::Tokens(TokenIds(vec![257, 259]));
    assert_eq!(with_end.vectors, of(&closed, named).vectors);
}

#[test]
fn what_cannot_be_computed_is_refused_by_name() {
    let model = tiny(3).model();
    let of = |inputs| vectors(&model, 1, inputs).map(|told| told.tokens);
    let unknown = Input::Tokens(TokenIds(vec![3, 260]));
    assert_eq!(of(vec![prompt(256)]), Ok(256));
    assert_eq!(
        of(vec![prompt(3), prompt(257)]),
        Err(EngineRefusal::ContextTooLong)
    );
    let long = text(&"x".repeat(257));
    assert_eq!(of(vec![long]), Err(EngineRefusal::ContextTooLong));
    assert_eq!(of(vec![unknown]), Err(EngineRefusal::InputToken));
    with_engine(&model, 1, |serve| {
        for (dimensions, expected) in [(96, None), (95, Some(EngineRefusal::Dimensions))] {
            serve.send(&EngineRequest::Embed(Embed {
                request: 1,
                inputs: vec![prompt(1)],
                dimensions: Some(dimensions),
            }));
            serve.grant(1, 1);
            assert_eq!(told(serve, 1).err(), expected);
        }
        serve.send(&start(2, &user("hello"), 5));
        assert_eq!(told(serve, 2).err(), Some(EngineRefusal::EmbedsOnly));
    })
    .unwrap();
    let answers = Tiny::default().model();
    let refused = vectors(&answers, 1, vec![prompt(3)]);
    assert_eq!(refused.err(), Some(EngineRefusal::EmbedsNothing));
}

#[test]
fn a_text_whose_numbers_leave_their_range_fails_alone() {
    let poisoned = Tiny {
        poisoned: Some(200),
        ..tiny(3)
    };
    let model = poisoned.model();
    let bad = Input::Tokens(TokenIds(vec![3, 200]));
    with_engine(&model, 1, |serve| {
        serve.send(&embed(1, vec![prompt(2), bad, prompt(3)]));
        serve.send(&embed(2, vec![Input::Tokens(TokenIds(vec![1, 2, 3]))]));
        serve.grant(2, 1);
        assert_eq!(told(serve, 2).unwrap().tokens, 3);
    })
    .unwrap();
    let bad = Input::Tokens(TokenIds(vec![3, 200]));
    let failed = vectors(&model, 1, vec![prompt(2), bad]);
    assert_eq!(failed.err(), Some(EngineRefusal::Numeric));
}
