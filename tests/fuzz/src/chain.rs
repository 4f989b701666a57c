//! What a lite-server says of TON's chain: answers of its protocol, links from a pinned block, and
//! proofs of accounts. The blocks that are pinned, and what honest servers of the main network
//! proved from them, are those of `tests/fixtures/ton`; whatever else is taken is a forgery.

use std::collections::HashMap;
use std::sync::LazyLock;

use contracts::lite::{AccountAnswer, BlockProof, MasterchainInfo, read_error, read_sent};
use contracts::proof::{
    AccountProof, BlockId, FileHash, Link, ProofError, ProvenAccount, RootHash, TrustedBlock,
};
use protocol::digest::{AccountId, parse_hex};
use protocol::ton::{NetworkId, TonAddress};

use crate::{Outcome, pieces};

/// Answers with links that honest servers gave.
const LINKS: [&[u8]; 2] = [
    include_bytes!("../../fixtures/ton/proofs/three-links.tl"),
    include_bytes!("../../fixtures/ton/proofs/simplex-link.tl"),
];

/// Accounts that honest servers proved: of the masterchain, of the basechain, and one that is not
/// there. An input's first byte says whose proof it is meant to be.
const ACCOUNTS: [&str; 3] = [
    include_str!("../../fixtures/ton/proofs/account-masterchain.txt"),
    include_str!("../../fixtures/ton/proofs/account-basechain.txt"),
    include_str!("../../fixtures/ton/proofs/account-absent.txt"),
];

static PINNED: LazyLock<[Pinned; 3]> = LazyLock::new(|| ACCOUNTS.map(Pinned::of));
static FOLLOWED: LazyLock<Vec<Link>> = LazyLock::new(|| {
    let links = LINKS.map(|answer| BlockProof::read(answer).expect("a fixture").links);
    links.into_iter().flatten().collect()
});

/// An account, the block at which it is asked for, and what was proven then.
struct Pinned {
    block: TrustedBlock,
    address: TonAddress,
    parts: [Vec<u8>; 3],
    honest: ProvenAccount,
}

impl Pinned {
    fn of(text: &str) -> Self {
        let members = members(text);
        let hash = |name| parse_hex(members[name]).expect("a hash");
        let id = BlockId::masterchain(
            members["block_seqno"].parse().expect("a height"),
            RootHash(hash("block_root_hash")),
            // Not recorded, and below a root hash not needed.
            FileHash([0; 32]),
        );
        let block = TrustedBlock::pin(NetworkId::MAIN, id).expect("a block of the masterchain");
        let address = TonAddress {
            workchain: members["workchain"].parse().expect("a workchain"),
            account: AccountId(hash("account_id")),
        };
        let parts = recorded(text);
        let [shard, account, state] = parts.each_ref().map(Vec::as_slice);
        let honest = prove(&block, &address, [shard, account, state]).expect("a fixture");
        Self {
            block,
            address,
            honest,
            parts,
        }
    }
}

fn members(text: &str) -> HashMap<&str, &str> {
    let members = text.lines().filter_map(|line| line.split_once('='));
    members.collect()
}

/// The parts of a recorded proof, in the order of [`account_proof`]'s input.
fn recorded(text: &str) -> [Vec<u8>; 3] {
    let members = members(text);
    ["shard_proof", "proof", "state"].map(|name| {
        let digits = members[name].as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("text");
            u8::from_str_radix(pair, 16).expect("a hex digit")
        };
        digits.map(byte).collect()
    })
}

fn prove(
    block: &TrustedBlock,
    address: &TonAddress,
    [shard, account, state]: [&[u8]; 3],
) -> Result<ProvenAccount, ProofError> {
    let proof = AccountProof {
        shard,
        account,
        state,
    };
    block.account(address, &proof)
}

/// Whose proof it is meant to be, then the shard's proof, the account's and the account.
pub fn account_proof(input: &[u8]) -> Outcome {
    let Some((whose, proof)) = input.split_first() else {
        return Outcome::Refused;
    };
    let pinned = &PINNED[usize::from(*whose) % PINNED.len()];
    let proven = prove(&pinned.block, &pinned.address, pieces::split::<3>(proof));
    if let Ok(proven) = &proven {
        assert_eq!(proven, &pinned.honest, "an account that the chain has not");
    }
    Outcome::of(&proven)
}

