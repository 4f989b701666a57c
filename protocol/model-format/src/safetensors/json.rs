//! The header's JSON, read entry by entry, so that a repeated name is seen and a limit holds while
//! reading.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{HeaderError, MAX_DIMENSIONS, MAX_METADATA, MAX_NAME_BYTES, MAX_TENSORS};

const METADATA: &str = "__metadata__";

/// A tensor as the header describes it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) offsets: [u64; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    dtype: String,
    shape: Shape,
    data_offsets: [u64; 2],
}

/// Dimensions, at most one more than any tensor may have: a header of [`super::MAX_HEADER_BYTES`]
/// could list eight million of them, four times its own length in memory.
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(dimension) = list.next_element()? {
            if shape.len() > MAX_DIMENSIONS {
                return Err(A::Error::custom("more dimensions than any tensor has"));
            }
            shape.push(dimension);
        }
        Ok(Shape(shape))
    }
}

/// The tensors that a header describes, in its order.
pub(super) fn entries(header: &[u8]) -> Result<Vec<Entry>, HeaderError> {
    // The format says so; a header that begins with white space would have two forms.
    if header.first() != Some(&b'{') {
        return Err(HeaderError::Malformed { line: 1, column: 1 });
    }
    let mut reading = Reading::default();
    let mut json = serde_json::Deserializer::from_slice(header);
    let read = Object(&mut reading).deserialize(&mut json);
    let read = read.and_then(|()| json.end());
    match (read, reading.refused) {
        (_, Some(refused)) => Err(refused),
        (Ok(()), None) => Ok(reading.entries),
        (Err(error), None) => Err(HeaderError::Malformed {
            line: error.line(),
            column: error.column(),
        }),
    }
}

#[derive(Default)]
struct Reading {
    entries: Vec<Entry>,
    has_metadata: bool,
    /// A reason of ours, which serde's error cannot carry.
    refused: Option<HeaderError>,
}

struct Object<'r>(&'r mut Reading);

impl Object<'_> {
    fn refuse<E: serde::de::Error>(&mut self, reason: HeaderError) -> E {
        self.0.refused = Some(reason);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let entry = self.0.entries.len();
            if name == METADATA {
                if self.0.has_metadata {
                    return Err(self.refuse(HeaderError::Duplicate { entry }));
                }
                self.0.has_metadata = true;
                map.next_value::<Metadata>()?;
                continue;
            }
            if entry == MAX_TENSORS {
                return Err(self.refuse(HeaderError::TooMany {
                    what: "tensors",
                    limit: MAX_TENSORS,
                }));
            }
            if name.len() > MAX_NAME_BYTES {
                return Err(self.refuse(HeaderError::TooMany {
                    what: "bytes in a name",
                    limit: MAX_NAME_BYTES,
                }));
            }
            let described: Description = map.next_value()?;
            self.0.entries.push(Entry {
                name,
                dtype: described.dtype,
                shape: described.shape.0,
                offsets: described.data_offsets,
            });
        }
        Ok(())
    }
}

/// Text to text; read for its form only.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((key, _)) = map.next_entry::<String, String>()? {
            if seen.len() == MAX_METADATA || !seen.insert(key) {
                return Err(A::Error::custom("metadata repeats a key or has too many"));
            }
        }
        Ok(Metadata)
    }
}
