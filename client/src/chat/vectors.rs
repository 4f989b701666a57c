//! Vectors of texts: what of a request the client must know itself, and what comes back for it.
//!
//! Pure. The request travels as any other, is paid as a prompt is, and its receipt covers the bytes
//! of all vectors in their order. `docs/spec/serving.md` §4.8. Content: does not print.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::receipt::FinishReason;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::events::{Chunk, StreamError};
use super::request::{ChatRequestError, optional};
use crate::payment::RequestedSampling;

/// Bytes of an element.
const ELEMENT: usize = 4;
/// Vectors of one request are at most this long together.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a receipt says of how vectors were sampled: they were not.
pub(super) const UNSAMPLED: RequestedSampling = RequestedSampling {
    temperature_milli: 0,
    top_p_milli: 1000,
    top_k: 0,
    min_p_milli: 0,
    presence_milli: 0,
    frequency_milli: 0,
    seed: Some(0),
    max_tokens: Some(1),
};

/// How the asker wants vectors written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorEncoding {
    /// As a list of numbers.
    Floats,
    /// Their float32, little-endian, in base64.
    Base64,
}

/// What a request for vectors asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VectorsAsked {
    pub(super) encoding: VectorEncoding,
    pub(super) inputs: usize,
    /// How many elements each must have, where the request says.
    elements: Option<usize>,
}

impl VectorsAsked {
    /// Reads it from a request's members; what else there is, is the server's to take or refuse.
    pub(super) fn of(members: &Map<String, Value>) -> Result<Self, ChatRequestError> {
        let refused = |member| ChatRequestError::Member { member };
        let inputs = match members.get("input") {
            Some(Value::String(_)) => 1,
            Some(Value::Array(list)) if matches!(list.first(), Some(Value::Number(_))) => 1,
            Some(Value::Array(list)) if !list.is_empty() => list.len(),
            _ => return Err(refused("input")),
        };
        let encoding = match optional(members, "encoding_format").map(Value::as_str) {
            None | Some(Some("float")) => VectorEncoding::Floats,
            Some(Some("base64")) => VectorEncoding::Base64,
            Some(Some(_) | None) => return Err(refused("encoding_format")),
        };
        let elements = optional(members, "dimensions").map(|value| {
            let width = value.as_u64().and_then(|width| usize::try_from(width).ok());
            width.ok_or(refused("dimensions"))
        });
        Ok(Self {
            encoding,
            inputs,
            elements: elements.transpose()?,
        })
    }
}

/// A vector as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Vector {
    index: u64,
    bytes: Vec<u8>,
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({} bytes)", self.bytes.len())
    }
}

impl Vector {
    /// From base64; none unless all its elements are numbers and there is one.
    pub(super) fn read(index: u64, text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let (elements, rest) = bytes.as_chunks::<ELEMENT>();
        let finite = |element: &[u8; ELEMENT]| f32::from_le_bytes(*element).is_finite();
        let sound = !elements.is_empty() && rest.is_empty() && elements.iter().all(finite);
        sound.then_some(Self { index, bytes })
    }

    /// As an OpenAI client parses it.
    #[must_use]
    pub fn written(&self, encoding: VectorEncoding) -> Value {
        match encoding {
            VectorEncoding::Base64 => STANDARD.encode(&self.bytes).into(),
            VectorEncoding::Floats => {
                let (elements, _) = self.bytes.as_chunks::<ELEMENT>();
                let numbers = elements.iter().map(|element| f32::from_le_bytes(*element));
                numbers.map(Value::from).collect::<Vec<_>>().into()
            }
        }
    }
}

/// The vectors of one request as they come.
#[derive(Debug)]
pub(super) struct VectorCount {
    asked: VectorsAsked,
    come: usize,
    width: Option<usize>,
}

impl VectorCount {
    pub(super) const fn of(asked: VectorsAsked) -> Self {
        Self {
            asked,
            come: 0,
            width: None,
        }
    }

