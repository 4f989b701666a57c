//! A source of GPU evidence that is a simulated board, with knobs for what a driver does wrong.
//!
//! Research only. What devices themselves do wrong are the lies of `mock_tee::nvidia`.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gpu_evidence::source::{EvidenceSource, GpuWord, Mode};
use messages::gpu_socket::GpuRefusal;
use mock_tee::nvidia::Board;
use protocol::digest::GpuNonce;
use protocol::gpu_evidence::MAX_REPORT_BYTES;

/// What a simulated driver has and does.
#[derive(Debug, Clone)]
pub struct State {
    /// The devices.
    pub board: Board,
    /// Whether the GPUs take work.
    pub ready: bool,
    /// Critical errors that nobody asked for yet.
    pub faults: u16,
    /// How often a device was asked for its report.
    pub reports: u32,
    /// Every GPU has the name of the first one.
    pub one_name: bool,
    /// A part of every GPU's name, which changes where GPUs are exchanged.
    pub series: &'static str,
    /// Reports are longer than reports may be.
    pub oversized: bool,
    /// A GPU has fallen off the bus.
    pub lost: bool,
}

/// The simulated driver; every copy has the same state.
#[derive(Debug, Clone)]
pub struct SimulatedGpus(Arc<Mutex<State>>);

impl SimulatedGpus {
    /// A driver that does nothing wrong, with a board's devices.
    #[must_use]
    pub fn new(board: Board) -> Self {
        Self(Arc::new(Mutex::new(State {
            board,
            ready: false,
            faults: 0,
            reports: 0,
            one_name: false,
            series: "a",
            oversized: false,
            lost: false,
        })))
    }

    /// The state, to look at or to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EvidenceSource for SimulatedGpus {
    fn mode(&mut self) -> Result<Mode, GpuRefusal> {
        Ok(Mode {
            confidential: true,
            production: true,
            developer_tools: false,
            protected_pcie: false,
        })
    }

    fn gpus(&mut self) -> Result<u32, GpuRefusal> {
        Ok(u32::from(self.state().board.gpus()))
    }

    fn ask(&mut self, index: u32, nonce: &GpuNonce) -> Result<GpuWord, GpuRefusal> {
        let mut state = self.state();
        let place = usize::try_from(index).map_err(|_| GpuRefusal::Count)?;
        let answer = state.board.answer(place, *nonce);
        let device = answer.map_err(|_| GpuRefusal::Driver)?;
        let mut device = device.ok_or(GpuRefusal::Count)?;
        state.reports = state.reports.saturating_add(1);
        if state.oversized {
            device.report = vec![0; MAX_REPORT_BYTES.saturating_add(1)];
        }
        let number = if state.one_name { 0 } else { index };
        Ok(GpuWord {
            kind: device.kind,
            uuid: format!("GPU-{}-{number}", state.series).into_bytes(),
            report: device.report,
            chain: device.chain.iter().flat_map(|der| pem(der)).collect(),
        })
    }

    fn accept(&mut self) -> Result<(), GpuRefusal> {
        self.state().ready = true;
        Ok(())
    }

    fn is_ready(&mut self) -> Result<bool, GpuRefusal> {
        let state = self.state();
        if state.lost {
            return Err(GpuRefusal::Lost);
        }
        Ok(state.ready)
    }

    fn faults(&mut self) -> Result<u16, GpuRefusal> {
        Ok(std::mem::take(&mut self.state().faults))
    }
}

/// A certificate as the driver's library hands it out.
fn pem(der: &[u8]) -> Vec<u8> {
    let digits = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at.is_multiple_of(64) {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text.into_bytes()
}
