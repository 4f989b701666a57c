//! The provider's wallet: a seed in a file that only its owner can read, and messages sent from it.
//!
//! Deliberately not here: mnemonics (`contracts::wallet`), what is sent (`settle`, `publish`), and
//! randomness, which the program's `main` draws.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use contracts::CellError;
use contracts::account::Account;
use contracts::chain::Chain;
use contracts::message::Transfer;
use contracts::toncenter::{ChainError, MAX_TRANSACTIONS};
use contracts::transaction::Transaction;
use contracts::wallet::{TransferError, Wallet, WalletKind};
use protocol::digest::{parse_hex, write_hex};
use protocol::nano::{AmountOverflow, Nano};
use protocol::ton::{NetworkId, TonAddress};
use zeroize::{Zeroize as _, Zeroizing};

/// A seed file holds 64 hex digits, perhaps a blank and a kind of wallet, and a line end.
const MAX_SEED_FILE: u64 = 70;
/// A message that the chain did not take by then is void, seconds.
const MESSAGE_SECONDS: u32 = 120;
/// How long to wait for the chain to show what was sent.
pub const CHAIN_PATIENCE: Duration = Duration::from_secs(120);
/// Messages that are made anew when another program took the sequence number.
const ATTEMPTS: usize = 5;
/// What stays in the wallet for the fees of its own transactions.
const FEE_RESERVE: Nano = Nano::from_u64(10_000_000);

