//! The committed code of the contracts and of the wallet, each checked against its committed hash.

use tycho_types::cell::Cell;

use crate::cells::{self, CellError};

/// One contract's code.
pub(crate) struct Code {
    bag: &'static [u8],
    hash: &'static str,
}

/// `tolk/channel.tolk`, compiled.
pub(crate) const CHANNEL: Code = Code {
    bag: include_bytes!("../compiled/channel.boc"),
    hash: include_str!("../compiled/channel.hash"),
};
/// `tolk/jetton-channel.tolk`, compiled.
pub(crate) const JETTON_CHANNEL: Code = Code {
    bag: include_bytes!("../compiled/jetton-channel.boc"),
    hash: include_str!("../compiled/jetton-channel.hash"),
};
/// `tolk/registry.tolk`, compiled.
pub(crate) const REGISTRY: Code = Code {
    bag: include_bytes!("../compiled/registry.boc"),
    hash: include_str!("../compiled/registry.hash"),
};
/// `tolk/stake.tolk`, compiled.
pub(crate) const STAKE: Code = Code {
    bag: include_bytes!("../compiled/stake.boc"),
    hash: include_str!("../compiled/stake.hash"),
};
/// The standard wallet v4r2.
pub(crate) const WALLET_V4R2: Code = Code {
    bag: include_bytes!("../compiled/wallet-v4r2.boc"),
    hash: include_str!("../compiled/wallet-v4r2.hash"),
};

/// The standard wallet v5r1.
pub(crate) const WALLET_V5R1: Code = Code {
    bag: include_bytes!("../compiled/wallet-v5r1.boc"),
    hash: include_str!("../compiled/wallet-v5r1.hash"),
};

impl Code {
    pub(crate) fn cell(&self) -> Result<Cell, CellError> {
        let cell = cells::decode(self.bag)?;
        if self.is(&cell) {
            Ok(cell)
        } else {
            Err(CellError::Malformed)
        }
    }

    /// Whether this is the very code.
    pub(crate) fn is(&self, cell: &Cell) -> bool {
        protocol::digest::parse_hex(self.hash.trim_end()) == Ok(cell.repr_hash().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_code_has_the_committed_hash() {
        let contracts = [CHANNEL, JETTON_CHANNEL, REGISTRY, STAKE];
        for code in contracts.into_iter().chain([WALLET_V4R2, WALLET_V5R1]) {
            assert!(code.cell().is_ok(), "{}", code.hash);
        }
    }

    #[test]
    fn refuses_code_with_another_hash() {
        let mixed = Code {
            bag: CHANNEL.bag,
            hash: REGISTRY.hash,
        };
        assert_eq!(mixed.cell().err(), Some(CellError::Malformed));
    }
}
