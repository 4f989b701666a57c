//! The server: it says what it was given, over ADNL, with a fault if it is told so. The side of the
//! protocol that `contracts` does not have.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes::Aes256;
use contracts::proof::{BlockId, Link, SignatureSet};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const GET_ACCOUNT_STATE: u32 = 0x6b89_0e25;

type Stream = Ctr128BE<Aes256>;

/// What a server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Sends its frames with a changed bit.
    Damages,
    /// Sends frames that answer nothing.
    Strays,
    /// Answers every question with an error.
    Refuses,
    /// Closes the connection instead of answering.
    HangsUp,
    /// Answers about blocks, and closes the connection when an account is asked for.
    HangsUpLate,
    /// Closes the connection in the middle of an answer.
    Halves,
    /// Takes the greeting and every question, and never answers.
    Silent,
    /// Answers about blocks, and never about an account.
    SilentLate,
    /// Answers whatever leads to its last block, and refuses to show an account.
    HidesAccounts,
    /// Takes so many milliseconds for each answer.
    Delays(u64),
}

/// An account as a server shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its number in workchain 0.
    pub address: [u8; 32],
    /// Proof of the shard's block and state.
    pub proof: Vec<u8>,
    /// The account's own bag; empty where there is none.
    pub state: Vec<u8>,
}

/// What a server has to say.
#[derive(Debug, Clone)]
pub struct Served {
    /// The last block that it names.
    pub last: BlockId,
    /// From which block which links lead on.
    pub links: Vec<(BlockId, Vec<Link>)>,
    /// Proof of the shard's block under the last one.
    pub shard_proof: Vec<u8>,
    /// Every account; the last one also where none of them was asked for.
    pub accounts: Vec<Shown>,
    /// What it does wrong.
    pub fault: Fault,
    /// Messages that were handed to it.
    pub sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// What a server says from now on: may change while it runs, between two connections.
pub type Changing = Arc<Mutex<Served>>;

/// Starts a server; its text for a client.
pub async fn start(number: u8, served: Served) -> String {
    start_changing(number, Arc::new(Mutex::new(served))).await
}

/// The same, of what may change.
pub async fn start_changing(number: u8, served: Changing) -> String {
    let now = move || std::future::ready(served.lock().unwrap().clone());
    start_asking(number, now).await
}

/// The same, of what is asked for anew for each connection.
pub(crate) async fn start_asking<Says>(
    number: u8,
    now: impl Fn() -> Says + Send + 'static,
) -> String
where
    Says: Future<Output = Served> + Send + 'static,
{
    let key = SigningKey::from_bytes(&[number; 32]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shown = hex(&key.verifying_key().to_bytes());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (key, says) = (key.clone(), now());
            tokio::spawn(async move { serve(stream, key, says.await).await });
        }
    });
    format!("{shown}@{address}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ends with the connection, or when the greeting is for somebody else.
async fn serve(mut stream: TcpStream, key: SigningKey, served: Served) -> Option<()> {
    let (mut out, mut into) = greet(&mut stream, &key).await?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.ok()?;
        into.apply_keystream(&mut length);
        let mut content = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut content).await.ok()?;
        into.apply_keystream(&mut content);
        // Noise and hash, the message's constructor, its id, lengths of one byte or four.
        let message = &content[32..content.len() - 32];
        assert_eq!(message[..4], 0xb48b_f97a_u32.to_le_bytes());
        let query = tl_bytes(&message[36..]);
        assert_eq!(query[..4], 0x798c_06df_u32.to_le_bytes());
        let question = tl_bytes(&query[4..]);
        let mut answer = Out::default();
        answer.u32(0x0fac_8416).raw(&message[4..36]);
        answer.bytes(&served.answer(question));
        let sent = match served.fault {
            Fault::None | Fault::Refuses | Fault::HidesAccounts => frame(&mut out, &answer.0),
            Fault::Delays(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                frame(&mut out, &answer.0)
            }
            Fault::Damages => {
                let mut damaged = frame(&mut out, &answer.0);
                damaged[50] ^= 1;
                damaged
            }
            Fault::HangsUp => return None,
            Fault::HangsUpLate if is_about_account(question) => return None,
            Fault::SilentLate if is_about_account(question) => continue,
            Fault::HangsUpLate | Fault::SilentLate => frame(&mut out, &answer.0),
            Fault::Halves => {
                let whole = frame(&mut out, &answer.0);
                stream.write_all(&whole[..whole.len() / 2]).await.ok()?;
                return None;
            }
            Fault::Silent => continue,
            Fault::Strays => {
                let strays = (0..20).map(|_| frame(&mut out, &[1, 2, 3, 4]));
                strays.flatten().collect()
            }
        };
        stream.write_all(&sent).await.ok()?;
    }
}

