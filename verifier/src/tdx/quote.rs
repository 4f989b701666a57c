//! A quote's header and TD report, versions 4 and 5: Intel's "TDX DCAP Quote Generation Library",
//! appendix A. The bytes are split by `dcap-qvl`; here they get types, and slack is refused.

use dcap_qvl::intel::extract_cert_chain;
use dcap_qvl::quote::{
    AuthData, Quote as LibraryQuote, Report, TDReport10, TDReport15, TDReport15Ex,
};
use protocol::codec::Reader;
use protocol::digest::{MrConfigId, Mrtd, ReportData, Rtmr};

use crate::rejection::Rejection;

/// TEE type of TDX in the header.
const TEE_TYPE: u32 = 0x81;
/// ECDSA P-256.
const KEY_TYPE: u16 = 2;
/// The PCK chain lies in the quote as PEM.
const PEM_CHAIN: u16 = 5;
/// Bytes of signature, key, QE report, its signature and the lengths and types between them.
const FIXED_SIGNATURE_BYTES: usize = 64 + 64 + 6 + 384 + 64 + 2 + 6;

/// What the rules need of a quote.
#[derive(Debug)]
pub(super) struct Quote {
    pub(super) report: TdReport,
    /// PCK, its authority, the root; DER.
    pub(super) pck_chain: Vec<Vec<u8>>,
}

/// The fields of a TD report.
#[derive(Debug)]
pub(super) struct TdReport {
    /// MRSEAM: the TDX module.
    pub(super) module: [u8; 48],
    pub(super) module_signer: [u8; 48],
    pub(super) module_attributes: [u8; 8],
    pub(super) attributes: u64,
    pub(super) xfam: [u8; 8],
    pub(super) mrtd: Mrtd,
    pub(super) configuration: MrConfigId,
    pub(super) owner: [u8; 48],
    pub(super) owner_configuration: [u8; 48],
    pub(super) rtmrs: [Rtmr; 3],
    pub(super) rtmr3: Rtmr,
    pub(super) report_data: ReportData,
    /// Whether no service TD is, or ever was, bound to this one.
    pub(super) alone: bool,
}

impl Quote {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        check_header(bytes)?;
        let malformed = Rejection::TdxQuoteMalformed;
        let quote = LibraryQuote::parse(bytes).map_err(|_| malformed)?;
        // Some platforms hand out a whole buffer: zeros may lie behind the quote, nothing else.
        let whole = whole_length(&quote).ok_or(malformed)?;
        let behind = bytes.get(whole..).ok_or(malformed)?;
        if behind.iter().any(|byte| *byte != 0) {
            return Err(malformed);
        }
        Ok(Self {
            report: TdReport::of(&quote.report).ok_or(malformed)?,
            pck_chain: extract_cert_chain(&quote).map_err(|_| malformed)?,
        })
    }
}

/// Version, key type and TEE type, so that each has its reason.
fn check_header(bytes: &[u8]) -> Result<(), Rejection> {
    let mut from = Reader::new(bytes);
    let truncated = |_| Rejection::TdxQuoteMalformed;
    let version = from.u16().map_err(truncated)?;
    let key_type = from.u16().map_err(truncated)?;
    let tee_type = from.u32().map_err(truncated)?;
    match (version, tee_type, key_type) {
        (4 | 5, TEE_TYPE, KEY_TYPE) => Ok(()),
        (4 | 5, TEE_TYPE, _) => Err(Rejection::TdxQuoteMalformed),
        (_, _, _) => Err(Rejection::TdxQuoteVersion),
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

impl TdReport {
    fn of(report: &Report) -> Option<Self> {
        match report {
            Report::TD10(base) => Some(Self::of_base(base, true)),
            Report::TD15(report) => Some(Self::of_base(&report.base, is_alone(report))),
            Report::TD15Ex(report) => {
                let alone = is_alone(&report.base) && was_always_alone(report);
                Some(Self::of_base(&report.base.base, alone))
            }
            Report::SgxEnclave(_) => None,
        }
    }

    fn of_base(base: &TDReport10, alone: bool) -> Self {
        Self {
            module: base.mr_seam,
            module_signer: base.mr_signer_seam,
            module_attributes: base.seam_attributes,
            attributes: u64::from_le_bytes(base.td_attributes),
            xfam: base.xfam,
            mrtd: Mrtd(base.mr_td),
            configuration: MrConfigId(base.mr_config_id),
            owner: base.mr_owner,
            owner_configuration: base.mr_owner_config,
            rtmrs: [base.rt_mr0, base.rt_mr1, base.rt_mr2].map(Rtmr),
            rtmr3: Rtmr(base.rt_mr3),
            report_data: ReportData(base.report_data),
            alone,
        }
    }
}

fn is_alone(report: &TDReport15) -> bool {
    report.mr_service_td == [0; 48]
}

fn was_always_alone(report: &TDReport15Ex) -> bool {
    report.init_service_td_hash == [0; 48] && report.cur_service_td_hash == [0; 48]
}