/// The wallet cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The seed file cannot be read or made.
    #[error("cannot {action} the seed file `{}`", path.display())]
    File {
        /// What failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the seed.
    #[error("the seed file `{}` can be read by others: chmod 600 it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The file is no seed.
    #[error(
        "the seed file `{}` must hold 64 lower-case hex digits, for a wallet v5r1 also ` v5r1`",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A cell could not be made.
    #[error("cannot make the wallet's message")]
    Transfer(#[from] TransferError),
    /// The embedded code is damaged.
    #[error("cannot derive an address")]
    Cell(#[from] CellError),
    /// Too little in the wallet.
    #[error("the wallet {wallet} holds {held} nano units and needs {needed}")]
    TooLittle {
        /// The wallet.
        wallet: TonAddress,
        /// What it holds.
        held: Nano,
        /// What it needs.
        needed: Nano,
    },
    /// Another program sends from the wallet all the time.
    #[error("another program sends from the wallet {wallet}: nothing was sent")]
    Contended {
        /// The wallet.
        wallet: TonAddress,
    },
    /// An amount left its range.
    #[error("an amount is out of range")]
    Amount(#[from] AmountOverflow),
    /// The chain failed.
    #[error("the chain failed ({})", .0.code())]
    Chain(#[from] ChainError),
}

/// Makes a seed file; an existing one stays as it is.
///
/// # Errors
/// `File`, also when it exists.
pub fn create(path: &Path, seed: [u8; 32]) -> Result<(), WalletError> {
    create_of_kind(path, seed, WalletKind::V4R2)
}

/// The same, of a wallet of some kind.
///
/// # Errors
/// `File`, also when it exists.
pub fn create_of_kind(
    path: &Path,
    mut seed: [u8; 32],
    kind: WalletKind,
) -> Result<(), WalletError> {
    let failed = |source| WalletError::File {
        action: "create",
        path: path.to_owned(),
        source,
    };
    let text = match kind {
        WalletKind::V4R2 => format!("{}\n", SeedHex(&seed)),
        other @ WalletKind::V5R1 => format!("{} {}\n", SeedHex(&seed), other.name()),
    };
    let text = Zeroizing::new(text);
    seed.zeroize();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// Reads the wallet whose seed is in a file.
///
/// # Errors
/// [`WalletError`].
pub fn read(path: &Path, network: NetworkId) -> Result<Wallet, WalletError> {
    let (seed, kind) = read_file(path)?;
    Ok(Wallet::of_kind(kind, &seed, network))
}

/// Reads a file that [`create`] made, of a key that is no wallet's.
///
/// # Errors
/// [`WalletError`].
pub fn read_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, WalletError> {
    let (seed, _) = read_file(path)?;
    Ok(seed)
}

fn read_file(path: &Path) -> Result<(Zeroizing<[u8; 32]>, WalletKind), WalletError> {
    let failed = |source| WalletError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(WalletError::Open {
            path: path.to_owned(),
        });
    }
    let mut text = Zeroizing::new(String::new());
    let malformed = || WalletError::Malformed {
        path: path.to_owned(),
    };
    file.take(MAX_SEED_FILE.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|_| malformed())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let (digits, kind) = match line.split_once(' ') {
        None => (line, WalletKind::V4R2),
        Some((digits, kind)) => (digits, kind.parse().map_err(|_| malformed())?),
    };
    let seed = Zeroizing::new(parse_hex(digits).map_err(|_| malformed())?);
    Ok((seed, kind))
}

struct SeedHex<'a>(&'a [u8; 32]);

impl std::fmt::Display for SeedHex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(self.0, f)
    }
}

/// A wallet on a chain.
#[derive(Debug)]
pub struct Purse {
    /// The chain.
    pub chain: Chain,
    /// The chain's network: the one whose blocks are proven, or by an endpoint's word.
    pub network: NetworkId,
    /// The wallet's address on that network.
    pub address: TonAddress,
    wallet: Wallet,
}

impl Purse {
    /// Opens the wallet of a seed file on the chain behind `chain`.
    ///
    /// # Errors
    /// [`WalletError`].
    pub async fn open(chain: Chain, seed: &Path) -> Result<Self, WalletError> {
        let network = chain.network().await?;
        let wallet = read(seed, network)?;
        Ok(Self {
            chain,
            network,
            address: wallet.address()?,
            wallet,
        })
    }

    /// The wallet's account.
    ///
    /// # Errors
    /// `Chain`.
    pub async fn account(&self) -> Result<Account, WalletError> {
        Ok(self.chain.account(&self.address).await?)
    }

    /// Sends up to four transfers in one message, and waits until the wallet has sent them. What
    /// became of them at their receivers, the caller looks up.
    ///
    /// The wallet may be another program's at the same time: when that one took the sequence number
    /// first, this message is void and is made anew with the next one.
    ///
    /// # Errors
    /// [`WalletError`]; `TooLittle` before anything is sent.
    pub async fn send(&self, transfers: &[Transfer]) -> Result<(), WalletError> {
        self.chain.check_transactions()?;
        for _ in 0..ATTEMPTS {
            let account = self.account().await?;
            let needed = transfers
                .iter()
                .try_fold(FEE_RESERVE, |sum, transfer| sum.plus(transfer.value))?;
            if account.balance < needed {
                return Err(WalletError::TooLittle {
                    wallet: self.address,
                    held: account.balance,
                    needed,
                });
            }
            let seqno = account.wallet_seqno()?;
            let valid_until = account.chain_time.saturating_add(MESSAGE_SECONDS);
            let message = self.wallet.sign(seqno, valid_until, transfers)?;
            match self.chain.send(&message).await {
                Ok(()) => {}
                // Somebody else took the number between the look and the message.
                Err(ChainError::Refused {
                    exit_code: Some(code),
                    ..
                }) if code == self.wallet.kind().wrong_seqno() => continue,
                Err(error) => return Err(error.into()),
            }
            self.chain
                .wait_for_seqno_after(&self.address, seqno, CHAIN_PATIENCE)
                .await?;
            if self.has_sent(transfers, account.last_lt).await? {
                return Ok(());
            }
        }
        Err(WalletError::Contended {
            wallet: self.address,
        })
    }

    /// Whether a transaction of the wallet after logical time `since` sent all of these.
    async fn has_sent(&self, transfers: &[Transfer], since: u64) -> Result<bool, WalletError> {
        let reached = self.account().await?.last_lt;
        // An endpoint that lags behind what is proven would make the message look unsent.
        let latest = self.chain.wait_until(CHAIN_PATIENCE, async || {
            let latest = self.chain.transactions(&self.address, MAX_TRANSACTIONS);
            let latest = latest.await?;
            let is_there = latest.first().is_some_and(|one| one.lt >= reached);
            Ok(is_there.then_some(latest))
        });
        let latest = latest.await?;
        Ok(latest
            .iter()
            .any(|one| one.lt > since && carries(one, transfers)))
    }
}

/// Whether a transaction sent each of these values to its receiver.
fn carries(transaction: &Transaction, transfers: &[Transfer]) -> bool {
    transfers.iter().all(|transfer| {
        let mut sent = transaction.sent.iter();
        sent.any(|sent| sent.to == Some(transfer.to) && sent.value == transfer.value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    const NETWORK: NetworkId = NetworkId(-99);

    #[test]
    fn a_seed_is_kept_for_its_owner_alone_and_never_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("seed");
        create(&path, [7; 32]).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let expected = Wallet::from_seed(&[7; 32], NETWORK).address().unwrap();
        let found = read(&path, NETWORK).unwrap().address().unwrap();
        assert_eq!(found, expected);
        assert!(create(&path, [8; 32]).is_err());
        let still = read(&path, NETWORK).unwrap().address().unwrap();
        assert_eq!(still, expected);
    }

    #[test]
    fn the_kind_of_a_wallet_is_kept_with_its_seed() {
        let place = tempfile::tempdir().unwrap();
        for kind in WalletKind::ALL {
            let path = place.path().join(kind.name());
            create_of_kind(&path, [7; 32], kind).unwrap();
            let found = read(&path, NETWORK).unwrap();
            assert_eq!(found.kind(), kind);
            let expected = Wallet::of_kind(kind, &[7; 32], NETWORK);
            assert_eq!(found.address().unwrap(), expected.address().unwrap());
        }
    }

    #[test]
    fn refuses_a_seed_that_others_can_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("seed");
        create(&path, [7; 32]).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = read(&path, NETWORK).unwrap_err();
            assert!(matches!(refused, WalletError::Open { .. }), "{mode:o}");
        }
    }

    #[test]
    fn refuses_a_file_that_is_no_seed_without_repeating_it() {
        let place = tempfile::tempdir().unwrap();
        let zeros = "00".repeat(32);
        let kinds = ["", "v3", "v5r1 ", " v5r1"].map(|kind| format!("{zeros} {kind}"));
        let others = ["", "00", &"AA".repeat(32), &"00".repeat(33), "\u{e9}"];
        for content in others.into_iter().chain(kinds.iter().map(String::as_str)) {
            let path = place.path().join("seed");
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let refused = read(&path, NETWORK).unwrap_err();
            assert!(matches!(refused, WalletError::Malformed { .. }));
            assert!(content.is_empty() || !refused.to_string().contains(content));
        }
    }
}
