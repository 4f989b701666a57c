//! The registry contract (`tolk/registry.tolk`): its address, its messages, its entries.
//!
//! Not here: what is hashed into a key (`protocol::reference_values`, `protocol::verity`).

use protocol::digest::{MeasurementKey, ModelDigest, ProviderKey};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::dict::RawDict;

use crate::account::Account;
use crate::cells::{self, CellError};
use crate::code;
use crate::message::{OnFailure, StateInit, Transfer, operation};
use crate::toncenter::ChainError;

const OP_ADD: u32 = 0x5247_0001;
const OP_REVOKE: u32 = 0x5247_0002;
const OP_TELL: u32 = 0x5247_0007;
/// Lists of the contract: measurements, models, releases, providers.
const LISTS: u16 = 4;
/// Least and most for prompt, cached and completion tokens, those that count and the next ones.
const BOUND_PAIRS: usize = 6;

/// Sent along with a change: gas, and five years of rent for a new entry. The rest comes back.
pub const CHANGE_VALUE: Nano = Nano::from_u64(100_000_000);
/// Sent along when the registry is deployed: five years of its own rent, 0.116 coins at the prices
/// before 2026.
pub const DEPLOY_VALUE: Nano = Nano::from_u64(200_000_000);

/// Why the contract refused a message: its exit codes.
pub mod exit {
    /// Only the adder adds.
    pub const NOT_ADDER: i32 = 201;
    /// Only the revoker revokes.
    pub const NOT_REVOKER: i32 = 202;
    /// Listed and not revoked.
    pub const ALREADY_LISTED: i32 = 203;
    /// Never listed.
    pub const NOT_LISTED: i32 = 204;
    /// Revoked before.
    pub const ALREADY_REVOKED: i32 = 205;
    /// The value does not cover gas and rent.
    pub const UNDERFUNDED: i32 = 206;
    /// None of the kinds that are listed.
    pub const UNKNOWN_KIND: i32 = 207;
    /// Details are one cell without references.
    pub const DETAILS_TOO_LARGE: i32 = 208;
    /// A least price above the most.
    pub const BAD_BOUNDS: i32 = 209;
    /// Only its holder offers a role.
    pub const NOT_HOLDER: i32 = 210;
    /// Only the named successor accepts a role.
    pub const NOT_SUCCESSOR: i32 = 211;
    /// The delay of a handover is not over.
    pub const TOO_EARLY: i32 = 212;
    /// Neither adder nor revoker.
    pub const UNKNOWN_ROLE: i32 = 213;
    /// Nothing to accept or to veto.
    pub const NOTHING_PENDING: i32 = 214;
    /// A message that the contract does not know.
    pub const UNKNOWN_MESSAGE: i32 = 0xFFFF;
}

/// Who may change a registry, and how long additions wait; it determines the registry's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryTerms {
    /// Who may add.
    pub adder: TonAddress,
    /// Who may revoke.
    pub revoker: TonAddress,
    /// Seconds between an addition and its effect.
    pub delay: u32,
}

/// Names a release: SHA-256 over its record in the log of releases, under a domain of its own
/// (`docs/spec/release.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseKey(pub [u8; 32]);

/// A thing that the registry lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// One published release.
    Release(ReleaseKey),
    /// One image on one machine shape.
    Measurement(MeasurementKey),
    /// One model image.
    Model(ModelDigest),
    /// One provider.
    Provider(ProviderKey),
}

impl Listed {
    const fn kind(&self) -> u8 {
        match self {
            Self::Measurement(_) => 0,
            Self::Model(_) => 1,
            Self::Release(_) => 2,
            Self::Provider(_) => 3,
        }
    }

    /// The getter that answers for it.
    #[must_use]
    pub const fn getter(&self) -> &'static str {
        match self {
            Self::Measurement(_) => "measurement",
            Self::Model(_) => "model",
            Self::Release(_) => "release",
            Self::Provider(_) => "provider",
        }
    }

    /// Its key in the registry.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        match self {
            Self::Release(ReleaseKey(key)) => key,
            Self::Measurement(key) => key.as_bytes(),
            Self::Model(digest) => digest.as_bytes(),
            Self::Provider(key) => key.as_bytes(),
        }
    }
}

/// Whether a listed thing counts at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Never listed.
    Unknown,
    /// Listed; counts from a later time on.
    Pending {
        /// Unix seconds.
        from: u32,
    },
    /// Counts.
    Valid,
    /// Revoked.
    Revoked {
        /// Unix seconds.
        at: u32,
    },
}

