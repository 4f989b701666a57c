//! What a simulated Intel publishes for the platform: TCB information, QE identity, both
//! revocation lists and their issuers, as the JSON document that hosts staple.

use std::fmt::Write as _;

use der::DateTime;
use serde::Serialize;

use super::pck::{COMPONENT_LEVEL, FMSPC, PCE_ID, PCE_LEVEL};
use super::quote::{
    EARLIER_TCB_SVN, ENCLAVE_PRODUCT, ENCLAVE_SVN, TEE_TCB_SVN, enclave_signer, sign,
};
use super::{TdxMachine, chain};
use crate::certificates::{Dates, Signer, revocation_list};
use crate::seed::p256_key;
use crate::{Lie, MockTeeError};

/// Collateral is made an hour ago and holds for 30 days, as Intel's.
const AGE: u64 = 3_600;
const SECONDS: u64 = 30 * 86_400;
const DAY: u64 = 86_400;
/// `tcbEvaluationDataNumber`.
const EVALUATION: u32 = 20;

/// The members of the document, in the form that Intel's verification library reads.
#[derive(Debug, Serialize)]
struct Document {
    pck_crl_issuer_chain: String,
    root_ca_crl: String,
    pck_crl: String,
    tcb_info_issuer_chain: String,
    tcb_info: String,
    tcb_info_signature: String,
    qe_identity_issuer_chain: String,
    qe_identity: String,
    qe_identity_signature: String,
}

pub(super) fn collateral(machine: &TdxMachine, at: u64) -> Result<Vec<u8>, MockTeeError> {
    let signer = chain::signer_key()?;
    let dates = text_dates(machine, at);
    let tcb_info = tcb_info(machine, dates)?;
    let qe_identity = qe_identity(machine, dates)?;
    let tcb_signer = match machine.lie {
        Some(Lie::TextSignature) => p256_key("intel somebody else")?,
        Some(_) | None => signer.clone(),
    };
    let mut pck_list = pck_list(machine, at)?;
    if machine.lies(Lie::MalformedCrl) {
        pck_list.pop();
    }
    let signers = chain::signer_chain(machine)?;
    let document = Document {
        pck_crl_issuer_chain: chain::authority_chain(machine)?,
        root_ca_crl: hex(&root_list(machine, at)?),
        pck_crl: hex(&pck_list),
        tcb_info_issuer_chain: signers.clone(),
        tcb_info_signature: hex(&sign(&tcb_signer, tcb_info.as_bytes())),
        tcb_info,
        qe_identity_issuer_chain: signers,
        qe_identity_signature: hex(&sign(&signer, qe_identity.as_bytes())),
        qe_identity,
    };
    let mut json = serde_json::to_vec(&document).map_err(|_| MockTeeError::Key)?;
    if machine.lies(Lie::MalformedCollateral) {
        json.pop();
    }
    Ok(json)
}

fn text_dates(machine: &TdxMachine, at: u64) -> Dates {
    let made = at.saturating_sub(AGE);
    let honest = Dates {
        from: made,
        until: made.saturating_add(SECONDS),
    };
    match machine.lie {
        Some(Lie::CollateralNotYetValid) => Dates {
            from: at.saturating_add(AGE),
            ..honest
        },
        Some(Lie::CollateralExpired) => Dates {
            until: at.saturating_sub(1),
            ..honest
        },
        Some(Lie::CollateralTooOld) => Dates {
            from: at.saturating_sub(SECONDS).saturating_sub(DAY),
            until: at.saturating_add(DAY),
        },
        Some(_) | None => honest,
    }
}

