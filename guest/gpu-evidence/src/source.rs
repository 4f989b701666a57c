//! What a source of GPU evidence can do.

use messages::gpu_socket::GpuRefusal;
use protocol::digest::GpuNonce;
use protocol::gpu_evidence::DeviceKind;

/// How the driver says that the GPUs of this machine run. Nobody believes it for being said: what
/// devices measure says it too, for whoever has the manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Confidential computing is on.
    pub confidential: bool,
    /// It is that of production, not of a simulation.
    pub production: bool,
    /// Developer tools may look into the GPUs.
    pub developer_tools: bool,
    /// The GPUs are handed over together with their switches.
    pub protected_pcie: bool,
}

/// What one GPU says, as the driver hands it out; nothing of it was looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuWord {
    /// The architecture.
    pub kind: DeviceKind,
    /// The driver's name of the GPU.
    pub uuid: Vec<u8>,
    /// SPDM request and response, one behind the other.
    pub report: Vec<u8>,
    /// Certificates in PEM, leaf first.
    pub chain: Vec<u8>,
}

/// A source of evidence about the GPUs of this very machine.
pub trait EvidenceSource {
    /// How the GPUs run.
    ///
    /// # Errors
    /// A [`GpuRefusal`].
    fn mode(&mut self) -> Result<Mode, GpuRefusal>;

    /// How many GPUs there are.
    ///
    /// # Errors
    /// A [`GpuRefusal`].
    fn gpus(&mut self) -> Result<u32, GpuRefusal>;

    /// What the GPU at `index` says to a nonce.
    ///
    /// # Errors
    /// A [`GpuRefusal`].
    fn ask(&mut self, index: u32, nonce: &GpuNonce) -> Result<GpuWord, GpuRefusal>;

    /// Lets the GPUs take work.
    ///
    /// # Errors
    /// A [`GpuRefusal`].
    fn accept(&mut self) -> Result<(), GpuRefusal>;

    /// Whether the GPUs take work.
    ///
    /// # Errors
    /// A [`GpuRefusal`].
    fn is_ready(&mut self) -> Result<bool, GpuRefusal>;

    /// How many critical errors there were since the source was opened or last asked.
    ///
    /// # Errors
    /// A [`GpuRefusal`].
    fn faults(&mut self) -> Result<u16, GpuRefusal>;
}

/// No source, for tests of everything around one.
#[cfg(test)]
#[derive(Debug)]
pub(crate) enum Absent {}

#[cfg(test)]
impl EvidenceSource for Absent {
    fn mode(&mut self) -> Result<Mode, GpuRefusal> {
        match *self {}
    }

    fn gpus(&mut self) -> Result<u32, GpuRefusal> {
        match *self {}
    }

    fn ask(&mut self, _: u32, _: &GpuNonce) -> Result<GpuWord, GpuRefusal> {
        match *self {}
    }

    fn accept(&mut self) -> Result<(), GpuRefusal> {
        match *self {}
    }

    fn is_ready(&mut self) -> Result<bool, GpuRefusal> {
        match *self {}
    }

    fn faults(&mut self) -> Result<u16, GpuRefusal> {
        match *self {}
    }
}
