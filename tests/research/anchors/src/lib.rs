//! research-anchors.
