//! What differs between programs built on this library, and what they take from outside.

use core::fmt;
use std::path::PathBuf;

use protocol::reference_values::Profile;
use protocol::ton::NetworkId;
use verifier::{AppraisalPolicy, TrustAnchors, UnixTime};
use zeroize::Zeroizing;

/// The constants of one program.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its name, in all that it prints and in the name of its state directory.
    pub program: &'static str,
    /// ALPN protocol that both ends must speak.
    pub alpn: &'static [u8],
    /// The TON network on which it pays.
    pub network: NetworkId,
    /// The roots that it believes.
    pub anchors: TrustAnchors,
    /// The policy when no other is given.
    pub policy: AppraisalPolicy,
}

impl Deployment {
    /// The profile of reference values that it takes: that of its anchors.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.anchors.profile()
    }
}

/// The kernel gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gave no randomness")]
pub struct NoRandomness;

/// What a program reads from the world around it.
pub trait Surroundings: Send + Sync {
    /// The clock by which certificates, evidence and deadlines are judged.
    fn now(&self) -> UnixTime;

    /// 32 bytes of the kernel's randomness, wiped after use.
    ///
    /// # Errors
    /// [`NoRandomness`].
    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness>;

    /// The user's home directory, where the state lies when nothing else is said.
    fn home(&self) -> Option<PathBuf>;
}

impl fmt::Debug for dyn Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}
