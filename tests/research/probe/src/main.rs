//! A program that is run in serve's or engine's place and makes one attempt at what they must not
//! be able to do. It prints nothing.
//!
//! Its one argument is the attempt's number. It writes one byte to descriptor 3 right before the
//! attempt, so that a death in the attempt can be told from one before it. Exit code 0: refused;
//! 1: it succeeded; 2: it was called wrongly. Death by SIGSYS is a refusal, too.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use probe::{Attempt, STARTED};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == STARTED {
        return ExitCode::from(1);
    }
    let number = argument.parse().ok();
    let Some(attempt) = number.and_then(Attempt::of_number) else {
        return ExitCode::from(2);
    };
    let begun = sys::adopt(3).map(|pipe| File::from(pipe).write_all(b"!"));
    if !matches!(begun, Ok(Ok(()))) {
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(attempt.succeeds()))
}
