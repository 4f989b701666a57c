//! init's own connection to the host's control port: codes out, nothing in.
//!
//! The layout is `messages::host_control`; serve has a connection of its own.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use messages::framing;
use messages::host_control::{CONTROL_PORT, GuestMessage};
use sys::CallFailed;

/// How long the host may take until its control port is there.
const CONNECT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
/// How long one write, or the host's taking of the last message, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects to the host's control port, again and again until the deadline.
///
/// # Errors
/// The last failure.
pub fn dial() -> Result<OwnedFd, CallFailed> {
    let start = Instant::now();
    loop {
        match sys::socket::vsock_connect(sys::socket::HOST_CID, CONTROL_PORT) {
            Err(_) if start.elapsed() < CONNECT => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

/// init's connection. A host that does not listen loses messages, and nothing else happens.
#[derive(Debug)]
pub struct Control {
    stream: UnixStream,
}

impl Control {
    /// Speaks on a connected stream.
    ///
    /// # Errors
    /// That of setting its timeouts.
    pub fn new(stream: OwnedFd) -> Result<Self, CallFailed> {
        sys::socket::set_timeout(&stream, PATIENCE)?;
        Ok(Self {
            stream: stream.into(),
        })
    }

    /// Sends a message, as far as the host takes it.
    pub fn tell(&mut self, message: &GuestMessage) {
        let _lost = self.stream.write_all(&framing::frame(&message.encode()));
    }

    /// Sends the last message and waits, for a bounded time, until the host has closed its end:
    /// a machine that is off sends nothing any more.
    pub fn tell_last(mut self, message: &GuestMessage) {
        self.tell(message);
        if sys::socket::finish_writing(&self.stream).is_ok() {
            let _closed = self.stream.read(&mut [0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use messages::boot::{BootFailure, BootPhase};

    #[test]
    fn the_last_message_arrives_before_the_end() {
        let (near, far) = sys::socket::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            UnixStream::from(far).read_to_end(&mut read).unwrap();
            read
        });
        let message = GuestMessage::PhaseFailed(BootPhase::Root, BootFailure::VerityCorrupt);
        Control::new(near).unwrap().tell_last(&message);
        assert_eq!(reader.join().unwrap(), framing::frame(&message.encode()));
    }

    #[test]
    fn a_host_that_went_away_is_no_failure() {
        let (near, far) = sys::socket::pair().unwrap();
        drop(far);
        let mut control = Control::new(near).unwrap();
        control.tell(&GuestMessage::EndorsementsWanted);
        control.tell_last(&GuestMessage::EndorsementsWanted);
    }
}
