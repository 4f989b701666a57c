//! The boot, as a table: each phase does one thing, a failed one ends the machine.
//!
//! What a phase does in detail is the other modules' part. The host learns a code per phase and
//! nothing else.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use attest::ReportSource;
use messages::boot::BootPhase;
use messages::host_control::{GuestMessage, TLS_PORT};
use protocol::digest::BootId;
use protocol::launch_configuration::{DISK_SERIAL, LaunchConfiguration, config_digest};
use protocol::statement::models_digest;
use sys::process::Child;

use crate::confinement::{self, Role};
use crate::control::{self, Control};
use crate::failure::BootError;
use crate::gpu::client::{GpuClient, PATIENCE};
use crate::gpu::{self, Devices, DevicesError, Question};
use crate::image::{OpenImage, ensure_directory};
use crate::model::ModelFiles;
use crate::quote::QuoteServer;
use crate::watch::Watch;
use crate::{Progress, Variant, command_line, disk, modules, pseudo};

const SYS_BLOCK: &str = "/sys/block";
const DEV: &str = "/dev";
const COMMAND_LINE: &str = "/proc/cmdline";
/// Where the root image is mounted until it becomes the root directory.
const NEW_ROOT: &str = "/root";
const ENGINE: &str = "/engine";
const GPU_EVIDENCE: &str = "/gpu-evidence";
const BUS: &str = "/sys/bus/pci/devices";
const ROOT_SERIAL: &str = "root";
const MODEL_SERIAL: &str = "model-0";
const MODEL_MOUNT_POINT: &str = "/run/model-0";
/// How long serve may take to make and register its keys.
const REGISTRATION: Duration = Duration::from_secs(120);
/// How long engine may take to load its weights.
const LOADING: Duration = Duration::from_secs(1800);

/// One step of the boot.
#[derive(Debug)]
pub struct Phase {
    /// The code under which the host hears of it.
    pub phase: BootPhase,
    run: fn(&mut Machine) -> Result<(), BootError>,
}

const fn step(phase: BootPhase, run: fn(&mut Machine) -> Result<(), BootError>) -> Phase {
    Phase { phase, run }
}

/// Every step of an image whose kernel has no modules, in order.
pub const CPU: &[Phase] = &[
    step(BootPhase::PseudoFileSystems, pseudo_file_systems),
    step(BootPhase::HostControl, host_control),
    step(BootPhase::ReportSource, report_source),
    step(BootPhase::LaunchConfiguration, launch_configuration),
    step(BootPhase::Root, root),
    step(BootPhase::Models, models),
    step(BootPhase::Serve, serve),
    step(BootPhase::Engine, engine),
    step(BootPhase::Ready, ready),
];

/// Every step of an image for GPUs, in order. Modules come right after the root that holds them:
/// nothing but init has run yet, and nothing can be loaded afterwards. GPUs come next: they are
/// ready only once their evidence was appraised, before there is anything that could use them.
pub const GPU: &[Phase] = &[
    step(
        BootPhase::PseudoFileSystems,
        pseudo_file_systems_before_modules,
    ),
    step(BootPhase::HostControl, host_control),
    step(BootPhase::ReportSource, report_source),
    step(BootPhase::LaunchConfiguration, launch_configuration),
    step(BootPhase::Root, root),
    step(BootPhase::Modules, gpu_modules),
    step(BootPhase::Gpus, gpus),
    step(BootPhase::Models, models),
    step(BootPhase::Serve, serve),
    step(BootPhase::Engine, engine_with_gpus),
    step(BootPhase::Ready, ready),
];

/// What the phases so far have made.
struct Machine {
    variant: Variant,
    control: Option<Control>,
    /// Phases that passed before there was anybody to tell.
    untold: Vec<GuestMessage>,
    source: Option<Box<dyn ReportSource>>,
    configuration: Option<(Vec<u8>, LaunchConfiguration)>,
    root: Option<OpenImage>,
    model: Option<OpenImage>,
    boot_id: Option<BootId>,
    devices: Option<(Devices, Child)>,
    engine_ipc: Option<OwnedFd>,
    watch: Option<Watch>,
}

