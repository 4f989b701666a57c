//! Commands about a guest: doctor, configure, plan, up, relay.
//!
//! Deliberately not here: money.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, bail};
use protocol::launch_configuration::Limits;
use protocol::reference_values::{self, ReferenceValues};
use protocol::ton::NetworkId;
use serde_json::json;

use super::arguments::{
    ConfigureArguments, DoctorArguments, LaunchArguments, PlanArguments, RelayArguments,
    ServiceArguments, UpArguments,
};
use super::{Draw, Exit};
use crate::clock::Clock;
use crate::configure::{self, Choices};
use crate::doctor::{self, Places};
use crate::launch::argv::Serial;
use crate::launch::artifacts::ImagePaths;
use crate::launch::configuration::{MeasuredConfiguration, read_bounded};
use crate::launch::state::StatePaths;
use crate::plan::Plan;
use crate::relay as relaying;
use crate::report::Reporter;
use crate::services::{self, ServiceOptions};
use crate::up::{self as launching, Ending, LaunchOptions, Prepared, Programs};
use crate::wallet;

/// The guest's TLS end must answer the relay within this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn doctor(arguments: &DoctorArguments, reporter: &Reporter) -> Exit {
    let checks = doctor::examine(&Places {
        qemu: arguments.programs.qemu.clone(),
        vsock_device: arguments.programs.vhost_device_vsock.clone(),
        image: arguments.image.clone().map(|image| ImagePaths {
            image,
            firmware: arguments.firmware.clone(),
        }),
        endorsements: arguments.endorsements.clone(),
        accelerator: arguments.machine.accelerator(),
    });
    for check in &checks {
        reporter.result(check, &check.to_json());
    }
    if checks.iter().all(|check| check.verdict.is_ok()) {
        Exit::Success
    } else {
        Exit::Failure
    }
}

pub(super) fn configure(
    arguments: &ConfigureArguments,
    reporter: &Reporter,
) -> anyhow::Result<Exit> {
    let choices = Choices {
        network: NetworkId(arguments.network),
        payee: arguments.payee,
        jetton: arguments.jetton,
        models: arguments.models.clone(),
        prices: arguments.prices.clone(),
        limits: Limits {
            streams: arguments.streams,
            context_tokens: arguments.context_tokens,
            increment_tokens: arguments.increment_tokens,
        },
    };
    let digest = configure::write(&choices, &arguments.out)?;
    let text = format!("{digest}  {}", arguments.out.display());
    reporter.result(&text, &json!({ "config_digest": digest }));
    Ok(Exit::Success)
}

pub(super) fn plan(arguments: &PlanArguments, reporter: &Reporter) -> anyhow::Result<Exit> {
    let options = launch_options(&arguments.launch);
    let prepared = Prepared::check(&options)?;
    let references = match &arguments.reference_values {
        None => None,
        Some(path) => {
            let limit = u64::try_from(reference_values::MAX_BYTES).unwrap_or(u64::MAX);
            let bytes = read_bounded(path, limit)?;
            let parsed = ReferenceValues::parse(&bytes);
            Some(parsed.with_context(|| format!("cannot use `{}`", path.display()))?)
        }
    };
    let plan = Plan {
        prepared: &prepared,
        state: StatePaths(arguments.launch.state.clone()),
        qemu: arguments.launch.programs.qemu.display().to_string(),
        vsock_device: arguments
            .launch
            .programs
            .vhost_device_vsock
            .display()
            .to_string(),
        references,
    };
    reporter.result(&plan, &plan.to_json());
    Ok(Exit::Success)
}

pub(super) async fn up(
    arguments: &UpArguments,
    (clock, draw): (&Clock, Draw),
    reporter: &Reporter,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    let launch = launch_options(&arguments.launch);
    if let Some(seed) = &arguments.wallet_seed {
        let document = MeasuredConfiguration::read(&launch.configuration)?.document;
        let own = wallet::read(seed, document.network)?.address()?;
        if own != document.payee {
            bail!(
                "the launch configuration pays {}, the wallet is {own}",
                document.payee
            );
        }
    }
    let programs = Programs {
        qemu: arguments.launch.programs.qemu.clone(),
        vsock_device: arguments.launch.programs.vhost_device_vsock.clone(),
        boot_within: Duration::from_secs(arguments.boot_timeout),
    };
    let options = service_options(
        &arguments.service,
        &arguments.launch.state,
        &launch.configuration,
        (clock, draw),
    )?;
    let ending = launching::up(&launch, &programs, &options, clock, reporter, stop).await?;
    Ok(match ending {
        Ending::Stopped => Exit::Success,
        Ending::PoweredOff(_) => Exit::PoweredOff,
        Ending::Unexplained => Exit::Unexplained,
    })
}

pub(super) async fn relay(
    arguments: &RelayArguments,
    (clock, draw): (&Clock, Draw),
    reporter: &Reporter,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    let options = service_options(
        &arguments.service,
        &arguments.state,
        &arguments.launch_config,
        (clock, draw),
    )?;
    let guest = arguments.guest.clone();
    let control = arguments.control.as_deref();
    services::relay_only(&options, guest, control, clock, reporter, stop).await?;
    Ok(Exit::Success)
}

fn launch_options(arguments: &LaunchArguments) -> LaunchOptions {
    LaunchOptions {
        image: ImagePaths {
            image: arguments.image.clone(),
            firmware: arguments.firmware.clone(),
        },
        models: arguments.models.clone(),
        configuration: arguments.launch_config.clone(),
        state: arguments.state.clone(),
        accelerator: arguments.machine.accelerator(),
        shape: arguments.machine.shape,
        gpus: arguments.gpus.clone(),
        serial: if arguments.serial {
            Serial::Output
        } else {
            Serial::Absent
        },
    }
}

fn service_options(
    arguments: &ServiceArguments,
    state: &std::path::Path,
    configuration: &std::path::Path,
    (clock, draw): (&Clock, Draw),
) -> anyhow::Result<ServiceOptions> {
    let network = MeasuredConfiguration::read(configuration)?.document.network;
    // Its trailing separator: the position lies in the directory.
    let within = state.join("");
    Ok(ServiceOptions {
        state: state.to_owned(),
        journal: arguments.journal.place()?,
        draw,
        configuration: configuration.to_owned(),
        listen: arguments.listen,
        metrics: arguments.metrics,
        endorsements: arguments.endorsements.clone(),
        chain: arguments.chain.open(network, &within, (clock, draw))?,
        limits: relaying::Limits {
            connections: arguments.max_connections,
            idle: Duration::from_secs(arguments.idle_timeout),
            connect: CONNECT_WITHIN,
        },
        minimum_validity: arguments.minimum_validity,
        minimum_window: arguments.minimum_window,
    })
}
