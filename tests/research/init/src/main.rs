//! PID 1 of the research image: simulated reports over vsock, everything else as in release.
//!
//! When the root image holds `/probe`, it is run in both programs' place before they start, and
//! an attempt that succeeds ends the boot. Progress goes to the kernel log.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use attest::{ReportError, ReportSource};
use init::confinement::Role;
use init::{BootError, Progress, Variant};
use init_research::{MOCK_TEE_PORT, MockTee, rehearse};

const PROBE: &str = "/probe";

#[allow(
    clippy::disallowed_methods,
    reason = "time is read in main and passed down"
)]
fn host_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
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
    for role in Role::ALL {
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

fn main() -> ExitCode {
    let variant = Variant {
        report_source: simulation,
        serve: "/serve-research",
        host_time,
        before_programs: run_probe,
        observe,
    };
    match init::run(variant) {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}
