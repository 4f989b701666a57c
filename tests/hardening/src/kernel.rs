//! The two things that say what a kernel is: its resolved configuration and its command line.

use std::collections::BTreeMap;

/// A resolved `.config`.
#[derive(Debug)]
pub struct Configuration(BTreeMap<String, String>);

impl Configuration {
    /// Reads lines like `CONFIG_X=y`; a symbol that is not set has no entry.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let entries = text
            .lines()
            .filter(|line| line.starts_with("CONFIG_"))
            .filter_map(|line| line.split_once('='))
            .map(|(symbol, value)| (symbol.to_owned(), value.trim_matches('"').to_owned()));
        Self(entries.collect())
    }

    /// The value without its quotes; `None` when the symbol is not set or does not exist.
    #[must_use]
    pub fn value(&self, symbol: &str) -> Option<&str> {
        self.0.get(symbol).map(String::as_str)
    }

    /// How many symbols are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no symbol is set, which no kernel's configuration is like.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A kernel command line.
#[derive(Debug)]
pub struct CommandLine<'line>(&'line str);

impl<'line> CommandLine<'line> {
    /// Takes the line as the image carries it.
    #[must_use]
    pub fn new(line: &'line str) -> Self {
        Self(line)
    }

    /// The value of a parameter, empty for one without a value. The last one counts, as for most
    /// parameters of the kernel.
    #[must_use]
    pub fn value(&self, parameter: &str) -> Option<&'line str> {
        self.0
            .split_ascii_whitespace()
            .filter_map(|word| {
                let (name, value) = word.split_once('=').unwrap_or((word, ""));
                (name == parameter).then_some(value)
            })
            .next_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_that_is_not_set_has_no_value() {
        let read = Configuration::read("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=\"x y\"\n");
        assert_eq!(read.value("CONFIG_A"), None);
        assert_eq!(read.value("CONFIG_B"), Some("y"));
        assert_eq!(read.value("CONFIG_C"), Some("x y"));
    }

    #[test]
    fn the_last_parameter_counts_and_one_that_only_begins_alike_does_not() {
        let line = CommandLine::new("init_on_free=0 nosmt init_on_free=1 init_on_freeze=0");
        assert_eq!(line.value("init_on_free"), Some("1"));
        assert_eq!(line.value("nosmt"), Some(""));
        assert_eq!(line.value("init_on"), None);
    }
}
