//! What leads an answer that must have a form.

use messages::engine_ipc::{
    CallSyntax, Content, EngineRefusal, Form, MAX_KEYWORD_BYTES, Prompt, Start, Tool,
};

use crate::calls;
use crate::format::{Follower, Grammar, SchemaRefused};

/// A refusal, and the keyword that it is about.
pub(crate) struct Rejected {
    pub(crate) refusal: EngineRefusal,
    pub(crate) keyword: Content,
}

impl Rejected {
    pub(crate) const fn of(refusal: EngineRefusal) -> Self {
        let keyword = Content(String::new());
        Self { refusal, keyword }
    }

    /// A parameter that this machine's backend does not know.
    pub(crate) fn unsupported(parameter: &str) -> Self {
        let keyword = Content(parameter.to_owned());
        let refusal = EngineRefusal::Parameter;
        Self { refusal, keyword }
    }

    fn of_schema(refusal: EngineRefusal, refused: SchemaRefused) -> Self {
        let short = |keyword: &String| keyword.len() <= MAX_KEYWORD_BYTES;
        let keyword = Content(refused.keyword.filter(short).unwrap_or_default());
        Self { refusal, keyword }
    }
}

/// What leads the answer, if anything does.
///
/// # Errors
/// `Rejected` with `Schema`, `Parameters` or `Form`.
pub(crate) fn follower(
    start: &Start,
    calls: Option<CallSyntax>,
) -> Result<Option<Follower>, Rejected> {
    let grammar = match &start.form {
        Form::Free => return Ok(None),
        Form::Object => Grammar::any_object().ok_or(Rejected::of(EngineRefusal::Form))?,
        Form::Schema(Content(schema)) => Grammar::of_schema(schema)
            .map_err(|refused| Rejected::of_schema(EngineRefusal::Schema, refused))?,
        Form::Call(function) => {
            let tools = match &start.prompt {
                Prompt::Chat { tools, .. } => tools.as_slice(),
                Prompt::Text(_) => &[],
            };
            let calls = calls.ok_or(Rejected::of(EngineRefusal::Tools))?;
            of_call((tools, *function), calls)?
        }
    };
    Ok(Some(Follower::new(grammar)))
}

/// One call of any of the functions, or of this one.
fn of_call(
    (tools, function): (&[Tool], Option<u8>),
    calls: CallSyntax,
) -> Result<Grammar, Rejected> {
    let wanted = tools.iter().zip(0_u8..);
    let wanted = wanted.filter(|(_, at)| function.is_none_or(|function| function == *at));
    let wanted: Vec<_> = wanted
        .map(|(tool, _)| (tool.name.as_str(), schema_of(tool)))
        .collect();
    Grammar::of_calls(&wanted, calls::arguments(calls))
        .map_err(|refused| Rejected::of_schema(EngineRefusal::Parameters, refused))
}

/// A function that says nothing of its parameters has none.
fn schema_of(tool: &Tool) -> &str {
    const NONE: &str = r#"{"type":"object","additionalProperties":false}"#;
    let schema = tool.parameters.as_ref();
    schema.map_or(NONE, |Content(schema)| schema)
}
