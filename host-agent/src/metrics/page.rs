//! A document in Prometheus' text format, version 0.0.4.
//!
//! Deliberately not here: what stands in it.

use std::fmt::{Display, Write as _};

/// The format's media type.
pub(super) const TYPE: &str = "text/plain; version=0.0.4";

/// A document under way. Writing to a string does not fail.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn counter(&mut self, name: &str, value: impl Display) {
        self.title(name, "counter");
        self.line(name, value);
    }

    pub(super) fn gauge(&mut self, name: &str, value: impl Display) {
        self.title(name, "gauge");
        self.line(name, value);
    }

    /// Several counters of one name, told apart by a label whose values are words of this program.
    pub(super) fn counters<'w>(
        &mut self,
        name: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'w str, u64)>,
    ) {
        self.title(name, "counter");
        for (word, value) in values {
            let _written = writeln!(self.0, "cocoon_{name}{{{label}=\"{word}\"}} {value}");
        }
    }

    /// Several gauges of one name, told apart by what they are counted in: `coin`, the address of a
    /// jetton's minter, or another word of this program.
    pub(super) fn gauges<N: Display, V: Display>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = (N, V)>,
    ) {
        self.title(name, "gauge");
        for (asset, value) in values {
            let _written = writeln!(self.0, "cocoon_{name}{{asset=\"{asset}\"}} {value}");
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn title(&mut self, name: &str, kind: &str) {
        let _written = writeln!(self.0, "# TYPE cocoon_{name} {kind}");
    }

    fn line(&mut self, name: &str, value: impl Display) {
        let _written = writeln!(self.0, "cocoon_{name} {value}");
    }
}
