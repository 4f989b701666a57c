//! The data of the original Cocoon's root contract: which network it describes, who serves there
//! and at what prices.
//!
//! Read only, and strict: struct versions 1 to 4, nothing left over anywhere, every dictionary
//! bounded. Another version is refused, not guessed. Deliberately not here: its other contracts,
//! its messages, and any trust in what the data says.

use protocol::nano::Nano;
use protocol::ton::TonAddress;
use tycho_types::cell::{Cell, CellSlice, Load as _};
use tycho_types::dict::RawDict;

use crate::cells::{self, CellError};

/// Entries of one dictionary that are read at most.
pub const MAX_ENTRIES: usize = 1024;
/// A multiplier's unit: 10000 is 1.0. What older versions leave out is that.
const ONE: u32 = 10_000;
/// The layouts that are described.
const KNOWN_VERSIONS: core::ops::RangeInclusive<u8> = 1..=4;

/// Why the data was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not the layout of its version, or not a bag of one root.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// A version that nobody has described.
    #[error("struct version {found} is not one of 1 to 4")]
    UnknownVersion {
        /// The version.
        found: u8,
    },
    /// A provider entry of another kind than an address, or one that is not text.
    #[error("a provider entry is of an unknown kind")]
    UnknownProvider,
    /// A dictionary is longer than any real one.
    #[error("a dictionary has more than {MAX_ENTRIES} entries")]
    TooMany,
}

impl RootError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Cell(_) => "cocoon-root-malformed",
            Self::UnknownVersion { .. } => "cocoon-root-version",
            Self::UnknownProvider => "cocoon-root-provider",
            Self::TooMany => "cocoon-root-too-many",
        }
    }
}

/// One registered proxy: where workers and clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its number.
    pub seqno: u32,
    /// Where workers connect, `ip:port`.
    pub for_workers: String,
    /// Where clients connect, `ip:port`; the same when only one is given.
    pub for_clients: String,
}

/// Prices and terms. Multipliers are ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Layout of the data.
    pub struct_version: u8,
    /// Version of these terms.
    pub params_version: u32,
    /// Tells networks apart; 239 is the main one.
    pub unique_id: u32,
    /// Whether it is a test network.
    pub is_test: bool,
    /// Price of a token.
    pub price_per_token: Nano,
    /// What of it the worker gets.
    pub worker_fee_per_token: Nano,
    /// For prompt tokens.
    pub prompt_multiplier: u32,
    /// For cached prompt tokens.
    pub cached_multiplier: u32,
    /// For completion tokens.
    pub completion_multiplier: u32,
    /// For reasoning tokens.
    pub reasoning_multiplier: u32,
    /// Seconds before a proxy closes.
    pub proxy_delay: u32,
    /// Seconds before a client closes.
    pub client_delay: u32,
    /// Least stake of a proxy.
    pub min_proxy_stake: Nano,
    /// Least stake of a client.
    pub min_client_stake: Nano,
}

/// The whole data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CocoonRoot {
    /// Who may change everything at once, without delay.
    pub owner: TonAddress,
    /// Counts changes.
    pub version: u32,
    /// Registered proxies, by number.
    pub providers: Vec<Provider>,
    /// The number that was given last.
    pub last_proxy_seqno: u32,
    /// Hashes of allowed proxy images.
    pub proxy_hashes: Vec<[u8; 32]>,
    /// Hashes of allowed worker images.
    pub worker_hashes: Vec<[u8; 32]>,
    /// SHA-256 of allowed models' names.
    pub model_hashes: Vec<[u8; 32]>,
    /// Prices and terms.
    pub params: Params,
}

impl CocoonRoot {
    /// Reads the data as a bag of cells.
    ///
    /// # Errors
    /// See [`RootError`].
    pub fn parse(bag: &[u8]) -> Result<Self, RootError> {
        Self::of_cell(&cells::decode(bag)?)
    }

    /// Reads the data of an account.
    ///
    /// # Errors
    /// See [`RootError`].
    pub fn of_cell(data: &Cell) -> Result<Self, RootError> {
        let mut slice = data.as_slice().map_err(CellError::parsing)?;
        let owner = cells::load_address(&mut slice)?;
        let version = slice.load_u32().map_err(CellError::parsing)?;
        let lists = slice
            .load_reference_as_slice()
            .map_err(CellError::parsing)?;
        let params = slice
            .load_reference_as_slice()
            .map_err(CellError::parsing)?;
        let params = read_params(params)?;
        if params.struct_version >= 4 {
            let manager = slice
                .load_reference_as_slice()
                .map_err(CellError::parsing)?;
            check_key_manager(manager)?;
        }
        cells::finish(&slice)?;
        let lists = read_lists(lists)?;
        Ok(Self {
            owner,
            version,
            providers: lists.providers,
            last_proxy_seqno: lists.last_proxy_seqno,
            proxy_hashes: lists.proxy_hashes,
            worker_hashes: lists.worker_hashes,
            model_hashes: lists.model_hashes,
            params,
        })
    }
}

struct Lists {
    proxy_hashes: Vec<[u8; 32]>,
    providers: Vec<Provider>,
    last_proxy_seqno: u32,
    worker_hashes: Vec<[u8; 32]>,
    model_hashes: Vec<[u8; 32]>,
}

