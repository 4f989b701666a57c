//! What the bridge has for us, over as many connections as it takes: a bounded number of events.
//!
//! Not here: whether a message is the wallet's (`sealed`), and how long to wait.

use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::bridge::{Bridge, BridgeError, EventStream};
use super::error::ConnectError;
use super::events::Event;
use super::sealed::ClientId;

/// Events of the bridge that are looked at while waiting for one, at most: ours, and others'.
pub const MAX_EVENTS: u32 = 256;
/// Pause before the bridge is asked for its stream again.
const PAUSE: Duration = Duration::from_secs(1);

/// A message as the bridge passes it on: who sent it is the bridge's word until its box opens.
pub(super) struct Envelope {
    pub(super) from: ClientId,
    pub(super) sealed: Vec<u8>,
}

#[derive(Deserialize)]
struct ShownEnvelope {
    from: String,
    message: String,
}

impl Envelope {
    /// None for what is no envelope.
    pub(super) fn parse(data: &str) -> Option<Self> {
        let shown: ShownEnvelope = serde_json::from_str(data).ok()?;
        Some(Self {
            from: shown.from.parse().ok()?,
            sealed: STANDARD.decode(shown.message).ok()?,
        })
    }
}

/// What the bridge has for us, over as many connections as it takes.
pub(super) struct Inbox<'a> {
    bridge: &'a Bridge,
    id: ClientId,
    /// The bridge's number of the last event.
    pub(super) last: Option<String>,
    stream: Option<EventStream>,
    seen: u32,
}

impl<'a> Inbox<'a> {
    pub(super) const fn new(bridge: &'a Bridge, id: ClientId, last: Option<String>) -> Self {
        Self {
            bridge,
            id,
            last,
            stream: None,
            seen: 0,
        }
    }

    /// Opens the stream, where it is not open.
    pub(super) async fn open(&mut self) -> Result<(), BridgeError> {
        if self.stream.is_none() {
            let stream = self.bridge.listen(&self.id, self.last.as_deref()).await?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// The next message; what is none is counted and passed over.
    pub(super) async fn next(&mut self) -> Result<Envelope, ConnectError> {
        loop {
            self.seen = self.seen.saturating_add(1);
            if self.seen > MAX_EVENTS {
                return Err(ConnectError::TooManyEvents);
            }
            let event = self.event().await?;
            if event.id.is_some() {
                self.last = event.id;
            }
            if let Some(envelope) = Envelope::parse(&event.data) {
                return Ok(envelope);
            }
        }
    }

    /// The next event; a line that breaks is made again, unless it never was there.
    async fn event(&mut self) -> Result<Event, ConnectError> {
        self.open().await?;
        while let Some(stream) = &mut self.stream {
            match stream.next().await {
                Ok(event) => return Ok(event),
                Err(error) if error.is_of_the_line() => self.stream = Some(self.again().await?),
                Err(error) => return Err(error.into()),
            }
        }
        // Never: it was opened above.
        Err(BridgeError::Url.into())
    }

    async fn again(&self) -> Result<EventStream, BridgeError> {
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.bridge.listen(&self.id, self.last.as_deref()).await {
                Err(error) if error.is_of_the_line() => {}
                listened => return listened,
            }
        }
    }
}
