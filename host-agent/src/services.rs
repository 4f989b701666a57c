//! The services of one guest, however it runs: control port, relay, journal, channel decisions.
//!
//! Deliberately not here: launching (`up`) and the services' own rules.

use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contracts::asset::Asset;
use contracts::chain::Chain;
use contracts::toncenter::ChainError;
use protocol::launch_configuration::LaunchConfiguration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::control::channels::Channels;
use crate::control::decision::Terms;
use crate::control::service::{BootProgress, ControlService};
use crate::journal::{Journal, JournalError, Place, Scribe};
use crate::launch::configuration::{ConfigurationError, MeasuredConfiguration};
use crate::launch::state::{StateDirectory, StateError, remove_stale};
use crate::metrics::{self, Metrics, MetricsError};
use crate::relay::{self, GuestAddress, Limits};
use crate::report::{Event, Reporter};

/// How a guest is served, wherever it runs.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The state directory.
    pub state: PathBuf,
    /// The journal, when it is not the state directory's own: guests of one provider that share a
    /// journal never serve one payment channel at the same time.
    pub journal: Option<Place>,
    /// Draws the agent's name in a ledger that hosts share.
    pub draw: fn() -> std::io::Result<[u8; 32]>,
    /// The launch configuration: network and payee.
    pub configuration: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where totals are told; nowhere when not given.
    pub metrics: Option<SocketAddr>,
    /// Directory of endorsements.
    pub endorsements: PathBuf,
    /// The chain.
    pub chain: Chain,
    /// Bounds of the relay.
    pub limits: Limits,
    /// A voucher must hold at least so many seconds longer.
    pub minimum_validity: u32,
    /// A channel's window must be at least so many seconds.
    pub minimum_window: u32,
}

/// The services cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal.
    #[error("cannot open the journal")]
    Journal(#[from] JournalError),
    /// The journal's thread.
    #[error("cannot start the journal's writer")]
    Writer(#[source] std::io::Error),
    /// The launch configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// Lite-servers prove nothing.
    #[error("the chain cannot be read by proof ({})", .0.code())]
    Chain(#[from] ChainError),
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The port of the metrics.
    #[error("cannot tell metrics")]
    Metrics(#[from] MetricsError),
    /// The control port's socket.
    #[error("cannot open the control socket `{}`", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Services that are open: dropping them closes every socket.
#[derive(Debug)]
pub struct Services {
    tasks: JoinSet<()>,
    control: Arc<ControlService>,
    journal: Scribe,
    clock: Clock,
    listener: Option<TcpListener>,
    listen: SocketAddr,
    limits: Limits,
    reporter: Reporter,
}

impl Services {
    /// Opens the journal, the port and the control socket; the relay still waits.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn open(
        options: &ServiceOptions,
        document: &LaunchConfiguration,
        state: &StateDirectory,
        control: &Path,
        clock: &Clock,
        reporter: &Reporter,
    ) -> Result<Self, ServiceError> {
        // The way from the pinned block is gone before a guest's question waits for it.
        if let Chain::Proven { accounts, .. } = &options.chain {
            accounts.account(&document.payee).await?;
        }
        let unheard = |source| ServiceError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(unheard)?;
        let listen = listener.local_addr().map_err(unheard)?;
        let own = || Place::File(state.paths().journal());
        let place = options.journal.clone().unwrap_or_else(own);
        let holder = match &place {
            Place::File(_) => state.paths().0.display().to_string(),
            // Another host may have the same paths.
            Place::Shared(_) => state.agent(options.draw)?.to_string(),
        };
        let journal = Journal::at(place)?;
        let journal = Scribe::start(journal).map_err(ServiceError::Writer)?;
        let terms = Terms {
            network: document.network,
            payee: document.payee,
            asset: Asset::of_minter(document.jetton),
            minimum_validity: options.minimum_validity,
            minimum_window: options.minimum_window,
        };
        let channels = Channels::new(
            terms,
            holder,
            Arc::new(options.chain.clone()),
            journal.clone(),
            clock.clone(),
        );
        let endorsements = options.endorsements.clone();
        let service = Arc::new(ControlService::new(
            channels,
            endorsements,
            reporter.clone(),
        ));
        let socket = control_socket(control)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&service).run(socket));
        let mut services = Self {
            tasks,
            control: service,
            journal,
            clock: clock.clone(),
            listener: Some(listener),
            listen,
            limits: options.limits,
            reporter: reporter.clone(),
        };
        if let Some(address) = options.metrics {
            services.tell(address, options, state).await?;
        }
        Ok(services)
    }

    /// Tells totals at this address.
    async fn tell(
        &mut self,
        address: SocketAddr,
        options: &ServiceOptions,
        state: &StateDirectory,
    ) -> Result<(), ServiceError> {
        let listener = metrics::open(address).await?;
        let bound = listener.local_addr().unwrap_or(address);
        let metrics = Metrics::new(
            self.reporter.totals(),
            self.journal.clone(),
            options.chain.clone(),
            state.paths().0.clone(),
            self.clock.clone(),
        );
        self.tasks.spawn(metrics::serve(listener, metrics));
        let listen = bound.to_string();
        self.reporter.report(&Event::MetricsTold { listen });
        Ok(())
    }

    /// Follows the guest's boot.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<BootProgress> {
        self.control.progress()
    }

    /// Lets clients in; once.
    pub fn relay_to(&mut self, guest: GuestAddress) {
        if let Some(listener) = self.listener.take() {
            let reporter = self.reporter.clone();
            self.tasks
                .spawn(relay::run(listener, guest, self.limits, reporter));
            let listen = self.listen.to_string();
            self.reporter.report(&Event::Ready { listen });
        }
    }

    /// Writes an event to the journal.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn note(&self, kind: &'static str, detail: &str) -> Result<(), JournalError> {
        let now = self.clock.now();
        self.journal
            .with(|journal| journal.append_event(kind, detail, now))
    }

    /// Closes the sockets and gives the payment channels back.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn close(mut self) -> Result<(), JournalError> {
        self.tasks.shutdown().await;
        self.control.channels().release()
    }
}

fn control_socket(path: &Path) -> Result<UnixListener, ServiceError> {
    remove_stale(path)?;
    let failed = |source| ServiceError::Control {
        path: path.to_owned(),
        source,
    };
    let listener = UnixListener::bind(path).map_err(failed)?;
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, own).map_err(failed)?;
    Ok(listener)
}

/// Serves a guest that somebody else started, until `stop`.
///
/// # Errors
/// [`ServiceError`].
pub async fn relay_only(
    options: &ServiceOptions,
    guest: GuestAddress,
    control: Option<&Path>,
    clock: &Clock,
    reporter: &Reporter,
    stop: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    let state = StateDirectory::enter(&options.state)?;
    let document = MeasuredConfiguration::read(&options.configuration)?.document;
    let own = state.paths().0.join("control");
    let control = control.unwrap_or(&own);
    let opened = Services::open(options, &document, &state, control, clock, reporter).await;
    let mut services = opened?;
    services.note("relay-started", "")?;
    services.relay_to(guest);
    stop.await;
    services.note("relay-stopped", "")?;
    services.close().await?;
    remove_stale(control)?;
    reporter.report(&Event::Stopped);
    Ok(())
}
