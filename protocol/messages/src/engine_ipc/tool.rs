//! Functions that a chat's model may call, the calls that it made, and how it writes them.

use alloc::string::String;
use alloc::vec::Vec;

use protocol::codec::{DecodeError, Reader, Writer};

use super::{Content, MAX_CALLS, MAX_SCHEMA_BYTES, MAX_TOOL_NAME, MAX_TOOLS, read_text};

/// The name of a function: 1 to [`MAX_TOOL_NAME`] letters, digits, `_` or `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolName(Content);

impl ToolName {
    /// Takes a text that is one.
    #[must_use]
    pub fn new(name: String) -> Option<Self> {
        let is_name = matches!(name.len(), 1..=MAX_TOOL_NAME)
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        is_name.then_some(Self(Content(name)))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.0
    }

    pub(super) const fn content(&self) -> &Content {
        &self.0
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let field = "function";
        let name = read_text(from, field, MAX_TOOL_NAME)?;
        Self::new(name.0).ok_or(DecodeError::OutOfRange { field })
    }
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name; no other of the chat has it.
    pub name: ToolName,
    /// What it is for.
    pub description: Option<Content>,
    /// The JSON Schema of its arguments.
    pub parameters: Option<Content>,
}

/// A call that the model made earlier in the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function's name.
    pub name: ToolName,
    /// Its arguments, a JSON object.
    pub arguments: Content,
}

/// How a model writes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallSyntax {
    /// `<tool_call>{"name", "arguments"}</tool_call>`, any number of them.
    Tagged,
    /// `[TOOL_CALLS]` and a list of `{"name", "arguments"}`.
    Listed,
    /// `{"name", "parameters"}` from the first character on, semicolons between several.
    Bare,
}

impl CallSyntax {
    pub(super) const fn wire(syntax: Option<Self>) -> u8 {
        match syntax {
            None => 0,
            Some(Self::Tagged) => 1,
            Some(Self::Listed) => 2,
            Some(Self::Bare) => 3,
        }
    }

    pub(super) const fn from_wire(byte: u8) -> Result<Option<Self>, DecodeError> {
        match byte {
            0 => Ok(None),
            1 => Ok(Some(Self::Tagged)),
            2 => Ok(Some(Self::Listed)),
            3 => Ok(Some(Self::Bare)),
            _ => Err(DecodeError::OutOfRange {
                field: "call syntax",
            }),
        }
    }
}

pub(super) fn write_tools(tools: &[Tool], out: &mut Writer) {
    out.count(tools.len());
    for tool in tools {
        out.blob(tool.name.as_str().as_bytes());
        for part in [&tool.description, &tool.parameters] {
            out.u8(u8::from(part.is_some()));
            if let Some(part) = part {
                out.blob(part.0.as_bytes());
            }
        }
    }
}

/// At most so many bytes; what is left of them comes back.
pub(super) fn read_tools(
    from: &mut Reader<'_>,
    mut room: usize,
) -> Result<(Vec<Tool>, usize), DecodeError> {
    let field = "tools";
    let mut tools: Vec<Tool> = Vec::new();
    for _ in 0..from.count(field, MAX_TOOLS)? {
        let name = ToolName::read(from)?;
        if tools.iter().any(|tool| tool.name == name) {
            return Err(DecodeError::OutOfRange { field });
        }
        let description = read_part(from, "description", room)?;
        room = left(room, description.as_ref());
        let parameters = read_part(from, "parameters", room.min(MAX_SCHEMA_BYTES))?;
        room = left(room, parameters.as_ref());
        tools.push(Tool {
            name,
            description,
            parameters,
        });
    }
    Ok((tools, room))
}

fn read_part(
    from: &mut Reader<'_>,
    field: &'static str,
    room: usize,
) -> Result<Option<Content>, DecodeError> {
    match from.u8()? {
        0 => Ok(None),
        1 => read_text(from, field, room).map(Some),
        _ => Err(DecodeError::OutOfRange { field }),
    }
}

fn left(room: usize, part: Option<&Content>) -> usize {
    room.saturating_sub(part.map_or(0, |part| part.0.len()))
}

pub(super) fn write_calls(calls: &[Call], out: &mut Writer) {
    out.count(calls.len());
    for call in calls {
        out.blob(call.name.as_str().as_bytes());
        out.blob(call.arguments.0.as_bytes());
    }
}

/// At most so many bytes; what is left of them comes back.
pub(super) fn read_calls(
    from: &mut Reader<'_>,
    mut room: usize,
) -> Result<(Vec<Call>, usize), DecodeError> {
    let mut calls = Vec::new();
    for _ in 0..from.count("calls", MAX_CALLS)? {
        let name = ToolName::read(from)?;
        let arguments = read_text(from, "arguments", room)?;
        room = room.saturating_sub(arguments.0.len());
        calls.push(Call { name, arguments });
    }
    Ok((calls, room))
}
