//! Inputs of several parts: each but the last with its length in front, a little-endian `u16`.
//! A length beyond the end takes what is left, so that every input has its parts.

/// The parts of an input.
#[must_use]
pub fn split<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut rest = input;
    let mut parts = [&[] as &[u8]; N];
    for (at, part) in parts.iter_mut().enumerate() {
        if at + 1 == N {
            *part = rest;
            break;
        }
        let Some((length, behind)) = rest.split_first_chunk::<2>() else {
            break;
        };
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        (*part, rest) = behind.split_at(length);
    }
    parts
}

/// The input with these parts.
///
/// # Panics
/// When a part is longer than its length can say.
#[must_use]
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut input = Vec::new();
    let (last, front) = parts.split_last().expect("at least one part");
    for part in front {
        let length = u16::try_from(part.len()).expect("a short part");
        input.extend_from_slice(&length.to_le_bytes());
        input.extend_from_slice(part);
    }
    input.extend_from_slice(last);
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_any_input_has_them() {
        let input = join(&[b"one", b"", b"three"]);
        assert_eq!(split(&input), [b"one" as &[u8], b"", b"three"]);
        assert_eq!(split::<3>(&[9, 0, 1]), [&[1u8] as &[u8], b"", b""]);
        assert_eq!(split::<2>(b""), [b"" as &[u8]; 2]);
    }
}