/// A bag of cells in the place of an account whose hash is proven.
pub fn account_bag(input: &[u8]) -> Outcome {
    let [_, pinned, _] = &*PINNED;
    let [shard, account, _] = &pinned.parts;
    let proven = prove(&pinned.block, &pinned.address, [shard, account, input]);
    Outcome::of(&proven)
}

/// A bag of cells in the place of a key block's configuration.
pub fn configuration_bag(input: &[u8]) -> Outcome {
    let link = &FOLLOWED[0];
    let from = TrustedBlock::pin(NetworkId::MAIN, link.from).expect("a key block");
    let forged = Link {
        configuration: input.to_vec(),
        ..link.clone()
    };
    Outcome::of(&from.follow(&[forged]))
}

/// Any answer of a server; links are followed from every block from which honest ones lead on.
pub fn lite_answer(input: &[u8]) -> Outcome {
    let sent = read_sent(input);
    let info = MasterchainInfo::read(input);
    let account = AccountAnswer::read(input);
    let links = BlockProof::read(input);
    if let Ok(BlockProof { links }) = &links {
        follow(links);
    }
    let refused = match read_error(input) {
        Some(_) => Outcome::Taken,
        None => Outcome::Refused,
    };
    refused
        .or(Outcome::of(&sent))
        .or(Outcome::of(&info))
        .or(Outcome::of(&account))
        .or(Outcome::of(&links))
}

fn follow(links: &[Link]) {
    for honest in &*FOLLOWED {
        let from = TrustedBlock::pin(NetworkId::MAIN, honest.from).expect("a key block");
        let Ok(followed) = from.follow(links) else {
            continue;
        };
        for block in [followed.block, followed.key_block] {
            let known = |link: &Link| link.to == *block.id();
            assert!(
                block == from || FOLLOWED.iter().any(known),
                "a block that nobody signed"
            );
        }
    }
}

/// Hands out seeds of both targets, by target and name: what servers of the main network said.
///
/// # Panics
/// When a fixture is not of its form.
pub fn seeds(mut put: impl FnMut(&'static str, &str, &[u8])) {
    for (name, answer) in ["three-links", "simplex-link"].into_iter().zip(LINKS) {
        put("lite_answer", name, answer);
    }
    let names = ["masterchain", "basechain", "absent"];
    for ((whose, name), text) in (0_u8..).zip(names).zip(ACCOUNTS) {
        let parts = recorded(text);
        let [shard, account, state] = parts.each_ref().map(Vec::as_slice);
        let proof = pieces::join(&[shard, account, state]);
        put("account_proof", name, &[&[whose], &proof[..]].concat());
        let mut answer = 0x7079_c751_u32.to_le_bytes().to_vec();
        answer.extend([0; 2 * 80]);
        parts.iter().for_each(|part| put_bytes(&mut answer, part));
        put("lite_answer", &format!("account-{name}"), &answer);
    }
    let mut info = 0x8583_2881_u32.to_le_bytes().to_vec();
    info.extend([1; 80 + 32 + 4 + 64]);
    put("lite_answer", "masterchain-info", &info);
    let sent = [0x3950_e597_u32, 1].map(u32::to_le_bytes).concat();
    put("lite_answer", "sent", &sent);
    let mut error = [0xbba9_e148_u32, 651].map(u32::to_le_bytes).concat();
    put_bytes(&mut error, b"not there");
    put("lite_answer", "error", &error);
}

/// Bytes of TL: their length, themselves, zeros up to a multiple of four.
fn put_bytes(answer: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len())
        .expect("a short part")
        .to_le_bytes();
    match bytes.len() {
        0..254 => answer.push(length[0]),
        _ => answer.extend([254, length[0], length[1], length[2]]),
    }
    answer.extend(bytes);
    answer.resize(answer.len().next_multiple_of(4), 0);
}
