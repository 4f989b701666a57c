//! Nothing to link: the machines of a payment channel are joined in `tests/joint`.
#![forbid(unsafe_code)]
