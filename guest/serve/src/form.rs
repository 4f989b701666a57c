//! `response_format`: the form that an answer must have. A schema is not looked into here: engine
//! reads it, and says which keyword it does not take.

use bounded_json::Json;
use messages::engine_ipc::{Content, Form, MAX_SCHEMA_BYTES};

use crate::errors::{Refusal, repeatable_name};

const MEMBER: &str = "response_format";
/// A schema's name, in characters, as with OpenAI.
const MAX_NAME: usize = 64;

const REFUSED: Refusal = Refusal::InvalidMember { member: MEMBER };

/// Reads the member.
pub(crate) fn read(value: Json) -> Result<Form, Refusal> {
    let Json::Object(members) = value else {
        return Err(REFUSED);
    };
    let (mut kind, mut schema) = (None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", Json::Text(name)) => kind = Some(name),
            ("json_schema", value) => schema = Some(value),
            ("type", _) => return Err(REFUSED),
            (other, _) => return Err(unsupported(other)),
        }
    }
    match (kind.as_deref(), schema) {
        (Some("text"), None) => Ok(Form::Free),
        (Some("json_object"), None) => Ok(Form::Object),
        (Some("json_schema"), Some(schema)) => named(schema),
        (Some(_) | None, _) => Err(REFUSED),
    }
}

/// A schema with its name. `strict` or not, it is followed.
fn named(value: Json) -> Result<Form, Refusal> {
    let Json::Object(members) = value else {
        return Err(REFUSED);
    };
    let (mut is_named, mut schema) = (false, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("name", Json::Text(name)) if is_name(&name) => is_named = true,
            ("schema", value @ Json::Object(_)) => schema = Some(value),
            ("description", Json::Text(_) | Json::Null)
            | ("strict", Json::Bool(_) | Json::Null) => {}
            ("name" | "schema" | "description" | "strict", _) => return Err(REFUSED),
            (other, _) => return Err(unsupported(other)),
        }
    }
    let (true, Some(schema)) = (is_named, schema) else {
        return Err(REFUSED);
    };
    let text = serde_json::to_string(&schema).map_err(|_| REFUSED)?;
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(Refusal::MemberTooLong { member: MEMBER });
    }
    Ok(Form::Schema(Content(text)))
}

fn is_name(name: &str) -> bool {
    matches!(name.len(), 1..=MAX_NAME)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn unsupported(name: &str) -> Refusal {
    let member = repeatable_name(name);
    Refusal::UnsupportedMember { member }
}
