//! How things stand, for whoever watches: the machine's own word that it can answer, the payment
//! channel, the age of the evidence. Nothing here is content, and nothing is paid for.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use protocol::nano::Nano;
use protocol::serving::HEALTH_PATH;
use tokio::time::timeout;

use super::answer::refusal;
use super::{AskError, Chat};

/// The machine says whether it can answer within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a payment channel and its connection stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The channel's deposit, as the chain showed it.
    pub deposit: Nano,
    /// The highest total that was signed on the channel.
    pub promised: Nano,
    /// The connection, unless it ended or is being made at this moment.
    pub connection: Option<Connected>,
}

/// How an attested connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// Seconds since its evidence was last appraised.
    pub evidence_age: u64,
    /// Seconds until nothing more is sent under that evidence.
    pub evidence_left: u64,
}

impl Chat {
    /// Asks the machine, attested now, whether it can answer.
    ///
    /// # Errors
    /// Those of [`Chat::session`]; `Refused` with status 503 while it cannot.
    pub async fn health(&self) -> Result<(), AskError> {
        let session = self.session().await?;
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let channel = session.channel();
        let answer = channel.request(self.now(), Method::GET, HEALTH_PATH, headers, body)?;
        let silent = |_| AskError::Silent {
            seconds: PATIENCE.as_secs(),
        };
        let response = timeout(PATIENCE, answer).await.map_err(silent)??;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(refusal(response).await),
        }
    }

    /// How things stand. Nothing is sent, and nothing waited for.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let (deposit, promised) = self.till.totals();
        let held = self.session.try_lock().ok();
        let open = held.filter(|session| !session.channel().is_closed());
        let now = self.now();
        let connection = open.map(|session| Connected {
            evidence_age: session.evidence_age(now),
            evidence_left: session.channel().deadline().0.saturating_sub(now.0),
        });
        Standing {
            deposit,
            promised,
            connection,
        }
    }
}
