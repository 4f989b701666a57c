//! `tools`, `tool_choice` and `parallel_tool_calls`: the functions that the model may call, and
//! whether it must. Schemas are not looked into here: engine reads them.

use bounded_json::Json;
use messages::engine_ipc::{Content, Form, MAX_SCHEMA_BYTES, MAX_TOOLS, Tool, ToolName};

use crate::api::{optional, unsupported};
use crate::errors::Refusal;

const TOOLS: Refusal = Refusal::InvalidMember { member: "tools" };
const CHOICE: Refusal = Refusal::InvalidMember {
    member: "tool_choice",
};
const PARALLEL: Refusal = Refusal::InvalidMember {
    member: "parallel_tool_calls",
};
const STRICT: Refusal = Refusal::InvalidMember { member: "strict" };

/// What a request says of functions.
#[derive(Default)]
pub(crate) struct Functions {
    tools: Vec<Tool>,
    choice: Option<Choice>,
    parallel: Option<bool>,
    /// Whether any function's arguments are to follow its schema whatever happens.
    strict: bool,
}

/// Whether a function is called.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    Never,
    Maybe,
    Always,
    This(ToolName),
}

impl Functions {
    /// Takes a member; gives back one that it does not know.
    pub(crate) fn take(&mut self, name: &str, value: Json) -> Result<Option<Json>, Refusal> {
        match name {
            "tools" => self.tools = optional(value, |v| self.functions(v))?.unwrap_or_default(),
            "tool_choice" => self.choice = optional(value, choice)?,
            "parallel_tool_calls" => self.parallel = optional(value, parallel)?,
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }

    /// The functions that the model is shown, and the form that its answer must have.
    pub(crate) fn complete(self, form: Option<Form>) -> Result<(Vec<Tool>, Form), Refusal> {
        let form = form.unwrap_or(Form::Free);
        if self.tools.is_empty() {
            // As with OpenAI: a wish about functions that are not there is a mistake.
            return match (self.choice, self.parallel) {
                (Some(_), _) => Err(CHOICE),
                (None, Some(_)) => Err(PARALLEL),
                (None, None) => Ok((Vec::new(), form)),
            };
        }
        let led = match self.choice.unwrap_or(Choice::Maybe) {
            Choice::Never => return Ok((Vec::new(), form)),
            Choice::Maybe => Form::Free,
            Choice::Always => Form::Call(None),
            Choice::This(name) => {
                let at = self.tools.iter().position(|tool| tool.name == name);
                let at = at.and_then(|at| u8::try_from(at).ok()).ok_or(CHOICE)?;
                Form::Call(Some(at))
            }
        };
        if form != Form::Free {
            let member = "response_format";
            return Err(Refusal::InvalidMember { member });
        }
        // Only an answer that must be a call is led by schemas.
        if self.strict && led == Form::Free {
            return Err(STRICT);
        }
        Ok((self.tools, led))
    }

    fn functions(&mut self, value: Json) -> Result<Vec<Tool>, Refusal> {
        let Json::List(list) = value else {
            return Err(TOOLS);
        };
        if !matches!(list.len(), 1..=MAX_TOOLS) {
            return Err(TOOLS);
        }
        let mut tools: Vec<Tool> = Vec::new();
        for one in list {
            let tool = self.tool(one)?;
            if tools.iter().any(|known| known.name == tool.name) {
                return Err(TOOLS);
            }
            tools.push(tool);
        }
        Ok(tools)
    }

    fn tool(&mut self, value: Json) -> Result<Tool, Refusal> {
        let Json::Object(members) = value else {
            return Err(TOOLS);
        };
        let (mut is_function, mut function) = (false, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("type", Json::Text(kind)) => is_function = kind == "function",
                ("function", Json::Object(members)) => function = Some(members),
                ("type" | "function", _) => return Err(TOOLS),
                (other, _) => return Err(unsupported(other)),
            }
        }
        match (is_function, function) {
            (true, Some(members)) => self.function(members),
            (_, _) => Err(TOOLS),
        }
    }

    fn function(&mut self, members: Vec<(String, Json)>) -> Result<Tool, Refusal> {
        let (mut named, mut description, mut parameters) = (None, None, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("name", Json::Text(name)) => named = ToolName::new(name),
                ("description", Json::Text(text)) => description = Some(Content(text)),
                ("parameters", schema @ Json::Object(_)) => parameters = Some(written(&schema)?),
                ("strict", Json::Bool(strict)) => self.strict |= strict,
                ("description" | "parameters" | "strict", Json::Null) => {}
                ("name" | "description" | "parameters" | "strict", _) => return Err(TOOLS),
                (other, _) => return Err(unsupported(other)),
            }
        }
        Ok(Tool {
            name: named.ok_or(TOOLS)?,
            description,
            parameters,
        })
    }
}

fn written(schema: &Json) -> Result<Content, Refusal> {
    let text = serde_json::to_string(schema).map_err(|_| TOOLS)?;
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(Refusal::MemberTooLong { member: "tools" });
    }
    Ok(Content(text))
}

fn choice(value: Json) -> Result<Choice, Refusal> {
    let members = match value {
        Json::Text(word) => {
            return match word.as_str() {
                "none" => Ok(Choice::Never),
                "auto" => Ok(Choice::Maybe),
                "required" => Ok(Choice::Always),
                _ => Err(CHOICE),
            };
        }
        Json::Object(members) => members,
        Json::Null | Json::Bool(_) | Json::Whole(_) | Json::Real(_) | Json::List(_) => {
            return Err(CHOICE);
        }
    };
    let (mut is_function, mut named) = (false, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", Json::Text(kind)) => is_function = kind == "function",
            ("function", Json::Object(members)) => named = Some(only_name(members)?),
            (_, _) => return Err(CHOICE),
        }
    }
    match (is_function, named) {
        (true, Some(name)) => Ok(Choice::This(name)),
        (_, _) => Err(CHOICE),
    }
}

fn only_name(members: Vec<(String, Json)>) -> Result<ToolName, Refusal> {
    let mut members = members.into_iter();
    match (members.next(), members.next()) {
        (Some((member, Json::Text(name))), None) if member == "name" => {
            ToolName::new(name).ok_or(CHOICE)
        }
        (_, _) => Err(CHOICE),
    }
}

fn parallel(value: Json) -> Result<bool, Refusal> {
    if let Json::Bool(parallel) = value {
        return Ok(parallel);
    }
    Err(PARALLEL)
}
