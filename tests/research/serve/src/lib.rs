//! serve-research.
