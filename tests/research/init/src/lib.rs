//! What the research image's init has beyond the release one: simulated reports over vsock, the
//! probe under both confinements, and progress on the kernel log.
//!
//! A separate crate, so that nothing of it can be in a release program.
#![forbid(unsafe_code)]

mod mock_tee;
mod rehearsal;
mod variant;

pub use mock_tee::{MOCK_TEE_PORT, MockTee};
pub use rehearsal::{RehearsalError, rehearse, rehearse_seeing};
pub use variant::research;
