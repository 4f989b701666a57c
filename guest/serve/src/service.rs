//! What all connections of one boot share.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use protocol::digest::BootId;
use protocol::launch_configuration::LaunchConfiguration;
use tokio::sync::Semaphore;

use crate::Deployment;
use crate::engine::Engine;
use crate::host::Host;
use crate::keys::ReceiptSigner;
use crate::ledger::Ledger;
use crate::quotes::Quotes;

/// One boot's service.
pub(crate) struct Service {
    pub(crate) deployment: Deployment,
    pub(crate) boot_id: BootId,
    pub(crate) configuration: LaunchConfiguration,
    /// The launch configuration's bytes as they were measured.
    pub(crate) configuration_bytes: Vec<u8>,
    pub(crate) signer: ReceiptSigner,
    pub(crate) quotes: Quotes,
    pub(crate) host: Host,
    pub(crate) engine: Engine,
    pub(crate) ledger: Arc<Ledger>,
    /// One permit for each stream that the launch configuration allows.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) open_connections: AtomicU32,
}
