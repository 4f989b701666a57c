//! init-research.
