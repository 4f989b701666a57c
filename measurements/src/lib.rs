//! measurements.
