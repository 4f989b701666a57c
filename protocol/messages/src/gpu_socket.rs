//! The GPU socket between init and gpu-evidence (`docs/spec/gpu-socket.md`): init asks with nonces,
//! gpu-evidence answers with what the devices say, and decides nothing.
//!
//! Frames as in [`crate::framing`], at most [`MAX_FRAME`] bytes; init asks, gpu-evidence answers
//! each request in order and never speaks unasked.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use protocol::codec::{DecodeError, Reader, Writer};
use protocol::digest::GpuNonce;
use protocol::evidence::MAX_GPU_EVIDENCE_BYTES;
use protocol::gpu_evidence::{GpuEvidence, MAX_DEVICES};

/// Largest frame on this socket: evidence, and the names of the GPUs.
pub const MAX_FRAME: usize = MAX_GPU_EVIDENCE_BYTES + 4 * 1024;
/// Descriptor under which gpu-evidence inherits this socket.
pub const GPU_EVIDENCE_FD: i32 = 3;
/// Largest request, and so the limit of frames from init.
pub const MAX_REQUEST: usize = 1 + 4 + 2 + 32 * MAX_DEVICES;
/// The driver's name of a GPU is at most this long: `NVML_DEVICE_UUID_V2_BUFFER_SIZE` is 96 with a
/// zero at the end.
pub const MAX_UUID_BYTES: usize = 95;

/// The driver's name of a GPU: letters, digits and `-`, not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GpuUuid(String);

impl GpuUuid {
    /// Takes a name of the form above.
    ///
    /// # Errors
    /// `OutOfRange` for any other.
    pub fn new(bytes: &[u8]) -> Result<Self, DecodeError> {
        let refused = DecodeError::OutOfRange { field: "gpu uuid" };
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let good = (1..=MAX_UUID_BYTES).contains(&bytes.len()) && bytes.iter().all(allowed);
        match core::str::from_utf8(bytes) {
            Ok(text) if good => Ok(Self(text.into())),
            Ok(_) | Err(_) => Err(refused),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many devices init has counted itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCount {
    /// GPUs, at least one.
    pub gpus: u8,
    /// Switches between them.
    pub switches: u8,
}

impl DeviceCount {
    /// All devices.
    #[must_use]
    pub fn total(self) -> usize {
        usize::from(self.gpus).saturating_add(usize::from(self.switches))
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            gpus: from.u8()?,
            switches: from.u8()?,
        })
    }
}

/// What init asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpuRequest {
    /// What every device says to its nonce: GPUs first, then switches, one nonce for each.
    Collect {
        /// How often this boot has asked before.
        round: u32,
        /// How many devices there must be.
        count: DeviceCount,
        /// As many nonces as devices.
        nonces: Vec<GpuNonce>,
    },
    /// The evidence was appraised: the GPUs may take work.
    Accept,
    /// What has happened to the GPUs since the last answer.
    Watch,
}

impl GpuRequest {
    /// The encoded request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Collect {
                round,
                count,
                nonces,
            } => {
                out.u8(1).u32(*round).u8(count.gpus).u8(count.switches);
                for nonce in nonces {
                    out.raw(&nonce.0);
                }
            }
            Self::Accept => {
                out.u8(2);
            }
            Self::Watch => {
                out.u8(3);
            }
        }
        out.finish()
    }

    /// Decodes exactly one request.
    ///
    /// # Errors
    /// A [`DecodeError`], also for no GPU or too many devices.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let request = match from.u8()? {
            1 => {
                let round = from.u32()?;
                let count = DeviceCount::read(&mut from)?;
                if count.gpus == 0 || count.total() > MAX_DEVICES {
                    return Err(DecodeError::OutOfRange { field: "devices" });
                }
                let mut nonce = |_| Ok::<_, DecodeError>(GpuNonce(from.array()?));
                let nonces = (0..count.total()).map(&mut nonce);
                Self::Collect {
                    round,
                    count,
                    nonces: nonces.collect::<Result<_, _>>()?,
                }
            }
            2 => Self::Accept,
            3 => Self::Watch,
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "gpu request",
                });
            }
        };
        from.finish()?;
        Ok(request)
    }
}