/// What the registry says of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryEntry {
    /// Unix time from which it counts; 0 when it was never listed.
    pub valid_from: u32,
    /// Unix time of its revocation; 0 while it stands.
    pub revoked_at: u32,
}

impl RegistryEntry {
    const NEVER: Self = Self {
        valid_from: 0,
        revoked_at: 0,
    };

    /// Whether it counts at `now`, unix seconds. A revocation counts whatever the time.
    #[must_use]
    pub const fn validity(&self, now: u64) -> Validity {
        if self.revoked_at != 0 {
            return Validity::Revoked {
                at: self.revoked_at,
            };
        }
        if self.valid_from == 0 {
            return Validity::Unknown;
        }
        // Widening; `From` is not const.
        #[allow(clippy::as_conversions, reason = "widening, const context")]
        if (self.valid_from as u64) > now {
            return Validity::Pending {
                from: self.valid_from,
            };
        }
        Validity::Valid
    }
}

impl RegistryTerms {
    /// The first state.
    ///
    /// # Errors
    /// `CellError` when the embedded code is damaged.
    pub fn state_init(&self) -> Result<StateInit, CellError> {
        let mut lists = CellBuilder::new();
        lists.store_zeros(LISTS).map_err(CellError::building)?;
        let mut prices = CellBuilder::new();
        prices.store_zeros(32).map_err(CellError::building)?; // nothing is about to change
        for _ in 0..BOUND_PAIRS {
            prices
                .store_u64(0)
                .and_then(|()| prices.store_u64(u64::MAX))
                .map_err(CellError::building)?;
        }
        let mut data = CellBuilder::new();
        data.store_u32(self.delay)
            .and_then(|()| data.store_zeros(32 + 256)) // version, head of the log
            .map_err(CellError::building)?;
        for part in [lists, prices, role(&self.adder)?, role(&self.revoker)?] {
            part.build()
                .and_then(|part| data.store_reference(part))
                .map_err(CellError::building)?;
        }
        StateInit::of(&code::REGISTRY, data)
    }

    /// The registry's address.
    ///
    /// # Errors
    /// Those of [`RegistryTerms::state_init`].
    pub fn address(&self) -> Result<TonAddress, CellError> {
        Ok(self.state_init()?.address())
    }

    /// Deploys the registry.
    ///
    /// # Errors
    /// Those of [`RegistryTerms::state_init`].
    pub fn deploy(&self) -> Result<Transfer, CellError> {
        let deploy = self.state_init()?;
        Ok(Transfer {
            to: deploy.address(),
            value: DEPLOY_VALUE,
            on_failure: OnFailure::Return,
            deploy: Some(deploy),
            body: None,
        })
    }
}

/// A role that nobody was offered.
fn role(holder: &TonAddress) -> Result<CellBuilder, CellError> {
    let mut role = CellBuilder::new();
    cells::store_address(&mut role, holder)?;
    role.store_zeros(32).map_err(CellError::building)?;
    cells::store_no_address(&mut role)?;
    Ok(role)
}

/// What the contract stores, as far as a reader of its lists and its log needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryState {
    /// Seconds between an addition and its effect.
    pub delay: u32,
    /// Number of changes so far.
    pub version: u32,
    /// Hash of the last record of the log; zeros before the first.
    pub head: [u8; 32],
    lists: Cell,
}

impl RegistryState {
    /// Reads the contract's account.
    ///
    /// # Errors
    /// `OtherCode` when no registry lives there, `Malformed` for another layout.
    pub fn of_account(account: &Account) -> Result<Self, ChainError> {
        let data = account.data_under(&code::REGISTRY)?;
        let data = data.ok_or(ChainError::OtherCode)?;
        Self::parse(data).map_err(|_| ChainError::Malformed { what: "registry" })
    }

    /// Reads the contract's data cell.
    ///
    /// # Errors
    /// `Malformed` for any other layout.
    pub fn parse(data: &Cell) -> Result<Self, CellError> {
        let mut slice = data.as_slice().map_err(CellError::parsing)?;
        let delay = slice.load_u32().map_err(CellError::parsing)?;
        let version = slice.load_u32().map_err(CellError::parsing)?;
        let head = slice.load_u256().map_err(CellError::parsing)?.0;
        let lists = slice.load_reference_cloned().map_err(CellError::parsing)?;
        for _ in ["prices", "adder", "revoker"] {
            slice.load_reference().map_err(CellError::parsing)?;
        }
        cells::finish(&slice)?;
        Ok(Self {
            delay,
            version,
            head,
            lists,
        })
    }

