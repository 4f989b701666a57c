//! Stands between serve and engine: passes on what they say, holds the engine to one end for each
//! answer and to what was granted, and asks what it holds.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use messages::engine_ipc::{EngineEvent, EngineRequest, Holdings, MAX_FRAME};
use messages::framing::{frame, payload_length};
use protocol::receipt::FinishReason;

use crate::machine::hang_up;

/// An engine answers between two steps.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Between {
    engine: UnixStream,
    /// One frame at a time goes to the engine, whoever writes it.
    writing: Mutex<()>,
    book: Mutex<Book>,
    counted: Mutex<Receiver<Holdings>>,
    tell: Sender<Holdings>,
}

/// What the engine owes.
#[derive(Default)]
struct Book {
    running: HashMap<u64, Running>,
    ends: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
struct Running {
    granted: u64,
    told: u64,
    admitted: bool,
}

impl Between {
    pub(crate) fn new(engine: UnixStream) -> Self {
        let (tell, counted) = channel();
        Self {
            engine,
            writing: Mutex::default(),
            book: Mutex::default(),
            counted: Mutex::new(counted),
            tell,
        }
    }

    /// Asks the engine what it holds.
    pub(crate) fn count(&self) -> Holdings {
        // A question that was asked before has its answer: nobody asks twice at once.
        let counted = self.counted.lock().unwrap();
        self.write(&EngineRequest::Count.encode());
        counted
            .recv_timeout(PATIENCE)
            .expect("the engine does not say what it holds")
    }

    /// Answers that have not ended.
    pub(crate) fn running(&self) -> usize {
        self.book().running.len()
    }

    /// How answers ended, and how often.
    pub(crate) fn ends(&self) -> BTreeMap<&'static str, u64> {
        self.book().ends.clone()
    }

    /// Carries frames both ways until either side hangs up.
    pub(crate) fn carry(&self, serve: UnixStream) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.answers(&serve));
            while let Some(payload) = read(&serve) {
                let request = EngineRequest::decode(&payload).expect("serve says what it may");
                self.book().asked(&request);
                self.write(&payload);
            }
            hang_up(&self.engine);
        });
    }

    fn answers(&self, mut serve: &UnixStream) {
        while let Some(payload) = read(&self.engine) {
            let event = EngineEvent::decode(&payload).expect("the engine says what it may");
            if let EngineEvent::Counted(holdings) = event {
                let _ = self.tell.send(holdings);
                continue;
            }
            let told = self.book().told(&event);
            told.expect("the engine keeps its protocol");
            if serve.write_all(&frame(&payload)).is_err() {
                return;
            }
        }
        hang_up(serve);
    }

    fn write(&self, payload: &[u8]) {
        let _writing = self.writing.lock().unwrap();
        let _ = (&self.engine).write_all(&frame(payload));
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// serve asks for something: before the engine hears of it.
    fn asked(&mut self, request: &EngineRequest) {
        match request {
            EngineRequest::Start(start) => {
                let running = Running {
                    granted: start.grant.into(),
                    ..Running::default()
                };
                let before = self.running.insert(start.request, running);
                assert!(before.is_none(), "serve uses a number twice");
            }
            EngineRequest::Embed(embed) => {
                self.running.insert(embed.request, Running::default());
            }
            EngineRequest::Grant { request, tokens } => {
                if let Some(running) = self.running.get_mut(request) {
                    running.granted += u64::from(*tokens);
                }
            }
            EngineRequest::Cancel { .. } | EngineRequest::Forget { .. } | EngineRequest::Count => {}
        }
    }

    /// The engine says something of an answer; what is wrong with it.
    fn told(&mut self, event: &EngineEvent) -> Result<(), &'static str> {
        let (request, end) = match event {
            EngineEvent::Loaded { .. } | EngineEvent::Steps(_) | EngineEvent::Counted(_) => {
                return Ok(());
            }
            EngineEvent::Admitted { request, .. }
            | EngineEvent::Prefilled { request, .. }
            | EngineEvent::Token { request, .. }
            | EngineEvent::Embedded { request, .. } => (*request, None),
            EngineEvent::Finished {
                request, reason, ..
            } => (*request, Some(word(*reason))),
            EngineEvent::Refused {
                request, refusal, ..
            } => (*request, Some(refusal.code())),
        };
        let Some(running) = self.running.get_mut(&request) else {
            return Err("something is told of an answer that does not run");
        };
        match event {
            EngineEvent::Admitted { .. } if running.admitted => return Err("admitted twice"),
            EngineEvent::Admitted { .. } => running.admitted = true,
            EngineEvent::Token { .. } => running.told += 1,
            _ if end.is_none() && !running.admitted => {
                return Err("computed before it is admitted");
            }
            _ => {}
        }
        if running.told > running.granted {
            return Err("more tokens than were granted");
        }
        if let Some(end) = end {
            self.running.remove(&request);
            *self.ends.entry(end).or_default() += 1;
        }
        Ok(())
    }
}

const fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
    }
}

/// One frame; none when the other side is gone.
fn read(mut from: &UnixStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    from.read_exact(&mut header).ok()?;
    let mut payload = vec![0; payload_length(header, MAX_FRAME).expect("a frame in its limit")];
    from.read_exact(&mut payload).ok()?;
    Some(payload)
}
