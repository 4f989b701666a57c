//! PID 1 of the release image for GPUs: reports come from the hardware or the machine stops.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::SystemTime;

use init::{Variant, boot};
use verifier::TrustAnchors;

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
            init_gpu::appraise(&TrustAnchors::PRODUCTION, evidence, question)
        }),
        ..Variant::release(boot::GPU, host_time)
    };
    match init::run(variant) {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}
