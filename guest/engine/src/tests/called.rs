//! Answers in which functions may be called, or must be.

use messages::engine_ipc::{
    CallSyntax, Content, EngineRefusal, EngineRequest, Form, Prompt, TokenBias, Tool, ToolName,
};
use protocol::receipt::FinishReason;
use serde_json::Value;

use super::{Model, changed, demonstration_model, sampling, start, start_with, user, with_engine};
use crate::fixture::Tiny;
use crate::template::Template;

/// Writes calls as Hermes and Qwen do.
const CALLING: &str = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}\
    {% for m in messages %}<|a|>{{ m.content }}{% for call in m.tool_calls %}<tool_call>\n\
    {\"name\": \"{{ call.function.name }}\", \
    \"arguments\": {{ call.function.arguments | tojson }}}\n\
    </tool_call>{% endfor %}<|e|>{% endfor %}<|a|>";

/// A tiny model with a template that knows calls.
fn model() -> Model {
    let tiny = Tiny {
        context: 1024,
        ..Tiny::default()
    };
    let mut model = tiny.model();
    model.language.template = Template::compile(CALLING, [None; 2]).unwrap();
    model
}

fn tool(name: &str, parameters: Option<&str>) -> Tool {
    Tool {
        name: ToolName::new(name.to_owned()).unwrap(),
        description: None,
        parameters: parameters.map(|text| Content(text.to_owned())),
    }
}

fn offering(request: EngineRequest, offered: &[Tool], led: Form) -> EngineRequest {
    changed(request, |start| {
        start.form = led;
        if let Prompt::Chat { tools, .. } = &mut start.prompt {
            tools.extend_from_slice(offered);
        }
    })
}

#[test]
fn a_model_whose_template_knows_no_calls_is_offered_no_functions() {
    let model = Model::read(demonstration_model()).unwrap();
    with_engine(&model, 2, |serve| {
        let request = offering(start(1, &user("Hi"), 4), &[tool("f", None)], Form::Free);
        serve.send(&request);
        assert_eq!(serve.finish(1).end, Some(Err(EngineRefusal::Tools)));
    })
    .unwrap();
}

#[test]
fn an_answer_says_how_it_writes_calls_where_functions_are_offered() {
    let model = model();
    with_engine(&model, 1, |serve| {
        serve.send(&start(1, &user("Hi"), 4));
        let plain = serve.finish(1);
        assert_eq!(plain.calls, None);
        let tools = [tool("f", None)];
        serve.send(&offering(start(2, &user("Hi"), 4), &tools, Form::Free));
        let offered = serve.finish(2);
        assert_eq!(offered.calls, Some(CallSyntax::Tagged));
        assert!(offered.prompt > plain.prompt);
        // The prompt of an answer that must be a call ends with what stands before one.
        serve.send(&offering(
            start(3, &user("Hi"), 4),
            &tools,
            Form::Call(None),
        ));
        let led = serve.finish(3);
        assert_eq!(
            led.prompt as usize,
            offered.prompt as usize + "<tool_call>\n".len()
        );
    })
    .unwrap();
}

#[test]
fn an_answer_that_must_call_a_function_is_a_call_after_its_schema() {
    let model = model();
    let schema = r#"{"type":"object","properties":{"n":{"enum":[1,22]},"on":{"type":"boolean"}},
        "required":["n","on"]}"#;
    let tools = [tool("first", Some(schema)), tool("second-1", None)];
    let asked = |request, temperature, led| {
        let start = start_with(request, &user("Hi"), (sampling(temperature, 600), 600), &[]);
        offering(start, &tools, led)
    };
    with_engine(&model, 2, |serve| {
        for temperature in [0, 1000, 2000] {
            for (led, names) in [
                (Form::Call(Some(0)), &["first"][..]),
                (Form::Call(Some(1)), &["second-1"]),
                (Form::Call(None), &["first", "second-1"]),
            ] {
                serve.send(&asked(1, temperature, led));
                let answer = serve.finish(1);
                assert_eq!(answer.end, Some(Ok(FinishReason::Stop)));
                let call: Value = serde_json::from_str(&answer.texts.concat()).unwrap();
                let name = call["name"].as_str().unwrap();
                assert!(names.contains(&name), "{name}");
                let given = &call["arguments"];
                assert_eq!(call.as_object().unwrap().len(), 2);
                if name == "first" {
                    assert!(given["n"] == 1 || given["n"] == 22);
                    assert!(given["on"].is_boolean());
                } else {
                    assert_eq!(given, &serde_json::json!({}));
                }
            }
        }
    })
    .unwrap();
}

#[test]
fn refuses_to_lead_a_call_by_parameters_that_it_does_not_know() {
    let model = model();
    with_engine(&model, 1, |serve| {
        for schema in [
            r#"{"type":"object","minProperties":1}"#,
            r#"{"type":"string"}"#,
            "{}",
            "x",
        ] {
            let tools = [tool("f", Some(schema)), tool("g", None)];
            let asked = |led| offering(start(1, &user("Hi"), 300), &tools, led);
            for led in [Form::Call(None), Form::Call(Some(0))] {
                serve.send(&asked(led));
                let refusal = if schema == "x" {
                    EngineRefusal::Chat
                } else {
                    EngineRefusal::Parameters
                };
                assert_eq!(serve.finish(1).end, Some(Err(refusal)), "{schema}");
            }
        }
        // Where nothing is led, any schema is shown, and another function's is not looked at.
        let tools = [tool("f", Some(r#"{"minProperties":1}"#)), tool("g", None)];
        for led in [Form::Free, Form::Call(Some(1))] {
            serve.send(&offering(start(1, &user("Hi"), 100), &tools, led));
            assert!(serve.finish(1).end.unwrap().is_ok());
        }
    })
    .unwrap();
}

/// Of a template that writes calls behind a special token of the model.
#[test]
fn a_special_token_that_opens_a_call_is_told_where_functions_are_offered() {
    let tiny = Tiny {
        context: 1024,
        special: "[TOOL_CALLS]",
        ..Tiny::default()
    };
    let mut model = tiny.model();
    let listed = CALLING.replace("<tool_call>\n", "[TOOL_CALLS][");
    model.language.template = Template::compile(&listed, [None; 2]).unwrap();
    let always = |request| {
        changed(start(request, &user("Hi"), 2), |start| {
            start.biases = vec![TokenBias {
                token: 258,
                milli: 100_000,
            }];
        })
    };
    with_engine(&model, 1, |serve| {
        serve.send(&always(1));
        assert_eq!(serve.finish(1).texts, ["", ""]);
        serve.send(&offering(always(2), &[tool("f", None)], Form::Free));
        let offered = serve.finish(2);
        assert_eq!(offered.calls, Some(CallSyntax::Listed));
        assert_eq!(offered.texts, ["[TOOL_CALLS]", "[TOOL_CALLS]"]);
    })
    .unwrap();
}
