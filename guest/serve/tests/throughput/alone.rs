//! The program engine, asked over its socket by nobody but this, and granted all at once.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use messages::engine_ipc::{
    ClientKey, Content, EngineEvent, EngineRequest, Form, MAX_FRAME, Prompt, Start,
};
use messages::framing::{frame, payload_length};
use onlooker::{process_of, processor_time};
use protocol::receipt::Sampling;
use sys::process::Child;

use crate::programs::start_engine;
use crate::{Load, Round, prompt};

pub(crate) struct Alone {
    engine: Child,
    socket: UnixStream,
    asked: u64,
    _output: UnixStream,
}

impl Alone {
    pub(crate) fn start(model: Option<&Path>) -> Self {
        let (_output, output) = UnixStream::pair().unwrap();
        let (ipc, socket) = UnixStream::pair().unwrap();
        let mut alone = Self {
            engine: start_engine(&ipc, &output, model),
            socket,
            asked: 0,
            _output,
        };
        assert!(matches!(alone.event(), EngineEvent::Loaded { .. }));
        alone
    }

    pub(crate) fn round(&mut self, load: Load, round: usize) -> Round {
        let process = process_of(self.engine.as_fd());
        let before = [processor_time(&process), processor_time("self")];
        let began = Instant::now();
        // Which stream a request is of, and its number there.
        let mut running: Vec<(u64, usize, usize)> = (0..load.streams)
            .map(|stream| (self.ask(load, round, stream, 0), stream, 0))
            .collect();
        let mut tokens = (0, 0);
        while !running.is_empty() {
            match self.event() {
                EngineEvent::Admitted { prompt_tokens, .. } => tokens.0 += u64::from(prompt_tokens),
                EngineEvent::Finished {
                    request,
                    completion_tokens,
                    ..
                } => {
                    tokens.1 += u64::from(completion_tokens);
                    let at = running.iter().position(|(asked, ..)| *asked == request);
                    let (_, stream, number) = running.swap_remove(at.unwrap());
                    if number + 1 < load.requests {
                        let asked = self.ask(load, round, stream, number + 1);
                        running.push((asked, stream, number + 1));
                    }
                }
                EngineEvent::Refused { refusal, .. } => panic!("refused: {}", refusal.code()),
                _ => {}
            }
        }
        let elapsed = began.elapsed();
        let after = [processor_time(&process), processor_time("self")];
        Round {
            tokens,
            elapsed,
            spent: [
                after[0] - before[0],
                std::time::Duration::ZERO,
                after[1].saturating_sub(before[1]),
            ],
        }
    }

    fn ask(&mut self, load: Load, round: usize, stream: usize, request: usize) -> u64 {
        self.asked += 1;
        let start = Start {
            request: self.asked,
            client: ClientKey([u8::try_from(stream).unwrap(); 16]),
            sampling: Sampling {
                temperature_milli: 0,
                top_p_milli: 1000,
                seed: 0,
                top_k: 0,
                min_p_milli: 0,
                presence_milli: 0,
                frequency_milli: 0,
                max_tokens: load.tokens,
            },
            grant: load.tokens,
            prompt: Prompt::Text(Content(prompt(round, stream, request))),
            stops: Vec::new(),
            biases: Vec::new(),
            alternatives: None,
            form: Form::Free,
        };
        let bytes = frame(&EngineRequest::Start(start).encode());
        self.socket.write_all(&bytes).unwrap();
        self.asked
    }

    fn event(&mut self) -> EngineEvent {
        let mut header = [0; 4];
        self.socket.read_exact(&mut header).unwrap();
        let mut payload = vec![0; payload_length(header, MAX_FRAME).unwrap()];
        self.socket.read_exact(&mut payload).unwrap();
        EngineEvent::decode(&payload).unwrap()
    }
}
