//! Watching all programs, answering serve and looking after the GPUs, from registration to the
//! machine's end.
//!
//! Any end of a program ends the machine; nothing is started again in this version.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use messages::quote_socket::{QuoteAnswer, QuoteRefusal, QuoteRequest};
use sys::process::Child;

use crate::confinement::Role;
use crate::failure::BootError;
use crate::gpu::Devices;
use crate::quote::{ExchangeError, QuoteServer, read_payload, write_answer};

/// How long one frame may take, once it has begun.
const FRAME: Duration = Duration::from_secs(10);
/// The longest single wait.
const TICK: Duration = Duration::from_secs(1);

/// The running programs and serve's quote socket.
#[derive(Debug)]
pub struct Watch {
    server: QuoteServer,
    socket: UnixStream,
    serve: Child,
    engine: Option<Child>,
    /// The GPUs and the program that speaks for them.
    devices: Option<(Devices, Child)>,
    host_time: fn() -> u64,
}

impl Watch {
    /// Watches serve, which holds the other end of `socket`.
    ///
    /// # Errors
    /// That of setting the socket's timeouts.
    pub fn new(
        server: QuoteServer,
        socket: OwnedFd,
        serve: Child,
        host_time: fn() -> u64,
    ) -> Result<Self, BootError> {
        sys::socket::set_timeout(&socket, FRAME)?;
        Ok(Self {
            server,
            socket: socket.into(),
            serve,
            engine: None,
            devices: None,
            host_time,
        })
    }

    /// Watches engine as well.
    pub fn add_engine(&mut self, engine: Child) {
        self.engine = Some(engine);
    }

    /// Watches the GPUs as well, and has Statements speak of their evidence.
    pub fn add_devices(&mut self, devices: Devices, program: Child) {
        self.server.set_gpu_evidence(devices.evidence().to_vec());
        self.devices = Some((devices, program));
    }

    /// Answers until serve has registered its keys.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; `ProgramEnded`; what breaks the socket's protocol.
    pub fn until_registered(&mut self, patience: Duration) -> Result<(), BootError> {
        let start = Instant::now();
        while !self.server.is_registered() {
            if let Some(payload) = self.next_payload(start, Some(patience))? {
                self.answer(&payload)?;
            }
        }
        Ok(())
    }

    /// Answers until serve says that models are loaded; then runs `detach`, and only when that
    /// has succeeded does serve learn that it may take requests.
    ///
    /// # Errors
    /// As above, and that of `detach`.
    pub fn until_ready(
        &mut self,
        patience: Duration,
        detach: impl FnOnce() -> Result<(), BootError>,
    ) -> Result<(), BootError> {
        let start = Instant::now();
        loop {
            let Some(payload) = self.next_payload(start, Some(patience))? else {
                continue;
            };
            if QuoteRequest::decode(&payload) == Ok(QuoteRequest::Ready) {
                detach()?;
                return self.answer(&payload);
            }
            self.answer(&payload)?;
        }
    }

    /// Answers until something ends; comes back only with the reason.
    #[must_use]
    pub fn until_end(&mut self) -> BootError {
        let start = Instant::now();
        loop {
            let answered = match self.next_payload(start, None) {
                Ok(Some(payload)) => self.answer(&payload),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = answered {
                return error;
            }
        }
    }

    /// The next request's payload, or `None` after a tick in which nothing happened.
    fn next_payload(
        &mut self,
        start: Instant,
        patience: Option<Duration>,
    ) -> Result<Option<Vec<u8>>, BootError> {
        let ready = match &self.engine {
            Some(engine) => {
                let three = [self.socket.as_fd(), self.serve.as_fd(), engine.as_fd()];
                sys::descriptor::readable(three, TICK)?
            }
            None => {
                let two = [self.socket.as_fd(), self.serve.as_fd()];
                let [socket, serve] = sys::descriptor::readable(two, TICK)?;
                [socket, serve, false]
            }
        };
        let [request, _, _] = ready;
        self.refuse_ends()?;
        self.look_after_devices()?;
        if patience.is_some_and(|patience| start.elapsed() >= patience) {
            return Err(BootError::TimedOut);
        }
        if !request {
            return Ok(None);
        }
        match read_payload(&mut self.socket) {
            Ok(payload) => Ok(Some(payload)),
            Err(error) => Err(self.blame(error)),
        }
    }

    /// Evidence that does not hold any longer ends the machine before another answer.
    fn look_after_devices(&mut self) -> Result<(), BootError> {
        let Some((devices, _)) = &mut self.devices else {
            return Ok(());
        };
        if devices.look(Instant::now(), (self.host_time)())? {
            self.server.set_gpu_evidence(devices.evidence().to_vec());
        }
        Ok(())
    }

    fn refuse_ends(&mut self) -> Result<(), BootError> {
        if let Some(ended) = self.serve.ended()? {
            let role = Role::Serve;
            return Err(BootError::ProgramEnded { role, ended });
        }
        let engine = self.engine.as_mut().map(Child::ended).transpose()?;
        if let Some(ended) = engine.flatten() {
            let role = Role::Engine;
            return Err(BootError::ProgramEnded { role, ended });
        }
        let devices = self.devices.as_mut();
        let ended = devices.map(|(_, program)| program.ended()).transpose()?;
        if let Some(ended) = ended.flatten() {
            let role = Role::GpuEvidence;
            return Err(BootError::ProgramEnded { role, ended });
        }
        Ok(())
    }

    /// A socket that ended is the end of serve, once that shows.
    fn blame(&mut self, error: ExchangeError) -> BootError {
        let serve = [self.serve.as_fd()];
        let _shown = sys::descriptor::readable(serve, TICK);
        match self.refuse_ends() {
            Err(ended) => ended,
            Ok(()) => BootError::Exchange(error),
        }
    }

    fn answer(&mut self, payload: &[u8]) -> Result<(), BootError> {
        let answer = self.server.answer_payload(payload, (self.host_time)());
        write_answer(&mut self.socket, &answer).map_err(|error| self.blame(error))?;
        match answer {
            QuoteAnswer::Refused(QuoteRefusal::Malformed) => Err(BootError::MalformedRequest),
            QuoteAnswer::Refused(
                QuoteRefusal::AlreadyRegistered
                | QuoteRefusal::NotRegistered
                | QuoteRefusal::NoReport,
            )
            | QuoteAnswer::Registered { .. }
            | QuoteAnswer::Quoted { .. }
            | QuoteAnswer::Noted => Ok(()),
        }
    }
}
