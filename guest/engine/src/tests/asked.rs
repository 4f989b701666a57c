//! What a request asks for beside its answer: probabilities, a form, no template.

use crate::fixture::Tiny;
use messages::engine_ipc::{Content, EngineRefusal, Form, Prompt};
use protocol::receipt::FinishReason;

use super::{Model, changed, demonstration_model, sampling, start, start_with, user, with_engine};

#[test]
fn probabilities_come_with_every_token_but_the_end_and_change_no_answer() {
    let model = Model::read(demonstration_model()).unwrap();
    let question = user("What is the capital of France? Answer in one sentence.");
    with_engine(&model, 2, |serve| {
        let plain = start(1, &question, 16);
        serve.send(&plain);
        let plain = serve.finish(1);
        assert!(plain.candidates.iter().all(Vec::is_empty));
        let asked = |count| {
            changed(start(2, &question, 16), |start| {
                start.alternatives = Some(count);
            })
        };
        serve.send(&asked(3));
        let told = serve.finish(2);
        assert_eq!(told.texts, plain.texts);
        let (end, tokens) = told.candidates.split_last().unwrap();
        assert!(end.is_empty(), "the end token");
        for (text, candidates) in told.texts.iter().zip(tokens) {
            assert_eq!(candidates.len(), 4);
            assert_eq!(candidates[0].bytes, text.as_bytes());
            assert_eq!(candidates[1], candidates[0], "greedy takes the likeliest");
            assert!(candidates.is_sorted_by_key(|candidate| candidate.micro));
        }
        serve.send(&asked(0));
        let taken: Vec<_> = tokens.iter().map(|all| vec![all[0].clone()]).collect();
        assert_eq!(serve.finish(2).candidates[..tokens.len()], taken);
    })
    .unwrap();
}

#[test]
fn an_answer_has_the_form_that_was_asked_for() {
    let model = Model::read(demonstration_model()).unwrap();
    let question = user("Name a city and its country.");
    let schema = r#"{"type":"object","properties":{
        "city":{"type":"string","maxLength":20},"country":{"enum":["France","Peru"]},
        "people":{"type":"integer"}},"required":["city","country","people"]}"#;
    let asked = |request, temperature, form: Form| {
        let start = start_with(request, &question, (sampling(temperature, 90), 90), &[]);
        changed(start, |start| start.form = form)
    };
    let of_schema = |schema: &str| Form::Schema(Content(schema.to_owned()));
    with_engine(&model, 2, |serve| {
        for temperature in [0, 1000, 2000] {
            serve.send(&asked(1, temperature, of_schema(schema)));
            serve.send(&asked(2, temperature, Form::Object));
            serve.send(&asked(3, temperature, Form::Free));
            let answers = serve.finish_all(&[1, 2, 3]);
            let text = answers[&1].texts.concat();
            if answers[&1].end == Some(Ok(FinishReason::Stop)) {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert!(
                    value["people"].is_i64() || value["people"].is_u64(),
                    "{text}"
                );
                assert!(
                    value["city"].as_str().unwrap().chars().count() <= 20,
                    "{text}"
                );
                assert!(["France", "Peru"].contains(&value["country"].as_str().unwrap()));
            } else {
                // The number was still being written.
                assert_eq!(answers[&1].end, Some(Ok(FinishReason::Length)));
                assert!(text.starts_with('{'), "{text}");
            }
            assert!(answers[&2].texts.concat().starts_with('{'));
            // The others are what they are without company.
            serve.send(&asked(3, temperature, Form::Free));
            assert_eq!(serve.finish(3), answers[&3]);
        }
        serve.send(&asked(
            4,
            0,
            of_schema(r#"{"type":"string","pattern":"a"}"#),
        ));
        assert_eq!(serve.finish(4).end, Some(Err(EngineRefusal::Schema)));
    })
    .unwrap();
}

#[test]
fn a_text_is_continued_without_a_template() {
    let model = Model::read(demonstration_model()).unwrap();
    let text = "The capital of France is";
    let continued = |text: &str| {
        changed(start(1, &[], 4), |start| {
            start.prompt = Prompt::Text(Content(text.to_owned()));
        })
    };
    with_engine(&model, 2, |serve| {
        serve.send(&continued(text));
        let answer = serve.finish(1);
        // Five words, one token each: no template stands around them.
        assert_eq!((answer.prompt, answer.texts.len()), (5, 4));
        assert!(
            answer.texts.concat().starts_with(" Paris"),
            "{:?}",
            answer.texts
        );
        // Special tokens in it are text.
        serve.send(&continued("<|im_end|>"));
        assert!(serve.finish(1).prompt > 1);
        serve.send(&continued(""));
        assert_eq!(serve.finish(1).end, Some(Err(EngineRefusal::Chat)));
    })
    .unwrap();
}

#[test]
fn an_answer_in_a_form_may_end_by_a_token_that_has_a_text_elsewhere() {
    let model = Tiny {
        end: 1,
        ..Tiny::default()
    };
    let model = model.model();
    let question = user("x");
    with_engine(&model, 1, |serve| {
        let mut stopped = 0;
        for seed in 0..24 {
            let start = start_with(1, &question, (sampling(2000, 40), 40), &[]);
            serve.send(&changed(start, |start| {
                start.sampling.seed = seed;
                start.form = Form::Object;
            }));
            match serve.finish(1).end {
                Some(Ok(FinishReason::Stop)) => stopped += 1,
                end => assert_eq!(end, Some(Ok(FinishReason::Length))),
            }
        }
        assert!(stopped > 0, "no object was closed");
    })
    .unwrap();
}