/// This process is not the first one of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("init is not the first process")]
pub struct NotFirst;

/// Boots the machine and watches it until its end, which is power off.
///
/// # Errors
/// `NotFirst` at once, and before anything is done, in any process but the first.
pub fn run(variant: Variant) -> Result<Infallible, NotFirst> {
    let start = Instant::now();
    if std::process::id() != 1 {
        return Err(NotFirst);
    }
    let mut machine = Machine {
        variant,
        control: None,
        untold: Vec::new(),
        source: None,
        configuration: None,
        root: None,
        model: None,
        boot_id: None,
        devices: None,
        engine_ipc: None,
        watch: None,
    };
    let (phase, error) = match boot(&mut machine, start) {
        Err(failed) => failed,
        Ok(()) => (BootPhase::Ready, watch(&mut machine)),
    };
    end(machine, phase, &error)
}

fn boot(machine: &mut Machine, start: Instant) -> Result<(), (BootPhase, BootError)> {
    for Phase { phase, run } in machine.variant.boot {
        run(machine).map_err(|error| (*phase, machine.blame(error)))?;
        let elapsed = u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX);
        (machine.variant.observe)(&Progress::Passed(*phase, elapsed));
        machine
            .untold
            .push(GuestMessage::PhasePassed(*phase, elapsed));
        if let Some(control) = &mut machine.control {
            machine
                .untold
                .drain(..)
                .for_each(|message| control.tell(&message));
        }
    }
    Ok(())
}

fn watch(machine: &mut Machine) -> BootError {
    match &mut machine.watch {
        Some(watch) => watch.until_end(),
        None => BootError::OutOfOrder { missing: "serve" },
    }
}

/// Tells the code and powers off; a machine that cannot even do that panics, since its first
/// process ends.
fn end(machine: Machine, phase: BootPhase, error: &BootError) -> ! {
    (machine.variant.observe)(&Progress::Failed(phase, error));
    if let Some(control) = machine.control {
        control.tell_last(&GuestMessage::PhaseFailed(phase, error.code()));
    }
    let _still_on = sys::power::off();
    std::process::abort()
}

impl Machine {
    /// A phase that failed may have met a wrong block of the model: then that is the reason.
    fn blame(&self, error: BootError) -> BootError {
        match self.model.as_ref().map(OpenImage::check) {
            Some(Err(corrupt)) => BootError::Image(corrupt),
            Some(Ok(())) | None => error,
        }
    }

    /// Drawn when it is first needed, and once.
    fn boot_id(&mut self) -> Result<BootId, BootError> {
        let boot_id = match self.boot_id {
            Some(boot_id) => boot_id,
            None => BootId(sys::entropy::draw()?),
        };
        self.boot_id = Some(boot_id);
        Ok(boot_id)
    }

    fn watch(&mut self) -> Result<&mut Watch, BootError> {
        let missing = BootError::OutOfOrder { missing: "serve" };
        self.watch.as_mut().ok_or(missing)
    }
}

fn find(serial: &'static str) -> Result<disk::Disk, BootError> {
    Ok(disk::find(Path::new(SYS_BLOCK), Path::new(DEV), serial)?)
}

fn pseudo_file_systems(machine: &mut Machine) -> Result<(), BootError> {
    pseudo_file_systems_before_modules(machine)?;
    pseudo::end_modules()
}

fn pseudo_file_systems_before_modules(_: &mut Machine) -> Result<(), BootError> {
    pseudo::mount_all()?;
    pseudo::harden()?;
    Ok(sys::entropy::check_processor()?)
}

fn host_control(machine: &mut Machine) -> Result<(), BootError> {
    machine.control = Some(Control::new(control::dial()?)?);
    Ok(())
}

fn report_source(machine: &mut Machine) -> Result<(), BootError> {
    let source = (machine.variant.report_source)().map_err(BootError::NoReportSource)?;
    machine.source = Some(source);
    Ok(())
}

