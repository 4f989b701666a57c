//! Trust anchors: the pinned digests of vendors' root certificates.
//!
//! `PRODUCTION` is a constant. Anchors made by any other means are of the research profile: with
//! them only reference values of research images are accepted, and only certificates that carry
//! the research marker. So no program can add a root to the production set.

use crypto_bigint::U256;
use der::asn1::ObjectIdentifier;
use protocol::reference_values::Profile;
use sha2::{Digest as _, Sha256};

use crate::snp::Product;

/// Marks every certificate of a simulated TEE, as a critical extension. Enterprise number 32473 is
/// the one that RFC 5612 reserves for documentation, so the marker belongs to nobody.
pub const RESEARCH_MARKER: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.7357.1");

protocol::byte_strings! {
    /// SHA-256 of a certificate's DER.
    CertificateDigest(32);
}

impl CertificateDigest {
    /// The digest of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

/// Roots of one vendor's product lines, AMD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmdRoots {
    /// ARK of Milan.
    pub milan: CertificateDigest,
    /// ARK of Genoa, Bergamo and Siena.
    pub genoa: CertificateDigest,
    /// ARK of Turin.
    pub turin: CertificateDigest,
}

/// Roots of NVIDIA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NvidiaRoots {
    /// Of devices' identities.
    pub device: CertificateDigest,
    /// Of those who sign reference manifests.
    pub rim: CertificateDigest,
}

/// The roots that a verifier believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchors {
    profile: Profile,
    amd: AmdRoots,
    pub(crate) intel: CertificateDigest,
    pub(crate) nvidia: NvidiaRoots,
}

impl TrustAnchors {
    /// The vendors' production roots.
    ///
    /// AMD: the ARKs that AMD's key distribution service hands out. Intel: the SGX/TDX
    /// provisioning root. NVIDIA: device identity and manifest signing. `verifier/README.md` says
    /// how to check each digest.
    pub const PRODUCTION: Self = Self {
        profile: Profile::Release,
        amd: AmdRoots {
            milan: root("69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"),
            genoa: root("4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"),
            turin: root("1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"),
        },
        intel: root("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"),
        nvidia: NvidiaRoots {
            device: root("102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"),
            rim: root("12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1"),
        },
    };

    /// Anchors of a simulated TEE. They never make a verdict of the release profile.
    #[must_use]
    pub const fn research(amd: AmdRoots, intel: CertificateDigest, nvidia: NvidiaRoots) -> Self {
        Self {
            profile: Profile::Research,
            amd,
            intel,
            nvidia,
        }
    }

    /// Which profile of images these anchors are for.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    pub(crate) const fn amd_root(&self, product: Product) -> CertificateDigest {
        match product {
            Product::Milan => self.amd.milan,
            Product::Genoa => self.amd.genoa,
            Product::Turin => self.amd.turin,
        }
    }
}

/// Reads 64 hex digits at compile time; anything else does not compile.
#[allow(clippy::panic, reason = "evaluated at compile time only")]
const fn root(digits: &str) -> CertificateDigest {
    let number = U256::from_be_hex(digits).to_be_bytes();
    match number.as_slice().first_chunk() {
        Some(digest) => CertificateDigest(*digest),
        None => panic!("256 bits are 32 bytes"),
    }
}
