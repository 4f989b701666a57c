//! What was captured of the original Cocoon's root contract on the main network, for the tests that
//! read it.

/// The contract's data, as a bag of cells.
pub(crate) fn root_data() -> Vec<u8> {
    let text = include_str!("../../../tests/fixtures/ton/mainnet_root_data.hex");
    let digits = text.trim().as_bytes();
    let digit = |at: u8| u8::try_from(char::from(at).to_digit(16).unwrap()).unwrap();
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
