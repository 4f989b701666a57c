//! One transaction of an account, parsed from its bag of cells: what came in, what went out, what
//! the contract answered and what it cost.
//!
//! Not here: whether the transaction really happened, which only a proof can tell.

use protocol::nano::{AmountOverflow, Nano};
use protocol::ton::TonAddress;
use tycho_types::models::{ComputePhase, Message, MsgInfo, Transaction as Raw, TxInfo};

use crate::cells::{self, CellError};

/// Outgoing messages of one transaction at most, as the chain itself limits them.
const MAX_SENT: usize = 255;

/// What brought a transaction about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A message from outside the chain, as wallets get them.
    External,
    /// A message from another account.
    Internal {
        /// The sender; `None` for an address form that this project does not use.
        from: Option<TonAddress>,
        /// Coins that came along.
        value: Nano,
        /// Whether it is the return of a message that failed.
        bounced: bool,
    },
    /// No message (a tick or tock of a system contract).
    Nothing,
}

/// A message that the account sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The receiver; `None` for one outside the chain.
    pub to: Option<TonAddress>,
    /// Coins sent along.
    pub value: Nano,
    /// The part of the forwarding fee that travels with the message.
    pub forward_fee: Nano,
    /// Whether it returns the value of a message that failed.
    pub bounced: bool,
}

/// How the contract's code ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The code did not run: no state, or too little value for gas.
    Skipped,
    /// The code ran.
    Ran {
        /// 0 or 1: success; anything else refused and changed nothing.
        exit_code: i32,
        /// Gas used.
        gas: u64,
        /// Whether all messages that the code wanted to send were sent.
        acted: bool,
    },
}

/// One transaction of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Logical time: orders the transactions of one account.
    pub lt: u64,
    /// Hash of the transaction's cell.
    pub hash: [u8; 32],
    /// Unix time.
    pub at: u32,
    /// What brought it about.
    pub received: Received,
    /// Messages sent.
    pub sent: Vec<Sent>,
    /// How the code ended.
    pub outcome: Outcome,
    /// Fees of storage, gas and actions that the account paid. Forwarding fees beside them travel
    /// with the messages, [`Sent::forward_fee`].
    pub fees: Nano,
}

impl Transaction {
    /// Parses a transaction's bag of cells.
    ///
    /// # Errors
    /// `Malformed` for any other layout.
    pub fn parse(bag: &[u8]) -> Result<Self, CellError> {
        let root = cells::decode(bag)?;
        let raw = root.parse::<Raw>().map_err(CellError::parsing)?;
        let received = match raw.load_in_msg().map_err(CellError::parsing)? {
            Some(message) => received(&message)?,
            None => Received::Nothing,
        };
        let mut sent_messages = Vec::new();
        for message in raw.iter_out_msgs().take(MAX_SENT) {
            sent_messages.push(sent(&message.map_err(CellError::parsing)?)?);
        }
        Ok(Self {
            lt: raw.lt,
            hash: root.repr_hash().0,
            at: raw.now,
            received,
            sent: sent_messages,
            outcome: outcome(&raw.load_info().map_err(CellError::parsing)?),
            fees: cells::nano(raw.total_fees.tokens)?,
        })
    }

    /// Whether the contract did what it was asked.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Ran {
                exit_code: 0 | 1,
                acted: true,
                ..
            }
        )
    }

    /// The contract's exit code, when its code ran.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Skipped => None,
            Outcome::Ran { exit_code, .. } => Some(exit_code),
        }
    }

    /// Coins that came in with the message.
    #[must_use]
    pub const fn inflow(&self) -> Nano {
        match self.received {
            Received::Internal { value, .. } => value,
            Received::External | Received::Nothing => Nano::ZERO,
        }
    }

    /// All fees: the account's own and the forwarding fees of its messages. Balance before + inflow
    /// = balance after + values sent + these.
    ///
    /// # Errors
    /// `AmountOverflow`, for no real transaction.
    pub fn all_fees(&self) -> Result<Nano, AmountOverflow> {
        self.sent
            .iter()
            .try_fold(self.fees, |sum, message| sum.plus(message.forward_fee))
    }

    /// Values of the messages sent.
    ///
    /// # Errors
    /// `AmountOverflow`, for no real transaction.
    pub fn values_sent(&self) -> Result<Nano, AmountOverflow> {
        self.sent
            .iter()
            .try_fold(Nano::ZERO, |sum, message| sum.plus(message.value))
    }
}

fn received(message: &Message<'_>) -> Result<Received, CellError> {
    match &message.info {
        MsgInfo::Int(info) => Ok(Received::Internal {
            from: cells::of_internal(&info.src),
            value: cells::nano(info.value.tokens)?,
            bounced: info.bounced,
        }),
        MsgInfo::ExtIn(_) => Ok(Received::External),
        MsgInfo::ExtOut(_) => Err(CellError::Malformed),
    }
}

fn sent(message: &Message<'_>) -> Result<Sent, CellError> {
    match &message.info {
        MsgInfo::Int(info) => Ok(Sent {
            to: cells::of_internal(&info.dst),
            value: cells::nano(info.value.tokens)?,
            forward_fee: cells::nano(info.fwd_fee)?,
            bounced: info.bounced,
        }),
        MsgInfo::ExtOut(_) => Ok(Sent {
            to: None,
            value: Nano::ZERO,
            forward_fee: Nano::ZERO,
            bounced: false,
        }),
        MsgInfo::ExtIn(_) => Err(CellError::Malformed),
    }
}

fn outcome(info: &TxInfo) -> Outcome {
    let (compute, acted) = match info {
        TxInfo::Ordinary(info) => (
            &info.compute_phase,
            info.action_phase
                .as_ref()
                .is_some_and(|phase| phase.success),
        ),
        TxInfo::TickTock(info) => (
            &info.compute_phase,
            info.action_phase
                .as_ref()
                .is_some_and(|phase| phase.success),
        ),
    };
    match compute {
        ComputePhase::Skipped(_) => Outcome::Skipped,
        ComputePhase::Executed(phase) => Outcome::Ran {
            exit_code: phase.exit_code,
            gas: phase.gas_used.into_inner(),
            acted,
        },
    }
}
