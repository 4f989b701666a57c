//! A chain of certificates as the driver hands it out, PEM, into DER.
//!
//! Only the form is read here, with the limits of `docs/spec/gpu-evidence.md` §1; what
//! certificates say is the verifier's part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::gpu_socket::GpuRefusal;
use protocol::gpu_evidence::{MAX_CERTIFICATE_BYTES, MAX_CHAIN};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// As much text as the longest chain has in base64, with room for its lines.
const MAX_TEXT: usize = MAX_CHAIN * MAX_CERTIFICATE_BYTES * 3 / 2;

/// The certificates of a chain in DER, in their order. Zeros may lie behind the text, since the
/// driver fills a buffer of fixed size; between certificates there is white space only.
///
/// # Errors
/// `Chain` for any other form, no certificate, or one of more or longer ones than evidence holds.
pub fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, GpuRefusal> {
    let end = text.iter().rposition(|byte| *byte != 0);
    let text = end.and_then(|end| text.get(..=end)).unwrap_or_default();
    if text.len() > MAX_TEXT {
        return Err(GpuRefusal::Chain);
    }
    let text = std::str::from_utf8(text).map_err(|_| GpuRefusal::Chain)?;
    let mut rest = text.trim_ascii();
    let mut chain = Vec::new();
    while !rest.is_empty() {
        let body = rest.strip_prefix(BEGIN).ok_or(GpuRefusal::Chain)?;
        let (body, behind) = body.split_once(END).ok_or(GpuRefusal::Chain)?;
        if chain.len() == MAX_CHAIN {
            return Err(GpuRefusal::Chain);
        }
        chain.push(certificate(body)?);
        rest = behind.trim_ascii_start();
    }
    if chain.is_empty() {
        return Err(GpuRefusal::Chain);
    }
    Ok(chain)
}

fn certificate(body: &str) -> Result<Vec<u8>, GpuRefusal> {
    let digits: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(digits).map_err(|_| GpuRefusal::Chain)?;
    if der.is_empty() || der.len() > MAX_CERTIFICATE_BYTES {
        return Err(GpuRefusal::Chain);
    }
    Ok(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        let digits = STANDARD.encode(der);
        let lines: Vec<_> = digits
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
    }

    #[test]
    fn a_chain_comes_out_in_its_order_with_zeros_behind_it() {
        let text = format!("{}\n{}\0\0\0", pem(&[7; 700]), pem(&[8]));
        let chain = certificates(text.as_bytes());
        assert_eq!(chain, Ok(vec![vec![7; 700], vec![8]]));
    }

    #[test]
    fn refuses_what_is_no_chain_or_beyond_a_limit() {
        let many = pem(&[1]).repeat(MAX_CHAIN + 1);
        let long = pem(&vec![1; MAX_CERTIFICATE_BYTES + 1]);
        let endless = pem(&[1]) + &" ".repeat(MAX_TEXT) + &pem(&[1]);
        let inside = pem(&[1]) + "\0" + &pem(&[1]);
        let before = String::from("subject=x\n") + &pem(&[1]);
        for text in [
            "",
            "\0\0",
            BEGIN,
            &pem(&[]),
            &pem(&[1])[1..],
            &pem(&[1]).replace("AQ==", "AQ"),
            &many,
            &long,
            &endless,
            &inside,
            &before,
        ] {
            let refused = certificates(text.as_bytes());
            assert_eq!(refused, Err(GpuRefusal::Chain), "{text:.60}");
        }
        assert_eq!(certificates(&[0xff; 40]), Err(GpuRefusal::Chain));
    }

    #[test]
    fn as_many_and_as_long_certificates_as_evidence_holds_are_taken() {
        let text = pem(&[5; MAX_CERTIFICATE_BYTES]).repeat(MAX_CHAIN);
        let chain = certificates(text.as_bytes()).unwrap();
        assert_eq!(chain, vec![vec![5; MAX_CERTIFICATE_BYTES]; MAX_CHAIN]);
    }
}
