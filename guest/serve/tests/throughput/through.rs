//! Both programs, asked over TLS by as many clients as there are streams, each with a connection
//! on which evidence was given, and a channel of its own from which it acknowledges what it got.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use onlooker::{process_of, processor_time};
use protocol::evidence::ALPN;
use protocol::launch_configuration::{LaunchConfiguration, Limits};
use protocol::serving::COMPLETIONS_PATH;
use protocol::ton::NetworkId;
use serde_json::json;
use sys::process::Child;

use crate::programs::{start_engine, start_serve};
use crate::stage::client::{Client, Event, Payer, code};
use crate::stage::{self, MODEL, Scenery};
use crate::{Load, Round, prompt};

/// Tokens between two vouchers, as the project advises providers.
const INCREMENT: u32 = 64;
/// How long serve may take to get ready.
const SETTLING: Duration = Duration::from_secs(60);

pub(crate) struct Through {
    scenery: Scenery,
    serve: Child,
    engine: Child,
    runtime: tokio::runtime::Runtime,
    visitors: Vec<Visitor>,
    _output: UnixStream,
}

/// One client, and what it acknowledged so far.
struct Visitor {
    client: Client,
    payer: Payer,
    owed: u64,
}

impl Through {
    pub(crate) fn start(model: Option<&Path>) -> Self {
        let (_output, output) = UnixStream::pair().unwrap();
        let (of_engine, of_serve) = UnixStream::pair().unwrap();
        let engine = start_engine(&of_engine, &output, model);
        drop(of_engine);
        let configuration = LaunchConfiguration {
            limits: Limits {
                streams: 64,
                context_tokens: if model.is_some() { 2048 } else { 512 },
                increment_tokens: INCREMENT,
            },
            ..stage::configuration(NetworkId::MAIN)
        };
        // The scripted engine has nothing to say: the program is at the socket's other end.
        let (scenery, mut descriptors) = Scenery::with_engine(&configuration, |_, _| ());
        descriptors.engine = of_serve.into();
        let serve = start_serve(&descriptors, &output);
        drop(descriptors);
        let asked = Instant::now();
        while !scenery.seen.lock().unwrap().ready {
            assert!(asked.elapsed() < SETTLING, "the machine does not get ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            scenery,
            serve,
            engine,
            runtime,
            visitors: Vec::new(),
            _output,
        }
    }

    pub(crate) fn round(&mut self, load: Load, round: usize) -> Round {
        let processes = [
            process_of(self.engine.as_fd()),
            process_of(self.serve.as_fd()),
        ];
        let now = || [processes[0].as_str(), &processes[1], "self"].map(processor_time);
        let path = &self.scenery.path;
        self.runtime.block_on(async {
            for number in self.visitors.len()..load.streams {
                self.visitors.push(Visitor::come(path, number).await);
            }
        });
        let before = now();
        let began = Instant::now();
        let visitors = std::mem::take(&mut self.visitors);
        let (visitors, tokens) = self.runtime.block_on(all_at_once(visitors, load, round));
        self.visitors = visitors;
        let elapsed = began.elapsed();
        let after = now();
        Round {
            tokens,
            elapsed,
            spent: [0, 1, 2].map(|at| after[at].saturating_sub(before[at])),
        }
    }

    pub(crate) fn stop(mut self) {
        self.scenery.end();
        self.serve.wait().unwrap();
        self.engine.wait().unwrap();
    }
}

/// A round of all visitors; they come back in their order.
async fn all_at_once(
    visitors: Vec<Visitor>,
    load: Load,
    round: usize,
) -> (Vec<Visitor>, (u64, u64)) {
    let asked = visitors
        .into_iter()
        .enumerate()
        .map(|(stream, mut visitor)| {
            tokio::spawn(async move {
                let tokens = visitor.round(load, round, stream).await;
                (visitor, tokens)
            })
        });
    let asked: Vec<_> = asked.collect();
    let (mut visitors, mut tokens) = (Vec::new(), (0, 0));
    for one in asked {
        let (visitor, (prompt, answer)) = one.await.unwrap();
        visitors.push(visitor);
        tokens = (tokens.0 + prompt, tokens.1 + answer);
    }
    (visitors, tokens)
}

impl Visitor {
    async fn come(path: &Path, number: usize) -> Self {
        let mut client = Client::speaking(path, ALPN).await;
        client.attest(0).await;
        Self {
            client,
            payer: Payer {
                network: NetworkId::MAIN,
                ..Payer::new(100 + u8::try_from(number).unwrap())
            },
            owed: 0,
        }
    }

    /// Its requests one after another; tokens of prompts and of answers.
    async fn round(&mut self, load: Load, round: usize, stream: usize) -> (u64, u64) {
        let mut tokens = (0, 0);
        for request in 0..load.requests {
            let (prompt, answer) = self.ask(load, &prompt(round, stream, request)).await;
            tokens = (tokens.0 + prompt, tokens.1 + answer);
        }
        tokens
    }

    async fn ask(&mut self, load: Load, prompt: &str) -> (u64, u64) {
        let body = json!({
            "model": MODEL,
            "prompt": prompt,
            "max_tokens": load.tokens,
            "temperature": 0,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let voucher = self.payer.voucher(self.owed);
        let begun = self.client.begin(COMPLETIONS_PATH, &voucher, &body).await;
        let mut stream = begun.expect("an answer begins");
        let before = self.owed;
        let (mut tokens, mut receipts) = (None, 0);
        while let Some(event) = stream.next().await {
            match event {
                Event::Progress(progress) => {
                    let charged: u64 = progress.charged.parse().unwrap();
                    let voucher = self.payer.voucher(before + charged);
                    let (status, body) = self.client.pay(&voucher).await;
                    assert!(status.is_success(), "{}", code(&body));
                    self.owed = before + charged;
                }
                Event::Usage(usage) => {
                    let count = |name: &str| usage[name].as_u64().unwrap();
                    tokens = Some((count("prompt_tokens"), count("completion_tokens")));
                }
                Event::Receipt(_) => receipts += 1,
                Event::Error(code) => panic!("an answer broke off: {code}"),
                _ => {}
            }
        }
        assert_eq!(receipts, 1, "an answer has a receipt");
        tokens.expect("an answer has its usage")
    }
}