/// In the order of the contract that is on the chain; a port of it to another language has another.
fn read_lists(mut slice: CellSlice<'_>) -> Result<Lists, RootError> {
    let proxy_hashes = read_hashes(&mut slice)?;
    let registered = RawDict::<32>::load_from(&mut slice).map_err(CellError::parsing)?;
    let lists = Lists {
        proxy_hashes,
        providers: read_providers(&registered)?,
        last_proxy_seqno: slice.load_u32().map_err(CellError::parsing)?,
        worker_hashes: read_hashes(&mut slice)?,
        model_hashes: read_hashes(&mut slice)?,
    };
    cells::finish(&slice)?;
    Ok(lists)
}

fn read_hashes(slice: &mut CellSlice<'_>) -> Result<Vec<[u8; 32]>, RootError> {
    let all = RawDict::<256>::load_from(slice).map_err(CellError::parsing)?;
    let mut hashes = Vec::new();
    for entry in all.iter() {
        let (key, value) = entry.map_err(CellError::parsing)?;
        cells::finish(&value)?;
        let hash = key
            .as_data_slice()
            .load_u256()
            .map_err(CellError::parsing)?;
        if hashes.len() >= MAX_ENTRIES {
            return Err(RootError::TooMany);
        }
        hashes.push(hash.0);
    }
    Ok(hashes)
}

fn read_providers(registered: &RawDict<32>) -> Result<Vec<Provider>, RootError> {
    let mut providers = Vec::new();
    for entry in registered.iter() {
        let (key, mut value) = entry.map_err(CellError::parsing)?;
        let seqno = key.as_data_slice().load_u32().map_err(CellError::parsing)?;
        let text = read_proxy_info(&mut value)?;
        cells::finish(&value)?;
        let (for_workers, for_clients) = text.split_once(' ').unwrap_or((&text, &text));
        if !is_endpoint(for_workers) || !is_endpoint(for_clients) {
            return Err(RootError::UnknownProvider);
        }
        if providers.len() >= MAX_ENTRIES {
            return Err(RootError::TooMany);
        }
        providers.push(Provider {
            seqno,
            for_workers: for_workers.to_owned(),
            for_clients: for_clients.to_owned(),
        });
    }
    Ok(providers)
}

/// An IPv4 address and a port, as that network's own programs read it.
fn is_endpoint(text: &str) -> bool {
    text.parse::<std::net::SocketAddrV4>().is_ok()
}

fn read_proxy_info(slice: &mut CellSlice<'_>) -> Result<String, RootError> {
    let head = slice.load_u8().map_err(CellError::parsing)?;
    // One bit of kind, 0, and seven of length.
    if head & 0x80 != 0 {
        return Err(RootError::UnknownProvider);
    }
    let mut text = vec![0; usize::from(head)];
    let bits = u16::from(head).saturating_mul(8);
    slice
        .load_raw(&mut text, bits)
        .map_err(CellError::parsing)?;
    String::from_utf8(text).map_err(|_| RootError::UnknownProvider)
}

fn read_params(mut slice: CellSlice<'_>) -> Result<Params, RootError> {
    let version = slice.load_u8().map_err(CellError::parsing)?;
    if !KNOWN_VERSIONS.contains(&version) {
        return Err(RootError::UnknownVersion { found: version });
    }
    let from = |since: u8, slice: &mut CellSlice<'_>| -> Result<u32, CellError> {
        if version < since {
            return Ok(ONE);
        }
        slice.load_u32().map_err(CellError::parsing)
    };
    let params = Params {
        struct_version: version,
        params_version: slice.load_u32().map_err(CellError::parsing)?,
        unique_id: slice.load_u32().map_err(CellError::parsing)?,
        is_test: slice.load_bit().map_err(CellError::parsing)?,
        price_per_token: cells::load_coins(&mut slice)?,
        worker_fee_per_token: cells::load_coins(&mut slice)?,
        prompt_multiplier: from(3, &mut slice)?,
        cached_multiplier: from(2, &mut slice)?,
        completion_multiplier: from(3, &mut slice)?,
        reasoning_multiplier: from(2, &mut slice)?,
        proxy_delay: slice.load_u32().map_err(CellError::parsing)?,
        client_delay: slice.load_u32().map_err(CellError::parsing)?,
        min_proxy_stake: cells::load_coins(&mut slice)?,
        min_client_stake: cells::load_coins(&mut slice)?,
    };
    // The code of proxies, workers and clients: there or not, and not looked at.
    for _ in 0..3 {
        if slice.load_bit().map_err(CellError::parsing)? {
            slice.load_reference().map_err(CellError::parsing)?;
        }
    }
    cells::finish(&slice)?;
    Ok(params)
}

/// Read for its form only: nothing here relies on those keys.
fn check_key_manager(mut slice: CellSlice<'_>) -> Result<(), RootError> {
    let keys = RawDict::<256>::load_from(&mut slice).map_err(CellError::parsing)?;
    for (count, entry) in keys.iter().enumerate() {
        let (_, mut value) = entry.map_err(CellError::parsing)?;
        value.load_u8().map_err(CellError::parsing)?;
        value.load_u32().map_err(CellError::parsing)?;
        cells::finish(&value)?;
        if count >= MAX_ENTRIES {
            return Err(RootError::TooMany);
        }
    }
    slice.load_u256().map_err(CellError::parsing)?;
    slice.load_u256().map_err(CellError::parsing)?;
    read_proxy_info(&mut slice)?;
    cells::finish(&slice)?;
    Ok(())
}
