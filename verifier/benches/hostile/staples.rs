//! Hostile evidence of devices, and hostile staples for them.

use protocol::gpu_evidence::{GpuEndorsements, GpuEvidence, MAX_OCSP};

/// Two blobs, the first with its length in front.
pub(crate) fn pair(evidence: &[u8], stapled: &[u8]) -> Vec<u8> {
    let length = u32::try_from(evidence.len()).unwrap().to_le_bytes();
    [&length, evidence, stapled].concat()
}

/// Sequences in sequences.
pub(crate) fn nested(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length.saturating_sub(bytes.len()) > 5 {
        let rest = u32::try_from(length - bytes.len() - 5).unwrap();
        let [_, high, middle, low] = rest.to_be_bytes();
        bytes.extend([0x30, 0x83, high, middle, low]);
    }
    bytes.resize(length, 0);
    bytes
}

/// Every input for devices.
pub(crate) fn bombs(evidence: &[u8], stapled: &[u8]) -> Vec<(String, Vec<u8>)> {
    let honest = GpuEvidence::decode(evidence).unwrap();
    let staples = GpuEndorsements::decode(stapled).unwrap();
    let mut bombs = Vec::new();
    for (what, change) in CHAINS {
        let mut other = honest.clone();
        other
            .devices
            .iter_mut()
            .for_each(|device| change(&mut device.chain));
        bombs.push(((*what).to_owned(), pair(&other.encode(), stapled)));
    }
    let mut cut = honest.clone();
    for device in &mut cut.devices {
        let last = device.report.len() - 1;
        device.report[last] ^= 1;
    }
    let what = "every report's signature broken".to_owned();
    bombs.push((what, pair(&cut.encode(), stapled)));
    for again in [
        "<a>",
        "<a/>",
        "<a b=\"\" c=\"\"/>",
        "&amp;",
        " xmlns:a=\"b\"",
        "x",
    ] {
        let mut other = staples.clone();
        for rim in &mut other.rims {
            let room = protocol::gpu_evidence::MAX_RIM_BYTES - 16;
            rim.document = format!("<a>{}", again.repeat(room / again.len())).into_bytes();
        }
        let what = format!("manifests of {again}");
        bombs.push((what, pair(evidence, &other.encode())));
    }
    for (what, answer) in [
        ("one answer, 128 times", staples.ocsp[0].clone()),
        ("128 answers of DER in DER", nested(8 * 1024)),
        (
            "128 answers, many words on one certificate",
            many_words(&staples.ocsp[0], false),
        ),
        (
            "128 answers, many words on none",
            many_words(&staples.ocsp[0], true),
        ),
    ] {
        let mut other = staples.clone();
        other.ocsp = vec![answer; MAX_OCSP];
        bombs.push((what.to_owned(), pair(evidence, &other.encode())));
    }
    bombs
}

type Change = fn(&mut Vec<Vec<u8>>);

const CHAINS: &[(&str, Change)] = &[
    ("chains in the reverse order", |chain| chain.reverse()),
    ("two certificates swapped", |chain| chain.swap(1, 2)),
    ("one certificate, 5 times", |chain| {
        let one = chain[1].clone();
        chain.iter_mut().for_each(|each| each.clone_from(&one));
    }),
    ("one certificate, 8 times", |chain| {
        let one = chain[1].clone();
        *chain = vec![one; 8];
    }),
    ("certificates of DER in DER", |chain| {
        chain.iter_mut().for_each(|each| *each = nested(8 * 1024));
    }),
    ("leaves whose signature is broken", |chain| {
        let last = chain[0].len() - 1;
        chain[0][last] ^= 1;
    }),
];

/// An element's tag, what stands in it, and what stands behind it.
fn element(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (start, length) = match bytes[1] {
        short @ ..0x80 => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let digits = &bytes[2..2 + count];
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (2 + count, length)
        }
    };
    (
        bytes[0],
        &bytes[start..start + length],
        &bytes[start + length..],
    )
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82, high, low], content].concat()
}

/// The elements that stand one behind the other.
fn elements(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (_, _, rest) = element(bytes);
        found.push(bytes[..bytes.len() - rest.len()].to_vec());
        bytes = rest;
    }
    found
}

/// An answer as long as it may be, with what it says of a certificate again and again; or with the
/// certificate's issuer under another name.
fn many_words(answer: &[u8], of_another: bool) -> Vec<u8> {
    let outer = elements(element(answer).1);
    let typed = elements(element(element(&outer[1]).1).1);
    let mut basic = elements(element(element(&typed[1]).1).1);
    let mut data = elements(element(&basic[0]).1);
    let at = data.iter().rposition(|part| part[0] == 0x30).unwrap();
    let mut word = element(&data[at]).1.to_vec();
    if of_another {
        // Behind the hash's algorithm: the first byte of the issuer's name.
        let place = word.iter().position(|byte| *byte == 4).unwrap() + 2;
        word[place] ^= 1;
    }
    let room = 8 * 1024 - answer.len() - 64;
    data[at] = wrap(0x30, &word.repeat(1 + room / word.len()));
    basic[0] = wrap(0x30, &data.concat());
    let basic = wrap(4, &wrap(0x30, &basic.concat()));
    let typed = wrap(0x30, &[typed[0].clone(), basic].concat());
    wrap(0x30, &[outer[0].clone(), wrap(0xa0, &typed)].concat())
}
