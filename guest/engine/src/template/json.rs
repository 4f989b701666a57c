//! The filter `tojson`: JSON as Python's `json.dumps(ensure_ascii=False)` writes it; minijinja's
//! own filter escapes for HTML.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize as _;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::skeleton;

/// Deepest indentation of one level, in spaces.
const MAX_INDENT: usize = 8;

/// Writes a value; what it does not know of the options is an error.
pub(super) fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    // Told by some templates, and the only way here.
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    if ascii == Some(true) || indent.is_some_and(|indent| indent > MAX_INDENT) {
        return Err(Error::from(ErrorKind::InvalidOperation));
    }
    let mut out = Vec::new();
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut out, Spaced)),
        Some(indent) => {
            let indent = b" ".repeat(indent);
            let pretty = PrettyFormatter::with_indent(&indent);
            value.serialize(&mut Serializer::with_formatter(&mut out, pretty))
        }
    };
    written.map_err(|_| Error::from(ErrorKind::BadSerialization))?;
    let text = String::from_utf8(out).map_err(|_| Error::from(ErrorKind::BadSerialization))?;
    Ok(skeleton::in_json(&text))
}

/// Separators `", "` and `": "`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