/// Why gpu-evidence refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuRefusal {
    /// The request could not be decoded.
    Malformed,
    /// Accept or Watch before anything was collected.
    OutOfStep,
    /// The driver's library is not there, or lacks a function.
    NoLibrary,
    /// The library does not reach the kernel's driver, or not one of its own version.
    NoDriver,
    /// The driver does not let this user ask.
    NoPermission,
    /// The driver has another number of GPUs than init.
    Count,
    /// No source of evidence about switches is built in.
    SwitchesUnsupported,
    /// The GPUs are in protected PCIe mode, which is of use with switches only.
    ModeUnsupported,
    /// Confidential computing is off.
    ConfidentialOff,
    /// Confidential computing is not that of production.
    NotProduction,
    /// Developer tools are on.
    DeveloperTools,
    /// A GPU of an architecture that is not known here.
    Architecture,
    /// A name of a GPU is not of its form.
    Uuid,
    /// A GPU gave no report, or one of an impossible length.
    Report,
    /// A GPU gave no certificates, or they are not of their form.
    Chain,
    /// A GPU is lost or needs a reset.
    Lost,
    /// The evidence is longer than evidence may be.
    TooLong,
    /// The driver refused for another reason.
    Driver,
}

impl GpuRefusal {
    /// Every refusal.
    pub const ALL: [Self; 18] = [
        Self::Malformed,
        Self::OutOfStep,
        Self::NoLibrary,
        Self::NoDriver,
        Self::NoPermission,
        Self::Count,
        Self::SwitchesUnsupported,
        Self::ModeUnsupported,
        Self::ConfidentialOff,
        Self::NotProduction,
        Self::DeveloperTools,
        Self::Architecture,
        Self::Uuid,
        Self::Report,
        Self::Chain,
        Self::Lost,
        Self::TooLong,
        Self::Driver,
    ];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "gpu-malformed",
            Self::OutOfStep => "gpu-out-of-step",
            Self::NoLibrary => "gpu-no-library",
            Self::NoDriver => "gpu-no-driver",
            Self::NoPermission => "gpu-no-permission",
            Self::Count => "gpu-count",
            Self::SwitchesUnsupported => "gpu-switches-unsupported",
            Self::ModeUnsupported => "gpu-mode-unsupported",
            Self::ConfidentialOff => "gpu-confidential-off",
            Self::NotProduction => "gpu-not-production",
            Self::DeveloperTools => "gpu-developer-tools",
            Self::Architecture => "gpu-architecture",
            Self::Uuid => "gpu-uuid",
            Self::Report => "gpu-report",
            Self::Chain => "gpu-chain",
            Self::Lost => "gpu-lost",
            Self::TooLong => "gpu-too-long",
            Self::Driver => "gpu-driver",
        }
    }

    /// The number that stands for it on the socket.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::OutOfStep => 2,
            Self::NoLibrary => 3,
            Self::NoDriver => 4,
            Self::NoPermission => 5,
            Self::Count => 6,
            Self::SwitchesUnsupported => 7,
            Self::ModeUnsupported => 8,
            Self::ConfidentialOff => 9,
            Self::NotProduction => 10,
            Self::DeveloperTools => 11,
            Self::Architecture => 12,
            Self::Uuid => 13,
            Self::Report => 14,
            Self::Chain => 15,
            Self::Lost => 16,
            Self::TooLong => 17,
            Self::Driver => 18,
        }
    }

    /// Reads the number of [`GpuRefusal::wire`].
    ///
    /// # Errors
    /// `OutOfRange` for any other number.
    pub fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        let mut all = Self::ALL.into_iter();
        all.find(|refusal| refusal.wire() == byte)
            .ok_or(DecodeError::OutOfRange {
                field: "gpu refusal",
            })
    }
}

/// What gpu-evidence answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpuAnswer {
    /// What the devices say.
    Collected {
        /// The driver's name of each GPU, in the order of the evidence.
        uuids: Vec<GpuUuid>,
        /// One entry per device: GPUs, then switches.
        evidence: Box<GpuEvidence>,
    },
    /// The GPUs take work.
    Accepted,
    /// What has happened.
    Watched {
        /// Whether the GPUs still take work; a reset ends that.
        ready: bool,
        /// Critical errors (Xid) since the last answer.
        faults: u16,
    },
    /// The request was refused.
    Refused(GpuRefusal),
}

