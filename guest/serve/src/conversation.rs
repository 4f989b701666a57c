//! The messages of a chat, parsed once: who said what, what the model called, what came back.

use bounded_json::Json;
use messages::engine_ipc::{
    Call, ChatMessage, ChatRole, Content, MAX_CALLS, MAX_MESSAGES, MAX_PROMPT_BYTES, Tool, ToolName,
};

use crate::api::{optional, text, unsupported};
use crate::errors::Refusal;

/// A call's number, in bytes, as the client writes it.
const MAX_ID: usize = 64;
/// Arguments of one call.
const ARGUMENTS: bounded_json::Limits = bounded_json::Limits {
    depth: 32,
    values: 4096,
};

const CALLS: Refusal = Refusal::InvalidMember {
    member: "tool_calls",
};
const ID: Refusal = Refusal::InvalidMember {
    member: "tool_call_id",
};

/// Reads the member `messages`.
pub(crate) fn read(value: Json) -> Result<Vec<ChatMessage>, Refusal> {
    let refused = || Refusal::InvalidMember { member: "messages" };
    let Json::List(list) = value else {
        return Err(refused());
    };
    if !matches!(list.len(), 1..=MAX_MESSAGES) {
        return Err(refused());
    }
    // The numbers of all calls so far, in order.
    let mut made: Vec<String> = Vec::new();
    list.into_iter()
        .map(|message| Members::of(message)?.message(&mut made))
        .collect()
}

/// Checks what all contents, calls and functions have together.
pub(crate) fn check_length(messages: &[ChatMessage], tools: &[Tool]) -> Result<(), Refusal> {
    let contents = messages.iter().map(|message| &message.content);
    let calls = messages.iter().flat_map(|message| &message.calls);
    let tools = tools.iter().flat_map(|tool| {
        let parts = tool.description.iter();
        parts.chain(&tool.parameters)
    });
    let all = contents
        .chain(calls.map(|call| &call.arguments))
        .chain(tools);
    let together = all.fold(0, |sum: usize, one| sum.saturating_add(one.0.len()));
    if together > MAX_PROMPT_BYTES {
        let member = "messages";
        return Err(Refusal::MemberTooLong { member });
    }
    Ok(())
}

/// The members of one message.
#[derive(Default)]
struct Members {
    role: Option<String>,
    content: Option<Content>,
    calls: Vec<(String, Call)>,
    answered: Option<String>,
    /// Whether a member was there that only the model's own messages have.
    of_assistant: bool,
}

impl Members {
    fn of(value: Json) -> Result<Self, Refusal> {
        let Json::Object(members) = value else {
            return Err(Refusal::InvalidMember { member: "messages" });
        };
        let mut found = Self::default();
        for (name, value) in members {
            found.take(&name, value)?;
        }
        Ok(found)
    }

    fn take(&mut self, name: &str, value: Json) -> Result<(), Refusal> {
        match (name, value) {
            ("role", value) => self.role = Some(text(value, "role")?),
            ("content", value) => self.content = optional(value, content)?,
            ("tool_calls", value) => {
                self.calls = optional(value, calls)?.unwrap_or_default();
                self.of_assistant = true;
            }
            ("tool_call_id", value) => self.answered = Some(id(value, ID)?),
            // As SDKs send an answer back that they were given.
            ("refusal" | "audio" | "function_call", Json::Null) => self.of_assistant = true,
            ("annotations", Json::List(list)) if list.is_empty() => self.of_assistant = true,
            (other, _) => return Err(unsupported(other)),
        }
        Ok(())
    }

    fn message(self, made: &mut Vec<String>) -> Result<ChatMessage, Refusal> {
        let missing = |member| Refusal::MissingMember { member };
        let invalid = |member| Refusal::InvalidMember { member };
        let role = self.role.ok_or_else(|| missing("role"))?;
        let role = match role.as_str() {
            "system" => ChatRole::System,
            "user" => ChatRole::User,
            "assistant" => ChatRole::Assistant,
            "tool" => {
                let answered = self.answered.as_ref();
                let answered = answered.ok_or_else(|| missing("tool_call_id"))?;
                // The latest of that number: other machines begin anew in each answer.
                let call = made.iter().rposition(|id| id == answered).ok_or(ID)?;
                let call = u16::try_from(call).map_err(|_| ID)?;
                ChatRole::Tool { call }
            }
            _ => return Err(invalid("role")),
        };
        if self.of_assistant && role != ChatRole::Assistant {
            return Err(CALLS);
        }
        if self.answered.is_some() && !matches!(role, ChatRole::Tool { .. }) {
            return Err(ID);
        }
        let content = match self.content {
            Some(content) => content,
            None if !self.calls.is_empty() => Content(String::new()),
            None => return Err(missing("content")),
        };
        let mut calls = Vec::new();
        for (id, call) in self.calls {
            made.push(id);
            calls.push(call);
        }
        Ok(ChatMessage {
            role,
            content,
            calls,
        })
    }
}

