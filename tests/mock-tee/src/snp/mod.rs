//! A simulated AMD SEV-SNP machine: report, VCEK, ASK, ARK and revocation list.

mod chain;
mod report;

use protocol::digest::{ChipId, HostData, LaunchDigest, ReportData};
use protocol::endorsements::Endorsements;

use crate::seed::SeedStream;
use crate::{Lie, MockTeeError};

pub use chain::root_certificate;

/// The product line that a machine claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// EPYC 7003; only ever a lie.
    Milan,
    /// EPYC 9004: reports of version 3.
    Genoa,
    /// EPYC 9005: reports of version 5, another order of firmware levels, short chip identity.
    Turin,
}

impl Product {
    /// The name in certificates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// CPUID family, model, stepping.
    pub(crate) const fn cpuid(self) -> [u8; 3] {
        match self {
            Self::Milan => [0x19, 0x01, 0x01],
            Self::Genoa => [0x19, 0x11, 0x01],
            Self::Turin => [0x1a, 0x02, 0x01],
        }
    }

    /// TCB_VERSION in the product's order, at or above known minima.
    pub(crate) const fn tcb(self) -> [u8; 8] {
        match self {
            Self::Milan => [4, 0, 0, 0, 0, 0, 0x18, 0xdb],
            Self::Genoa => [10, 0, 0, 0, 0, 0, 0x1b, 0x56],
            Self::Turin => [1, 3, 2, 5, 0, 0, 0, 0x61],
        }
    }

    pub(crate) fn chip_id(self) -> ChipId {
        let mut identity = SeedStream::bytes::<64>(self.name());
        if let (Self::Turin, Some(rest)) = (self, identity.get_mut(8..)) {
            rest.fill(0);
        }
        ChipId(identity)
    }
}

/// One simulated machine, launched with one image and one configuration.
#[derive(Debug, Clone)]
pub struct SnpMachine {
    pub(crate) product: Product,
    pub(crate) measurement: LaunchDigest,
    pub(crate) host_data: HostData,
    pub(crate) lie: Option<Lie>,
}

impl SnpMachine {
    /// An honest machine.
    #[must_use]
    pub const fn new(product: Product, measurement: LaunchDigest, host_data: HostData) -> Self {
        Self {
            product,
            measurement,
            host_data,
            lie: None,
        }
    }

    /// The same machine with one thing wrong.
    #[must_use]
    pub fn with(mut self, lie: Lie) -> Self {
        if lie == Lie::Milan {
            self.product = Product::Milan;
        }
        self.lie = Some(lie);
        self
    }

    /// HOST_DATA, as the machine itself sees it.
    #[must_use]
    pub const fn host_data(&self) -> HostData {
        self.host_data
    }

    /// A signed report.
    ///
    /// # Errors
    /// Only when a key cannot be derived.
    pub fn report(&self, report_data: &ReportData) -> Result<Vec<u8>, MockTeeError> {
        report::report(self, report_data, |_| {})
    }

    /// The same with a change to what is signed, 672 bytes: a firmware that says something else.
    ///
    /// # Errors
    /// Only when a key cannot be derived.
    pub fn report_with(
        &self,
        report_data: &ReportData,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, MockTeeError> {
        report::report(self, report_data, change)
    }

    /// What the host staples, as of a time in seconds since 1970.
    ///
    /// # Errors
    /// Only when a certificate cannot be made.
    pub fn endorsements(&self, at: u64) -> Result<Endorsements, MockTeeError> {
        chain::endorsements(self, at)
    }

    pub(crate) fn lies(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    /// TCB_VERSION of the report.
    pub(crate) fn reported_tcb(&self) -> [u8; 8] {
        let mut tcb = self.product.tcb();
        // Microcode is the last byte for every product.
        if let (true, Some(microcode)) = (self.lies(Lie::TcbLow), tcb.last_mut()) {
            *microcode = 1;
        }
        if let (true, Some(bootloader)) = (self.lies(Lie::TcbOrder), tcb.first_mut()) {
            *bootloader = bootloader.saturating_add(1);
        }
        if let (true, Some(reserved)) = (self.lies(Lie::TcbReserved), tcb.get_mut(4)) {
            *reserved = 1;
        }
        tcb
    }
}
