//! What would run: the machine's arguments, the launch configuration's digest, and what clients
//! expect of the shape.
//!
//! Expected measurements come from reference values that somebody else computed; nothing is
//! measured here. Deliberately not here: launching.

use std::fmt;

use measurements::release::WITH_SERIAL_PORT;
use protocol::launch_configuration::{host_data, mr_config_id};
use protocol::reference_values::{ExpectedRegisters, ReferenceValues, ShapeReference};
use protocol::tee::TeeKind;
use serde_json::{Value, json};

use crate::launch::argv::{Serial, vsock_device_arguments};
use crate::launch::state::StatePaths;
use crate::up::Prepared;

/// A launch, told.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What would be launched.
    pub prepared: &'a Prepared,
    /// The state directory.
    pub state: StatePaths,
    /// QEMU, as it would be called.
    pub qemu: String,
    /// The vsock device's program, as it would be called.
    pub vsock_device: String,
    /// What clients may pin.
    pub references: Option<ReferenceValues>,
}

impl Plan<'_> {
    /// The entry of the shape and TEE that would be launched.
    fn expected(&self) -> Option<&ShapeReference> {
        let machine = &self.prepared.machine;
        let shapes = &self.references.as_ref()?.shapes;
        // With a serial port the tables that a TD measures differ, hence another entry.
        let with_port = match (machine.serial, machine.accelerator.tee()) {
            (Serial::Output, TeeKind::Tdx) => WITH_SERIAL_PORT,
            (Serial::Absent, _) | (_, TeeKind::SevSnp) => "",
        };
        shapes.iter().find(|reference| {
            reference.shape.strip_suffix(with_port) == Some(machine.shape.name)
                && tee_of(&reference.registers) == machine.accelerator.tee()
        })
    }

    fn lines(&self, program: &str, arguments: &[std::ffi::OsString]) -> Vec<String> {
        let arguments = arguments
            .iter()
            .map(|one| one.to_string_lossy().into_owned());
        std::iter::once(program.to_owned())
            .chain(arguments)
            .collect()
    }

    fn qemu_line(&self) -> Vec<String> {
        self.lines(&self.qemu, &self.prepared.machine.arguments())
    }

    fn device_line(&self) -> Vec<String> {
        let arguments = vsock_device_arguments(&self.state.vhost(), &self.state.vsock());
        self.lines(&self.vsock_device, &arguments)
    }

    /// The plan as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let machine = &self.prepared.machine;
        let digest = machine.config_digest;
        let models = self.prepared.configuration.document.model_digests();
        json!({
            "shape": machine.shape.name,
            "accelerator": machine.accelerator.name(),
            "tee": machine.accelerator.tee().name(),
            "config_digest": digest,
            "host_data": host_data(&digest),
            "mr_config_id": mr_config_id(&digest),
            "models": models,
            "qemu": self.qemu_line(),
            "vhost_device_vsock": self.device_line(),
            "expected": self.expected(),
        })
    }
}

const fn tee_of(registers: &ExpectedRegisters) -> TeeKind {
    match registers {
        ExpectedRegisters::SevSnp { .. } => TeeKind::SevSnp,
        ExpectedRegisters::Tdx { .. } => TeeKind::Tdx,
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.prepared.machine;
        let shape = &machine.shape;
        writeln!(
            f,
            "shape          {} ({} vCPUs, {} MiB)",
            shape.name, shape.vcpus, shape.memory_mib
        )?;
        writeln!(
            f,
            "runs as        {}, registers of {}",
            machine.accelerator.name(),
            machine.accelerator.tee().name()
        )?;
        let digest = machine.config_digest;
        writeln!(f, "configuration  {digest}")?;
        match machine.accelerator.tee() {
            TeeKind::SevSnp => writeln!(f, "HOST_DATA      {}", host_data(&digest))?,
            TeeKind::Tdx => writeln!(f, "MRCONFIGID     {}", mr_config_id(&digest))?,
        }
        let document = &self.prepared.configuration.document;
        for (entry, model) in document.models.iter().zip(document.model_digests()) {
            writeln!(f, "model          {model} {}", entry.name)?;
        }
        match (self.expected(), &self.references) {
            (Some(reference), _) => write_registers(f, &reference.registers)?,
            (None, Some(_)) => {
                writeln!(
                    f,
                    "expected       the reference values do not list this shape and TEE"
                )?;
            }
            (None, None) => {}
        }
        for line in [self.device_line(), self.qemu_line()] {
            writeln!(f)?;
            write_command(f, &line)?;
        }
        Ok(())
    }
}

fn write_registers(f: &mut fmt::Formatter<'_>, registers: &ExpectedRegisters) -> fmt::Result {
    match registers {
        ExpectedRegisters::SevSnp { launch_digest, .. } => {
            writeln!(f, "expected       {launch_digest} launch digest")?;
        }
        ExpectedRegisters::Tdx {
            mrtd,
            rtmr0,
            rtmr1,
            rtmr2,
        } => {
            writeln!(f, "expected       {mrtd} MRTD")?;
            for (name, expected) in [("RTMR0", rtmr0), ("RTMR1", rtmr1), ("RTMR2", rtmr2)] {
                writeln!(f, "               {} {name}", expected.value)?;
            }
        }
    }
    writeln!(f, "registry key   {}", registers.key())
}

/// One option a line; quoted where a shell would split it.
fn write_command(f: &mut fmt::Formatter<'_>, line: &[String]) -> fmt::Result {
    let mut separator = "";
    for word in line {
        if word.starts_with('-') {
            separator = " \\\n    ";
        }
        let is_plain = word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_=,./:+".contains(&b));
        if is_plain && !word.is_empty() {
            write!(f, "{separator}{word}")?;
        } else {
            write!(f, "{separator}'{}'", word.replace('\'', "'\\''"))?;
        }
        separator = " ";
    }
    writeln!(f)
}
