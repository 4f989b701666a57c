//! The chat template of the model file, and how a chat becomes pieces for the tokenizer.
//!
//! **Contents never enter the template engine.** Each text of a message, a function or a call is
//! shown to the template as a placeholder: U+10F8F0, its number, U+10F8F1. The rendered text is cut
//! at the placeholders; what stands between is the skeleton, in which special tokens are
//! recognised, and each placeholder stands for its text, in which nothing is. Why
//! this is sound: the characters are for private use in the last plane, the template is
//! refused at load if it contains them, the roles, the numbers and the words given to it are ours,
//! and a rendering that does not show every message exactly once, and the name of every function
//! and call, is refused. `trim`, which templates like to apply to contents, is carried over: on a
//! placeholder it leaves a mark (U+10F8F2), and the content is trimmed when it is put in. So is
//! `tojson` (U+10F8F3): the content is written as JSON. A template that looks into contents in
//! other ways sees the placeholder.
//!
//! Rendering is bounded by fuel, recursion depth, template size and output size.

mod json;
mod shown;
mod skeleton;
#[cfg(test)]
mod tests;

use messages::engine_ipc::{Call, CallSyntax, ChatMessage, ChatRole, Content, Tool, ToolName};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};

use self::shown::Shown;
pub(crate) use self::skeleton::Skeleton;
use self::skeleton::{RESERVED, is_placeholder, trim};
use crate::refusal::ModelError;

const MAX_SOURCE: usize = 256 << 10;
const MAX_SKELETON: usize = 1 << 20;
/// An instruction costs one, and so do 64 bytes that one makes: a template takes less than 64 MiB.
const FUEL: u64 = 1_000_000;
const RECURSION: usize = 64;
const NAME: &str = "chat";
const KEY: ModelError = ModelError::Key {
    key: "tokenizer.chat_template",
};

/// A chat that the template does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's template does not take this chat")]
pub(crate) struct ChatRefused;

/// A compiled template.
pub(crate) struct Template {
    environment: Environment<'static>,
    calls: Option<CallSyntax>,
}

impl Template {
    /// Compiles a template that knows the tokens with which texts start and end by these names.
    ///
    /// # Errors
    /// `Key` when it is too large, does not compile, or contains a placeholder's characters.
    pub(crate) fn compile(
        source: &str,
        [start, end]: [Option<&str>; 2],
    ) -> Result<Self, ModelError> {
        if source.len() > MAX_SOURCE || source.contains(RESERVED) {
            return Err(KEY);
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|_| KEY)?);
        environment.set_recursion_limit(RECURSION);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(|state, value, method, args| {
            if method == "strip" && args.is_empty() && value.as_str().is_some_and(is_placeholder) {
                return Ok(trimmed(value));
            }
            minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
        });
        environment.add_global("bos_token", start.unwrap_or_default());
        environment.add_global("eos_token", end.unwrap_or_default());
        environment.add_function("raise_exception", |_: String| -> Result<(), Error> {
            Err(Error::from(ErrorKind::InvalidOperation))
        });
        environment.add_filter("trim", |value: Value| trimmed(&value));
        environment.add_filter("tojson", json::to_json);
        environment
            .add_template_owned(NAME, without_marks(source))
            .map_err(|_| KEY)?;
        let mut template = Self {
            environment,
            calls: None,
        };
        template.calls = template.find_calls();
        Ok(template)
    }

    /// How its model writes calls, if it does.
    pub(crate) const fn calls(&self) -> Option<CallSyntax> {
        self.calls
    }

    /// Looks at how it shows a call that was made.
    fn find_calls(&self) -> Option<CallSyntax> {
        let content = |text: &str| Content(text.to_owned());
        let message = |role, text: &str, calls| ChatMessage {
            role,
            content: content(text),
            calls,
        };
        let name = ToolName::new("probe".to_owned())?;
        let tool = Tool {
            name: name.clone(),
            description: Some(content("A probe.")),
            parameters: Some(content(r#"{"type":"object","properties":{}}"#)),
        };
        let arguments = content(r#"{"a":"b"}"#);
        let chat = [
            message(ChatRole::User, "?", Vec::new()),
            message(ChatRole::Assistant, "", vec![Call { name, arguments }]),
            message(ChatRole::Tool { call: 0 }, "!", Vec::new()),
        ];
        let text = self.skeleton(&chat, &[tool]).ok()?.text();
        let found = SYNTAXES.iter().find(|(_, shown)| text.contains(shown));
        found.map(|(syntax, _)| *syntax)
    }

    /// A prompt that ends where the model is to answer, with the functions that it may call.
    ///
    /// # Errors
    /// `ChatRefused` when the template raises, runs out of its bounds, or does not show what it
    /// must; also for functions and calls that are not JSON.
    pub(crate) fn skeleton(
        &self,
        messages: &[ChatMessage],
        tools: &[Tool],
    ) -> Result<Skeleton, ChatRefused> {
        let shown = Shown::of(messages, tools)?;
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|_| ChatRefused)?;
        let mut given = vec![
            ("messages", Value::from(shown.messages)),
            ("add_generation_prompt", Value::from(true)),
        ];
        if !shown.tools.is_empty() {
            given.push(("tools", Value::from(shown.tools)));
        }
        let mut out = Bounded(Vec::new());
        template
            .render_captured_to(Value::from_pairs(given), &mut out)
            .map_err(|_| ChatRefused)?;
        let text = String::from_utf8(out.0).map_err(|_| ChatRefused)?;
        shown.hidden.cut(&text)
    }
}

/// What a template makes of a call of `probe`.
const SYNTAXES: [(CallSyntax, &str); 3] = [
    (
        CallSyntax::Tagged,
        "<tool_call>\n{\"name\": \"probe\", \"arguments\": {\"a\": \"b\"}}\n</tool_call>",
    ),
    (
        CallSyntax::Listed,
        "[TOOL_CALLS][{\"name\": \"probe\", \"arguments\": {\"a\": \"b\"}",
    ),
    (
        CallSyntax::Bare,
        "<|end_header_id|>\n\n{\"name\": \"probe\", \"parameters\": {\"a\": \"b\"}}<|eot_id|>",
    ),
];

/// Transformers' marks of what the model says change nothing in a rendering but the spaces around
/// them, as other blocks do: so they become such blocks.
fn without_marks(source: &str) -> String {
    let mut source = source.to_owned();
    for (mark, block) in [("generation", "if true"), ("endgeneration", "endif")] {
        for (opens, closes) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
            let with = |inner: &str| format!("{opens} {inner} {closes}");
            source = source.replace(&with(mark), &with(block));
        }
    }
    source
}

/// Trims a text; marks a placeholder instead.
fn trimmed(value: &Value) -> Value {
    value
        .as_str()
        .map_or_else(|| value.clone(), |text| Value::from(trim(text)))
}

/// Output that refuses to grow beyond the limit.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MAX_SKELETON {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
