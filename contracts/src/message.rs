//! Messages: what a wallet sends to a contract, what reaches the chain from outside, and the first
//! state of an account together with the address that follows from it.

use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use tycho_types::cell::{Cell, CellBuilder, CellSlice};

use crate::cells::{self, CellError};
use crate::code::Code;

/// Workchain of every contract of this project.
pub const BASECHAIN: i8 = 0;

/// The form of every first state here: no split depth, not special, code, data, no library.
const CODE_AND_DATA: u8 = 0b00110;

/// The first state of an account: it determines the account's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateInit(Cell);

impl StateInit {
    /// The first state of one of the committed contracts.
    pub(crate) fn of(code: &Code, data: CellBuilder) -> Result<Self, CellError> {
        Self::new(code.cell()?, data.build().map_err(CellError::building)?)
    }

    /// Of any code and data.
    ///
    /// # Errors
    /// `CellError` never in practice: two references fit.
    pub fn new(code: Cell, data: Cell) -> Result<Self, CellError> {
        let mut state = CellBuilder::new();
        state
            .store_small_uint(CODE_AND_DATA, 5)
            .and_then(|()| state.store_reference(code))
            .and_then(|()| state.store_reference(data))
            .and_then(|()| state.build())
            .map(Self)
            .map_err(CellError::building)
    }

    /// One that another program wrote, from a bag of cells: code and data, and nothing besides.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn decode(bag: &[u8]) -> Result<Self, CellError> {
        let cell = cells::decode(bag)?;
        let mut slice = cell.as_slice().map_err(CellError::parsing)?;
        let form = slice.load_small_uint(5).map_err(CellError::parsing)?;
        let (code, data) = load_code_and_data(&mut slice)?;
        cells::finish(&slice)?;
        if form != CODE_AND_DATA {
            return Err(CellError::Malformed);
        }
        Self::new(code, data)
    }

    /// As a bag of cells.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cells::encode(&self.0)
    }

    pub(crate) fn code_and_data(&self) -> Result<(Cell, Cell), CellError> {
        let mut slice = self.0.as_slice().map_err(CellError::parsing)?;
        load_code_and_data(&mut slice)
    }

    /// The address at which an account with this first state lives.
    #[must_use]
    pub fn address(&self) -> TonAddress {
        TonAddress {
            workchain: BASECHAIN,
            account: AccountId(self.0.repr_hash().0),
        }
    }

    pub(crate) fn cell(&self) -> Cell {
        self.0.clone()
    }
}

fn load_code_and_data(slice: &mut CellSlice<'_>) -> Result<(Cell, Cell), CellError> {
    let code = slice.load_reference_cloned().map_err(CellError::parsing)?;
    let data = slice.load_reference_cloned().map_err(CellError::parsing)?;
    Ok((code, data))
}

/// What happens to the value of a message whose receiver fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It comes back, less fees.
    Return,
    /// It stays with the receiver, which need not exist yet.
    Keep,
}

/// A message for a wallet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The receiver.
    pub to: TonAddress,
    /// Coins sent along.
    pub value: Nano,
    /// What happens to the value when the receiver fails.
    pub on_failure: OnFailure,
    /// Deploys the receiver when it has no state yet.
    pub deploy: Option<StateInit>,
    /// The message's body; none for a plain transfer.
    pub body: Option<Cell>,
}

impl Transfer {
    /// A message to a contract; its value comes back when the contract refuses it.
    pub(crate) fn to_contract(
        to: &TonAddress,
        value: Nano,
        body: CellBuilder,
    ) -> Result<Self, CellError> {
        Ok(Self {
            to: *to,
            value,
            on_failure: OnFailure::Return,
            deploy: None,
            body: Some(body.build().map_err(CellError::building)?),
        })
    }

    /// The same to a contract that need not be there yet.
    pub(crate) fn deploying(
        first: StateInit,
        value: Nano,
        body: CellBuilder,
    ) -> Result<Self, CellError> {
        let transfer = Self::to_contract(&first.address(), value, body)?;
        Ok(Self {
            deploy: Some(first),
            ..transfer
        })
    }

    /// The message cell, its source and fees to be filled in by the network.
    pub(crate) fn cell(&self) -> Result<Cell, CellError> {
        let bounce = match self.on_failure {
            OnFailure::Return => 1,
            OnFailure::Keep => 0,
        };
        let mut message = CellBuilder::new();
        // Internal, instant routing off, bounce, not bounced.
        message
            .store_small_uint(0b0100 | (bounce << 1), 4)
            .map_err(CellError::building)?;
        cells::store_no_address(&mut message)?;
        cells::store_address(&mut message, &self.to)?;
        cells::store_coins(&mut message, self.value)?;
        // No other currencies; routing fee and forwarding fee 0; lt and time 0.
        message
            .store_zeros(1 + 4 + 4 + 64 + 32)
            .map_err(CellError::building)?;
        store_state_and_body(&mut message, self.deploy.as_ref(), self.body.clone())?;
        message.build().map_err(CellError::building)
    }
}

/// A body that begins with its operation's code.
pub(crate) fn operation(code: u32) -> Result<CellBuilder, CellError> {
    let mut body = CellBuilder::new();
    body.store_u32(code).map_err(CellError::building)?;
    Ok(body)
}

/// A message from outside the chain, as a bag of cells for `send_boc`.
pub(crate) fn external(
    to: &TonAddress,
    deploy: Option<&StateInit>,
    body: Cell,
) -> Result<Vec<u8>, CellError> {
    let mut message = CellBuilder::new();
    message
        .store_small_uint(0b10, 2)
        .map_err(CellError::building)?;
    cells::store_no_address(&mut message)?;
    cells::store_address(&mut message, to)?;
    cells::store_coins(&mut message, Nano::ZERO)?;
    store_state_and_body(&mut message, deploy, Some(body))?;
    let root = message.build().map_err(CellError::building)?;
    Ok(cells::encode(&root))
}

/// To whom a message from outside the chain goes, in a bag of cells that another program made.
///
/// # Errors
/// `Malformed` for any other message.
pub fn receiver_of_external(bag: &[u8]) -> Result<TonAddress, CellError> {
    let root = cells::decode(bag)?;
    let mut message = root.as_slice().map_err(CellError::parsing)?;
    let kind = message.load_small_uint(2).map_err(CellError::parsing)?;
    let source = message.load_small_uint(2).map_err(CellError::parsing)?;
    match (kind, source) {
        (0b10, 0) => cells::load_address(&mut message),
        _ => Err(CellError::Malformed),
    }
}

/// Both always by reference: one form, whatever their size.
fn store_state_and_body(
    message: &mut CellBuilder,
    deploy: Option<&StateInit>,
    body: Option<Cell>,
) -> Result<(), CellError> {
    let store = || {
        match deploy {
            Some(state) => {
                message.store_small_uint(0b11, 2)?;
                message.store_reference(state.cell())?;
            }
            None => message.store_bit_zero()?,
        }
        match body {
            Some(body) => {
                message.store_bit_one()?;
                message.store_reference(body)
            }
            None => message.store_bit_zero(),
        }
    };
    store().map_err(CellError::building)
}