    /// Takes a chunk, its vector's bytes to those before it; how all ended, with the last.
    ///
    /// # Errors
    /// `Malformed` for a vector out of its order, one too many, one of another width than the
    /// others or than was asked for, and for everything that belongs to an answer.
    pub(super) fn take(
        &mut self,
        chunk: &Chunk,
        told: &mut Zeroizing<Vec<u8>>,
    ) -> Result<Option<FinishReason>, StreamError> {
        if chunk.text.is_some() || chunk.finish.is_some() || chunk.probabilities.is_some() {
            return Err(StreamError::Malformed);
        }
        if let Some(vector) = &chunk.vector {
            let bytes = vector.bytes.len();
            let width = bytes.checked_div(ELEMENT);
            let wanted = self.asked.elements.or(self.width).or(width);
            let in_order = u64::try_from(self.come) == Ok(vector.index);
            let long = told.len().saturating_add(bytes) > MAX_BYTES;
            if !in_order || self.come >= self.asked.inputs || width != wanted || long {
                return Err(StreamError::Malformed);
            }
            self.width = width;
            self.come = self.come.saturating_add(1);
            told.extend_from_slice(&vector.bytes);
        }
        Ok((self.come == self.asked.inputs).then_some(FinishReason::Stop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::events::{Event, EventReader};
    use serde_json::json;

    fn asked(request: Value) -> Result<VectorsAsked, ChatRequestError> {
        let Value::Object(members) = request else {
            panic!("an object");
        };
        VectorsAsked::of(&members)
    }

    #[test]
    fn a_request_says_how_many_vectors_are_to_come_and_how_they_are_written() {
        for (input, inputs) in [
            (json!("a"), 1),
            (json!(["a", "b"]), 2),
            (json!([1, 2, 3]), 1),
            (json!([[1], [2], [3]]), 3),
        ] {
            let asked = asked(json!({ "input": input })).unwrap();
            assert_eq!(
                (asked.inputs, asked.encoding),
                (inputs, VectorEncoding::Floats)
            );
        }
        let asked = asked(json!({"input": "a", "encoding_format": "base64", "dimensions": 2}));
        let asked = asked.unwrap();
        assert_eq!(asked.encoding, VectorEncoding::Base64);
        assert_eq!(asked.elements, Some(2));
    }

    #[test]
    fn refuses_what_the_vectors_could_not_be_held_against() {
        for (request, member) in [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": {"a": 1}}), "input"),
            (
                json!({"input": "a", "encoding_format": "int8"}),
                "encoding_format",
            ),
            (
                json!({"input": "a", "encoding_format": 1}),
                "encoding_format",
            ),
            (json!({"input": "a", "dimensions": -1}), "dimensions"),
        ] {
            assert_eq!(asked(request), Err(ChatRequestError::Member { member }));
        }
    }

    fn chunk(value: &Value) -> Result<Chunk, StreamError> {
        let event = EventReader::default().push(format!("data: {value}\n\n").as_bytes())?;
        match event.into_iter().next() {
            Some(Event::Chunk(chunk)) => Ok(chunk),
            other => panic!("{other:?}"),
        }
    }

    fn vector(index: u64, elements: &[f32]) -> Value {
        let bytes: Vec<u8> = elements.iter().flat_map(|e| e.to_le_bytes()).collect();
        json!({"object": "embedding", "index": index, "embedding": STANDARD.encode(bytes)})
    }

    #[test]
    fn vectors_are_taken_in_order_all_of_one_width_and_as_many_as_were_asked_for() {
        let whole = asked(json!({"input": ["a", "b"]})).unwrap();
        let take = |asked: VectorsAsked, values: &[Value]| {
            let (mut count, mut told) = (VectorCount::of(asked), Zeroizing::default());
            let mut end = None;
            for value in values {
                end = count.take(&chunk(value)?, &mut told)?;
            }
            Ok((told.len(), end))
        };
        let (first, second) = (vector(0, &[1.0, 2.0]), vector(1, &[3.0, 4.0]));
        let usage = json!({"object": "list", "usage": {"prompt_tokens": 2}});
        let both = take(whole, &[first.clone(), second.clone(), usage]);
        assert_eq!(both, Ok((16, Some(FinishReason::Stop))));
        assert_eq!(take(whole, std::slice::from_ref(&first)), Ok((8, None)));
        let narrow = asked(json!({"input": "a", "dimensions": 1})).unwrap();
        let answer = json!({"choices": [{"delta": {"content": "a"}}]});
        for (asked, values) in [
            (whole, vec![second.clone()]),
            (whole, vec![first.clone(), first.clone()]),
            (
                whole,
                vec![first.clone(), second.clone(), vector(2, &[1.0, 2.0])],
            ),
            (whole, vec![first.clone(), vector(1, &[1.0])]),
            (narrow, vec![first.clone()]),
            (whole, vec![answer]),
        ] {
            assert_eq!(
                take(asked, &values),
                Err(StreamError::Malformed),
                "{values:?}"
            );
        }
    }

    #[test]
    fn what_is_no_vector_is_not_read_as_one_and_one_does_not_print() {
        for bad in [&[][..], &[f32::NAN], &[1.0, f32::INFINITY]] {
            assert!(chunk(&vector(0, bad)).is_err());
        }
        for text in ["AAAA", "no base64", "AAAAAAA="] {
            assert!(
                chunk(&json!({"index": 0, "embedding": text})).is_err(),
                "{text}"
            );
        }
        assert!(chunk(&json!({"embedding": "AACAPw=="})).is_err());
        let told = chunk(&vector(0, &[0.5, -0.25])).unwrap().vector.unwrap();
        assert_eq!(told.written(VectorEncoding::Floats), json!([0.5, -0.25]));
        assert_eq!(told.written(VectorEncoding::Base64), json!("AAAAPwAAgL4="));
        assert_eq!(format!("{told:?}"), "Vector(8 bytes)");
    }
}
