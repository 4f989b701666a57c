//! Certificates in files, as vendors hand them out: DER, or PEM. Only the frame is read here; what
//! is inside is the verifier's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Failure;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// One certificate.
pub(super) fn one(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    match <[Vec<u8>; 1]>::try_from(all(bytes)?) {
        Ok([only]) => Ok(only),
        Err(_) => Err(Failure::Certificates),
    }
}

/// Two certificates in one PEM file, in its order: AMD hands out ASK and ARK so.
pub(super) fn pair(bytes: &[u8]) -> Result<[Vec<u8>; 2], Failure> {
    all(bytes)?.try_into().map_err(|_| Failure::Certificates)
}

fn all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    match core::str::from_utf8(bytes) {
        Ok(text) if text.contains(BEGIN) => text.split(BEGIN).skip(1).map(block).collect(),
        Ok(_) | Err(_) => Ok(vec![bytes.to_vec()]),
    }
}

fn block(text: &str) -> Result<Vec<u8>, Failure> {
    let (body, _) = text.split_once(END).ok_or(Failure::Certificates)?;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).map_err(|_| Failure::Certificates)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn pem_and_der_are_read_and_nothing_is_made_of_half_a_frame() {
        let der = vec![0x30, 0x03, 1, 2, 0xff];
        let pem = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(&der));
        assert_eq!(one(&der).unwrap(), der);
        assert_eq!(one(pem.as_bytes()).unwrap(), der);
        let both = format!("{pem}{pem}");
        assert_eq!(pair(both.as_bytes()).unwrap(), [der.clone(), der]);
        assert!(one(both.as_bytes()).is_err());
        assert!(pair(pem.as_bytes()).is_err());
        for bad in [
            format!("{BEGIN}\nAAAA\n"),
            format!("{BEGIN}\n!!!!\n{END}\n"),
        ] {
            assert!(one(bad.as_bytes()).is_err());
        }
    }
}