fn launch_configuration(machine: &mut Machine) -> Result<(), BootError> {
    let disk = find(DISK_SERIAL)?;
    let opened = File::open(disk.node).map_err(BootError::file("open a disk"))?;
    let bytes = disk::launch_configuration(opened)?;
    let source = machine.source.as_mut().ok_or(BootError::OutOfOrder {
        missing: "report source",
    })?;
    let register = source.own_configuration().map_err(BootError::NoRegister)?;
    if !register.holds(&config_digest(&bytes)) {
        return Err(BootError::ForeignConfiguration);
    }
    let configuration = LaunchConfiguration::parse(&bytes)?;
    machine.configuration = Some((bytes, configuration));
    Ok(())
}

fn root(machine: &mut Machine) -> Result<(), BootError> {
    let mut line = Vec::new();
    let limit = u64::try_from(command_line::MAX_BYTES).unwrap_or(u64::MAX);
    File::open(COMMAND_LINE)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut line))
        .map_err(BootError::file("read the command line"))?;
    let parameters = command_line::root_parameters(&line)?;
    let mount_point = Path::new(NEW_ROOT);
    ensure_directory(mount_point).map_err(BootError::file("make a mount point"))?;
    machine.root = Some(OpenImage::root(
        &parameters,
        &find(ROOT_SERIAL)?,
        mount_point,
    )?);
    pseudo::enter_root(mount_point)
}

fn gpu_modules(_: &mut Machine) -> Result<(), BootError> {
    modules::load()?;
    modules::make_nodes()?;
    pseudo::lock_modules()
}

fn gpus(machine: &mut Machine) -> Result<(), BootError> {
    let missing = "appraiser of devices";
    let appraise = machine.variant.devices;
    let appraise = appraise.ok_or(BootError::OutOfOrder { missing })?;
    let count = gpu::count::count(Path::new(BUS))?;
    let (bus, driver) = (count.gpus, modules::count_gpus()?);
    if u32::from(bus) != driver {
        return Err(DevicesError::Counted { bus, driver }.into());
    }
    let question = Question {
        boot_id: machine.boot_id()?,
        count,
        host_time: (machine.variant.host_time)(),
    };
    let (socket, of_program) = sys::socket::pair()?;
    let null = null()?;
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd(), of_program.as_fd()];
    let (role, program) = (Role::GpuEvidence, Path::new(GPU_EVIDENCE));
    let child = confinement::start(role, program, &[c"gpu-evidence".into()], &descriptors)?;
    drop(of_program);
    let client = GpuClient::new(socket, PATIENCE);
    let devices = Devices::bring_up(client, appraise, &question)?;
    machine.devices = Some((devices, child));
    Ok(())
}

fn models(machine: &mut Machine) -> Result<(), BootError> {
    let missing = BootError::OutOfOrder {
        missing: "launch configuration",
    };
    let (_, configuration) = machine.configuration.as_ref().ok_or(missing)?;
    let [model] = configuration.models.as_slice() else {
        let found = configuration.models.len();
        return Err(BootError::TooManyModels { found });
    };
    let mount_point = Path::new(MODEL_MOUNT_POINT);
    ensure_directory(mount_point).map_err(BootError::file("make a mount point"))?;
    let disk = find(MODEL_SERIAL)?;
    let image = OpenImage::model(MODEL_SERIAL, &model.verity, &disk, mount_point)?;
    machine.model = Some(image);
    Ok(())
}

fn serve(machine: &mut Machine) -> Result<(), BootError> {
    (machine.variant.before_programs)()?;
    let out_of_order = |missing| BootError::OutOfOrder { missing };
    let source = machine.source.take();
    let source = source.ok_or(out_of_order("report source"))?;
    let configuration = machine.configuration.take();
    let (bytes, parsed) = configuration.ok_or(out_of_order("launch configuration"))?;
    let models = models_digest(&parsed.model_digests());
    let boot_id = machine.boot_id()?;
    let server = QuoteServer::new(source, boot_id, bytes, models);

    let listener = sys::socket::vsock_listen(TLS_PORT)?;
    let control = control::dial()?;
    let (quote, quote_of_serve) = sys::socket::pair()?;
    let (engine_of_serve, engine_ipc) = sys::socket::pair()?;
    let null = null()?;
    let descriptors = [
        null.as_fd(),
        null.as_fd(),
        null.as_fd(),
        listener.as_fd(),
        quote_of_serve.as_fd(),
        control.as_fd(),
        engine_of_serve.as_fd(),
    ];
    let program = Path::new(machine.variant.serve);
    let child = confinement::start(Role::Serve, program, &[c"serve".into()], &descriptors)?;
    machine.engine_ipc = Some(engine_ipc);
    drop((listener, control, quote_of_serve, engine_of_serve));
    let mut watch = Watch::new(server, quote, child, machine.variant.host_time)?;
    if let Some((devices, program)) = machine.devices.take() {
        watch.add_devices(devices, program);
    }
    machine.watch.insert(watch).until_registered(REGISTRATION)
}

