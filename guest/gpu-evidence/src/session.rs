//! Answering init: in which order what is asked of a source, and the limits of what comes out.

use messages::gpu_socket::{DeviceCount, GpuAnswer, GpuRefusal, GpuRequest, GpuUuid};
use protocol::digest::GpuNonce;
use protocol::evidence::MAX_GPU_EVIDENCE_BYTES;
use protocol::gpu_evidence::{DeviceEvidence, GpuEvidence, MAX_REPORT_BYTES};

use crate::chain;
use crate::source::{EvidenceSource, GpuWord, Mode};

/// What one boot asks.
#[derive(Debug)]
pub struct Session<S, F> {
    open: F,
    /// There from the first evidence on, until the source refuses something.
    source: Option<S>,
}

impl<S: EvidenceSource, F: FnMut() -> Result<S, GpuRefusal>> Session<S, F> {
    /// A session that opens its source by `open`.
    pub const fn new(open: F) -> Self {
        Self { open, source: None }
    }

    /// Answers one request. After a refusal everything begins with Collect again.
    pub fn answer(&mut self, request: &GpuRequest) -> GpuAnswer {
        let answered = match request {
            GpuRequest::Collect {
                round,
                count,
                nonces,
            } => self.collect(*round, *count, nonces),
            GpuRequest::Accept => self.accept(),
            GpuRequest::Watch => self.watch(),
        };
        answered.unwrap_or_else(|refusal| {
            self.source = None;
            GpuAnswer::Refused(refusal)
        })
    }

    fn collect(
        &mut self,
        round: u32,
        count: DeviceCount,
        nonces: &[GpuNonce],
    ) -> Result<GpuAnswer, GpuRefusal> {
        if count.switches != 0 {
            return Err(GpuRefusal::SwitchesUnsupported);
        }
        let mut source = match self.source.take() {
            Some(source) => source,
            None => (self.open)()?,
        };
        check_mode(source.mode()?)?;
        if source.gpus()? != u32::from(count.gpus) {
            return Err(GpuRefusal::Count);
        }
        let mut uuids = Vec::new();
        let mut devices = Vec::new();
        for (index, nonce) in (0..).zip(nonces) {
            let (uuid, device) = read(source.ask(index, nonce)?)?;
            uuids.push(uuid);
            devices.push(device);
        }
        let evidence = Box::new(GpuEvidence { round, devices });
        if evidence.encode().len() > MAX_GPU_EVIDENCE_BYTES {
            return Err(GpuRefusal::TooLong);
        }
        self.source = Some(source);
        Ok(GpuAnswer::Collected { uuids, evidence })
    }

    fn accept(&mut self) -> Result<GpuAnswer, GpuRefusal> {
        let source = self.source.as_mut().ok_or(GpuRefusal::OutOfStep)?;
        source.accept()?;
        if source.is_ready()? {
            Ok(GpuAnswer::Accepted)
        } else {
            Err(GpuRefusal::Driver)
        }
    }

    fn watch(&mut self) -> Result<GpuAnswer, GpuRefusal> {
        let source = self.source.as_mut().ok_or(GpuRefusal::OutOfStep)?;
        check_mode(source.mode()?)?;
        Ok(GpuAnswer::Watched {
            ready: source.is_ready()?,
            faults: source.faults()?,
        })
    }
}

fn check_mode(mode: Mode) -> Result<(), GpuRefusal> {
    let rules = [
        (!mode.protected_pcie, GpuRefusal::ModeUnsupported),
        (mode.confidential, GpuRefusal::ConfidentialOff),
        (mode.production, GpuRefusal::NotProduction),
        (!mode.developer_tools, GpuRefusal::DeveloperTools),
    ];
    let broken = rules.iter().find(|(holds, _)| !holds);
    broken.map_or(Ok(()), |(_, refusal)| Err(*refusal))
}

fn read(word: GpuWord) -> Result<(GpuUuid, DeviceEvidence), GpuRefusal> {
    let uuid = GpuUuid::new(&word.uuid).map_err(|_| GpuRefusal::Uuid)?;
    if word.report.is_empty() || word.report.len() > MAX_REPORT_BYTES {
        return Err(GpuRefusal::Report);
    }
    let device = DeviceEvidence {
        kind: word.kind,
        report: word.report,
        chain: chain::certificates(&word.chain)?,
    };
    Ok((uuid, device))
}

#[cfg(test)]
mod tests;
