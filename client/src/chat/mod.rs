//! Asking: what is sent, what streams back, what is signed for it.
//!
//! [`Chat`] holds one payment channel and one attested connection, made anew when it ends. Prices
//! are looked at before content is sent; the rules of money are `payment`'s, those of trust
//! `session`'s and the verifier's.

mod answer;
mod calls;
mod choices;
mod events;
mod probabilities;
mod request;
mod spoken;
mod standing;
mod till;
mod vectors;

use std::sync::Arc;

use contracts::asset::Asset;
use http::StatusCode;
use protocol::launch_configuration::ModelEntry;
use protocol::nano::{AmountOverflow, Nano};
use protocol::receipt::TokenPrices;
use protocol::ton::TonAddress;
use tokio::sync::Mutex;
use verifier::UnixTime;
use zeroize::Zeroizing;

use crate::channel::RequestError;
use crate::deployment::NoRandomness;
use crate::payment::{PaymentRefusal, ReceiptRefusal, StreamTerms};
use crate::session::{AttestError, Attester, Session};
use crate::wallet::LedgerError;

pub use answer::{Answering, Settled};
pub use choices::{Asking, Gathering, Heard, MAX_CHOICES, Several};
pub use events::{Chunk, Event, EventReader, StreamError, member_name, stable_code};
pub use probabilities::Probabilities;
pub(crate) use request::members;
pub use request::{Asked, ChatRequest, ChatRequestError, Delivery, Question};
pub use standing::{Connected, Standing};
pub use till::Till;
pub use vectors::{Vector, VectorEncoding};

