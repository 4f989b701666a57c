//! Plays init for `ci/stack`: the same quote server, supervision and descriptors, without a
//! machine around them. Reports come from mock-tee, the listener and the control port are Unix
//! sockets, and programs run without confinement, since they are linked for development.
//!
//! Research only. What is deliberately not here: verity, mounts, users and filters, which the
//! virtual machine and `tests/research/init` have.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use attest::ReportSource as _;
use clap::Parser;
use init::control::Control;
use init::quote::QuoteServer;
use init::watch::Watch;
use init_research::MockTee;
use messages::boot::BootPhase;
use messages::host_control::GuestMessage;
use protocol::digest::BootId;
use protocol::launch_configuration::{LaunchConfiguration, config_digest};
use protocol::statement::models_digest;
use sys::process::{Child, Launch, spawn};

const REGISTRATION: Duration = Duration::from_secs(30);
const LOADING: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(10);

/// Plays init for a stack without a virtual machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// The launch configuration, as its document's bytes.
    #[arg(long, value_name = "FILE")]
    launch_config: PathBuf,
    /// Socket on which mock-tee listens.
    #[arg(long, value_name = "SOCKET")]
    mock_tee: PathBuf,
    /// Socket to make for serve's listener.
    #[arg(long, value_name = "PATH")]
    guest_socket: PathBuf,
    /// Socket on which the host's control port listens.
    #[arg(long, value_name = "PATH")]
    control_socket: PathBuf,
    /// The model's weights.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The serve program.
    #[arg(long, value_name = "PATH")]
    serve: PathBuf,
    /// The engine program.
    #[arg(long, value_name = "PATH")]
    engine: PathBuf,
}

/// A control connection that is told phases as init tells them.
struct Phases {
    control: Control,
    start: Instant,
}

impl Phases {
    fn passed(&mut self, phase: BootPhase) {
        let elapsed = u32::try_from(self.start.elapsed().as_millis()).unwrap_or(u32::MAX);
        self.control
            .tell(&GuestMessage::PhasePassed(phase, elapsed));
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "time is read in main and passed down"
)]
fn host_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let control = Control::new(connect(&arguments.control_socket)?)?;
    let mut phases = Phases { control, start };
    phases.passed(BootPhase::HostControl);
    let server = quote_server(&arguments, &mut phases)?;
    let mut watch = start_serve(&arguments, server, &mut phases)?;
    watch.until_ready(LOADING, || Ok(()))?;
    phases.passed(BootPhase::Ready);
    writeln!(std::io::stdout(), "guest ready").context("cannot write to standard output")?;
    // Programs are killed by the kernel when this process dies, by SIGTERM or otherwise.
    let error = watch.until_end();
    let failed = GuestMessage::PhaseFailed(BootPhase::Ready, error.code());
    phases.control.tell_last(&failed);
    Err(error.into())
}

/// The report source, and the launch configuration compared with its register.
fn quote_server(arguments: &Arguments, phases: &mut Phases) -> anyhow::Result<QuoteServer> {
    let stream = UnixStream::from(connect(&arguments.mock_tee)?);
    let mut source = MockTee::open(stream).context("mock-tee gave no identity")?;
    phases.passed(BootPhase::ReportSource);
    let path = arguments.launch_config.as_path();
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    if !source.own_configuration()?.holds(&config_digest(&bytes)) {
        bail!("launch configuration is not the one in mock-tee's register");
    }
    let configuration = LaunchConfiguration::parse(&bytes)?;
    phases.passed(BootPhase::LaunchConfiguration);
    let models = models_digest(&configuration.model_digests());
    let boot_id = BootId(sys::entropy::draw()?);
    Ok(QuoteServer::new(Box::new(source), boot_id, bytes, models))
}

/// Starts serve until it has registered its keys, then engine.
fn start_serve(
    arguments: &Arguments,
    server: QuoteServer,
    phases: &mut Phases,
) -> anyhow::Result<Watch> {
    let listener = listen(&arguments.guest_socket)?;
    let control = connect(&arguments.control_socket)?;
    let (quote, quote_of_serve) = sys::socket::pair()?;
    let (ipc_of_serve, ipc) = sys::socket::pair()?;
    let of_serve = [
        listener.as_fd(),
        quote_of_serve.as_fd(),
        control.as_fd(),
        ipc_of_serve.as_fd(),
    ];
    let serve = start(&arguments.serve, &[c"serve".into()], &of_serve)?;
    drop((listener, control, quote_of_serve, ipc_of_serve));
    let mut watch = Watch::new(server, quote, serve, host_time)?;
    watch.until_registered(REGISTRATION)?;
    phases.passed(BootPhase::Serve);
    let model = arguments.model.as_path();
    let model = File::open(model).with_context(|| format!("cannot open `{}`", model.display()))?;
    let of_engine = [ipc.as_fd(), model.as_fd()];
    // The name that a GGUF file has in the image of a model.
    let words = [c"engine".into(), c"model.gguf".into()];
    watch.add_engine(start(&arguments.engine, &words, &of_engine)?);
    phases.passed(BootPhase::Engine);
    Ok(watch)
}

/// Starts a program with null streams and `descriptors` from 3 on.
fn start(
    program: &Path,
    arguments: &[CString],
    descriptors: &[BorrowedFd<'_>],
) -> anyhow::Result<Child> {
    let file = File::open(program);
    let file = file.with_context(|| format!("cannot open `{}`", program.display()))?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.context("cannot open the null device")?;
    // A program that panics says where (never what) on our own stream of errors.
    let errors = std::io::stderr();
    let mut all = vec![null.as_fd(), null.as_fd(), errors.as_fd()];
    all.extend_from_slice(descriptors);
    let launch = Launch {
        program: file.as_fd(),
        arguments,
        descriptors: &all,
        locked: None,
    };
    let started = spawn(&launch, || Ok(()), || Ok(()));
    started.with_context(|| format!("cannot start `{}`", program.display()))
}

fn listen(path: &Path) -> anyhow::Result<OwnedFd> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace `{}`", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path);
    let listener = listener.with_context(|| format!("cannot listen on `{}`", path.display()))?;
    Ok(listener.into())
}

/// Connects, waiting for a socket that its owner is about to make.
fn connect(path: &Path) -> anyhow::Result<OwnedFd> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream.into()),
            Err(_) if start.elapsed() < CONNECT => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot reach `{}`", path.display()));
            }
        }
    }
}
