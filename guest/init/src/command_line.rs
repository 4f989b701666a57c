//! The kernel's command line, of which `cocoon.root=` alone is init's.
//!
//! The line is measured, so a foreign one shows in evidence. Here is refused what would make init
//! behave in another way than its reader expects.

use protocol::verity::{VerityError, VerityParameters};

/// The kernel takes at most this much (`COMMAND_LINE_SIZE` of x86).
pub const MAX_BYTES: usize = 2048;

const NAMESPACE: &str = "cocoon.";
const ROOT: &str = "cocoon.root=";
/// What firmware adds when it hands over an initial RAM disk.
const INITRD: &str = "initrd=";
const INITRD_OF_FIRMWARE: &str = "initrd=initrd";

/// Why a command line was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// Longer than the kernel takes.
    #[error("command line longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not text.
    #[error("command line is not ASCII")]
    NotText,
    /// No `cocoon.root=`.
    #[error("command line names no root")]
    NoRoot,
    /// A parameter of ours, or of the firmware's, comes twice.
    #[error("command line repeats a parameter")]
    Repeated,
    /// A parameter in our namespace that does not exist, or another initial RAM disk.
    #[error("command line has an unknown parameter")]
    Unknown,
    /// `cocoon.root=` is malformed.
    #[error(transparent)]
    Root(#[from] VerityError),
}

/// Reads the verity parameters of the root image from the command line as `/proc` shows it.
///
/// # Errors
/// A [`CommandLineError`].
pub fn root_parameters(line: &[u8]) -> Result<VerityParameters, CommandLineError> {
    if line.len() > MAX_BYTES {
        return Err(CommandLineError::TooLong);
    }
    if !line.is_ascii() {
        return Err(CommandLineError::NotText);
    }
    let line = std::str::from_utf8(line).map_err(|_| CommandLineError::NotText)?;
    let (mut root, mut initrd) = (None, None);
    for token in line.split_ascii_whitespace() {
        if let Some(text) = token.strip_prefix(ROOT) {
            once(&mut root, text.parse()?)?;
        } else if token.starts_with(NAMESPACE) {
            return Err(CommandLineError::Unknown);
        } else if token == INITRD_OF_FIRMWARE {
            once(&mut initrd, ())?;
        } else if token.starts_with(INITRD) {
            return Err(CommandLineError::Unknown);
        }
    }
    root.ok_or(CommandLineError::NoRoot)
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), CommandLineError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(CommandLineError::Repeated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> String {
        let (salt, hash) = ("07".repeat(32), "09".repeat(32));
        format!("cocoon.root=sha256:4096:100:100:{salt}:{hash}")
    }

    #[test]
    fn reads_the_root_among_the_kernels_own_parameters() {
        let parameters = root_parameters(format!("panic=-1 {} quiet\n", root()).as_bytes());
        let parameters = parameters.unwrap();
        assert_eq!((parameters.data_blocks, parameters.root), (100, [9; 32]));
    }

    #[test]
    fn takes_the_token_that_firmware_adds_and_no_other_initrd() {
        let with = |extra: &str| root_parameters(format!("{} {extra}", root()).as_bytes());
        assert!(with("initrd=initrd").is_ok());
        assert_eq!(with("initrd=other"), Err(CommandLineError::Unknown));
        let twice = with("initrd=initrd initrd=initrd");
        assert_eq!(twice, Err(CommandLineError::Repeated));
    }

    #[test]
    fn refuses_what_is_missing_repeated_unknown_or_malformed() {
        let refused = |line: &str| root_parameters(line.as_bytes()).unwrap_err();
        assert_eq!(refused("quiet"), CommandLineError::NoRoot);
        let twice = format!("{0} {0}", root());
        assert_eq!(refused(&twice), CommandLineError::Repeated);
        let debug = format!("{} cocoon.debug=1", root());
        assert_eq!(refused(&debug), CommandLineError::Unknown);
        assert_eq!(refused("cocoon.root"), CommandLineError::Unknown);
        let cut = root();
        let cut = cut.get(..cut.len() - 1).unwrap();
        assert!(matches!(refused(cut), CommandLineError::Root(_)));
    }

    #[test]
    fn refuses_what_is_too_long_or_no_text() {
        let long = vec![b' '; MAX_BYTES + 1];
        assert_eq!(root_parameters(&long), Err(CommandLineError::TooLong));
        assert_eq!(root_parameters(&[0xff]), Err(CommandLineError::NotText));
    }
}