impl GpuAnswer {
    /// The encoded answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Collected { uuids, evidence } => {
                out.u8(1).count(uuids.len());
                for uuid in uuids {
                    out.blob(uuid.0.as_bytes());
                }
                out.blob(&evidence.encode());
            }
            Self::Accepted => {
                out.u8(2);
            }
            Self::Watched { ready, faults } => {
                out.u8(3).u8(u8::from(*ready)).u16(*faults);
            }
            Self::Refused(refusal) => {
                out.u8(255).u8(refusal.wire());
            }
        }
        out.finish()
    }

    /// Decodes exactly one answer.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let answer = match from.u8()? {
            1 => {
                let count = from.count("gpu uuids", MAX_DEVICES)?;
                let uuids = (0..count)
                    .map(|_| GpuUuid::new(from.blob("gpu uuid", MAX_UUID_BYTES)?))
                    .collect::<Result<_, _>>()?;
                let evidence = from.blob("gpu evidence", MAX_GPU_EVIDENCE_BYTES)?;
                Self::Collected {
                    uuids,
                    evidence: Box::new(GpuEvidence::decode(evidence)?),
                }
            }
            2 => Self::Accepted,
            3 => Self::Watched {
                ready: match from.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(DecodeError::OutOfRange { field: "ready" }),
                },
                faults: from.u16()?,
            },
            255 => Self::Refused(GpuRefusal::from_wire(from.u8()?)?),
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "gpu answer",
                });
            }
        };
        from.finish()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::gpu_evidence::{DeviceEvidence, DeviceKind};
    use std::vec;

    fn collect(gpus: u8, switches: u8, nonces: usize) -> GpuRequest {
        GpuRequest::Collect {
            round: 7,
            count: DeviceCount { gpus, switches },
            nonces: vec![GpuNonce([3; 32]); nonces],
        }
    }

    fn collected() -> GpuAnswer {
        let device = DeviceEvidence {
            kind: DeviceKind::Hopper,
            report: vec![1, 2],
            chain: vec![vec![3]],
        };
        GpuAnswer::Collected {
            uuids: vec![GpuUuid::new(b"GPU-1a").unwrap()],
            evidence: Box::new(GpuEvidence {
                round: 7,
                devices: vec![device],
            }),
        }
    }

    #[test]
    fn requests_round_trip_and_no_prefix_is_taken() {
        for request in [collect(2, 1, 3), GpuRequest::Accept, GpuRequest::Watch] {
            let bytes = request.encode();
            assert_eq!(GpuRequest::decode(&bytes), Ok(request));
            for end in 0..bytes.len() {
                assert!(GpuRequest::decode(&bytes[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn answers_round_trip_and_no_prefix_is_taken() {
        let watched = |ready, faults| GpuAnswer::Watched { ready, faults };
        let refused = GpuRefusal::ALL.map(GpuAnswer::Refused);
        let others = [
            collected(),
            GpuAnswer::Accepted,
            watched(true, 0),
            watched(false, 65_535),
        ];
        for answer in others.into_iter().chain(refused) {
            let bytes = answer.encode();
            assert_eq!(GpuAnswer::decode(&bytes), Ok(answer));
            for end in 0..bytes.len() {
                assert!(GpuAnswer::decode(&bytes[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn a_request_is_about_one_gpu_at_least_and_has_one_nonce_for_each_device() {
        for request in [
            collect(0, 1, 1),
            collect(33, 0, 33),
            collect(255, 255, 510),
            collect(2, 0, 1),
            collect(2, 0, 3),
        ] {
            assert!(
                GpuRequest::decode(&request.encode()).is_err(),
                "{request:?}"
            );
        }
    }

    #[test]
    fn a_name_that_is_empty_long_or_of_other_signs_is_refused() {
        for name in [
            &b""[..],
            &[b'a'; MAX_UUID_BYTES + 1],
            b"GPU 1",
            b"GPU-\xc3\xa4",
        ] {
            assert!(GpuUuid::new(name).is_err(), "{name:?}");
        }
        assert!(GpuUuid::new(&[b'a'; MAX_UUID_BYTES]).is_ok());
    }

    #[test]
    fn no_code_or_number_of_a_refusal_is_there_twice() {
        for (at, one) in GpuRefusal::ALL.iter().enumerate() {
            for other in &GpuRefusal::ALL[at + 1..] {
                assert_ne!(one.code(), other.code());
                assert_ne!(one.wire(), other.wire());
            }
        }
        assert!(GpuRefusal::from_wire(0).is_err());
    }

    #[test]
    fn the_largest_request_and_answer_fit_into_their_frames() {
        let names = MAX_DEVICES * (4 + MAX_UUID_BYTES);
        assert!(1 + 1 + names + 4 + MAX_GPU_EVIDENCE_BYTES <= MAX_FRAME);
        assert_eq!(collect(32, 0, 32).encode().len(), MAX_REQUEST);
    }
}
