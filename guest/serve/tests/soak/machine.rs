//! The machine under the soak: both programs, what stands between them, scripted init and host.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use messages::engine_ipc::Holdings;
use protocol::launch_configuration::{LaunchConfiguration, Limits};
use protocol::ton::NetworkId;
use sys::process::{Child, Ended};

use crate::between::Between;
use crate::programs::{start_engine, start_serve};
use crate::stage::{self, Scenery};

/// Streams at once: fewer than visitors, so that some are refused.
const STREAMS: u16 = 16;
/// Tokens between two vouchers.
const INCREMENT: u32 = 16;
/// How long the machine may take to come to rest.
const SETTLING: Duration = Duration::from_secs(60);

/// What the visitors have to know of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Tokens that a request may ask for together with its prompt.
    pub(crate) context: u32,
    /// Bytes of a prompt that surely fits.
    pub(crate) prompt: usize,
    /// Tokens of an answer.
    pub(crate) answer: u32,
}

/// One byte is at most one token of the tiny model, whose context is 512.
const TINY: Size = Size {
    context: 512,
    prompt: 240,
    answer: 64,
};

const GIVEN: Size = Size {
    context: 2048,
    prompt: 900,
    answer: 32,
};

/// Both programs, running.
pub(crate) struct Machine {
    pub(crate) size: Size,
    pub(crate) path: PathBuf,
    between: Arc<Between>,
    scenery: Scenery,
    serve: Child,
    engine: Child,
    printed: UnixStream,
}

/// Kilobytes of both programs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) engine: u64,
    pub(crate) serve: u64,
}

impl Machine {
    /// Starts both on this model, or on a tiny one.
    pub(crate) fn start(model: Option<&Path>) -> Self {
        let (printed, output) = UnixStream::pair().unwrap();
        let (of_engine, to_engine) = UnixStream::pair().unwrap();
        let engine = start_engine(&of_engine, &output, model);
        drop(of_engine);
        let size = if model.is_some() { GIVEN } else { TINY };
        let configuration = LaunchConfiguration {
            limits: Limits {
                streams: STREAMS,
                context_tokens: size.context,
                increment_tokens: INCREMENT,
            },
            ..stage::configuration(NetworkId::MAIN)
        };
        let between = Arc::new(Between::new(to_engine));
        let relay = Arc::clone(&between);
        let (scenery, descriptors) =
            Scenery::with_engine(&configuration, move |serve, _| relay.carry(serve));
        let serve = start_serve(&descriptors, &output);
        Self {
            size,
            path: scenery.path.clone(),
            between,
            scenery,
            serve,
            engine,
            printed,
        }
    }

    /// Waits until serve takes connections.
    pub(crate) fn until_ready(&self) {
        let asked = Instant::now();
        while !self.scenery.seen.lock().unwrap().ready {
            assert!(asked.elapsed() < SETTLING, "the machine does not get ready");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the engine holds.
    pub(crate) fn holdings(&self) -> Holdings {
        self.between.count()
    }

    /// Waits until nothing is under way and nothing is held for anybody; what is left if that
    /// never comes.
    pub(crate) fn settled(&self) -> Result<Holdings, Holdings> {
        let asked = Instant::now();
        loop {
            let now = self.holdings();
            let at_rest = Holdings {
                answers: 0,
                reserved: 0,
                kept: 0,
                held: 0,
                ..now
            };
            if now == at_rest && self.between.running() == 0 {
                return Ok(now);
            }
            if asked.elapsed() > SETTLING {
                return Err(now);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Answers that the engine was asked for, and how they ended: each once, or this fails.
    pub(crate) fn ends(&self) -> BTreeMap<&'static str, u64> {
        self.between.ends()
    }

    /// Resident memory now.
    pub(crate) fn memory(&self) -> Memory {
        Memory {
            engine: resident(&self.engine),
            serve: resident(&self.serve),
        }
    }

    /// Whether a program ended, and how.
    pub(crate) fn crashed(&mut self) -> Option<(&'static str, Ended)> {
        let engine = self.engine.ended().unwrap().map(|ended| ("engine", ended));
        engine.or_else(|| self.serve.ended().unwrap().map(|ended| ("serve", ended)))
    }

    /// init dies: serve ends with 1, the engine, to which nobody speaks then, with 0, and neither
    /// has said anything.
    pub(crate) fn stop(mut self) -> (Ended, Ended) {
        self.scenery.end();
        let ended = (self.serve.wait().unwrap(), self.engine.wait().unwrap());
        let mut said = String::new();
        self.printed.read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "a program printed something");
        ended
    }
}

/// Resident memory of a program, in kilobytes; none of one that ended.
fn resident(program: &Child) -> u64 {
    onlooker::resident(onlooker::process_of(program.as_fd())) >> 10
}

/// Nobody speaks to the engine any more.
pub(crate) fn hang_up(engine: &UnixStream) {
    let _ = engine.shutdown(Shutdown::Both);
}
