//! Whole characters only: tokens of a byte-level vocabulary can end within one.

use zeroize::{Zeroize as _, Zeroizing};

/// Holds the bytes of a character that is not complete.
#[derive(Default)]
pub(crate) struct Utf8Holder {
    pending: Zeroizing<Vec<u8>>,
}

impl Utf8Holder {
    /// Takes the next bytes; gives the text that is complete. Bytes that can never become a
    /// character give U+FFFD.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let room = self.pending.len().saturating_add(bytes.len());
        let mut all = Zeroizing::new(Vec::with_capacity(room));
        all.extend_from_slice(&self.pending);
        all.extend_from_slice(bytes);
        self.pending.zeroize();
        let mut text = String::with_capacity(room);
        for chunk in all.utf8_chunks() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let ends = text_end(&all, invalid);
            if ends && may_continue(invalid) {
                self.pending.extend_from_slice(invalid);
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What is left at the end of the answer.
    pub(crate) fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.zeroize();
        text
    }
}

/// Whether a part is the end of the whole.
fn text_end(all: &[u8], part: &[u8]) -> bool {
    all.as_ptr_range().end == part.as_ptr_range().end
}

/// Whether more bytes could make a character of these.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_is_sent_when_its_last_byte_came() {
        let mut holder = Utf8Holder::default();
        assert_eq!(holder.push(&[b'a', 0xf0, 0x9f]), "a");
        assert_eq!(holder.push(&[0x98]), "");
        assert_eq!(holder.push(&[0x80, b'b']), "😀b");
        assert_eq!(holder.finish(), "");
    }

    #[test]
    fn bytes_that_are_no_character_give_the_replacement_character() {
        let mut holder = Utf8Holder::default();
        assert_eq!(holder.push(&[0xff, b'a', 0xc3]), "\u{fffd}a");
        assert_eq!(holder.push(b"b"), "\u{fffd}b");
        assert_eq!(holder.push(&[0xe2, 0x82]), "");
        assert_eq!(holder.finish(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_cut_gives_what_the_whole_gives(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(0xe2), Just(0x82), Just(0xac)], 0..40,
            ),
            size in 1..5_usize,
        ) {
            let mut holder = Utf8Holder::default();
            let mut text: String = bytes.chunks(size).map(|chunk| holder.push(chunk)).collect();
            text.push_str(&holder.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}