    /// What the registry says of something.
    ///
    /// # Errors
    /// `Malformed` when the lists are of another layout.
    pub fn entry(&self, listed: &Listed) -> Result<RegistryEntry, CellError> {
        let mut lists = self.lists.as_slice().map_err(CellError::parsing)?;
        let mut list = None;
        for _ in 0..=listed.kind() {
            list = match lists.load_bit().map_err(CellError::parsing)? {
                true => Some(lists.load_reference_cloned().map_err(CellError::parsing)?),
                false => None,
            };
        }
        let key = CellBuilder::build_from(HashBytes(*listed.key())).map_err(CellError::building)?;
        let list = RawDict::<256>::from(list);
        let found = list
            .get(key.as_slice().map_err(CellError::parsing)?)
            .map_err(CellError::parsing)?;
        let Some(mut found) = found else {
            return Ok(RegistryEntry::NEVER);
        };
        Ok(RegistryEntry {
            valid_from: found.load_u32().map_err(CellError::parsing)?,
            revoked_at: found.load_u32().map_err(CellError::parsing)?,
        })
    }
}

/// The adder's message: it counts after the registry's delay.
///
/// # Errors
/// `CellError` never in practice.
pub fn add(registry: &TonAddress, listed: &Listed) -> Result<Transfer, CellError> {
    Transfer::to_contract(registry, CHANGE_VALUE, addition_body(listed)?)
}

/// The revoker's message: it counts at once.
///
/// # Errors
/// `CellError` never in practice.
pub fn revoke(registry: &TonAddress, listed: &Listed) -> Result<Transfer, CellError> {
    Transfer::to_contract(registry, CHANGE_VALUE, body(OP_REVOKE, listed)?)
}

/// Has the registry tell another contract what it lists, with the asker's own words; anyone may
/// ask. What is left of the value goes on with it.
///
/// # Errors
/// `CellError` never in practice.
pub fn tell(
    registry: &TonAddress,
    listed: &Listed,
    to: &TonAddress,
    payload: Option<Cell>,
) -> Result<Transfer, CellError> {
    let mut body = body(OP_TELL, listed)?;
    cells::store_address(&mut body, to)?;
    match payload {
        Some(payload) => body
            .store_bit_one()
            .and_then(|()| body.store_reference(payload)),
        None => body.store_bit_zero(),
    }
    .map_err(CellError::building)?;
    Transfer::to_contract(registry, CHANGE_VALUE, body)
}

/// The body of [`add`]'s message as a bag of cells, for a wallet that is not ours.
///
/// # Errors
/// `CellError` never in practice.
pub fn addition(listed: &Listed) -> Result<Vec<u8>, CellError> {
    let body = addition_body(listed)?.build();
    Ok(cells::encode(&body.map_err(CellError::building)?))
}

fn body(op: u32, listed: &Listed) -> Result<CellBuilder, CellError> {
    let mut body = operation(op)?;
    body.store_u8(listed.kind())
        .and_then(|()| body.store_u256(&HashBytes(*listed.key())))
        .map_err(CellError::building)?;
    Ok(body)
}

/// Without details.
fn addition_body(listed: &Listed) -> Result<CellBuilder, CellError> {
    let mut body = body(OP_ADD, listed)?;
    body.store_bit_zero().map_err(CellError::building)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_s_payload_is_the_body_that_our_own_wallet_sends() {
        let registry: TonAddress = format!("0:{}", "11".repeat(32)).parse().unwrap();
        let listed = Listed::Release(ReleaseKey([0xab; 32]));
        let payload = cells::decode(&addition(&listed).unwrap()).unwrap();
        assert_eq!(
            Some(&payload),
            add(&registry, &listed).unwrap().body.as_ref()
        );
        let mut bits = payload.as_slice().unwrap();
        assert_eq!(bits.load_u32().unwrap(), 0x5247_0001);
        assert_eq!(bits.load_u8().unwrap(), 2);
        assert_eq!(bits.load_u256().unwrap().0, [0xab; 32]);
        assert!(!bits.load_bit().unwrap(), "no details");
        cells::finish(&bits).unwrap();
    }

    #[test]
    fn an_entry_counts_from_its_date_until_it_is_revoked() {
        let entry = RegistryEntry {
            valid_from: 100,
            revoked_at: 0,
        };
        assert_eq!(entry.validity(99), Validity::Pending { from: 100 });
        assert_eq!(entry.validity(100), Validity::Valid);
        let revoked = RegistryEntry {
            revoked_at: 50,
            ..entry
        };
        assert_eq!(revoked.validity(10), Validity::Revoked { at: 50 });
        let never = RegistryEntry {
            valid_from: 0,
            revoked_at: 0,
        };
        assert_eq!(never.validity(u64::MAX), Validity::Unknown);
    }
}
