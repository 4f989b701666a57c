//! The bridge's stream of events, read within bounds: bytes in, whole events out.
//!
//! The part of the HTML standard's server-sent events that bridges use: lines end with LF or CRLF.
//! Not here: connections (`bridge`), what an event means (`parent`).

/// An event is at most this long, with its names and ends of lines.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;
/// A bridge's number of an event is at most this long.
pub(super) const MAX_EVENT_ID_BYTES: usize = 64;

/// The stream is not one that a bridge sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Longer than any valid event.
    #[error("an event longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// Not text, or a number of an event that is none.
    #[error("an event that is not of the documented form")]
    Malformed,
}

/// One message that the bridge passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The bridge's number for it: printable ASCII.
    pub id: Option<String>,
    /// What it passes on.
    pub data: String,
}

/// What was read of the event that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    /// Bytes since the last whole event.
    bytes: usize,
    kind: String,
    id: Option<String>,
    data: Option<String>,
}

impl EventReader {
    /// Takes what arrived and gives the events that are whole now, in order. Heartbeats are none.
    ///
    /// # Errors
    /// See [`EventError`]; nothing more can be read of the stream then.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, EventError> {
        let mut whole = Vec::new();
        for byte in bytes {
            self.bytes = self.bytes.saturating_add(1);
            if self.bytes > MAX_EVENT_BYTES {
                return Err(EventError::TooLong);
            }
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = core::mem::take(&mut self.line);
            let line = String::from_utf8(line).map_err(|_| EventError::Malformed)?;
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if line.is_empty() {
                whole.extend(core::mem::take(self).finish());
            } else {
                self.field(line)?;
            }
        }
        Ok(whole)
    }

    fn field(&mut self, line: &str) -> Result<(), EventError> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.kind),
            "id" => {
                let graphic = value.bytes().all(|byte| byte.is_ascii_graphic());
                if !graphic || !(1..=MAX_EVENT_ID_BYTES).contains(&value.len()) {
                    return Err(EventError::Malformed);
                }
                self.id = Some(value.to_owned());
            }
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // A comment, or a field that this program has no use for.
            _ => {}
        }
        Ok(())
    }

    /// Bridges say `event: heartbeat`, or once said it as the data.
    fn finish(self) -> Option<Event> {
        let data = self.data?;
        if self.kind == "heartbeat" || data == "heartbeat" {
            return None;
        }
        Some(Event { id: self.id, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nevent: heartbeat\n\nevent: heartbeat\r\ndata: x\r\n\r\n\
        data: heartbeat\n\nevent: message\nid: 17\ndata: {\"from\":\"a\"}\n\n\
        event: message\r\nid:18\r\ndata:one\r\ndata: two\r\nretry: 9\r\n\r\ndata: not whole";

    fn expected() -> Vec<Event> {
        let event = |id: &str, data: &str| Event {
            id: Some(id.to_owned()),
            data: data.to_owned(),
        };
        vec![event("17", "{\"from\":\"a\"}"), event("18", "one\ntwo")]
    }

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let bytes = STREAM.as_bytes();
        for size in [1, 2, 3, 7, bytes.len()] {
            let mut reader = EventReader::default();
            let read = bytes.chunks(size).map(|part| reader.push(part).unwrap());
            assert_eq!(read.flatten().collect::<Vec<_>>(), expected(), "{size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused_at_its_bound_and_one_within_it_is_not() {
        let mut reader = EventReader::default();
        let most = MAX_EVENT_BYTES - "data:\n\n".len();
        let event = format!("data:{}\n\n", "x".repeat(most));
        assert_eq!(reader.push(event.as_bytes()).unwrap().len(), 1);
        assert_eq!(reader.push(event.as_bytes()).unwrap().len(), 1);
        for begin in ["data:", "id:", ": ", "data:x\ndata:", "\n\ndata:x\n:"] {
            let mut reader = EventReader::default();
            reader.push(begin.as_bytes()).unwrap();
            let endless = reader.push(&[b'x'; MAX_EVENT_BYTES]);
            assert_eq!(endless, Err(EventError::TooLong), "{begin}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_stream_is_read_beyond_its_bounds(
            parts in proptest::collection::vec("(data|id|event|:|\\PC|[\r\n: ]){0,40}", 0..20),
        ) {
            let mut reader = EventReader::default();
            for part in parts {
                let Ok(events) = reader.push(part.as_bytes()) else { break };
                for event in events {
                    let id = event.id.as_deref().unwrap_or("1");
                    proptest::prop_assert!((1..=MAX_EVENT_ID_BYTES).contains(&id.len()));
                    proptest::prop_assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
                    proptest::prop_assert!(event.data != "heartbeat");
                }
            }
        }
    }

    #[test]
    fn numbers_that_could_not_be_asked_with_are_refused() {
        let long = "1".repeat(MAX_EVENT_ID_BYTES + 1);
        for id in ["", "a b", "1\u{e9}", "1\t", &long] {
            let mut reader = EventReader::default();
            let read = reader.push(format!("id: {id}\ndata: x\n\n").as_bytes());
            assert_eq!(read, Err(EventError::Malformed), "{id}");
        }
        let mut reader = EventReader::default();
        assert_eq!(reader.push(b"data: \xff\n\n"), Err(EventError::Malformed));
    }
}
