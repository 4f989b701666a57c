//! What research programs pass to the libraries instead of production's constants: the simulated
//! TEE's roots, another ALPN, another network id.
//!
//! Public certificates only; their keys are derived from a public text in `tests/mock-tee`, so
//! they endorse nothing. No release program may depend on this crate, which `tests/layering`
//! checks, and none holds its bytes, which `tests/e2e` checks.
#![forbid(unsafe_code)]

use protocol::ton::NetworkId;
use verifier::{AmdRoots, CertificateDigest, NvidiaRoots, TrustAnchors};

/// ALPN protocol of research deployments. A release client offers another, so that neither side
/// ever completes a handshake with the other's kind.
pub const RESEARCH_ALPN: &[u8] = b"cocoon-research/1";

/// The network id of local test chains; no voucher for it is worth anything elsewhere.
pub const RESEARCH_NETWORK: NetworkId = NetworkId(-7357);

/// Root certificates of the simulated TEE, DER.
const MILAN: &[u8] = include_bytes!("../amd-milan.der");
const GENOA: &[u8] = include_bytes!("../amd-genoa.der");
const TURIN: &[u8] = include_bytes!("../amd-turin.der");
const INTEL: &[u8] = include_bytes!("../intel.der");
const NVIDIA_DEVICE: &[u8] = include_bytes!("../nvidia-device.der");
const NVIDIA_RIM: &[u8] = include_bytes!("../nvidia-rim.der");

/// Anchors that accept the simulated TEE, and nothing but reference values of research images.
#[must_use]
pub fn research_anchors() -> TrustAnchors {
    let amd = AmdRoots {
        milan: CertificateDigest::of(MILAN),
        genoa: CertificateDigest::of(GENOA),
        turin: CertificateDigest::of(TURIN),
    };
    let nvidia = NvidiaRoots {
        device: CertificateDigest::of(NVIDIA_DEVICE),
        rim: CertificateDigest::of(NVIDIA_RIM),
    };
    TrustAnchors::research(amd, CertificateDigest::of(INTEL), nvidia)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mock_tee::snp::{Product, root_certificate};

    #[test]
    fn the_committed_certificates_are_those_that_the_public_seed_gives() {
        for (product, committed) in [
            (Product::Milan, MILAN),
            (Product::Genoa, GENOA),
            (Product::Turin, TURIN),
        ] {
            assert_eq!(root_certificate(product).unwrap(), committed, "{product:?}");
        }
        assert_eq!(mock_tee::tdx::root_certificate().unwrap(), INTEL);
        let device = mock_tee::nvidia::device_root_certificate();
        assert_eq!(device.unwrap(), NVIDIA_DEVICE);
        let manifest = mock_tee::nvidia::manifest_root_certificate();
        assert_eq!(manifest.unwrap(), NVIDIA_RIM);
    }

    #[test]
    fn research_and_production_share_no_root() {
        assert_ne!(research_anchors(), TrustAnchors::PRODUCTION);
        let production = format!("{:?}", TrustAnchors::PRODUCTION);
        for root in [MILAN, GENOA, TURIN, INTEL, NVIDIA_DEVICE, NVIDIA_RIM] {
            let digest = format!("{:?}", CertificateDigest::of(root));
            assert!(!production.contains(&digest));
        }
    }
}