/// Why there is no answer, or not the whole of it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No attested connection.
    #[error("cannot attest the machine")]
    Attest(#[from] AttestError),
    /// The attested configuration has no such model.
    #[error("the machine serves no model of that name")]
    UnknownModel,
    /// The price is above the client's limit. Nothing was sent.
    #[error("{price} units per million tokens are above the limit of {limit}")]
    PriceAboveLimit {
        /// The dearest class of tokens.
        price: Nano,
        /// The client's limit.
        limit: Nano,
    },
    /// More choices than the attested configuration has streams: they would never run at once.
    /// Nothing was sent.
    #[error("the machine runs {streams} streams at once, and each choice is one")]
    TooManyChoices {
        /// The attested limit.
        streams: u16,
    },
    /// The machine pays somebody else than the channel does.
    #[error("the machine is paid at {payee}, which this channel does not pay")]
    OtherPayee {
        /// The attested payee.
        payee: TonAddress,
    },
    /// The machine is paid in something else than the channel pays in.
    #[error("the machine is paid in {asset}, and this channel does not pay in that")]
    OtherAsset {
        /// The attested asset.
        asset: Asset,
    },
    /// An amount left the range of coins.
    #[error(transparent)]
    Overflow(#[from] AmountOverflow),
    /// The client does not sign.
    #[error("not signed")]
    Payment(#[from] PaymentRefusal),
    /// The ledger failed.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// No salt.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The request was not sent, or the connection ended.
    #[error("the request failed")]
    Request(#[from] RequestError),
    /// The server refused the request.
    #[error("the server refused with status {status}: {code}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Its stable code.
        code: String,
        /// The member or header that it is about, when it names one.
        param: Option<String>,
        /// Seconds after which it may be asked again.
        retry_after: Option<u32>,
    },
    /// The server refused a voucher in the middle of an answer.
    #[error("the server refused a voucher with status {status}: {code}")]
    VoucherRefused {
        /// HTTP status.
        status: StatusCode,
        /// Its stable code.
        code: String,
    },
    /// The server gave up in the middle of an answer.
    #[error("the server gave up: {code}")]
    Failed {
        /// Its stable code.
        code: String,
    },
    /// The stream is not one.
    #[error("the answer's stream is unusable")]
    Stream(#[from] StreamError),
    /// Nothing came for too long.
    #[error("nothing came for {seconds} s")]
    Silent {
        /// How long.
        seconds: u64,
    },
    /// The receipt is not taken.
    #[error("the receipt is refused")]
    Receipt(#[from] ReceiptRefusal),
    /// The answer ended without a receipt.
    #[error("the answer came without a receipt")]
    NoReceipt,
}

impl AskError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Attest(error) => error.code(),
            Self::UnknownModel => "model_not_found",
            Self::PriceAboveLimit { .. } => "price-above-limit",
            Self::TooManyChoices { .. } => "choices-above-streams",
            Self::OtherPayee { .. } => "payment-other-payee",
            Self::OtherAsset { .. } => "payment-other-asset",
            Self::Overflow(_) => "price-overflow",
            Self::Payment(refusal) => refusal.code(),
            Self::Ledger(error) => error.code(),
            Self::Randomness(_) => "no-randomness",
            Self::Request(error) => error.code(),
            Self::Refused { code, .. }
            | Self::VoucherRefused { code, .. }
            | Self::Failed { code } => code,
            Self::Stream(error) => error.code(),
            Self::Silent { .. } => "stream-silent",
            Self::Receipt(refusal) => refusal.code(),
            Self::NoReceipt => "receipt-missing",
        }
    }
}

/// The dearest class of tokens, per million tokens: what the client's limit is compared with.
///
/// # Errors
/// `AmountOverflow`.
pub fn price_per_million(prices: &TokenPrices) -> Result<Nano, AmountOverflow> {
    let dearest = prices.prompt.max(prices.cached).max(prices.completion);
    Nano::from_u64(dearest).times(1_000_000)
}

/// Whether a till pays a machine: whom, and in what. Prices are in units of what is paid in.
fn pays(till: &Till, session: &Session) -> Result<(), AskError> {
    let configuration = session.configuration();
    let (payee, asset) = (configuration.payee, Asset::of_minter(configuration.jetton));
    if till.payee() != payee {
        return Err(AskError::OtherPayee { payee });
    }
    if till.asset() != asset {
        return Err(AskError::OtherAsset { asset });
    }
    Ok(())
}

/// One payment channel and the machine that it pays.
#[derive(Debug)]
pub struct Chat {
    attester: Attester,
    till: Arc<Till>,
    limit: Nano,
    session: Mutex<Arc<Session>>,
}

impl Chat {
    /// Joins an attested connection with the till that pays its payee. `limit` is the highest
    /// price that is taken, in nano units per million tokens.
    ///
    /// # Errors
    /// `OtherPayee`, `OtherAsset`.
    pub fn new(
        attester: Attester,
        session: Session,
        till: Till,
        limit: Nano,
    ) -> Result<Self, AskError> {
        pays(&till, &session)?;
        Ok(Self {
            attester,
            till: Arc::new(till),
            limit,
            session: Mutex::new(Arc::new(session)),
        })
    }

    /// A connection that is attested now: the one that is open, attested again when that is due,
    /// or a new one.
    ///
    /// # Errors
    /// See [`AttestError`]; `OtherPayee`, `OtherAsset` when another machine answers.
    pub async fn session(&self) -> Result<Arc<Session>, AskError> {
        let mut held = self.session.lock().await;
        if !held.channel().is_closed() && held.renew_if_due(&self.attester).await.is_ok() {
            return Ok(Arc::clone(&held));
        }
        let fresh = self.attester.connect().await?;
        pays(&self.till, &fresh)?;
        *held = Arc::new(fresh);
        Ok(Arc::clone(&held))
    }

    /// The time, as the program that this is part of reads it.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.attester.surroundings.now()
    }

    /// 32 random bytes.
    ///
    /// # Errors
    /// `NoRandomness`.
    pub fn draw(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        self.attester.surroundings.random()
    }

    /// Bytes of requests other than challenges that were sent on the current connection.
    pub async fn application_bytes_sent(&self) -> u64 {
        let held = self.session.lock().await;
        held.channel().application_bytes_sent()
    }

    /// Checks a model's attested prices against the client's limit.
    ///
    /// # Errors
    /// `UnknownModel`, `PriceAboveLimit`.
    pub fn acceptable<'s>(
        &self,
        session: &'s Session,
        model: &str,
    ) -> Result<&'s ModelEntry, AskError> {
        let entry = session.configuration().model(model);
        let entry = entry.ok_or(AskError::UnknownModel)?;
        let price = price_per_million(&entry.prices)?;
        if price > self.limit {
            return Err(AskError::PriceAboveLimit {
                price,
                limit: self.limit,
            });
        }
        Ok(entry)
    }

    /// Whether a question to a model could be asked now: its price is within the limit and the
    /// deposit covers something.
    ///
    /// # Errors
    /// Those of [`Self::acceptable`]; `Payment` with `DepositExceeded` on an empty channel.
    pub fn affordable(&self, session: &Session, model: &str) -> Result<(), AskError> {
        let entry = self.acceptable(session, model)?;
        let probe = self.till.begin(StreamTerms {
            prices: entry.prices,
            prompt_tokens: 0,
            completion_tokens: 0,
        })?;
        self.till.abandon(probe);
        Ok(())
    }

    /// Sends a request, if its price is acceptable, and returns its answer to be read.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, request: &ChatRequest) -> Result<Answering, AskError> {
        let session = self.session().await?;
        self.ask_on(session, request).await
    }

    /// The same on a connection that is attested.
    async fn ask_on(
        &self,
        session: Arc<Session>,
        request: &ChatRequest,
    ) -> Result<Answering, AskError> {
        let entry = self.acceptable(&session, request.model())?.clone();
        Answering::begin(self.attester.clone(), session, &self.till, &entry, request).await
    }
}
