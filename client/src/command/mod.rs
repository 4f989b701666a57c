//! placeholder
/// x
pub fn run() {}
