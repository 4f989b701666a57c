//! A quote's header and TD report, versions 4 and 5: Intel's "TDX DCAP Quote Generation Library",
//! appendix A. The bytes are split by `dcap-qvl`; here they get types, and slack is refused.

use dcap_qvl::intel::extract_cert_chain;
use dcap_qvl::quote::{AuthData, Quote as LibraryQuote, Report, TDReport10, TDReport15};
use protocol::codec::{DecodeError, Reader};

use super::QUOTE;
use crate::checks::Checks;
use crate::rejection::Rejection;

/// TEE type of TDX in the header.
const TEE_TYPE: u32 = 0x81;
/// ECDSA P-256.
const KEY_TYPE: u16 = 2;
/// The PCK chain lies in the quote as PEM.
const PEM_CHAIN: u16 = 5;
/// The attestation key is certified by the quoting enclave's report.
const QE_REPORT: u16 = 6;
const SIGNATURE_AND_KEY_BYTES: usize = 64 + 64;
/// Bytes of signature, key, QE report, its signature and the lengths and types between them.
const FIXED_SIGNATURE_BYTES: usize = 64 + 64 + 6 + 384 + 64 + 2 + 6;

/// What the rules need of a quote.
#[derive(Debug)]
pub(super) struct Quote {
    pub(super) report: TdReport,
    /// PCK, its authority, the root; DER.
    pub(super) pck_chain: Vec<Vec<u8>>,
}

/// A TD report.
#[derive(Debug)]
pub(super) struct TdReport {
    /// What every version of it says, in the library's words.
    pub(super) base: TDReport10,
    /// TEE_TCB_SVN2: the module now, after updates that preserve guests; only TD 1.5 says.
    pub(super) running_under: Option<[u8; 16]>,
    /// Whether no service TD is, or ever was, bound to this one.
    pub(super) alone: bool,
}

/// `docs/spec/evidence.md` §8.1, in its order.
pub(super) const FORM: &[Rejection] = &[Rejection::TdxQuoteVersion, Rejection::TdxQuoteMalformed];

impl Quote {
    pub(super) fn parse(bytes: &[u8], checks: &mut Checks<'_>) -> Option<Self> {
        let version = bytes.first_chunk::<2>().copied().map(u16::from_le_bytes);
        let found = version.unwrap_or_default();
        let key_type = check_version(bytes);
        let key_type = checks.steps(QUOTE, &[Rejection::TdxQuoteVersion], found, key_type)?;
        let found = format_args!("{} bytes", bytes.len());
        let quote = Self::read(bytes, key_type);
        checks.read(QUOTE, Rejection::TdxQuoteMalformed, found, quote)
    }

    fn read(bytes: &[u8], key_type: u16) -> Option<Self> {
        if key_type != KEY_TYPE {
            return None;
        }
        let quote = LibraryQuote::parse(bytes).ok()?;
        let whole = whole_length(&quote)?;
        let framed = is_framed(bytes, quote.signed_length(), whole)?;
        // Some platforms hand out a whole buffer: zeros may lie behind the quote, nothing else.
        let ends = bytes.get(whole..)?.iter().all(|byte| *byte == 0);
        let quote = Self {
            report: TdReport::of(&quote.report)?,
            pck_chain: extract_cert_chain(&quote).ok()?,
        };
        (framed && ends).then_some(quote)
    }
}

/// A TDX quote of a known version; returns the type of its key.
fn check_version(bytes: &[u8]) -> Result<u16, Rejection> {
    let mut from = Reader::new(bytes);
    let truncated = |_| Rejection::TdxQuoteMalformed;
    let version = from.u16().map_err(truncated)?;
    let key_type = from.u16().map_err(truncated)?;
    let tee_type = from.u32().map_err(truncated)?;
    match (version, tee_type) {
        (4 | 5, TEE_TYPE) => Ok(key_type),
        (_, _) => Err(Rejection::TdxQuoteVersion),
    }
}

/// The length that the quote's own lengths add up to; nothing may lie between.
fn whole_length(quote: &LibraryQuote) -> Option<usize> {
    let AuthData::V4(signature) = &quote.auth_data else {
        return None;
    };
    let certification = &signature.qe_report_data;
    if certification.certification_data.cert_type != PEM_CHAIN {
        return None;
    }
    quote
        .signed_length()
        .checked_add(4)?
        .checked_add(FIXED_SIGNATURE_BYTES)?
        .checked_add(certification.qe_auth_data.data.len())?
        .checked_add(certification.certification_data.body.data.len())
}

/// The lengths and the type between the parts, which the library passes over, are right.
fn is_framed(bytes: &[u8], signed: usize, whole: usize) -> Option<bool> {
    let mut from = Reader::new(bytes);
    let mut read = || {
        from.slice(signed)?;
        let all = from.u32()?;
        from.slice(SIGNATURE_AND_KEY_BYTES)?;
        Ok::<_, DecodeError>((all, from.u16()?, from.u32()?))
    };
    let (all, kind, certification) = read().ok()?;
    let left = |before: usize| whole.checked_sub(signed)?.checked_sub(before);
    let says = |length: u32, left: Option<usize>| left == usize::try_from(length).ok();
    let rest = left(4 + SIGNATURE_AND_KEY_BYTES + 6);
    Some(kind == QE_REPORT && says(all, left(4)) && says(certification, rest))
}

impl TdReport {
    fn of(report: &Report) -> Option<Self> {
        match report {
            Report::TD10(base) => Some(Self {
                base: *base,
                running_under: None,
                alone: true,
            }),
            Report::TD15(report) => Some(Self::later(report)),
            Report::TD15Ex(report) => {
                let later = Self::later(&report.base);
                let never = [report.init_service_td_hash, report.cur_service_td_hash];
                Some(Self {
                    alone: later.alone && never == [[0; 48]; 2],
                    ..later
                })
            }
            Report::SgxEnclave(_) => None,
        }
    }

    fn later(report: &TDReport15) -> Self {
        Self {
            base: report.base,
            running_under: Some(report.tee_tcb_svn2),
            alone: report.mr_service_td == [0; 48],
        }
    }
}
