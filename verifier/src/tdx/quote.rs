//! A quote's header and TD report, versions 4 and 5: Intel's "TDX DCAP Quote Generation Library",
//! appendix A. The bytes are split by `dcap-qvl`; here they get types, and slack is refused.

use dcap_qvl::intel::extract_cert_chain;
use dcap_qvl::quote::{
    AuthData, Quote as LibraryQuote, Report, TDReport10, TDReport15, TDReport15Ex,
};
use protocol::codec::{DecodeError, Reader};
use protocol::digest::{MrConfigId, Mrtd, ReportData, Rtmr};

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
    /// TEE_TCB_SVN: the module when the guest was launched.
    pub(super) launched_under: [u8; 16],
    /// TEE_TCB_SVN2: the module now, after updates that preserve guests; only TD 1.5 says.
    pub(super) running_under: Option<[u8; 16]>,
    /// Whether no service TD is, or ever was, bound to this one.
    pub(super) alone: bool,
}

/// `docs/spec/evidence.md` §8.1.
pub(super) fn plan(checks: &mut Checks) {
    checks.plan(QUOTE, &[Rejection::TdxQuoteVersion]);
    checks.plan(QUOTE, &[Rejection::TdxQuoteMalformed]);
}

impl Quote {
    pub(super) fn parse(bytes: &[u8], checks: &mut Checks) -> Option<Self> {
        let version = bytes.first_chunk::<2>().copied().map(u16::from_le_bytes);
        let found = version.unwrap_or_default();
        let key_type = check_version(bytes);
        let key_type = checks.steps(QUOTE, &[Rejection::TdxQuoteVersion], found, key_type)?;
        let found = format_args!("{} bytes", bytes.len());
        let step = [Rejection::TdxQuoteMalformed];
        checks.steps(QUOTE, &step, found, Self::read(bytes, key_type))
    }

    fn read(bytes: &[u8], key_type: u16) -> Result<Self, Rejection> {
        let malformed = Rejection::TdxQuoteMalformed;
        if key_type != KEY_TYPE {
            return Err(malformed);
        }
        let quote = LibraryQuote::parse(bytes).map_err(|_| malformed)?;
        // Some platforms hand out a whole buffer: zeros may lie behind the quote, nothing else.
        let whole = whole_length(&quote).ok_or(malformed)?;
        check_frame(bytes, quote.signed_length(), whole)?;
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

/// The lengths and the type between the parts, which the library passes over.
fn check_frame(bytes: &[u8], signed: usize, whole: usize) -> Result<(), Rejection> {
    let malformed = Rejection::TdxQuoteMalformed;
    let mut from = Reader::new(bytes);
    let mut read = || {
        from.slice(signed)?;
        let all = from.u32()?;
        from.slice(SIGNATURE_AND_KEY_BYTES)?;
        Ok::<_, DecodeError>((all, from.u16()?, from.u32()?))
    };
    let (all, kind, certification) = read().map_err(|_| malformed)?;
    let left = |before: usize| whole.checked_sub(signed)?.checked_sub(before);
    let says = |length: u32, left: Option<usize>| left == usize::try_from(length).ok();
    let holds = kind == QE_REPORT
        && says(all, left(4))
        && says(certification, left(4 + SIGNATURE_AND_KEY_BYTES + 6));
    holds.then_some(()).ok_or(malformed)
}

impl TdReport {
    fn of(report: &Report) -> Option<Self> {
        match report {
            Report::TD10(base) => Some(Self::of_base(base, None, true)),
            Report::TD15(report) => {
                let running = Some(report.tee_tcb_svn2);
                Some(Self::of_base(&report.base, running, is_alone(report)))
            }
            Report::TD15Ex(report) => {
                let alone = is_alone(&report.base) && was_always_alone(report);
                let running = Some(report.base.tee_tcb_svn2);
                Some(Self::of_base(&report.base.base, running, alone))
            }
            Report::SgxEnclave(_) => None,
        }
    }

    fn of_base(base: &TDReport10, running_under: Option<[u8; 16]>, alone: bool) -> Self {
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
            launched_under: base.tee_tcb_svn,
            running_under,
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