/// The streams to and from a client that greets this very server.
async fn greet(stream: &mut TcpStream, key: &SigningKey) -> Option<(Stream, Stream)> {
    let mut hello = [0; 256];
    stream.read_exact(&mut hello).await.ok()?;
    let mut named = vec![0xc6, 0xb4, 0x13, 0x48];
    named.extend(key.verifying_key().to_bytes());
    (hello[..32] == *Sha256::digest(named)).then_some(())?;
    let client: [u8; 32] = hello[32..64].try_into().unwrap();
    let client = VerifyingKey::from_bytes(&client).ok()?;
    let shared = client.to_montgomery().mul_clamped(key.to_scalar_bytes());
    let (shared, sum) = (shared.to_bytes(), hello[64..96].to_vec());
    let secret = [&shared[..16], &sum[16..]].concat();
    let counter = [&sum[..4], &shared[20..]].concat();
    let session = &mut hello[96..];
    Stream::new_from_slices(&secret, &counter)
        .unwrap()
        .apply_keystream(session);
    (sum == *Sha256::digest(&*session)).then_some(())?;
    let mut out = Stream::new_from_slices(&session[..32], &session[64..80]).unwrap();
    let into = Stream::new_from_slices(&session[32..64], &session[80..96]).unwrap();
    stream.write_all(&frame(&mut out, &[])).await.ok()?;
    Some((out, into))
}

fn frame(out: &mut Stream, content: &[u8]) -> Vec<u8> {
    let mut frame = (content.len() as u32 + 64).to_le_bytes().to_vec();
    frame.extend([0x77; 32]);
    frame.extend(content);
    let hash = Sha256::digest(&frame[4..]);
    frame.extend(hash);
    out.apply_keystream(&mut frame);
    frame
}

fn is_about_account(question: &[u8]) -> bool {
    question[..4] == GET_ACCOUNT_STATE.to_le_bytes()
}

fn tl_bytes(from: &[u8]) -> &[u8] {
    match from[0] {
        254 => {
            let length = u32::from_le_bytes([from[1], from[2], from[3], 0]) as usize;
            &from[4..4 + length]
        }
        length => &from[1..=usize::from(length)],
    }
}

#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        if bytes.len() < 254 {
            self.0.push(bytes.len() as u8);
        } else {
            self.0.push(254);
            self.0.extend(&(bytes.len() as u32).to_le_bytes()[..3]);
        }
        self.0.extend(bytes);
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }

    fn block(&mut self, id: &BlockId) -> &mut Self {
        self.raw(&id.workchain.to_le_bytes());
        self.raw(&id.shard.to_le_bytes()).u32(id.seqno);
        self.raw(&id.root.0).raw(&id.file.0)
    }
}

impl Served {
    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let mut out = Out::default();
        let known = |at: usize| {
            self.links
                .iter()
                .find(|(from, _)| question[at..at + 32] == from.root.0)
        };
        let hides = self.fault == Fault::HidesAccounts && is_about_account(question);
        if self.fault == Fault::Refuses || hides {
            out.u32(0xbba9_e148).u32(651).bytes(b"<b>no</b>");
            return out.0;
        }
        match u32::from_le_bytes(question[..4].try_into().unwrap()) {
            0x89b5_e62e => {
                out.u32(0x8583_2881).block(&self.last);
                out.raw(&[0; 32]).raw(&[0xff; 4]).raw(&[0; 64]);
            }
            0x8aea_9c44 => {
                // Constructor, mode, then workchain, shard and height before the root hash.
                let (from, links) = known(8 + 16).unwrap();
                out.u32(0x8ed0_d2c1)
                    .u32(0x9972_75b5)
                    .block(from)
                    .block(&self.last);
                out.u32(links.len() as u32);
                links.iter().for_each(|link| put_link(&mut out, link));
            }
            GET_ACCOUNT_STATE => {
                out.u32(0x7079_c751).block(&self.last).block(&self.last);
                let address = &question[question.len() - 32..];
                let mut all = self.accounts.iter();
                let asked = all.clone().find(|shown| shown.address == address);
                let shown = asked.or_else(|| all.next_back()).unwrap();
                out.bytes(&self.shard_proof)
                    .bytes(&shown.proof)
                    .bytes(&shown.state);
            }
            0x690a_d482 => {
                self.sent
                    .lock()
                    .unwrap()
                    .push(tl_bytes(&question[4..]).to_vec());
                out.u32(0x3950_e597).u32(1);
            }
            other => panic!("question {other:#x}"),
        }
        out.0
    }
}

fn put_link(out: &mut Out, link: &Link) {
    out.u32(0x520f_ce1c)
        .u32(0xbc79_9737)
        .block(&link.from)
        .block(&link.to);
    out.bytes(&link.header).bytes(&link.configuration);
    let SignatureSet::Ordinary { signatures } = &link.signatures else {
        panic!("only the older form is served");
    };
    out.u32(0xf644_a6e6)
        .u32(0)
        .u32(0)
        .u32(signatures.len() as u32);
    for one in signatures {
        out.raw(&one.signer).bytes(&one.signature);
    }
}
