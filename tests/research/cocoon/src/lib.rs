//! cocoon-research.
