//! What a research init chooses: simulated reports, the probe, progress on the kernel log.
//!
//! When the root image holds `/probe`, it is run in both programs' place before they start, and
//! an attempt that succeeds ends the boot.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use attest::{ReportError, ReportSource};
use init::boot::Phase;
use init::confinement::Role;
use init::{BootError, Progress, Variant};

use crate::{MOCK_TEE_PORT, MockTee, rehearse};

const PROBE: &str = "/probe";

/// A research variant that boots by a table of the release programs.
#[must_use]
pub const fn research(boot: &'static [Phase], host_time: fn() -> u64) -> Variant {
    Variant {
        boot,
        report_source: simulation,
        devices: None,
        serve: "/serve-research",
        host_time,
        before_programs: run_probe,
        observe,
    }
}

fn simulation() -> Result<Box<dyn ReportSource>, ReportError> {
    let stream = sys::socket::vsock_connect(sys::socket::HOST_CID, MOCK_TEE_PORT);
    let stream = stream.map_err(|_| ReportError::NoProvider)?;
    Ok(Box::new(MockTee::open(UnixStream::from(stream))?))
}

fn run_probe() -> Result<(), BootError> {
    let probe = Path::new(PROBE);
    if !probe.exists() {
        return Ok(());
    }
    for role in Role::BLIND {
        let refused = rehearse(role, probe).map_err(|error| {
            log(&format!("probe: {error}"));
            error.into_boot_error()
        })?;
        let name = role.name();
        log(&format!(
            "probe in place of {name}: {refused} attempts refused"
        ));
    }
    Ok(())
}

fn observe(progress: &Progress<'_>) {
    match progress {
        Progress::Passed(phase, milliseconds) => {
            log(&format!(
                "phase {} passed at {milliseconds} ms",
                phase.name()
            ));
        }
        Progress::Failed(phase, error) => {
            let code = error.code().code();
            log(&format!("phase {} failed: {code}: {error}", phase.name()));
        }
    }
}

/// One line on the kernel log, at a level that is shown however quiet the kernel is.
fn log(text: &str) {
    let opened = OpenOptions::new().write(true).open("/dev/kmsg");
    let _lost = opened.and_then(|mut log| log.write_all(format!("<0>init: {text}\n").as_bytes()));
}
