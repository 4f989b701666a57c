//! The knobs of simulated devices: each makes one thing wrong and leaves everything else as it was.

macro_rules! lies {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One thing that a device, its maker or its host gets wrong, or lies about. What only one
        /// device of a board can do, the first GPU does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DeviceLie {
            $($(#[$doc])* $name,)*
        }

        impl DeviceLie {
            /// Every lie.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

lies! {
    // The report.
    /// The report ends one byte early.
    Truncated,
    /// One measurement is there twice.
    BlockTwice,
    /// A field that nobody knows.
    UnknownField,
    /// A driver's version that is none.
    DriverText,
    /// The mode and the protection of links contradict each other.
    ModeContradiction,
    /// The report was made for another nonce.
    StaleNonce,
    /// One bit of the signature is flipped.
    BadSignature,
    /// Another firmware reports than the leaf certifies.
    OtherFirmware,
    /// One measurement is another.
    Measurement,
    /// The video decoder works, and its measurement is another.
    Decoder,
    /// The manifest names a measurement that the report does not have.
    MissingMeasurement,
    /// A GPU in another mode.
    Mode,
    /// A driver below every minimum, with a manifest that fits.
    OldDriver,
    /// Firmware below every minimum, with a manifest that fits.
    OldFirmware,

    // Several devices.
    /// The second GPU is the first once more.
    Duplicate,
    /// The first GPU's leaf has the serial number of the second's; the GPUs are two.
    SerialTwice,
    /// The first GPU has the second's identity on the links; their leaves are two.
    IdentityTwice,
    /// A GPU is linked to a switch that does not report.
    OtherSwitch,
    /// A switch is linked to a GPU that does not report.
    OtherGpu,

    // The device's chain.
    /// The provisioner's certificate is missing.
    ShortChain,
    /// The last byte of the leaf is missing.
    MalformedCertificate,
    /// A whole chain under another root.
    SelfSignedRoot,
    /// A chain without the research marker.
    Unmarked,
    /// A leaf without the research marker, under a chain that has it.
    UnmarkedLeaf,
    /// A critical extension that nobody knows.
    CriticalExtension,
    /// The leaf is not valid yet.
    NotYetValid,
    /// The leaf is not valid any more.
    Expired,
    /// The leaf's key may issue and not sign.
    LeafUsage,
    /// The read-only firmware may not issue.
    NotAuthority,
    /// The provisioner may only issue leaves.
    PathLength,
    /// The leaf names another issuer.
    OtherIssuer,
    /// The leaf is signed with SHA-256 under P-256.
    CertificateAlgorithm,
    /// The leaf is signed by another key than its issuer's.
    CertificateSignature,
    /// The chain is of another architecture.
    OtherKind,
    /// The leaf does not name its firmware.
    NoFwid,
    /// The leaf names its firmware under another device's key.
    FwidOfAnother,

    // Answers about revocation.
    /// None about the read-only firmware.
    NoAnswer,
    /// The answer is about another serial number.
    AnswerAboutAnother,
    /// The last byte of an answer is missing.
    MalformedAnswer,
    /// The responder says "try later".
    TryLater,
    /// The responder's certificate is for something else.
    ResponderUsage,
    /// The responder's certificate has a critical extension that nobody knows.
    ResponderExtension,
    /// The responder's certificate is not valid any more.
    ResponderExpired,
    /// The responder's certificate lacks the research marker.
    ResponderUnmarked,
    /// The responder was certified by somebody else.
    OtherResponder,
    /// The answer has a critical extension that nobody knows.
    AnswerExtension,
    /// The answer is of a version that nobody defined.
    AnswerVersion,
    /// The answer is of another kind than a basic one.
    AnswerKind,
    /// One bit of the answer's signature is flipped.
    AnswerSignature,
    /// The answer is from the future.
    AnswerNotYetValid,
    /// The answer is past its next update.
    AnswerExpired,
    /// The answer is in date, but older than policies want.
    AnswerTooOld,
    /// The responder does not know the certificate.
    Unknown,
    /// The certificate is revoked.
    Revoked,
    /// The certificate is on hold.
    OnHold,
    /// The signer of the driver's manifest is revoked.
    SignerRevoked,

    // The driver's manifest.
    /// None is stapled.
    NoManifest,
    /// It has a document type.
    DocumentType,
    /// It has a comment.
    Comment,
    /// It is nested too deep.
    Deep,
    /// It has two signatures.
    TwoSignatures,
    /// Its signature covers an element in it instead of all of it.
    Wrapped,
    /// Its signature has two references.
    TwoReferences,
    /// Its signature names another algorithm.
    SignatureAlgorithm,
    /// One bit of its signature is flipped.
    ManifestSignature,
    /// A value was changed after signing.
    ChangedValue,
    /// One certificate of its chain is missing.
    ManifestChain,
    /// Its chain ends at another root.
    ManifestRoot,
    /// Its signer is not valid any more.
    SignerExpired,
    /// A measurement has fewer values than it says.
    Alternatives,
    /// A measurement is there twice.
    IndexTwice,
    /// No measurement is active.
    NothingActive,
    /// It is for other GPUs.
    Product,
    /// It is for another version.
    Version,
    /// It names a measurement of the firmware's.
    Overlap,
}
