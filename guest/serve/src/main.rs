//! The release program: main network, release protocol name, nothing to choose.
//!
//! What is deliberately not here: anything that decides; it is all in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use protocol::evidence::ALPN;
use protocol::ton::NetworkId;
use serve::{Deployment, IMAGE_VERSION, program};

/// Whatever this program frees is overwritten.
#[global_allocator]
static HEAP: sys::WipingHeap = sys::WipingHeap;

fn main() -> ExitCode {
    program(Deployment {
        alpn: ALPN,
        network: NetworkId::MAIN,
        image: IMAGE_VERSION,
    })
}
