//! Money as the client decides about it: what may be promised, which receipt is taken.
//!
//! Everything here is pure: keys, files and sockets are `wallet`'s and `chat`'s.

mod account;
mod receipts;

pub use account::{
    Account, PaymentRefusal, Promise, StreamAccount, StreamId, StreamTerms, prompt_bound,
};
pub use receipts::{
    Expected, Member, ReceiptChain, ReceiptRefusal, RequestedSampling, VerifiedReceipt, verify,
};