fn tcb_info(machine: &TdxMachine, dates: Dates) -> Result<String, MockTeeError> {
    let status = if machine.lies(Lie::OutOfDate) {
        "OutOfDate"
    } else {
        "UpToDate"
    };
    let advisories = if machine.lies(Lie::Advisory) {
        "\"INTEL-SA-99999\""
    } else {
        ""
    };
    let evaluation = if machine.lies(Lie::OldEvaluation) {
        16
    } else {
        EVALUATION
    };
    let mut fmspc = FMSPC;
    if let (true, Some(byte)) = (machine.lies(Lie::OtherPlatform), fmspc.last_mut()) {
        *byte = 1;
    }
    let module = format!(
        r#""mrsigner":"{}","attributes":"{}","attributesMask":"{}""#,
        "0".repeat(96),
        "0".repeat(16),
        "F".repeat(16)
    );
    let ([module_svn, ..], [earlier_svn, ..]) = (TEE_TCB_SVN, EARLIER_TCB_SVN);
    Ok(format!(
        concat!(
            r#"{{"id":"TDX","version":3,{dates},"fmspc":"{fmspc}","pceId":"{pce}","tcbType":0,"#,
            r#""tcbEvaluationDataNumber":{evaluation},"tdxModule":{{{module}}},"#,
            r#""tdxModuleIdentities":[{{"id":"TDX_01",{module},"tcbLevels":[{{"tcb":"#,
            r#"{{"isvsvn":{module_svn}}},"tcbDate":"{day}","tcbStatus":"UpToDate"}},"#,
            r#"{{"tcb":{{"isvsvn":{earlier_svn}}},"tcbDate":"{earlier_day}","#,
            r#""tcbStatus":"OutOfDate"}}]}}],"#,
            r#""tcbLevels":[{{"tcb":{{"sgxtcbcomponents":[{sgx}],"pcesvn":{PCE_LEVEL},"#,
            r#""tdxtcbcomponents":[{tdx}]}},"tcbDate":"{day}","tcbStatus":"{status}","#,
            r#""advisoryIDs":[{advisories}]}},"#,
            r#"{{"tcb":{{"sgxtcbcomponents":[{sgx}],"pcesvn":{PCE_LEVEL},"#,
            r#""tdxtcbcomponents":[{earlier}]}},"tcbDate":"{earlier_day}","#,
            r#""tcbStatus":"OutOfDate"}}]}}"#
        ),
        dates = date_members(dates)?,
        fmspc = hex(&fmspc).to_uppercase(),
        pce = hex(&PCE_ID),
        evaluation = evaluation,
        module = module,
        module_svn = module_svn,
        earlier_svn = earlier_svn,
        earlier = components(&EARLIER_TCB_SVN),
        day = "2026-01-01T00:00:00Z",
        earlier_day = "2025-06-01T00:00:00Z",
        sgx = components(&[COMPONENT_LEVEL; 16]),
        PCE_LEVEL = PCE_LEVEL,
        tdx = components(&TEE_TCB_SVN),
        status = status,
        advisories = advisories,
    ))
}

fn qe_identity(machine: &TdxMachine, dates: Dates) -> Result<String, MockTeeError> {
    // Of a later day than the platform's levels, so that neither date passes for the other.
    let (day, status) = if machine.lies(Lie::EnclaveOutOfDate) {
        ("2026-06-01T00:00:00Z", "OutOfDate")
    } else {
        ("2026-01-01T00:00:00Z", "UpToDate")
    };
    Ok(format!(
        concat!(
            r#"{{"id":"TD_QE","version":2,{dates},"tcbEvaluationDataNumber":{evaluation},"#,
            r#""miscselect":"00000000","miscselectMask":"FFFFFFFF","#,
            r#""attributes":"11000000000000000000000000000000","#,
            r#""attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"{signer}","#,
            r#""isvprodid":{product},"tcbLevels":[{{"tcb":{{"isvsvn":{svn}}},"#,
            r#""tcbDate":"{day}","tcbStatus":"{status}"}}]}}"#
        ),
        dates = date_members(dates)?,
        evaluation = EVALUATION,
        signer = hex(&enclave_signer()).to_uppercase(),
        product = ENCLAVE_PRODUCT,
        svn = ENCLAVE_SVN,
        day = day,
        status = status,
    ))
}

fn date_members(dates: Dates) -> Result<String, MockTeeError> {
    let text = |seconds| {
        let time = DateTime::from_unix_duration(core::time::Duration::from_secs(seconds))?;
        Ok::<_, MockTeeError>(time.to_string())
    };
    let (from, until) = (text(dates.from)?, text(dates.until)?);
    Ok(format!(r#""issueDate":"{from}","nextUpdate":"{until}""#))
}

fn components(levels: &[u8]) -> String {
    let each: Vec<_> = levels
        .iter()
        .map(|level| format!(r#"{{"svn":{level}}}"#))
        .collect();
    each.join(",")
}

fn pck_list(machine: &TdxMachine, at: u64) -> Result<Vec<u8>, MockTeeError> {
    let dates = list_dates(machine, at);
    let revoked = match machine.lie {
        Some(Lie::Revoked) => vec![vec![chain::PCK_SERIAL]],
        Some(_) | None => vec![],
    };
    let key = match machine.lie {
        Some(Lie::CrlSignature) => p256_key("intel somebody else")?,
        Some(_) | None => chain::platform_key()?,
    };
    revocation_list(
        chain::PLATFORM_NAME,
        dates,
        &revoked,
        &Signer::EcdsaP256(&key),
    )
}

fn root_list(machine: &TdxMachine, at: u64) -> Result<Vec<u8>, MockTeeError> {
    let key = chain::root_key(machine)?;
    let dates = list_dates(machine, at);
    let revoked = match machine.lie {
        Some(Lie::AuthorityRevoked) => vec![vec![chain::PLATFORM_SERIAL]],
        Some(_) | None => vec![],
    };
    let signer = Signer::EcdsaP256(&key);
    revocation_list(chain::ROOT_NAME, dates, &revoked, &signer)
}

fn list_dates(machine: &TdxMachine, at: u64) -> Dates {
    let made = at.saturating_sub(AGE);
    let honest = Dates {
        from: made,
        until: made.saturating_add(SECONDS),
    };
    match machine.lie {
        Some(Lie::CrlNotYetValid) => Dates {
            from: at.saturating_add(AGE),
            ..honest
        },
        Some(Lie::CrlExpired) => Dates {
            until: at.saturating_sub(1),
            ..honest
        },
        Some(_) | None => honest,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
