//! PID 1 of the guest: boots by a table, composes every Statement, confines and watches the rest.
//!
//! What is deliberately not here: TLS, HTTP, models and payment (`serve`, `engine`), unsafe code
//! (`sys`), and any source of simulated reports (`tests/research/init`).
#![forbid(unsafe_code)]

pub mod boot;
pub mod command_line;
pub mod confinement;
pub mod control;
pub mod disk;
pub mod failure;
pub mod gpu;
pub mod image;
pub mod model;
pub mod modules;
pub mod pseudo;
pub mod quote;
pub mod watch;

use attest::tsm::{Places, Tsm};
use attest::{ReportError, ReportSource};
use messages::boot::BootPhase;

pub use boot::run;
pub use failure::BootError;

/// How far a boot came; told to the variant, never to anybody outside the machine.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A phase was passed, so many milliseconds after the start.
    Passed(BootPhase, u32),
    /// A phase failed; the machine powers off next.
    Failed(BootPhase, &'a BootError),
}

/// What a program built on this library chooses. Everything else is the same in all of them.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The steps of its boot, one of the tables in [`boot`].
    pub boot: &'static [boot::Phase],
    /// Opens the source of reports.
    pub report_source: fn() -> Result<Box<dyn ReportSource>, ReportError>,
    /// Judges what GPUs say, for a table with a phase for them.
    pub devices: Option<gpu::Appraiser>,
    /// The serve program in the root image.
    pub serve: &'static str,
    /// Seconds since 1970 as the machine's clock has them, which the host sets.
    pub host_time: fn() -> u64,
    /// Runs when the images are open and before any program was started.
    pub before_programs: fn() -> Result<(), BootError>,
    /// Is told how far the boot came.
    pub observe: fn(&Progress<'_>),
}

impl Variant {
    /// That of the release programs: reports come from the hardware or the machine stops.
    #[must_use]
    pub const fn release(boot: &'static [boot::Phase], host_time: fn() -> u64) -> Self {
        Self {
            boot,
            report_source: || Ok(Box::new(Tsm::open(Places::default())?)),
            devices: None,
            serve: "/serve",
            host_time,
            before_programs: || Ok(()),
            observe: |_| (),
        }
    }
}
