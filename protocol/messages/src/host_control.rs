//! The control port between guest and host (`docs/spec/host-control.md`): endorsements in; events,
//! phase codes and voucher questions out. Neither side trusts the other.
//!
//! The guest dials vsock port [`CONTROL_PORT`] of the host, once from init and once for serve;
//! frames as in [`crate::framing`], at most [`MAX_FRAME`] bytes. Nothing here carries content.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::boot::{BootFailure, BootPhase};
use protocol::codec::{DecodeError, Reader, Writer};
use protocol::endorsements::{self, Endorsements};
use protocol::voucher::SignedVoucher;

/// vsock port of the host's control service.
pub const CONTROL_PORT: u32 = 7001;
/// vsock port on which the guest takes TLS connections.
pub const TLS_PORT: u32 = 443;
/// Largest frame on this port.
pub const MAX_FRAME: usize = endorsements::MAX_BYTES + 4096;
/// Descriptor under which serve inherits its control connection.
pub const SERVE_FD: i32 = 5;

/// A counter that serve reports, in integers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeEvent {
    /// A connection was accepted; the value is how many are open.
    ConnectionOpened,
    /// A connection ended; the value is how many are open.
    ConnectionClosed,
    /// A challenge was answered; the value is how many shared its report.
    ChallengeAnswered,
    /// A request was refused; the value is its HTTP status.
    RequestRefused,
    /// A request was finished; the value is 1.
    RequestFinished,
    /// The engine ended; the value is 1.
    EngineLost,
}

impl ServeEvent {
    const fn wire(self) -> u8 {
        match self {
            Self::ConnectionOpened => 1,
            Self::ConnectionClosed => 2,
            Self::ChallengeAnswered => 3,
            Self::RequestRefused => 4,
            Self::RequestFinished => 5,
            Self::EngineLost => 6,
        }
    }

    const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::ConnectionOpened),
            2 => Ok(Self::ConnectionClosed),
            3 => Ok(Self::ChallengeAnswered),
            4 => Ok(Self::RequestRefused),
            5 => Ok(Self::RequestFinished),
            6 => Ok(Self::EngineLost),
            _ => Err(DecodeError::OutOfRange {
                field: "serve event",
            }),
        }
    }

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionOpened => "connection-opened",
            Self::ConnectionClosed => "connection-closed",
            Self::ChallengeAnswered => "challenge-answered",
            Self::RequestRefused => "request-refused",
            Self::RequestFinished => "request-finished",
            Self::EngineLost => "engine-lost",
        }
    }
}

/// What the guest sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestMessage {
    /// A phase was passed, so many milliseconds after init started.
    PhasePassed(BootPhase, u32),
    /// A phase failed; the machine powers off.
    PhaseFailed(BootPhase, BootFailure),
    /// A counter of serve.
    Event(ServeEvent, u32),
    /// serve wants endorsements; answered with [`HostMessage::Endorsements`].
    EndorsementsWanted,
    /// A voucher that a client signed; answered with [`HostMessage::VoucherAnswer`].
    VoucherQuestion {
        /// Chosen by serve; the answer repeats it.
        question: u32,
        /// Checked by serve: the signature holds under the payer key that it carries.
        voucher: Box<SignedVoucher>,
    },
}

impl GuestMessage {
    /// The encoded message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::PhasePassed(phase, milliseconds) => {
                out.u8(1).u8(phase.wire()).u32(*milliseconds);
            }
            Self::PhaseFailed(phase, failure) => {
                out.u8(2).u8(phase.wire()).u8(failure.wire());
            }
            Self::Event(event, value) => {
                out.u8(3).u8(event.wire()).u32(*value);
            }
            Self::EndorsementsWanted => {
                out.u8(4);
            }
            Self::VoucherQuestion { question, voucher } => {
                out.u8(5).u32(*question).raw(&voucher.encode());
            }
        }
        out.finish()
    }

    /// Decodes exactly one message.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let message = match from.u8()? {
            1 => Self::PhasePassed(BootPhase::from_wire(from.u8()?)?, from.u32()?),
            2 => Self::PhaseFailed(
                BootPhase::from_wire(from.u8()?)?,
                BootFailure::from_wire(from.u8()?)?,
            ),
            3 => Self::Event(ServeEvent::from_wire(from.u8()?)?, from.u32()?),
            4 => Self::EndorsementsWanted,
            5 => Self::VoucherQuestion {
                question: from.u32()?,
                voucher: Box::new(SignedVoucher::read(&mut from)?),
            },
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "guest message",
                });
            }
        };
        from.finish()?;
        Ok(message)
    }
}

/// Why the host will not be paid on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The chain knows no such channel, or it pays someone else.
    UnknownChannel,
    /// The payer key or the epoch is not the channel's.
    ForeignVoucher,
    /// The total exceeds the deposit.
    DepositExceeded,
    /// The channel is closing.
    Closing,
    /// The voucher expires too soon to be claimed.
    ExpiresTooSoon,
    /// A higher voucher of this channel is known already.
    Outdated,
    /// Another guest of this host has the channel.
    Leased,
    /// The host cannot read the chain.
    ChainUnreadable,
}

