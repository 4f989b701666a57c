//! Headers of a request: each that counts exactly once, and never repeated in an error.

use http::{HeaderMap, header};

use crate::errors::Refusal;

/// The one value of a header.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refusal> {
    let refused = Refusal::HeaderInvalid { header: name };
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| refused),
        (None | Some(_), _) => Err(refused),
    }
}

/// Refuses a body that says it is something else than JSON.
pub(crate) fn json_or_unsaid(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().map_err(|_| Refusal::BodyType)?;
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Refusal::BodyType)
    }
}
