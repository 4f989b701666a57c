//! The same module with the roots of the simulated TEE. What it accepts proves nothing, and it is
//! in no package: tests and their page use it. The three functions: `docs/spec/bundle.md` §4.
//!
//! No pointer is followed here: the page writes and reads the module's memory itself.

use research_anchors::research_anchors;
use verifier_web::Exchange;

static EXCHANGE: Exchange = Exchange::new();

/// Makes room for a question of so many bytes and says where; null if that is too long.
#[allow(
    unsafe_code,
    reason = "a name for a page: docs/decisions/2026-11-26-verifier-in-the-browser.md"
)]
#[unsafe(no_mangle)]
pub extern "C" fn room(length: usize) -> *mut u8 {
    EXCHANGE.room(length)
}

/// Answers the question that lies in the room, and says how many bytes the answer has.
#[allow(unsafe_code, reason = "a name, as above")]
#[unsafe(no_mangle)]
pub extern "C" fn judge() -> usize {
    EXCHANGE.judge(&research_anchors())
}

/// Where the answer lies.
#[allow(unsafe_code, reason = "a name, as above")]
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> *const u8 {
    EXCHANGE.answer()
}
