//! What is taken of functions, calls and their results, and what is refused by which name.

use super::*;
use messages::engine_ipc::{ChatRole, MAX_TOOLS};

const ADD: &str = r#"{"type":"function","function":{"name":"add","description":"Adds.",
    "parameters":{"type":"object","properties":{"b":{"type":"number"},"a":{}}},"strict":false}}"#;

fn tool(name: &str) -> String {
    format!(r#"{{"type":"function","function":{{"name":"{name}"}}}}"#)
}

/// What is offered, by name, and the form that the answer must have.
fn offered(members: &str) -> Result<(Vec<String>, Form), Refusal> {
    let request = with(members)?;
    let Prompt::Chat { tools, .. } = request.prompt else {
        panic!("not a chat");
    };
    let names = tools.iter().map(|tool| tool.name.as_str().to_owned());
    Ok((names.collect(), request.form))
}

#[test]
fn functions_are_passed_on_with_their_schemas_in_the_clients_order() {
    let request = with(&format!("\"tools\":[{ADD},{}]", tool("now"))).unwrap();
    let Prompt::Chat { tools, .. } = &request.prompt else {
        panic!("not a chat");
    };
    assert_eq!(tools.len(), 2);
    assert_eq!(tools[0].description, Some(Content("Adds.".to_owned())));
    let schema = r#"{"type":"object","properties":{"b":{"type":"number"},"a":{}}}"#;
    assert_eq!(tools[0].parameters, Some(Content(schema.to_owned())));
    assert_eq!(
        (&tools[1].description, &tools[1].parameters),
        (&None, &None)
    );
}

#[test]
fn a_choice_decides_what_is_offered_and_what_must_be_called() {
    let both = format!("\"tools\":[{},{}]", tool("add"), tool("now"));
    let chosen = |choice: &str| offered(&format!("{both},\"tool_choice\":{choice}"));
    let names = vec!["add".to_owned(), "now".to_owned()];
    for free in ["null", "\"auto\""] {
        assert_eq!(chosen(free).unwrap(), (names.clone(), Form::Free));
    }
    assert_eq!(chosen("\"none\"").unwrap(), (Vec::new(), Form::Free));
    let form = Form::Call(None);
    assert_eq!(chosen("\"required\"").unwrap(), (names.clone(), form));
    assert_eq!(chosen(&tool("now")).unwrap(), (names, Form::Call(Some(1))));
    for bad in [
        "1",
        "[]",
        "\"any\"",
        "{}",
        r#"{"type":"function"}"#,
        r#"{"type":"allowed_tools","allowed_tools":{}}"#,
        r#"{"type":"function","function":{}}"#,
        r#"{"type":"function","function":{"name":"add","more":1}}"#,
        &tool("sub"),
    ] {
        let found = refused(with(&format!("{both},\"tool_choice\":{bad}")));
        assert_eq!(found, named("invalid-member", "tool_choice"), "{bad}");
    }
}

#[test]
fn refuses_functions_that_are_none_too_many_or_share_a_name() {
    let many = |count: usize| {
        let tools: Vec<_> = (0..count).map(|at| tool(&format!("f{at}"))).collect();
        tools.join(",")
    };
    assert!(with(&format!("\"tools\":[{}]", many(MAX_TOOLS))).is_ok());
    for bad in [
        "1".to_owned(),
        "[]".to_owned(),
        "[1]".to_owned(),
        "[{}]".to_owned(),
        r#"[{"type":"function"}]"#.to_owned(),
        r#"[{"type":"retrieval","function":{"name":"a"}}]"#.to_owned(),
        r#"[{"type":"function","function":{"name":"a","parameters":[]}}]"#.to_owned(),
        r#"[{"type":"function","function":{"name":"a","strict":1}}]"#.to_owned(),
        format!("[{}]", tool("")),
        format!("[{}]", tool("a b")),
        format!("[{}]", tool("<|im_end|>")),
        format!("[{}]", tool(&"x".repeat(65))),
        format!("[{},{}]", tool("a"), tool("a")),
        format!("[{}]", many(MAX_TOOLS + 1)),
    ] {
        let found = refused(with(&format!("\"tools\":{bad}")));
        assert_eq!(found, named("invalid-member", "tools"), "{bad}");
    }
    let more = r#""tools":[{"type":"function","function":{"name":"a","more":1}}]"#;
    assert_eq!(refused(with(more)), named("unsupported-member", "more"));
    let deep = format!("{}1{}", r#"{"a":"#.repeat(30), "}".repeat(30));
    let deep =
        format!(r#""tools":[{{"type":"function","function":{{"name":"a","parameters":{deep}}}}}]"#);
    assert_eq!(with(&deep).unwrap_err().code(), "json-too-large");
    let long = "x".repeat(MAX_PROMPT_BYTES);
    let long = format!(
        r#""tools":[{{"type":"function","function":{{"name":"a","description":"{long}"}}}}]"#
    );
    assert_eq!(with(&long).unwrap_err().code(), "body-too-long");
}

#[test]
fn refuses_wishes_about_functions_that_cannot_be_kept() {
    for (members, member) in [
        (r#""tool_choice":"auto""#.to_owned(), "tool_choice"),
        (
            r#""parallel_tool_calls":true"#.to_owned(),
            "parallel_tool_calls",
        ),
        (
            format!(r#""tools":[{}],"parallel_tool_calls":1"#, tool("a")),
            "parallel_tool_calls",
        ),
        (
            format!(
                r#""tools":[{}],"response_format":{{"type":"json_object"}}"#,
                tool("a")
            ),
            "response_format",
        ),
        (
            format!("\"tools\":[{}]", ADD.replace("false", "true")),
            "strict",
        ),
    ] {
        let found = refused(with(&members));
        assert_eq!(found, named("invalid-member", member), "{members}");
    }
    let led = format!(
        r#""tools":[{}],"tool_choice":"required","parallel_tool_calls":false"#,
        ADD.replace("false", "true")
    );
    assert_eq!(with(&led).unwrap().form, Form::Call(None));
}

/// A message in which the model calls a function by these numbers.
fn calling(ids: &[&str]) -> String {
    let call = |id: &&str| {
        format!(r#"{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}"#)
    };
    let calls: Vec<String> = ids.iter().map(call).collect();
    format!(
        r#"{{"role":"assistant","content":null,"refusal":null,"tool_calls":[{}]}}"#,
        calls.join(",")
    )
}

fn answering(id: &str) -> String {
    format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"1"}}"#)
}

fn chat(messages: &[String]) -> Result<Vec<ChatMessage>, Refusal> {
    let request = parse(&format!("\"messages\":[{}]", messages.join(",")))?;
    match request.prompt {
        Prompt::Chat { messages, .. } => Ok(messages),
        Prompt::Text(_) => panic!("not a chat"),
    }
}

#[test]
fn a_result_belongs_to_the_latest_call_of_its_number() {
    let messages = chat(&[
        calling(&["x", "y"]),
        answering("y"),
        calling(&["x"]),
        answering("x"),
    ]);
    let messages = messages.unwrap();
    assert_eq!(messages[0].calls.len(), 2);
    assert_eq!(messages[0].content, Content(String::new()));
    assert_eq!(messages[0].calls[0].arguments, Content("{}".to_owned()));
    assert_eq!(messages[1].role, ChatRole::Tool { call: 1 });
    assert_eq!(messages[3].role, ChatRole::Tool { call: 2 });
}

#[test]
fn refuses_calls_and_results_that_do_not_fit_each_other() {
    let user = |more: &str| format!(r#"{{"role":"user","content":"a",{more}}}"#);
    let with_arguments = |text: &str| vec![calling(&["x"]).replace(r#""{}""#, text)];
    for (messages, (code, member)) in [
        (vec![answering("x")], ("invalid-member", "tool_call_id")),
        (
            vec![calling(&["x"]), answering("y")],
            ("invalid-member", "tool_call_id"),
        ),
        (
            vec![r#"{"role":"tool","content":"1"}"#.to_owned()],
            ("missing-member", "tool_call_id"),
        ),
        (vec![calling(&["x", "x"])], ("invalid-member", "tool_calls")),
        (vec![calling(&[""])], ("invalid-member", "tool_calls")),
        (vec![calling(&["x"; 33])], ("invalid-member", "tool_calls")),
        (vec![calling(&[])], ("missing-member", "content")),
        (
            vec![user(r#""tool_calls":null"#)],
            ("invalid-member", "tool_calls"),
        ),
        (
            vec![user(r#""tool_call_id":"x""#)],
            ("invalid-member", "tool_call_id"),
        ),
        (with_arguments("\"\""), ("", "")),
        (with_arguments("{}"), ("invalid-member", "tool_calls")),
        (with_arguments("\"[]\""), ("invalid-member", "arguments")),
        (with_arguments("\"{\""), ("invalid-member", "arguments")),
    ] {
        let found = chat(&messages);
        if code.is_empty() {
            assert!(found.is_ok());
            continue;
        }
        let refusal = found.unwrap_err();
        let found = (refusal.code(), refusal.param().map(str::to_owned));
        assert_eq!(found, named(code, member), "{messages:?}");
    }
    let most = vec![calling(&["x"]); MAX_MESSAGES];
    assert_eq!(chat(&most).unwrap().len(), MAX_MESSAGES);
}
