//! Every chat template of llama.cpp's package: what it makes of a chat is what transformers makes
//! of it, or the chat is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Deserialize)]
struct Every {
    start: String,
    chats: Vec<Asked>,
    rendered: BTreeMap<String, Vec<Text>>,
}

#[derive(Deserialize)]
struct Asked {
    chat: Vec<Message>,
    tools: Vec<Function>,
}

#[derive(Deserialize)]
struct Text {
    length: Option<usize>,
    fnv: Option<String>,
}

/// What becomes of a chat here, beside what becomes of it there.
const EQUAL: char = '=';
const REFUSED: char = '-';
/// Here only: transformers fails on a list of functions that is not there.
const HERE_ONLY: char = '+';
const OTHER: char = '!';

/// Those that are not as there for both chats without functions, and why.
const NOT_AS_THERE: [(&str, &str); 12] = [
    // Refuse them there too: without functions, and with a system's message.
    ("fireworks-ai-llama-3-firefunction-v2.jinja", "--"),
    ("google-gemma-2-2b-it.jinja", "=-"),
    // Are for chats with functions only.
    ("CohereForAI-c4ai-command-r-plus-tool_use.jinja", "++"),
    ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja", "++"),
    ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", "++"),
    // Ask for a day and have none of their own, two of them where nobody is the system.
    ("Apertus-8B-Instruct.jinja", "-="),
    ("Mistral-Small-3.2-24B-Instruct-2506.jinja", "--"),
    ("ibm-granite-granite-3.3-2B-Instruct.jinja", "-="),
    ("llm-jp-llm-jp-4.1-8b-thinking.jinja", "--"),
    ("openai-gpt-oss-120b.jinja", "--"),
    ("upstage-Solar-Open-100B.jinja", "--"),
    // Leaves the day out where it is not told.
    ("muse-glimmer.jinja", "!="),
];

fn outcome(template: &Template, asked: &Asked, expected: &Text) -> char {
    // As the engine has it: it offers functions to nobody whose calls it cannot read.
    if !asked.tools.is_empty() && template.calls().is_none() {
        return REFUSED;
    }
    let found = rendered(template, &asked.chat, &asked.tools);
    let hash = found.as_deref().map(fnv);
    match (found, expected.length) {
        (None, _) => REFUSED,
        (Some(_), None) => HERE_ONLY,
        (Some(text), length) if hash == expected.fnv && Some(text.len()) == length => EQUAL,
        (Some(_), Some(_)) => OTHER,
    }
}

fn outcomes(every: &Every, name: &str) -> String {
    let source = std::fs::read_to_string(published("templates").join(name)).unwrap();
    let Ok(template) = Template::compile(&source, [Some(&every.start), Some("")]) else {
        return every.chats.iter().map(|_| REFUSED).collect();
    };
    let chats = every.chats.iter().zip(&every.rendered[name]);
    chats
        .map(|(asked, expected)| outcome(&template, asked, expected))
        .collect()
}

#[test]
fn every_published_template_is_rendered_as_transformers_does_or_refused() {
    let every: Every =
        serde_json::from_str(include_str!("../../tests/fixtures/chats/every.json")).unwrap();
    let there = std::fs::read_dir(published("templates")).unwrap();
    let names = there.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<_> = names.filter(|name| name.ends_with(".jinja")).collect();
    assert!(names.iter().eq(every.rendered.keys()));
    let found: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), outcomes(&every, name)))
        .collect();
    let mut expected: BTreeMap<_, _> = NOT_AS_THERE.into();
    for (name, outcomes) in &found {
        let (plain, with_functions) = outcomes.split_at(2);
        assert_eq!(plain, expected.remove(name).unwrap_or("=="), "{name}");
        let is_sound = |outcome| matches!(outcome, EQUAL | REFUSED);
        assert!(with_functions.chars().all(is_sound), "{name}: {outcomes}");
    }
    assert!(expected.is_empty() && found.len() == 71);
    let calling = found
        .iter()
        .filter(|(_, outcomes)| outcomes.ends_with("==="));
    assert_eq!(calling.count(), 8);
}
