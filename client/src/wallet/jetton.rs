//! What a channel in a jetton needs beyond one in coins: it learns its jetton wallet before the
//! first deposit, deposits go through the payer's jetton wallet, and what bounced is sent again.
//!
//! Where the payer's jetton wallet is, minter and endpoint say; who says it wrongly can keep what
//! is attached to one message, and no jettons. Not here: which minters to trust.

use contracts::chain::Chain;
use contracts::jetton_channel::{self, JettonChannelState, JettonTerms, Side};
use contracts::message::Transfer;
use contracts::toncenter::ChainError;
use protocol::nano::Nano;

use super::{ChannelFile, ChannelTo, Ledger, Purse, WalletError};

/// The query id of a deposit: nobody reads it.
const DEPOSIT_QUERY: u64 = 0;

impl ChannelFile {
    /// The terms of a channel in a jetton.
    #[must_use]
    pub fn jetton_terms(&self) -> Option<JettonTerms> {
        self.jetton.map(|jetton| JettonTerms {
            channel: self.terms(),
            minter: jetton.minter,
        })
    }
}

impl Purse {
    /// Deploys a channel in a jetton and has it ask the minter for its wallet, unless it knows it.
    /// Nothing is sent while there is too little to deposit, or no minter.
    pub(super) async fn introduce(
        &self,
        chain: &Chain,
        (file, terms): (&ChannelFile, &JettonTerms),
        deposit: Nano,
    ) -> Result<(), WalletError> {
        self.jetton_deposit(chain, terms, deposit).await?;
        let known = async || {
            let shown = chain.payment_channel(&file.channel).await?;
            Ok(shown.and_then(|shown| shown.jetton()?.wallet))
        };
        if known().await?.is_some() {
            return Ok(());
        }
        self.send(chain, terms.discover()?).await?;
        match chain.wait_until(self.patience, known).await {
            Ok(_) => Ok(()),
            Err(ChainError::TimedOut(_)) => Err(WalletError::NoJettonWallet),
            Err(error) => Err(error.into()),
        }
    }

    /// The transfer of jettons that opens a channel or adds to its deposit.
    pub(super) async fn jetton_deposit(
        &self,
        chain: &Chain,
        terms: &JettonTerms,
        amount: Nano,
    ) -> Result<Transfer, WalletError> {
        let own = chain.jetton_wallet(&terms.minter, &self.address()?).await?;
        if own.balance < amount {
            return Err(WalletError::TooFewJettons {
                needed: amount,
                held: own.balance,
            });
        }
        Ok(terms.deposit(&own.address, DEPOSIT_QUERY, amount)?)
    }

    /// Has what bounced on its way to one side of a channel sent again. What the channel then
    /// shows: a jetton wallet that is still locked bounces it again.
    ///
    /// # Errors
    /// `NothingDue`; see [`WalletError`].
    pub async fn resend(
        &self,
        chain: &Chain,
        to: &ChannelTo,
        side: Side,
    ) -> Result<JettonChannelState, WalletError> {
        self.check_network(chain).await?;
        let ledger = self.own(Ledger::open(self.channel_to(to)?)?)?;
        let at = ledger.file().channel;
        let before = chain.account(&at).await?;
        let shown = before.payment_channel()?;
        let shown = shown.as_ref().and_then(|shown| shown.jetton());
        let shown = shown.ok_or(WalletError::NoChannel)?;
        if due(shown, side) == Nano::ZERO {
            return Err(WalletError::NothingDue);
        }
        self.send(chain, jetton_channel::resend(&at, side)?).await?;
        let later = chain.wait_until(self.patience, async || {
            let account = chain.account(&at).await?;
            let shown = account.payment_channel()?;
            let shown = shown.filter(|_| account.last_lt > before.last_lt);
            Ok(shown.and_then(|shown| shown.jetton().copied()))
        });
        Ok(later.await?)
    }
}

/// What bounced on its way to a side.
const fn due(shown: &JettonChannelState, side: Side) -> Nano {
    match side {
        Side::Payer => shown.due_payer,
        Side::Payee => shown.due_payee,
    }
}