fn engine(machine: &mut Machine) -> Result<(), BootError> {
    start_engine(machine, Role::Engine)
}

fn engine_with_gpus(machine: &mut Machine) -> Result<(), BootError> {
    start_engine(machine, Role::EngineGpu)
}

fn start_engine(machine: &mut Machine, role: Role) -> Result<(), BootError> {
    let ipc = machine.engine_ipc.take();
    let ipc = ipc.ok_or(BootError::OutOfOrder { missing: "serve" })?;
    let ModelFiles { names, files } = ModelFiles::open(Path::new(MODEL_MOUNT_POINT))?;
    let null = null()?;
    let mut descriptors = vec![null.as_fd(), null.as_fd(), null.as_fd(), ipc.as_fd()];
    descriptors.extend(files.iter().map(File::as_fd));
    let mut arguments = vec![c"engine".into()];
    arguments.extend(names);
    let program = Path::new(ENGINE);
    let child = confinement::start(role, program, &arguments, &descriptors)?;
    machine.watch()?.add_engine(child);
    Ok(())
}

fn ready(machine: &mut Machine) -> Result<(), BootError> {
    let missing = BootError::OutOfOrder { missing: "model" };
    let model = machine.model.take().ok_or(missing)?;
    let mut attached = Some(model);
    let detach = || match attached.take() {
        Some(model) => Ok(model.detach()?),
        None => Err(missing),
    };
    let done = machine.watch()?.until_ready(LOADING, detach);
    machine.model = attached;
    done
}

/// What a program has for its standard streams.
fn null() -> Result<File, BootError> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/null");
    opened.map_err(BootError::file("open the null device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_has_its_phases_once_and_in_the_order_of_the_protocol() {
        let phases = |table: &[Phase]| table.iter().map(|step| step.phase).collect::<Vec<_>>();
        assert_eq!(phases(GPU), BootPhase::ALL);
        let all = BootPhase::ALL.into_iter();
        let of_gpus = [BootPhase::Modules, BootPhase::Gpus];
        let others: Vec<_> = all.filter(|phase| !of_gpus.contains(phase)).collect();
        assert_eq!(phases(CPU), others);
    }

    #[test]
    fn no_program_is_started_before_modules_are_locked() {
        let at = |phase| GPU.iter().position(|step| step.phase == phase);
        assert!(at(BootPhase::Root) < at(BootPhase::Modules));
        assert!(at(BootPhase::Modules) < at(BootPhase::Serve));
        assert!(at(BootPhase::Modules) < at(BootPhase::Engine));
        assert!(at(BootPhase::Modules) < at(BootPhase::Gpus));
    }

    #[test]
    fn gpus_are_appraised_before_any_program_that_could_use_them() {
        let at = |phase| GPU.iter().position(|step| step.phase == phase);
        assert!(at(BootPhase::Gpus) < at(BootPhase::Serve));
        assert!(at(BootPhase::Gpus) < at(BootPhase::Engine));
    }

    #[test]
    fn does_nothing_when_it_is_not_the_first_process() {
        fn unreachable() -> Result<(), BootError> {
            panic!("a phase ran")
        }
        let variant = Variant {
            boot: GPU,
            report_source: || panic!("a phase ran"),
            devices: None,
            serve: "/serve",
            host_time: || 0,
            before_programs: unreachable,
            observe: |_| panic!("a phase ran"),
        };
        assert_eq!(run(variant).unwrap_err(), NotFirst);
    }
}
