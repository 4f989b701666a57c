//! The letters by which GPT-2 vocabularies write bytes: printable Latin-1 for itself, the other
//! 68 bytes as U+0100 onwards in order (`bytes_to_unicode` of the GPT-2 encoder).

/// Whether a byte is written as itself.
const fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The letter of a byte.
pub(crate) fn name_of(byte: u8) -> char {
    if is_itself(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !is_itself(*byte)).count();
    let number = u32::try_from(before).unwrap_or(0).saturating_add(0x100);
    char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte of a letter.
pub(super) fn byte_of(letter: char) -> Option<u8> {
    let number = u32::from(letter);
    match u8::try_from(number) {
        Ok(byte) => is_itself(byte).then_some(byte),
        Err(_) => {
            let at = usize::try_from(number.checked_sub(0x100)?).ok()?;
            (0..=u8::MAX).filter(|byte| !is_itself(*byte)).nth(at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_letter_and_comes_back() {
        let letters: Vec<char> = (0..=255).map(name_of).collect();
        assert_eq!((letters[0x20], letters[0x0a], letters[0]), ('Ġ', 'Ċ', 'Ā'));
        for byte in 0..=255_u8 {
            assert_eq!(byte_of(letters[usize::from(byte)]), Some(byte));
        }
        assert_eq!(
            letters
                .iter()
                .filter(|letter| u32::from(**letter) > 255)
                .count(),
            68
        );
        assert_eq!(byte_of('\u{144}'), None);
    }
}
