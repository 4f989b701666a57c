//! The engine's program, started as init starts it, and what serve would say to it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests state claims; a panic is the failure; not every test uses every part"
)]

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use messages::engine_ipc::{
    ClientKey, Content, Embed, EngineEvent, EngineRequest, Form, Input, MAX_FRAME, Prompt, Start,
};
use messages::framing::{frame, payload_length};
use protocol::receipt::Sampling;

/// Starts the engine on these files of a directory.
pub fn start(directory: &Path, names: &[&str]) -> (Child, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let files: String = (4..)
        .zip(names)
        .map(|(fd, name)| format!(" {fd}<'{name}'"))
        .collect();
    let child = Command::new("bash")
        // A socket as its standard input would have it read a file of the user's.
        .args([
            "--norc",
            "-c",
            &format!("exec \"$0\" \"$@\" 3<&0{files} </dev/null"),
        ])
        .arg(env!("CARGO_BIN_EXE_engine"))
        .args(names)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(far)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, near)
}

/// The next thing that it says.
pub fn event(serve: &mut UnixStream) -> EngineEvent {
    let mut header = [0; 4];
    serve.read_exact(&mut header).unwrap();
    let mut payload = vec![0; payload_length(header, MAX_FRAME).unwrap()];
    serve.read_exact(&mut payload).unwrap();
    EngineEvent::decode(&payload).unwrap()
}

pub fn send(serve: &mut UnixStream, request: &EngineRequest) {
    serve.write_all(&frame(&request.encode())).unwrap();
}

/// A file of a seeded model.
pub fn fixture(family: &str, file: &str) -> PathBuf {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models");
    models.join(family).join(file)
}

/// The greedy continuation of a text, paid for.
pub fn answer_of(request: u64, client: [u8; 16], text: String, max_tokens: u32) -> Start {
    Start {
        request,
        client: ClientKey(client),
        sampling: Sampling {
            temperature_milli: 0,
            top_p_milli: 1000,
            seed: 1,
            top_k: 0,
            min_p_milli: 0,
            presence_milli: 0,
            frequency_milli: 0,
            max_tokens,
        },
        grant: max_tokens,
        prompt: Prompt::Text(Content(text)),
        stops: Vec::new(),
        biases: Vec::new(),
        alternatives: None,
        form: Form::Free,
    }
}

/// The vectors of inputs, and how many tokens these are.
pub fn vectors(serve: &mut UnixStream, inputs: Vec<Input>) -> (u32, Vec<Vec<u8>>) {
    let embed = Embed {
        request: 1,
        inputs,
        dimensions: None,
    };
    send(serve, &EngineRequest::Embed(embed));
    let grant = EngineRequest::Grant {
        request: 1,
        tokens: 1,
    };
    send(serve, &grant);
    let (mut tokens, mut vectors) = (0, Vec::new());
    loop {
        match event(serve) {
            EngineEvent::Admitted { prompt_tokens, .. } => tokens = prompt_tokens,
            EngineEvent::Embedded { vector, .. } => vectors.push(vector.0),
            EngineEvent::Finished { .. } => return (tokens, vectors),
            EngineEvent::Prefilled { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
