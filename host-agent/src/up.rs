//! One guest from its artifacts to its end: checked, sealed, launched, served, stopped.
//!
//! Nothing is left running whichever way it ends. Deliberately not here: starting it again after
//! it ended; that is the operator's service manager's part.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use measurements::machine::MachineError;
use messages::boot::BootFailure;
use protocol::reference_values::Profile;
use protocol::tee::TeeKind;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::control::service::BootProgress;
use crate::journal::JournalError;
use crate::launch::argv::{Machine, Serial, vsock_device_arguments};
use crate::launch::artifacts::{ArtifactError, Artifacts, ImagePaths, Manifest};
use crate::launch::children::{ChildError, Output, Supervised};
use crate::launch::configuration::{ConfigurationError, MeasuredConfiguration, ModelImage};
use crate::launch::pci::PciAddress;
use crate::launch::shape::{Accelerator, Shape};
use crate::launch::state::{LaunchRecord, StateDirectory, StateError, StatePaths};
use crate::relay::GuestAddress;
use crate::report::{Event, Reporter};
use crate::services::{ServiceError, ServiceOptions, Services};

/// The vsock device's process opens its sockets within this time.
const DEVICE_WITHIN: Duration = Duration::from_secs(10);
/// After the machine ended, its last words are waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// After a failed phase the machine powers off by itself within this time.
const POWER_OFF_WITHIN: Duration = Duration::from_secs(30);

/// What is launched, and with what.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    /// The image.
    pub image: ImagePaths,
    /// Model directories, in the order of the launch configuration.
    pub models: Vec<PathBuf>,
    /// The launch configuration.
    pub configuration: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// What runs it.
    pub accelerator: Accelerator,
    /// The machine's shape.
    pub shape: Shape,
    /// GPUs of the host, as many as the shape has.
    pub gpus: Vec<PciAddress>,
    /// The serial port.
    pub serial: Serial,
}

/// Programs and patience of a launch.
#[derive(Debug, Clone)]
pub struct Programs {
    /// QEMU.
    pub qemu: PathBuf,
    /// The guest's vsock device.
    pub vsock_device: PathBuf,
    /// The guest must be ready within this time.
    pub boot_within: Duration,
}

