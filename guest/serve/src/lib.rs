//! The TLS end inside a confidential guest: attested HTTP, payment, receipts.
//!
//! serve holds the two keys of a boot and the plaintext of requests on their way to the engine.
//! It opens nothing: four descriptors are inherited (`Descriptors`). It prints nothing: what may
//! be known outside are the integers of `messages::host_control::ServeEvent`. What is deliberately
//! not here: reports (init), tensors and tokenizers (engine), coins (host-agent and client).

pub mod account;
pub mod api;
mod body;
mod chat;
mod connection;
mod conversation;
mod delivery;
pub mod embeddings;
mod engine;
pub mod errors;
mod form;
mod frames;
mod headers;
mod host;
mod keys;
mod ledger;
mod listener;
mod metrics;
mod quotes;
mod receipts;
pub mod sampling;
mod service;
pub mod sse;
mod tls;
mod tools;
mod vouchers;

use std::convert::Infallible;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use messages::host_control::ServeEvent;
use protocol::launch_configuration::{LaunchConfiguration, LaunchConfigurationError};
use protocol::reference_values::ImageVersion;
use protocol::ton::NetworkId;
use tokio::sync::Semaphore;

pub use frames::FrameError;
pub use keys::KeyError;
pub use quotes::QuoteSocketError;

use crate::engine::{Engine, EngineState};
use crate::host::Host;
use crate::keys::{ReceiptSigner, TlsKey};
use crate::ledger::Ledger;
use crate::quotes::{Identity, QuoteSocket};
use crate::service::Service;

/// What tells one kind of deployment from another; compiled in, never configured.
#[derive(Debug, Clone, Copy)]
pub struct Deployment {
    /// ALPN protocol name.
    pub alpn: &'static [u8],
    /// The network whose launch configurations are served.
    pub network: NetworkId,
    /// Version of the image, as receipts name it.
    pub image: ImageVersion,
}

/// The version of this source tree, which is the image's.
pub const IMAGE_VERSION: ImageVersion = ImageVersion {
    major: 0,
    minor: 1,
    patch: 0,
};

/// The four descriptors that serve inherits.
#[derive(Debug)]
pub struct Descriptors {
    /// A listening stream socket, vsock or Unix.
    pub listener: OwnedFd,
    /// The quote socket to init.
    pub quote: OwnedFd,
    /// The connection to the host's control port.
    pub control: OwnedFd,
    /// The socket to the engine.
    pub engine: OwnedFd,
}

/// Descriptor under which serve inherits its listener.
pub const LISTENER_FD: i32 = 3;

impl Descriptors {
    /// Takes over the descriptors under their agreed numbers. To be called before anything else.
    ///
    /// # Errors
    /// That of a number that is not open.
    pub fn inherited() -> sys::Result<Self> {
        Ok(Self {
            listener: sys::adopt(LISTENER_FD)?,
            quote: sys::adopt(messages::quote_socket::SERVE_FD)?,
            control: sys::adopt(messages::host_control::SERVE_FD)?,
            engine: sys::adopt(messages::engine_ipc::SERVE_FD)?,
        })
    }
}

/// Why serve ended; the machine ends with it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A descriptor is not what it should be.
    #[error("cannot take over the inherited descriptors: {0}")]
    Descriptors(std::io::ErrorKind),
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The TLS library refused its configuration.
    #[error("the TLS library refused its configuration")]
    Tls,
    /// The quote socket failed.
    #[error(transparent)]
    Quote(#[from] QuoteSocketError),
    /// init handed over a launch configuration that is none.
    #[error(transparent)]
    Configuration(#[from] LaunchConfigurationError),
    /// The launch configuration is for another network than this program.
    #[error("the launch configuration is for another network")]
    ForeignNetwork,
    /// The host gave no endorsements.
    #[error("the host gave no endorsements")]
    Endorsements,
    /// The engine ended before it had loaded a model.
    #[error("the engine ended before it had loaded a model")]
    Engine,
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Listener(std::io::ErrorKind),
}

/// A whole program: the inherited descriptors, a panic hook that prints a place and nothing else,
/// and [`run`]. Errors become an exit status; their text is nobody's.
#[must_use]
pub fn program(deployment: Deployment) -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            // Where nobody reads, nothing is lost.
            let _ = writeln!(
                std::io::stderr(),
                "panic at {}:{}",
                place.file(),
                place.line()
            );
        }
    }));
    match Descriptors::inherited() {
        Ok(descriptors) => match run(deployment, descriptors) {
            Ok(never) => match never {},
            Err(_) => ExitCode::FAILURE,
        },
        Err(_) => ExitCode::FAILURE,
    }
}

/// Serves until something ends that it cannot be without.
///
/// # Errors
/// See [`RunError`]. A lost host or engine is no error: requests are refused then.
pub fn run(deployment: Deployment, descriptors: Descriptors) -> Result<Infallible, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| RunError::Descriptors(error.kind()))?;
    runtime.block_on(serve(deployment, descriptors))
}

async fn serve(deployment: Deployment, descriptors: Descriptors) -> Result<Infallible, RunError> {
    let adopt = |fd| frames::adopt(fd).map_err(|error| RunError::Descriptors(error.kind()));
    let tls_key = TlsKey::draw()?;
    let signer = ReceiptSigner::draw()?;
    let tls = tls::configuration(&tls_key, deployment.alpn).map_err(|_| RunError::Tls)?;

    let mut quote = QuoteSocket::new(adopt(descriptors.quote)?);
    let registered = quote
        .register(tls_key.spki_digest(), signer.public())
        .await?;
    let configuration = LaunchConfiguration::parse(&registered.launch_configuration)?;
    if configuration.network != deployment.network {
        return Err(RunError::ForeignNetwork);
    }
    let limits = configuration.limits;

    let host = Host::start(adopt(descriptors.control)?);
    if host.endorsements().await.is_none() {
        return Err(RunError::Endorsements);
    }
    let engine = Engine::start(adopt(descriptors.engine)?, limits.increment_tokens);
    if engine.loaded().await == EngineState::Lost {
        return Err(RunError::Engine);
    }
    quote.ready().await?;

    let identity = Identity {
        boot_id: registered.boot_id,
        tls_key: tls_key.spki_digest(),
        receipt_key: signer.public(),
    };
    let (quotes, quoting) = quotes::start(quote, identity);
    tokio::spawn(report_loss(engine.clone(), host.clone()));
    let service = Service {
        deployment,
        boot_id: registered.boot_id,
        configuration,
        configuration_bytes: registered.launch_configuration,
        signer,
        quotes,
        host,
        engine,
        ledger: Arc::new(Ledger::new(limits)),
        streams: Arc::new(Semaphore::new(usize::from(limits.streams))),
        open_connections: AtomicU32::new(0),
    };
    tokio::select! {
        error = quoting => Err(error.into()),
        error = listener::run(descriptors.listener, tls, Arc::new(service)) => {
            Err(RunError::Listener(error.kind()))
        }
    }
}

async fn report_loss(engine: Engine, host: Host) {
    engine.lost().await;
    host.event(ServeEvent::EngineLost, 1);
}
