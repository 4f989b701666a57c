//! A voucher's way in: form, signature, network, account, host; in this order, one refusal each.
//!
//! What a voucher changes is `ledger`'s and `account`'s part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use protocol::serving::VOUCHER_HEADER;
use protocol::voucher::SignedVoucher;

use crate::errors::Refusal;
use crate::headers;
use crate::ledger::{AccountKey, Purpose};
use crate::service::Service;

/// The voucher of a chat request's header.
pub(crate) fn from_header(headers: &HeaderMap) -> Result<SignedVoucher, Refusal> {
    let text = headers::one(headers, VOUCHER_HEADER)?;
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| Refusal::VoucherMalformed)?;
    from_bytes(&bytes)
}

/// The voucher of a body.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<SignedVoucher, Refusal> {
    SignedVoucher::decode(bytes).map_err(|_| Refusal::VoucherMalformed)
}

/// Takes the voucher of a chat request: its account may be new.
pub(crate) async fn admit(
    service: &Service,
    voucher: &SignedVoucher,
) -> Result<AccountKey, Refusal> {
    hold(service, voucher)?;
    service.ledger.check(voucher, Purpose::Request)?;
    consent(service, voucher, Purpose::Request).await
}

/// Takes a voucher that acknowledges: its account exists.
pub(crate) async fn acknowledge(
    service: &Service,
    voucher: &SignedVoucher,
) -> Result<AccountKey, Refusal> {
    hold(service, voucher)?;
    let purpose = Purpose::Acknowledgement;
    if !service.ledger.check(voucher, purpose)? {
        return Err(Refusal::VoucherForeignChannel);
    }
    consent(service, voucher, purpose).await
}

/// Network before signature: the cheaper check first.
fn hold(service: &Service, voucher: &SignedVoucher) -> Result<(), Refusal> {
    if voucher.voucher.network != service.configuration.network {
        return Err(Refusal::VoucherNetwork);
    }
    voucher.verify().map_err(|_| Refusal::VoucherSignature)?;
    Ok(())
}

async fn consent(
    service: &Service,
    voucher: &SignedVoucher,
    purpose: Purpose,
) -> Result<AccountKey, Refusal> {
    let key = AccountKey::of(voucher);
    match service.host.ask(voucher).await {
        Ok(()) => {
            service.ledger.accept(voucher, purpose)?;
            Ok(key)
        }
        Err(Refusal::Stopped(reason, highest)) => {
            service.ledger.stop(&key, reason);
            Err(Refusal::Stopped(reason, highest))
        }
        Err(other) => Err(other),
    }
}