/// A guest cannot be launched or served.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The image.
    #[error("cannot use the image")]
    Artifacts(#[from] ArtifactError),
    /// The launch configuration or a model.
    #[error("cannot use the launch configuration")]
    Configuration(#[from] ConfigurationError),
    /// The state directory.
    #[error("cannot use the state directory")]
    State(#[from] StateError),
    /// The services.
    #[error("cannot serve")]
    Services(#[from] ServiceError),
    /// The journal.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// A child process.
    #[error("cannot launch the guest")]
    Child(#[from] ChildError),
    /// Only the research image has a serial port, and only under emulation.
    #[error("a serial port is for the research image under emulation only")]
    SerialRefused,
    /// The shape says how many GPUs there are.
    #[error("the shape has {expected} GPUs, {found} are given with `--gpu`")]
    Gpus {
        /// Of the shape.
        expected: u8,
        /// As given.
        found: usize,
    },
    /// A TD measures tables with a slot for each disk.
    #[error(
        "the shape has {expected} model disks, {found} are given, and a TD measures their slots"
    )]
    ModelDisks {
        /// Of the shape.
        expected: u8,
        /// As given.
        found: usize,
    },
    /// No machine has such a shape.
    #[error("cannot launch the shape")]
    Machine(#[from] MachineError),
    /// The guest did not become ready.
    #[error("the guest was not ready within {0:?}")]
    BootTimedOut(Duration),
    /// A machine's end could not be awaited.
    #[error("cannot wait for the guest")]
    Wait(#[source] io::Error),
}

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The operator stopped it.
    Stopped,
    /// It powered itself off and told why.
    PoweredOff(BootFailure),
    /// It ended and told nothing.
    Unexplained,
}

/// A machine that is ready to be launched, with what it is made of.
#[derive(Debug)]
pub struct Prepared {
    /// What QEMU is told.
    pub machine: Machine,
    /// The launch configuration.
    pub configuration: MeasuredConfiguration,
    /// The image's manifest.
    pub manifest: Manifest,
    /// Model images.
    pub models: Vec<ModelImage>,
    /// Holds the artifacts' descriptors.
    artifacts: Artifacts,
}

impl Prepared {
    /// Checks everything and names the originals; writes nothing.
    ///
    /// # Errors
    /// [`UpError`].
    pub fn check(options: &LaunchOptions) -> Result<Self, UpError> {
        let manifest = Manifest::read(&options.image.image)?;
        let artifacts = Artifacts::check(&options.image, &manifest)?;
        Self::with(
            options,
            manifest,
            artifacts,
            &StatePaths(options.state.clone()),
        )
    }

    /// Checks and seals everything and writes the launch configuration's disk.
    ///
    /// # Errors
    /// [`UpError`].
    pub fn seal(options: &LaunchOptions, state: &StateDirectory) -> Result<Self, UpError> {
        let manifest = Manifest::read(&options.image.image)?;
        let sealed = state.prepare_launch()?;
        let artifacts = Artifacts::seal(&options.image, &manifest, &sealed)?;
        let prepared = Self::with(options, manifest, artifacts, state.paths())?;
        let disk = prepared.configuration.disk();
        state.write(&state.paths().configuration_disk(), &disk)?;
        Ok(prepared)
    }

    fn with(
        options: &LaunchOptions,
        manifest: Manifest,
        artifacts: Artifacts,
        paths: &StatePaths,
    ) -> Result<Self, UpError> {
        let is_research = manifest.profile == Profile::Research;
        match (options.serial, options.accelerator) {
            (Serial::Absent, _) => {}
            (Serial::Output, Accelerator::Emulation(_)) if is_research => {}
            (Serial::Output, _) => return Err(UpError::SerialRefused),
        }
        let configuration = MeasuredConfiguration::read(&options.configuration)?;
        let models: Result<Vec<_>, _> = options
            .models
            .iter()
            .map(|directory| ModelImage::in_directory(directory))
            .collect();
        let models = models?;
        configuration.check_models(&models)?;
        check_devices(options)?;
        let machine = Machine {
            shape: options.shape,
            hardware: options.shape.machine(options.serial.into())?,
            accelerator: options.accelerator,
            firmware: artifacts.firmware.clone(),
            kernel: artifacts.kernel.clone(),
            initrd: artifacts.initrd.clone(),
            command_line: artifacts.command_line.clone(),
            root: artifacts.root.clone(),
            configuration: paths.configuration_disk(),
            models: models.iter().map(|model| model.path.clone()).collect(),
            gpus: options.gpus.clone(),
            vhost_socket: paths.vhost(),
            config_digest: configuration.digest,
            serial: options.serial,
        };
        Ok(Self {
            machine,
            configuration,
            manifest,
            models,
            artifacts,
        })
    }

    /// Whether the artifacts are sealed.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.artifacts.is_sealed()
    }
}

/// The devices are those of the shape, which reference values are computed for.
fn check_devices(options: &LaunchOptions) -> Result<(), UpError> {
    let shape = &options.shape;
    let (expected, found) = (shape.gpus, options.gpus.len());
    if usize::from(expected) != found {
        return Err(UpError::Gpus { expected, found });
    }
    let (expected, found) = (shape.model_disks, options.models.len());
    match options.accelerator.tee() {
        TeeKind::Tdx if usize::from(expected) != found => {
            Err(UpError::ModelDisks { expected, found })
        }
        TeeKind::Tdx | TeeKind::SevSnp => Ok(()),
    }
}

/// The two processes of a guest.
struct Guest {
    qemu: Supervised,
    vsock: Supervised,
}

impl Guest {
    async fn launch(
        prepared: &Prepared,
        programs: &Programs,
        state: &StateDirectory,
        reporter: &Reporter,
    ) -> Result<Self, UpError> {
        let paths = state.paths();
        let (vhost, uds) = (paths.vhost(), paths.vsock());
        let mut vsock = Supervised::start(
            "vhost-device-vsock",
            &programs.vsock_device,
            &vsock_device_arguments(&vhost, &uds),
            Output::Dropped,
            &paths.log("vsock"),
        )?;
        vsock.opens(&[&vhost], DEVICE_WITHIN).await?;
        reporter.report(&Event::Started {
            name: "vhost-device-vsock",
            pid: vsock.pid(),
        });
        let serial = paths.log("serial");
        let qemu = Supervised::start(
            "qemu",
            &programs.qemu,
            &prepared.machine.arguments(),
            match prepared.machine.serial {
                Serial::Absent => Output::Dropped,
                Serial::Output => Output::File(&serial),
            },
            &paths.log("qemu"),
        )?;
        let record = LaunchRecord::new(
            qemu.pid(),
            &prepared.machine.shape,
            prepared.machine.accelerator,
            prepared.configuration.digest,
        );
        state.write(&paths.launch_record(), &record.to_json())?;
        reporter.report(&Event::Started {
            name: "qemu",
            pid: qemu.pid(),
        });
        Ok(Self { qemu, vsock })
    }

    async fn stop(self) {
        self.qemu.stop().await;
        self.vsock.stop().await;
    }

    /// Waits until either process ends: without its vsock device a guest is of no use.
    async fn ended(&mut self) -> Result<(), UpError> {
        tokio::select! {
            status = self.qemu.ended() => status.map(drop).map_err(UpError::Wait),
            status = self.vsock.ended() => status.map(drop).map_err(UpError::Wait),
        }
    }
}

/// Launches a guest and serves it until it ends or `stop` does.
///
/// # Errors
/// [`UpError`].
pub async fn up(
    launch: &LaunchOptions,
    programs: &Programs,
    options: &ServiceOptions,
    clock: &Clock,
    reporter: &Reporter,
    stop: impl Future<Output = ()>,
) -> Result<Ending, UpError> {
    let state = StateDirectory::enter(&options.state)?;
    let prepared = Prepared::seal(launch, &state)?;
    reporter.report(&Event::Step("artifacts checked against the manifest"));
    let document = &prepared.configuration.document;
    let control = state.paths().control();
    let opened = Services::open(options, document, &state, &control, clock, reporter).await;
    let mut services = opened?;
    let mut guest = Guest::launch(&prepared, programs, &state, reporter).await?;
    services.note("guest-launched", prepared.machine.shape.name)?;
    let address = GuestAddress::Vsock(state.paths().vsock());
    let ending = tokio::select! {
        ending = follow(&mut guest, &mut services, address, programs.boot_within) => ending,
        () = stop => Ok(Ending::Stopped),
    };
    guest.stop().await;
    let told = match &ending {
        Ok(Ending::Stopped) => "stopped",
        Ok(Ending::PoweredOff(failure)) => failure.code(),
        Ok(Ending::Unexplained) => "unexplained",
        Err(_) => "error",
    };
    services.note("guest-ended", told)?;
    services.close().await?;
    state.clear_launch()?;
    report_ending(&ending, reporter);
    ending
}

fn report_ending(ending: &Result<Ending, UpError>, reporter: &Reporter) {
    match ending {
        Ok(Ending::Stopped) => reporter.report(&Event::Stopped),
        Ok(Ending::PoweredOff(failure)) => reporter.report(&Event::GuestEnded {
            failure: Some(*failure),
        }),
        Ok(Ending::Unexplained) => reporter.report(&Event::GuestEnded { failure: None }),
        Err(_) => {}
    }
}

async fn follow(
    guest: &mut Guest,
    services: &mut Services,
    address: GuestAddress,
    boot_within: Duration,
) -> Result<Ending, UpError> {
    let mut progress = services.progress();
    let booted = tokio::select! {
        booted = timeout(boot_within, leaves(&mut progress, BootProgress::Booting)) => {
            booted.map_err(|_| UpError::BootTimedOut(boot_within))?
        }
        ended = guest.ended() => {
            ended?;
            last_words(&mut progress).await
        }
    };
    match booted {
        BootProgress::Ready => services.relay_to(address),
        BootProgress::Booting => return Ok(Ending::Unexplained),
        BootProgress::Failed(_, failure) => return powered_off(guest, failure).await,
    }
    tokio::select! {
        changed = leaves(&mut progress, BootProgress::Ready) => match changed {
            BootProgress::Failed(_, failure) => powered_off(guest, failure).await,
            BootProgress::Booting | BootProgress::Ready => Ok(Ending::Unexplained),
        },
        ended = guest.ended() => {
            ended?;
            match last_words(&mut progress).await {
                BootProgress::Failed(_, failure) => Ok(Ending::PoweredOff(failure)),
                BootProgress::Booting | BootProgress::Ready => Ok(Ending::Unexplained),
            }
        }
    }
}

/// Gives the machine time to power itself off; it is stopped afterwards in any case.
async fn powered_off(guest: &mut Guest, failure: BootFailure) -> Result<Ending, UpError> {
    if let Ok(ended) = timeout(POWER_OFF_WITHIN, guest.ended()).await {
        ended?;
    }
    Ok(Ending::PoweredOff(failure))
}

/// The next progress that differs from `from`.
async fn leaves(progress: &mut watch::Receiver<BootProgress>, from: BootProgress) -> BootProgress {
    match progress.wait_for(|now| *now != from).await {
        Ok(now) => *now,
        // The service lives as long as the guest; should it not, nothing more will be told.
        Err(_) => std::future::pending().await,
    }
}

/// What the guest said before it ended may still be on its way.
async fn last_words(progress: &mut watch::Receiver<BootProgress>) -> BootProgress {
    let failed = progress.wait_for(|now| matches!(now, BootProgress::Failed(..)));
    let told = tokio::select! {
        told = failed => told.ok().map(|now| *now),
        () = sleep(LAST_WORDS) => None,
    };
    told.unwrap_or_else(|| *progress.borrow())
}
