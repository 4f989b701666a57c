//! One client: connections one after another, and on each of them requests as its dice fall. Every
//! request ends in one of the ways that it may; any other is a panic, which is the failure.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use protocol::digest::ReceiptKey;
use protocol::evidence::ALPN;
use protocol::serving::{HEALTH_PATH, METRICS_PATH, MODELS_PATH};
use protocol::ton::NetworkId;
use tokio::time::timeout;

use crate::machine::Size;
use crate::pace::{Pace, Tally};
use crate::requests;
use crate::seed::Dice;
use crate::stage::client::{Client, Event, Payer, Stream, chat_request, code, question};

/// A request that takes longer has no end.
const END: Duration = Duration::from_secs(180);
/// Requests on one connection, at most: resets of answers are counted on each.
const REQUESTS: u64 = 12;
/// What may be refused of any request that needs a stream.
const BUSY: [&str; 2] = ["too-many-streams", "engine_busy"];

/// Who visits.
pub(crate) struct Visitor<'a> {
    pub(crate) path: &'a Path,
    pub(crate) size: Size,
    pub(crate) pace: &'a Pace,
    pub(crate) tally: &'a Tally,
    /// Whether some do not pay, for which serve has ten seconds of patience.
    pub(crate) some_do_not_pay: bool,
    dice: Dice,
    payer: Payer,
    /// What was acknowledged so far.
    owed: u64,
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(
        number: u8,
        seed: u64,
        (path, size): (&'a Path, Size),
        (pace, tally): (&'a Pace, &'a Tally),
        some_do_not_pay: bool,
    ) -> Self {
        Self {
            path,
            size,
            pace,
            tally,
            some_do_not_pay,
            dice: Dice::new(seed.wrapping_mul(0x0001_0001).wrapping_add(number.into())),
            payer: Payer {
                network: NetworkId::MAIN,
                ..Payer::new(100 + number)
            },
            owed: 0,
        }
    }

    /// Visits until the soak ends.
    pub(crate) fn stay(mut self) {
        while self.pace.may_go_on() {
            if self.dice.percent(5) {
                self.noise();
                continue;
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            // With the runtime everything of the connection goes, at once, whatever runs on it.
            runtime.block_on(self.connection());
        }
    }

    /// Bytes that are no handshake.
    fn noise(&mut self) {
        let mut socket = UnixStream::connect(self.path).unwrap();
        let length = self.dice.one_of(4000).unwrap();
        let bytes: Vec<u8> = (0..length)
            .map(|_| self.dice.next().to_le_bytes()[0])
            .collect();
        // It may be closed before all is written.
        let _ = socket.write_all(&bytes);
        self.tally.add("noise", "closed");
    }

    async fn connection(&mut self) {
        let mut client = ended(Client::speaking(self.path, ALPN)).await;
        if self.dice.percent(5) {
            self.unattested(&mut client).await;
        }
        let evidence = ended(client.attest(0)).await;
        let key = evidence.statement.receipt_key;
        for _ in 0..=self.dice.below(REQUESTS) {
            if !self.pace.goes_on() {
                break;
            }
            match self.dice.below(100) {
                0..35 => self.whole(&mut client, &key).await,
                35..60 => self.cancelled(&mut client).await,
                60..63 => return self.abandoned(&mut client).await,
                63..94 => self.refused(&mut client).await,
                94 if self.some_do_not_pay => self.unpaid(&mut client).await,
                _ => self.looked(&mut client).await,
            }
        }
        if self.dice.percent(50) {
            drop(client);
            // Its goodbye is sent by a task of its own.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Nothing is answered before a challenge was.
    async fn unattested(&mut self, client: &mut Client) {
        let body = question(9).to_string().into_bytes();
        let request = chat_request(&self.payer.voucher(self.owed), body);
        let (status, body) = ended(client.whole(request)).await;
        assert_eq!(
            (status.as_u16(), code(&body).as_str()),
            (403, "attest-first")
        );
        self.tally.add("early", "attest-first");
    }

    /// Begins an answer; none when there is no room.
    async fn begin(&mut self, client: &mut Client) -> Option<Stream> {
        let (path, body) = requests::good(&mut self.dice, self.size);
        let voucher = self.payer.voucher(self.owed);
        let asked = ended(client.begin(path, &voucher, &body)).await;
        match asked {
            Ok(stream) => Some(stream),
            Err((status, code)) => {
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{code}");
                assert!(BUSY.contains(&code.as_str()), "{code}");
                self.tally.add("answer", &code);
                None
            }
        }
    }

    async fn pay(&mut self, client: &mut Client, before: u64, charged: &str) {
        let charged: u64 = charged.parse().unwrap();
        let voucher = self.payer.voucher(before + charged);
        let (status, body) = ended(client.pay(&voucher)).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{}", code(&body));
        self.owed = before + charged;
    }

    /// An answer to its end, with a receipt that holds.
    async fn whole(&mut self, client: &mut Client, key: &ReceiptKey) {
        let Some(mut stream) = self.begin(client).await else {
            return;
        };
        let before = self.owed;
        let (mut finish, mut receipts, mut done) = (None, 0, 0);
        while let Some(event) = ended(stream.next()).await {
            match event {
                Event::Progress(progress) => self.pay(client, before, &progress.charged).await,
                Event::Finish(reason) => assert!(finish.replace(reason).is_none()),
                Event::Receipt(receipt) => {
                    receipt.verify(key).unwrap();
                    receipts += 1;
                }
                Event::Done => done += 1,
                Event::Error(code) => panic!("an answer that is paid for broke off: {code}"),
                Event::Text(_) | Event::Told(..) | Event::Usage(_) | Event::Vector(..) => {}
            }
        }
        assert_eq!((receipts, done), (1, 1), "an answer has one end");
        self.tally
            .add("answer", &finish.expect("an answer says why it ends"));
    }

    /// An answer that is cancelled: before it begins, or after some events.
    async fn cancelled(&mut self, client: &mut Client) {
        if self.dice.percent(30) {
            let (path, body) = requests::good(&mut self.dice, self.size);
            let voucher = self.payer.voucher(self.owed);
            let wait = Duration::from_micros(self.dice.below(20_000));
            // What was asked for is reset, unless it was refused or began in this time.
            let _ = timeout(wait, client.begin(path, &voucher, &body)).await;
            self.tally.add("answer", "cancelled at once");
            return;
        }
        let Some(mut stream) = self.begin(client).await else {
            return;
        };
        self.some_events(client, &mut stream).await;
        drop(stream);
        self.tally.add("answer", "cancelled");
    }

    async fn some_events(&mut self, client: &mut Client, stream: &mut Stream) {
        let before = self.owed;
        for _ in 0..self.dice.below(24) {
            match ended(stream.next()).await {
                Some(Event::Progress(progress)) => {
                    self.pay(client, before, &progress.charged).await;
                }
                Some(Event::Error(code)) => panic!("an answer that is paid for broke off: {code}"),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// The connection goes away amid two answers.
    async fn abandoned(&mut self, client: &mut Client) {
        let first = self.begin(client).await;
        let second = self.begin(client).await;
        if let Some(mut stream) = second.or(first) {
            self.some_events(client, &mut stream).await;
        }
        self.tally.add("answer", "abandoned");
    }

    /// An answer that nobody pays for.
    async fn unpaid(&mut self, client: &mut Client) {
        let Some(mut stream) = self.begin(client).await else {
            return;
        };
        let mut errors = Vec::new();
        while let Some(event) = ended(stream.next()).await {
            if let Event::Error(code) = event {
                errors.push(code);
            }
        }
        assert_eq!(errors, ["payment-unacknowledged"]);
        self.tally.add("answer", "payment-unacknowledged");
    }

    /// A request that must be refused, in its one way.
    async fn refused(&mut self, client: &mut Client) {
        let bad = requests::bad(&mut self.dice, self.size, &self.payer, self.owed);
        let response = ended(client.request(bad.request)).await;
        let status = response.status().as_u16();
        let body = ended(response.into_body().collect()).await.unwrap();
        let body = body.to_bytes();
        let said = (!body.is_empty()).then(|| code(&body));
        let said = said.as_deref();
        let busy = bad.late && status == 429 && said.is_some_and(|code| BUSY.contains(&code));
        let expected = (status, said) == (bad.status, bad.code);
        assert!(
            expected || busy,
            "{status} {said:?} instead of {} {:?}",
            bad.status,
            bad.code
        );
        self.tally.add("refusal", said.unwrap_or("431"));
    }

    async fn looked(&mut self, client: &mut Client) {
        let paths = [MODELS_PATH, HEALTH_PATH, METRICS_PATH];
        let path = paths[self.dice.one_of(paths.len()).unwrap()];
        let (status, _) = ended(client.get(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        self.tally.add("look", "ok");
    }
}

/// What has an end, in time.
async fn ended<T>(happens: impl Future<Output = T>) -> T {
    timeout(END, happens).await.expect("it has no end")
}