fn id(value: Json, refused: Refusal) -> Result<String, Refusal> {
    if let Json::Text(id) = value
        && matches!(id.len(), 1..=MAX_ID)
    {
        return Ok(id);
    }
    Err(refused)
}

fn calls(value: Json) -> Result<Vec<(String, Call)>, Refusal> {
    let Json::List(list) = value else {
        return Err(CALLS);
    };
    if list.len() > MAX_CALLS {
        return Err(CALLS);
    }
    let mut calls: Vec<(String, Call)> = Vec::new();
    for one in list {
        let (id, call) = call(one)?;
        if calls.iter().any(|(known, _)| *known == id) {
            return Err(CALLS);
        }
        calls.push((id, call));
    }
    Ok(calls)
}

fn call(value: Json) -> Result<(String, Call), Refusal> {
    let Json::Object(members) = value else {
        return Err(CALLS);
    };
    let (mut given, mut is_function, mut function) = (None, false, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("id", value) => given = Some(id(value, CALLS)?),
            ("type", Json::Text(kind)) => is_function = kind == "function",
            ("function", Json::Object(members)) => function = Some(called(members)?),
            // The place in a stream, which some clients send back.
            ("index", Json::Whole(_)) => {}
            ("type" | "function" | "index", _) => return Err(CALLS),
            (other, _) => return Err(unsupported(other)),
        }
    }
    match (given, is_function, function) {
        (Some(id), true, Some(call)) => Ok((id, call)),
        (_, _, _) => Err(CALLS),
    }
}

fn called(members: Vec<(String, Json)>) -> Result<Call, Refusal> {
    let (mut named, mut arguments) = (None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("name", Json::Text(name)) => named = ToolName::new(name),
            ("arguments", Json::Text(text)) => arguments = Some(object(text)?),
            ("name" | "arguments", _) => return Err(CALLS),
            (other, _) => return Err(unsupported(other)),
        }
    }
    let (Some(name), Some(arguments)) = (named, arguments) else {
        return Err(CALLS);
    };
    Ok(Call { name, arguments })
}

/// The text of an object; none at all stands for an empty one.
fn object(text: String) -> Result<Content, Refusal> {
    let text = if text.is_empty() {
        "{}".to_owned()
    } else {
        text
    };
    match bounded_json::parse(text.as_bytes(), ARGUMENTS) {
        Ok(Json::Object(_)) => Ok(Content(text)),
        Ok(_) | Err(_) => Err(Refusal::InvalidMember {
            member: "arguments",
        }),
    }
}

/// A string, or a list of text parts, whose texts follow each other without anything between.
fn content(value: Json) -> Result<Content, Refusal> {
    let refused = || Refusal::InvalidMember { member: "content" };
    let parts = match value {
        Json::Text(text) => return Ok(Content(text)),
        Json::List(parts) => parts,
        Json::Null | Json::Bool(_) | Json::Whole(_) | Json::Real(_) | Json::Object(_) => {
            return Err(refused());
        }
    };
    let mut whole = String::new();
    for part in parts {
        let Json::Object(members) = part else {
            return Err(refused());
        };
        let (mut is_text, mut text) = (false, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("type", Json::Text(kind)) => is_text = kind == "text",
                ("text", Json::Text(piece)) => text = Some(piece),
                ("type" | "text", _) => return Err(refused()),
                (other, _) => return Err(unsupported(other)),
            }
        }
        match (is_text, text) {
            (true, Some(piece)) => whole.push_str(&piece),
            (true, None) | (false, _) => return Err(refused()),
        }
    }
    Ok(Content(whole))
}
