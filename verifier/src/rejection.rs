//! Why evidence was refused: one variant, one stable code and one line in
//! `docs/spec/rejections.md` for each reason.
//!
//! A rejection carries no bytes of the evidence, so it may be logged. Malformed outer bytes are
//! `protocol::codec::DecodeError`'s, before anything comes here.

use serde::Serialize;
use thiserror::Error;

/// Declares the enum, its codes and its texts in one place, so that none can be forgotten.
macro_rules! rejections {
    ($($(#[$doc:meta])* $name:ident = $code:literal: $text:literal;)*) => {
        /// Why evidence was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Error, Serialize)]
        pub enum Rejection {
            $(#[doc = $text] $(#[$doc])* #[error($text)] #[serde(rename = $code)] $name,)*
        }

        impl Rejection {
            /// Every rejection, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Those from this one to `last`, both included: what is announced together is a
            /// stretch of the table, whose order is the specification's.
            pub(crate) const fn through(self, last: Self) -> &'static [Self] {
                let behind = (last as usize).saturating_add(1);
                Self::ALL.split_at(behind).0.split_at(self as usize).1
            }

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

rejections! {
    // What is asked for.
    ReferencesNotPinned = "reference-values-not-pinned": "the reference values are the bundle's";
    ClassNotAccepted = "class-not-accepted": "the policy does not take this class of evidence";
    ProfileMismatch = "profile-mismatch": "reference values and trust anchors are of two profiles";
    HostTimeImplausible = "host-time-implausible": "the host's clock is too far from the client's";

    // Certificates of either vendor.
    EndorsementMissing = "endorsement-missing": "a certificate or collateral was not stapled";
    CertificateMalformed = "certificate-malformed": "a certificate is not of the specified form";
    CertificateAlgorithm = "certificate-algorithm": "a certificate has another algorithm or key";
    CertificateRoot = "certificate-root": "the root certificate is not a pinned one";
    CertificateIssuer = "certificate-issuer": "a certificate does not name its issuer";
    CertificateNotAuthority = "certificate-not-authority": "an issuer is no authority";
    CertificateCritical = "certificate-critical": "a critical extension is unknown";
    CertificateSignature = "certificate-signature": "a certificate's signature does not verify";
    CertificateNotYetValid = "certificate-not-yet-valid": "a certificate is not valid yet";
    CertificateExpired = "certificate-expired": "a certificate is not valid any more";
    ResearchCertificate = "research-certificate": "a certificate is marked as research only";
    ResearchMarkerMissing = "research-marker-missing": "a certificate lacks the research marker";
    CrlMissing = "crl-missing": "no revocation list was stapled";
    CrlMalformed = "crl-malformed": "a revocation list is not of the specified form";
    CrlIssuer = "crl-issuer": "a revocation list is another issuer's";
    CrlSignature = "crl-signature": "a revocation list's signature does not verify";
    CrlNotYetValid = "crl-not-yet-valid": "a revocation list is not valid yet";
    CrlExpired = "crl-expired": "a revocation list is out of date";
    CertificateRevoked = "certificate-revoked": "a certificate is revoked";
    CollateralMalformed = "collateral-malformed": "the collateral is not of the specified form";
    CollateralNotYetValid = "collateral-not-yet-valid": "the collateral is not valid yet";
    CollateralExpired = "collateral-expired": "the collateral is out of date";
    CollateralTooOld = "collateral-too-old": "the collateral is older than the policy wants";

    // The SEV-SNP report: form and signature.
    SnpReportLength = "snp-report-length": "the report is not 1184 bytes long";
    SnpReportVersion = "snp-report-version": "the report's version is not accepted";
    SnpSignatureAlgorithm = "snp-signature-algorithm": "the report is not signed by ECDSA P-384";
    SnpReportReserved = "snp-report-reserved": "a reserved field of the report is not zero";
    SnpSigningKey = "snp-signing-key": "the report is signed by no key, or by one of no known kind";
    SnpVlek = "snp-vlek": "the report is signed by a key that many chips share (VLEK)";
    SnpChipKeyMasked = "snp-chip-key-masked": "the chip's identity is masked";
    SnpProductUnknown = "snp-product-unknown": "the report names a processor without a root";
    SnpProductMismatch = "snp-product-mismatch": "report, VCEK and root name different products";
    SnpChipMismatch = "snp-chip-mismatch": "the VCEK is another chip's";
    SnpVcekExtension = "snp-vcek-extension": "an extension of the VCEK or VLEK is bad or missing";
    SnpTcbMismatch = "snp-tcb-mismatch": "the VCEK is for another firmware level than the report's";
    SnpSignatureInvalid = "snp-signature-invalid": "the report's signature does not verify";

    // The SEV-SNP report: what it says.
    SnpMilan = "snp-milan": "Milan's root seed can be extracted; the policy does not tolerate it";
    SnpDebug = "snp-debug": "the guest policy allows the host to debug the guest";
    SnpMigratable = "snp-migratable": "the guest policy allows a migration agent";
    SnpGuestPolicy = "snp-guest-policy": "the guest policy has an unknown or missing bit";
    SnpAbi = "snp-abi": "the guest policy allows an older firmware interface than wanted";
    SnpSeveralSockets = "snp-several-sockets": "the guest may run on several sockets at once";
    SnpCxl = "snp-cxl": "the guest policy allows memory behind a CXL link";
    SnpPageSwap = "snp-page-swap": "the guest policy lets the host move and swap guest pages";
    SnpVmpl = "snp-vmpl": "the report was not requested at VMPL 0";
    SnpIdBlock = "snp-id-block": "the guest was launched with an identity block of somebody else";
    SnpMigrationAgent = "snp-migration-agent": "a migration agent is associated with the guest";
    SnpTcbOrder = "snp-tcb-order": "the report's firmware levels contradict each other";
    SnpTcbUnlisted = "snp-tcb-unlisted": "the policy lists no minimum for this processor";
    SnpTcbBelowMinimum = "snp-tcb-below-minimum": "a firmware level is below the policy's minimum";
    SnpMitigation = "snp-mitigation": "a mitigation that the policy wants is not on";
    SnpAliasCheck = "snp-alias-check": "memory was not checked for aliases since the last reset";
    SnpSmt = "snp-smt": "simultaneous multithreading is on and not tolerated";
    SnpTsmeOff = "snp-tsme-off": "memory outside of guests is not encrypted";
    SnpEccOff = "snp-ecc-off": "memory does not correct its errors, or the firmware does not say";
    SnpCiphertextVisible = "snp-ciphertext-visible": "ciphertext is readable by the host";
    SnpRaplReadable = "snp-rapl-readable": "the host can read the processor's energy counters";

    // The TDX quote.
    TdxQuoteVersion = "tdx-quote-version": "the quote is not a TDX quote of version 4 or 5";
    TdxQuoteMalformed = "tdx-quote-malformed": "the quote is not of the specified form";
    TdxVerification = "tdx-verification": "quote and collateral do not verify";
    TdxDebug = "tdx-debug": "the host may debug or profile the guest";
    TdxMigratable = "tdx-migratable": "the guest may be migrated";
    TdxAttributes = "tdx-attributes": "the guest's attributes are not exactly the expected ones";
    TdxXfam = "tdx-xfam": "the guest's extended features are not on the policy's list";
    TdxModule = "tdx-module": "the TDX module is not Intel's, or not on the policy's list";
    TdxTcbOrder = "tdx-tcb-order": "the TDX module is older now than at launch";
    TdxServiceTd = "tdx-service-td": "a service TD is bound to the guest";
    TdxOwner = "tdx-owner": "MROWNER or MROWNERCONFIG is set";
    TdxRtmr3 = "tdx-rtmr3": "RTMR3 is not zero";
    TdxEvaluationNumber = "tdx-evaluation-number": "Intel's evaluation of the platform is too old";
    TdxTcbStatus = "tdx-tcb-status": "the platform's TCB status is not accepted";
    TdxGrace = "tdx-grace": "updates are missing for longer than the policy's hours of grace";
    TdxAdvisory = "tdx-advisory": "an advisory applies that the policy does not list";
    TdxDynamicPlatform = "tdx-dynamic-platform": "packages can be added to the platform";
    TdxCachedKeys = "tdx-cached-keys": "Intel keeps the platform's root keys";
    TdxSmt = "tdx-smt": "simultaneous multithreading is on and not tolerated";

    // Either vendor.
    ChipNotCertified = "chip-not-certified": "no certificate names the chip that a list must know";
    ChipNotAccepted = "chip-not-accepted": "the chip is not on the policy's list, or is denied";

    // What the report binds.
    ReportDataMismatch = "report-data-mismatch": "the report does not carry this Statement";
    FreshnessMismatch = "freshness-mismatch": "the Statement is not fresh for this challenge";
    TlsKeyMismatch = "tls-key-mismatch": "the connection ends at another TLS key";
    ConfigurationMismatch = "configuration-mismatch": "another configuration was measured";
    ConfigurationMalformed = "configuration-malformed": "the configuration is not canonical";
    ModelsMismatch = "models-mismatch": "the Statement names other models than the configuration";
    ModelNotPinned = "model-not-pinned": "a loaded model is not among the reference values";
    RegistersUnknown = "registers-unknown": "the measured registers are of no known machine shape";
    EventLogUnexpected = "event-log-unexpected": "an event log where the TEE has none";
    EventLogMismatch = "event-log-mismatch": "the event log is not the Statement's";
    EventLogMalformed = "event-log-malformed": "the event log is not of the specified form";
    EventLogReplay = "event-log-replay": "the event log does not lead to the measured registers";
    GpuEvidenceUnexpected = "gpu-evidence-unexpected": "GPU evidence where the shape has no GPU";
    GpuEvidenceMissing = "gpu-evidence-missing": "the shape has GPUs, the evidence has none";
    GpuEvidenceMismatch = "gpu-evidence-mismatch": "the GPU evidence is not the Statement's";
    GpuEvidenceMalformed = "gpu-evidence-malformed": "GPU evidence is not of the specified form";
    GpuEndorsementsMissing = "gpu-endorsements-missing": "nothing was stapled for the GPUs";
    GpuEndorsementsMalformed = "gpu-endorsements-malformed": "what was stapled for GPUs is broken";

    // Whose machine it is.
    GrantMissing = "grant-missing": "the policy names providers, and no grant was stapled";
    GrantMalformed = "grant-malformed": "the machine grant is not of the specified form";
    GrantProvider = "grant-provider": "the machine is granted by a provider whom nobody named";
    GrantSignature = "grant-signature": "the machine grant's signature does not verify";
    GrantNetwork = "grant-network": "the machine is granted for another network";
    GrantChip = "grant-chip": "another chip is granted than the one that reports";
    GrantDevices = "grant-devices": "other devices are granted than those that report";
    GrantConfiguration = "grant-configuration": "another launch configuration is granted";
    GrantExpired = "grant-expired": "the machine grant does not hold any more";

    // NVIDIA's devices: which, how many.
    GpuArchitecture = "gpu-architecture": "a GPU of an architecture that the shape does not have";
    GpuCount = "gpu-count": "another number of GPUs than the shape has";
    SwitchCount = "switch-count": "another number of NVSwitches than the shape has";

    // NVIDIA's devices: reports and chains.
    GpuReportMalformed = "gpu-report-malformed": "a device's report is not of the specified form";
    GpuOpaqueMalformed = "gpu-opaque-malformed": "a device's own fields are malformed or unknown";
    GpuNonce = "gpu-nonce": "a device's report was not made for this boot and round";
    NvidiaChainLength = "nvidia-chain-length": "a chain of NVIDIA's has another length";
    CertificateUsage = "certificate-usage": "a certificate's key is for another use";
    OcspMalformed = "ocsp-malformed": "an answer about revocation is malformed";
    OcspUnsuccessful = "ocsp-unsuccessful": "the responder did not answer";
    OcspMissing = "ocsp-missing": "nobody answered whether a certificate is revoked";
    OcspResponder = "ocsp-responder": "whoever answered about revocation may not";
    OcspSignature = "ocsp-signature": "an answer's signature does not verify";
    OcspNotYetValid = "ocsp-not-yet-valid": "an answer about revocation is not valid yet";
    OcspExpired = "ocsp-expired": "an answer about revocation is out of date";
    OcspTooOld = "ocsp-too-old": "an answer about revocation is older than the policy wants";
    OcspNonce = "ocsp-nonce": "an answer about revocation was not made for this challenge";
    OcspUnknown = "ocsp-unknown": "the responder does not know the certificate";
    CertificateOnHold = "certificate-on-hold": "a certificate is on hold";
    GpuSignatureInvalid = "gpu-signature-invalid": "a device's report is not signed by its leaf";
    GpuKind = "gpu-kind": "the chain is of another kind of device than the evidence says";
    GpuFwidExtension = "gpu-fwid-extension": "the leaf does not name its firmware";
    GpuFwid = "gpu-fwid": "the report is of other firmware than the leaf's";

    // NVIDIA's devices: together, and what they run.
    GpuDuplicate = "gpu-duplicate": "one device reports twice";
    GpuMode = "gpu-mode": "a GPU is handed over in another mode than the shape's";
    GpuLinks = "gpu-links": "GPUs and switches are linked to others than those that report";
    GpuUnlisted = "gpu-unlisted": "the policy has no minimum for this architecture";
    GpuDriverBelowMinimum = "gpu-driver-below-minimum": "a driver is older than the policy's";
    GpuFirmwareBelowMinimum = "gpu-firmware-below-minimum": "firmware is older than the policy's";

    // Reference manifests.
    RimMissing = "rim-missing": "no manifest was stapled for a driver or firmware";
    RimXml = "rim-xml": "a manifest is not XML of the form that is read";
    RimSignatureProfile = "rim-signature-profile": "a manifest is not signed as NVIDIA signs";
    RimSignature = "rim-signature": "a manifest's signature does not verify";
    RimDigest = "rim-digest": "a manifest is not the document that was signed";
    RimContent = "rim-content": "a manifest does not hold measurements of the specified form";
    RimProduct = "rim-product": "a manifest is for other devices";
    RimVersion = "rim-version": "a manifest is for another version than the one reported";
    RimOverlap = "rim-overlap": "driver and firmware manifest name the same measurement";
    GpuMeasurementMissing = "gpu-measurement-missing": "a report lacks a measurement of a manifest";
    GpuMeasurementMismatch = "gpu-measurement-mismatch": "a measurement is not one of a manifest's";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let codes: BTreeSet<_> = Rejection::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Rejection::ALL.len());
        for code in codes {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(code.bytes().all(allowed), "{code}");
        }
    }
}
