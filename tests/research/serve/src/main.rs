//! serve for research deployments: the same library under a research protocol name and network,
//! so that no release client ever completes a handshake with it.
//!
//! Research only. What is deliberately not here: anything that decides; it is all in `serve`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use research_anchors::{RESEARCH_ALPN, RESEARCH_NETWORK};
use serve::{Deployment, IMAGE_VERSION, program};

/// Whatever this program frees is overwritten.
#[global_allocator]
static HEAP: sys::WipingHeap = sys::WipingHeap;

fn main() -> ExitCode {
    program(Deployment {
        alpn: RESEARCH_ALPN,
        network: RESEARCH_NETWORK,
        image: IMAGE_VERSION,
    })
}
