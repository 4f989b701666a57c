//! Holds the dependencies of `tests/`, where built programs are looked at and run together.
//!
//! Deliberately not here: anything. What each check is and who runs it: README.md.
#![forbid(unsafe_code)]
