//! A quote's header and TD report, versions 4 and 5: Intel's "TDX DCAP Quote Generation Library",
//! appendix A. The bytes are split by `dcap-qvl`; here they get types, and slack is refused.

use dcap_qvl::intel::extract_cert_chain;
use dcap_qvl::quote::{AuthData, Quote as LibraryQuote, Report, TDReport10, TDReport15};
use parity_scale_codec::Encode as _;
use protocol::codec::Reader;

use super::QUOTE;
use crate::checks::Checks;
use crate::rejection::Rejection;

/// TEE type of TDX in the header.
const TEE_TYPE: u32 = 0x81;
/// ECDSA P-256.
const KEY_TYPE: u16 = 2;
/// The attestation key is certified by the quoting enclave's report.
const QE_REPORT: u16 = 6;

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
        let known = check_version(bytes);
        checks.steps(QUOTE, &[Rejection::TdxQuoteVersion], found, known)?;
        let found = format_args!("{} bytes", bytes.len());
        let quote = Self::read(bytes);
        checks.read(QUOTE, Rejection::TdxQuoteMalformed, found, quote)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let quote = LibraryQuote::parse(bytes).ok()?;
        let AuthData::V4(signature) = &quote.auth_data else {
            return None;
        };
        let known = quote.header.attestation_key_type == KEY_TYPE
            && signature.certification_data.cert_type == QE_REPORT;
        // Written again it is what was read, so its lengths add up and nothing lies between its
        // parts. Some platforms hand out a whole buffer: zeros may lie behind it, nothing else.
        let behind = bytes.strip_prefix(quote.encode().as_slice())?;
        let ends = behind.iter().all(|byte| *byte == 0);
        let quote = Self {
            report: TdReport::of(&quote.report)?,
            // The chain lies in the quote as PEM, or the library finds none.
            pck_chain: extract_cert_chain(&quote).ok()?,
        };
        (known && ends).then_some(quote)
    }
}

/// A TDX quote of a known version.
fn check_version(bytes: &[u8]) -> Result<(), Rejection> {
    let mut from = Reader::new(bytes);
    let truncated = |_| Rejection::TdxQuoteMalformed;
    let version = from.u16().map_err(truncated)?;
    from.u16().map_err(truncated)?; // the type of its key
    let tee_type = from.u32().map_err(truncated)?;
    match (version, tee_type) {
        (4 | 5, TEE_TYPE) => Ok(()),
        (_, _) => Err(Rejection::TdxQuoteVersion),
    }
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
