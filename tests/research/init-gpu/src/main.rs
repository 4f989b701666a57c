//! PID 1 of the research image for GPUs: simulated reports over vsock, everything else as in
//! release.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::SystemTime;

use init::{Variant, boot};
use init_research::research;
use research_anchors::research_anchors;

#[allow(
    clippy::disallowed_methods,
    reason = "time is read in main and passed down"
)]
fn host_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn main() -> ExitCode {
    let variant = Variant {
        devices: Some(|evidence, question| {
            init_gpu::appraise(&research_anchors(), evidence, question)
        }),
        ..research(boot::GPU, host_time)
    };
    match init::run(variant) {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}
