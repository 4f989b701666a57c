//! A wallet whose key another program holds: what it shows of itself, and transfers in the words in
//! which it is asked to make them (TON Connect).
//!
//! Not here: how it is reached, and whether it agreed (`client::wallet`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};

use super::WalletKind;
use crate::cells::{self, CellError};
use crate::message::{OnFailure, StateInit, Transfer};

/// Why a first state is not that of a wallet known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShownWalletError {
    /// Not a first state.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// Other code than v4r2 and v5r1.
    #[error("the wallet's contract is neither v4r2 nor v5r1")]
    OtherCode,
    /// Its data holds no public key.
    #[error("the wallet's data holds no public key")]
    Key,
}

/// A wallet, by its first state: that decides address and key, whoever shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownWallet {
    /// Which contract.
    pub kind: WalletKind,
    /// Its address.
    pub address: TonAddress,
    /// The key whose signatures it takes.
    pub public_key: VerifyingKey,
}

impl ShownWallet {
    /// Reads a first state in a bag of cells.
    ///
    /// # Errors
    /// See [`ShownWalletError`].
    pub fn of_first_state(bag: &[u8]) -> Result<Self, ShownWalletError> {
        let first = StateInit::decode(bag)?;
        let (code, data) = first.code_and_data()?;
        let kind = WalletKind::of_code(&code).ok_or(ShownWalletError::OtherCode)?;
        let key = kind.public_key(&data)?;
        Ok(Self {
            kind,
            address: first.address(),
            public_key: VerifyingKey::from_bytes(&key).map_err(|_| ShownWalletError::Key)?,
        })
    }
}

/// A transfer as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedTransfer {
    /// The receiver, in the form that also says what happens when it fails.
    pub address: String,
    /// Coins sent along.
    pub amount: Nano,
    /// The body, as a bag of cells.
    pub payload: Option<Vec<u8>>,
    /// The receiver's first state, as a bag of cells.
    pub state_init: Option<Vec<u8>>,
}

impl Transfer {
    /// This transfer, in words for another program.
    #[must_use]
    pub fn asked(&self, network: NetworkId) -> AskedTransfer {
        AskedTransfer {
            address: friendly(&self.to, self.on_failure, network),
            amount: self.value,
            payload: self.body.as_ref().map(cells::encode),
            state_init: self.deploy.as_ref().map(StateInit::encode),
        }
    }
}

/// The test network's id: addresses say it, so that nobody sends coins to one of them.
const TEST_NETWORK: NetworkId = NetworkId(-3);

/// TEP-2: flags, workchain, account, CRC-16, in base64url.
fn friendly(address: &TonAddress, on_failure: OnFailure, network: NetworkId) -> String {
    let flags: u8 = match on_failure {
        OnFailure::Return => 0x11,
        OnFailure::Keep => 0x51,
    };
    let test = if network == TEST_NETWORK { 0x80 } else { 0 };
    let mut bytes = vec![flags | test, address.workchain.cast_unsigned()];
    bytes.extend_from_slice(address.account.as_bytes());
    bytes.extend_from_slice(&crc16(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// CRC-16/XMODEM: polynomial 0x1021, begun with 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut sum: u16, byte| {
        sum ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = sum & 0x8000 != 0;
            sum <<= 1;
            if carry {
                sum ^= 0x1021;
            }
        }
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::receiver_of_external;
    use crate::wallet::Wallet;

    #[test]
    fn a_wallet_is_known_by_its_first_state() {
        for kind in WalletKind::ALL {
            let wallet = Wallet::of_kind(kind, &[7; 32], NetworkId::MAIN);
            let first = wallet.state_init().unwrap();
            let shown = ShownWallet::of_first_state(&first.encode()).unwrap();
            assert_eq!(shown.kind, kind);
            assert_eq!(shown.address, wallet.address().unwrap());
            assert_eq!(shown.public_key, wallet.key.verifying_key());
        }
    }

    #[test]
    fn other_code_and_other_forms_are_no_wallet() {
        let wallet = Wallet::from_seed(&[7; 32], NetworkId::MAIN);
        let address = wallet.address().unwrap();
        let terms = crate::channel::ChannelTerms {
            payer: address,
            payee: address,
            payer_key: protocol::digest::PayerKey([1; 32]),
            window: 1,
        };
        let channel = terms.state_init().unwrap().encode();
        let refused = ShownWallet::of_first_state(&channel);
        assert_eq!(refused, Err(ShownWalletError::OtherCode));
        let (_, data) = wallet.state_init().unwrap().code_and_data().unwrap();
        for bag in [Vec::new(), vec![0; 64], cells::encode(&data)] {
            let refused = ShownWallet::of_first_state(&bag);
            assert_eq!(refused, Err(CellError::Malformed.into()));
        }
    }

    /// The pair of the specification of TON Connect, requests-responses.md, "sendTransaction".
    #[test]
    fn an_address_is_written_as_wallets_read_it() {
        let to: TonAddress = "0:412410771da82cba306a55fa9e0d43c9d245e38133cb58f1457dfb8d5cd8892f"
            .parse()
            .unwrap();
        let written = friendly(&to, OnFailure::Return, NetworkId::MAIN);
        assert_eq!(written, "EQBBJBB3HagsujBqVfqeDUPJ0kXjgTPLWPFFffuNXNiJL0aA");
        let kept = friendly(&to, OnFailure::Keep, NetworkId::MAIN);
        assert!(kept.starts_with("UQBBJBB3"), "{kept}");
        let test = friendly(&to, OnFailure::Return, TEST_NETWORK);
        assert!(test.starts_with("kQBBJBB3"), "{test}");
    }

    #[test]
    fn the_receiver_of_a_signed_message_is_its_wallet() {
        for kind in WalletKind::ALL {
            let wallet = Wallet::of_kind(kind, &[7; 32], NetworkId::MAIN);
            let to = wallet.address().unwrap();
            let one = crate::channel::start_close(&to).unwrap();
            for seqno in [0, 9] {
                let signed = wallet.sign(seqno, 1, std::slice::from_ref(&one)).unwrap();
                assert_eq!(receiver_of_external(&signed), Ok(to));
            }
            let internal = cells::encode(&one.cell().unwrap());
            assert_eq!(receiver_of_external(&internal), Err(CellError::Malformed));
        }
    }
}
