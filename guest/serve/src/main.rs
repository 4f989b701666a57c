//! The release program: main network, release protocol name, nothing else to choose.

use std::process::ExitCode;

use protocol::evidence::ALPN;
use protocol::ton::NetworkId;
use serve::{Deployment, IMAGE_VERSION, program};

fn main() -> ExitCode {
    program(Deployment {
        alpn: ALPN,
        network: NetworkId::MAIN,
        image: IMAGE_VERSION,
    })
}