impl StopReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::UnknownChannel,
        Self::ForeignVoucher,
        Self::DepositExceeded,
        Self::Closing,
        Self::ExpiresTooSoon,
        Self::Outdated,
        Self::Leased,
        Self::ChainUnreadable,
    ];

    /// The number that stands for it on the control port.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::UnknownChannel => 1,
            Self::ForeignVoucher => 2,
            Self::DepositExceeded => 3,
            Self::Closing => 4,
            Self::ExpiresTooSoon => 5,
            Self::Outdated => 6,
            Self::Leased => 7,
            Self::ChainUnreadable => 8,
        }
    }

    fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.wire() == byte)
            .ok_or(DecodeError::OutOfRange {
                field: "stop reason",
            })
    }

    /// The stable code, shown to the client.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownChannel => "payment-unknown-channel",
            Self::ForeignVoucher => "payment-foreign-voucher",
            Self::DepositExceeded => "payment-deposit-exceeded",
            Self::Closing => "payment-channel-closing",
            Self::ExpiresTooSoon => "payment-expires-too-soon",
            Self::Outdated => "payment-outdated",
            Self::Leased => "payment-channel-leased",
            Self::ChainUnreadable => "payment-chain-unreadable",
        }
    }
}

/// What the host answers to a voucher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoucherDecision {
    /// Go on; the voucher is stored.
    Continue,
    /// Serve nothing on this channel. With `Outdated` comes the highest voucher that is known,
    /// so that the client can resume from its own signature.
    Stop(StopReason, Option<Box<SignedVoucher>>),
}

/// What the host sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMessage {
    /// Endorsements to staple.
    Endorsements(Endorsements),
    /// The answer to [`GuestMessage::VoucherQuestion`].
    VoucherAnswer {
        /// The question's number.
        question: u32,
        /// The host's decision.
        decision: VoucherDecision,
    },
}

impl HostMessage {
    /// The encoded message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Endorsements(items) => {
                out.u8(1).blob(&items.encode());
            }
            Self::VoucherAnswer { question, decision } => {
                out.u8(2).u32(*question);
                match decision {
                    VoucherDecision::Continue => {
                        out.u8(0);
                    }
                    VoucherDecision::Stop(reason, highest) => {
                        out.u8(reason.wire()).count(usize::from(highest.is_some()));
                        if let Some(voucher) = highest {
                            out.raw(&voucher.encode());
                        }
                    }
                }
            }
        }
        out.finish()
    }

    /// Decodes exactly one message.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let message = match from.u8()? {
            1 => Self::Endorsements(Endorsements::decode(from.blob("endorsements", MAX_FRAME)?)?),
            2 => {
                let question = from.u32()?;
                let decision = match from.u8()? {
                    0 => VoucherDecision::Continue,
                    reason => {
                        let reason = StopReason::from_wire(reason)?;
                        let highest = match from.count("highest voucher", 1)? {
                            0 => None,
                            _ => Some(Box::new(SignedVoucher::read(&mut from)?)),
                        };
                        VoucherDecision::Stop(reason, highest)
                    }
                };
                Self::VoucherAnswer { question, decision }
            }
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "host message",
                });
            }
        };
        from.finish()?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use protocol::digest::{AccountId, ReceiptsRoot};
    use protocol::nano::Nano;
    use protocol::ton::{NetworkId, TonAddress};
    use protocol::voucher::Voucher;

    fn signed() -> SignedVoucher {
        let voucher = Voucher {
            network: NetworkId(-7357),
            channel: TonAddress {
                workchain: 0,
                account: AccountId([0x5a; 32]),
            },
            epoch: 1,
            cumulative: Nano::from_u64(1_280),
            receipts_root: ReceiptsRoot([7; 32]),
            valid_until: 1_800_000_000,
        };
        voucher.sign(&SigningKey::from_bytes(&[42; 32]))
    }

    #[test]
    fn guest_messages_round_trip_and_no_prefix_is_taken() {
        let messages = [
            GuestMessage::PhasePassed(BootPhase::Root, 1234),
            GuestMessage::PhaseFailed(BootPhase::Models, BootFailure::VerityCorrupt),
            GuestMessage::Event(ServeEvent::RequestRefused, 402),
            GuestMessage::EndorsementsWanted,
            GuestMessage::VoucherQuestion {
                question: 7,
                voucher: Box::new(signed()),
            },
        ];
        for message in messages {
            let bytes = message.encode();
            assert_eq!(GuestMessage::decode(&bytes), Ok(message));
            for end in 0..bytes.len() {
                assert!(GuestMessage::decode(&bytes[..end]).is_err());
            }
        }
    }

    #[test]
    fn host_messages_round_trip_and_no_prefix_is_taken() {
        let stop = |highest| HostMessage::VoucherAnswer {
            question: 1,
            decision: VoucherDecision::Stop(StopReason::Outdated, highest),
        };
        let messages = [
            HostMessage::Endorsements(Endorsements::default()),
            HostMessage::VoucherAnswer {
                question: 0,
                decision: VoucherDecision::Continue,
            },
            stop(None),
            stop(Some(Box::new(signed()))),
        ];
        for message in messages {
            let bytes = message.encode();
            assert_eq!(HostMessage::decode(&bytes), Ok(message));
            for end in 0..bytes.len() {
                assert!(HostMessage::decode(&bytes[..end]).is_err());
            }
        }
    }
}
