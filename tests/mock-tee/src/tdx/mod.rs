//! A simulated Intel TDX machine: quotes of versions 4 and 5, the PCK chain inside them, and the
//! collateral that Intel would publish for the platform.

mod authenticode;
pub mod captured;
mod chain;
mod collateral;
pub(crate) mod pck;
mod quote;
pub mod registers;

use protocol::digest::{ConfigDigest, MrConfigId, ReportData};
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::launch_configuration::mr_config_id;

use crate::{Lie, MockTeeError};
use registers::Registers;

pub use chain::root_certificate;

/// Which quote the machine makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteVersion {
    /// Version 4 with a TD 1.0 report.
    V4,
    /// Version 5 with a TD 1.5 report.
    V5,
}

/// What the PCK says of its platform; it is silent where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformFlags {
    /// Packages can be added to the platform.
    pub dynamic: Option<bool>,
    /// The registration service keeps the platform's keys.
    pub cached_keys: Option<bool>,
    /// Cores run several threads.
    pub multithreading: Option<bool>,
}

impl PlatformFlags {
    /// As real servers for rent have them.
    pub const RENTED: Self = Self {
        dynamic: Some(true),
        cached_keys: Some(true),
        multithreading: Some(true),
    };
}

/// One simulated machine, launched with one image and one configuration.
#[derive(Debug, Clone)]
pub struct TdxMachine {
    pub(crate) version: QuoteVersion,
    pub(crate) registers: Registers,
    pub(crate) configuration: ConfigDigest,
    pub(crate) platform: PlatformFlags,
    pub(crate) lie: Option<Lie>,
}

impl TdxMachine {
    /// An honest machine.
    #[must_use]
    pub const fn new(
        version: QuoteVersion,
        registers: Registers,
        configuration: ConfigDigest,
    ) -> Self {
        Self {
            version,
            registers,
            configuration,
            platform: PlatformFlags::RENTED,
            lie: None,
        }
    }

    /// The same machine with one thing wrong.
    #[must_use]
    pub fn with(mut self, lie: Lie) -> Self {
        if matches!(lie, Lie::ServiceTd | Lie::ModuleRollback | Lie::Relaunch) {
            self.version = QuoteVersion::V5;
        }
        self.lie = Some(lie);
        self
    }

    /// The same machine on a platform of which the PCK says something else.
    #[must_use]
    pub const fn on(mut self, platform: PlatformFlags) -> Self {
        self.platform = platform;
        self
    }

    /// The digest in MRCONFIGID, as the machine itself sees it.
    #[must_use]
    pub const fn configuration(&self) -> ConfigDigest {
        self.configuration
    }

    /// A signed quote.
    ///
    /// # Errors
    /// Only when a certificate or key cannot be made.
    pub fn quote(&self, report_data: &ReportData) -> Result<Vec<u8>, MockTeeError> {
        quote::quote(self, report_data, |_| {})
    }

    /// The same with a change to header and TD report before they are signed.
    ///
    /// # Errors
    /// Only when a certificate or key cannot be made.
    pub fn quote_with(
        &self,
        report_data: &ReportData,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, MockTeeError> {
        quote::quote(self, report_data, change)
    }

    /// What the host staples, as of a time in seconds since 1970.
    ///
    /// # Errors
    /// Only when a certificate cannot be made.
    pub fn endorsements(&self, at: u64) -> Result<Endorsements, MockTeeError> {
        let mut items = Endorsements::default();
        if !self.lies(Lie::NoEndorsement) {
            let json = collateral::collateral(self, at)?;
            items.insert(EndorsementKind::TdxCollateral, json)?;
        }
        Ok(items)
    }

    pub(crate) fn lies(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    /// MRCONFIGID as the quote holds it.
    pub(crate) fn reported_configuration(&self) -> MrConfigId {
        let mut register = mr_config_id(&self.configuration);
        if let (true, Some(byte)) = (self.lies(Lie::WrongHostData), register.0.first_mut()) {
            *byte ^= 1;
        }
        register
    }
}
