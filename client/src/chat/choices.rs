//! Several choices of one request (`n`): each is a request, a stream, an account and a receipt of
//! its own on one attested connection; here they are begun, read side by side and given up
//! together. The machine itself gives one choice to a request, since what it delivers is
//! acknowledged and receipted by the stream.
//!
//! How the answers look to an OpenAI client is `local`'s. `docs/spec/serving.md` §4.3.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::request::{delivery, members, optional, seed};
use super::{
    Answering, AskError, Asked, Chat, ChatRequest, ChatRequestError, Chunk, Delivery, Settled,
    StreamError,
};

/// Choices of one request at most.
pub const MAX_CHOICES: u64 = 8;
/// Chunks of all choices that wait for a slow reader; then the answers themselves wait.
const WAITING: usize = 32;

/// What an OpenAI client posts.
#[derive(Debug, Clone)]
pub enum Asking {
    /// A request for one answer.
    One(ChatRequest),
    /// A request for several.
    Several(Several),
}

/// The requests for the choices of one answer.
#[derive(Debug, Clone)]
pub struct Several {
    /// One for each choice, in the order of their index.
    pub requests: Vec<ChatRequest>,
    /// How the asker wants the answer.
    pub delivery: Delivery,
    /// Whether a stream ends with the usage.
    pub include_usage: bool,
}

impl Asking {
    /// A body as an OpenAI client posts it, with the member `n` read. With several choices each
    /// request says `"n":1`, and where a seed is given, choice `i` has the seed plus `i`, modulo
    /// 2^64: the first choice is what the request alone would get.
    ///
    /// # Errors
    /// See [`ChatRequestError`].
    pub fn of_openai(asked: Asked, body: &Bytes) -> Result<Self, ChatRequestError> {
        let members = members(body)?;
        let count = match optional(&members, "n").map(Value::as_u64) {
            None => 1,
            Some(Some(count @ 1..=MAX_CHOICES)) => count,
            Some(Some(_) | None) => return Err(ChatRequestError::Member { member: "n" }),
        };
        if count == 1 {
            return ChatRequest::of_read(asked, body, members).map(Self::One);
        }
        let delivery = delivery(&members)?;
        let requests = (0..count).map(|index| {
            let members = of_choice(&members, index)?;
            ChatRequest::of_members(asked, members, delivery)
        });
        let options = members.get("stream_options");
        let wanted = options.and_then(|options| options.get("include_usage"));
        Ok(Self::Several(Several {
            requests: requests.collect::<Result<_, _>>()?,
            delivery,
            include_usage: wanted == Some(&Value::Bool(true)),
        }))
    }
}

fn of_choice(
    members: &Map<String, Value>,
    index: u64,
) -> Result<Map<String, Value>, ChatRequestError> {
    let mut own = members.clone();
    own.insert("n".to_owned(), 1.into());
    if let Some(given) = optional(members, "seed") {
        let first = seed(given).ok_or(ChatRequestError::Member { member: "seed" })?;
        own.insert("seed".to_owned(), first.wrapping_add(index).into());
    }
    Ok(own)
}

/// What one choice said.
#[derive(Debug)]
pub enum Heard {
    /// A chunk of its answer.
    Chunk(Chunk),
    /// It is whole, and its receipt is settled.
    Settled(Box<Settled>),
}

type Told = (usize, Result<Heard, AskError>);

/// The answers of several choices, being read. Dropped early, all of them are cancelled, and cost
/// what was acknowledged.
#[derive(Debug)]
pub struct Gathering {
    /// Ends with this value; each task holds its own answer.
    _answering: JoinSet<()>,
    told: mpsc::Receiver<Told>,
    open: usize,
}

impl Gathering {
    /// Sends the requests. Nothing is read, and so nothing acknowledged, before all were taken.
    ///
    /// # Errors
    /// See [`AskError`]: that of the first choice that was refused; the others are cancelled.
    pub async fn begin(chat: &Arc<Chat>, requests: Vec<ChatRequest>) -> Result<Self, AskError> {
        let session = chat.session().await?;
        let streams = session.configuration().limits.streams;
        if requests.len() > usize::from(streams) {
            return Err(AskError::TooManyChoices { streams });
        }
        let open = requests.len();
        let (sender, told) = mpsc::channel(WAITING);
        let (start, started) = watch::channel(false);
        let mut answering = JoinSet::new();
        let mut admitted = Vec::new();
        for (index, request) in requests.into_iter().enumerate() {
            let (chat, session) = (Arc::clone(chat), Arc::clone(&session));
            let begun = async move { chat.ask_on(session, &request).await };
            let (taken, is_taken) = oneshot::channel();
            let choice = Choice {
                index,
                told: sender.clone(),
                started: started.clone(),
            };
            answering.spawn(choice.answer(begun, taken));
            if index == 0 {
                // What a first voucher settles with the machine and its host (lease, highest
                // total) is settled once.
                admission(is_taken).await?;
            } else {
                admitted.push(is_taken);
            }
        }
        for is_taken in admitted {
            admission(is_taken).await?;
        }
        start.send_replace(true);
        Ok(Self {
            _answering: answering,
            told,
            open,
        })
    }

    /// What a choice says next; `None` when every one is whole and settled.
    ///
    /// # Errors
    /// See [`AskError`]; the answer of all choices is then over.
    pub async fn next(&mut self) -> Result<Option<(usize, Heard)>, AskError> {
        if self.open == 0 {
            return Ok(None);
        }
        // All senders are gone only when a choice ended without a word.
        let (index, said) = self.told.recv().await.ok_or(StreamError::BrokenOff)?;
        let said = said?;
        match &said {
            Heard::Chunk(_) => {}
            Heard::Settled(_) => self.open = self.open.saturating_sub(1),
        }
        Ok(Some((index, said)))
    }
}

async fn admission(taken: oneshot::Receiver<Result<(), AskError>>) -> Result<(), AskError> {
    taken
        .await
        .unwrap_or_else(|_| Err(StreamError::BrokenOff.into()))
}

/// One choice's way to whoever joins them.
struct Choice {
    index: usize,
    told: mpsc::Sender<Told>,
    started: watch::Receiver<bool>,
}

impl Choice {
    async fn answer(
        mut self,
        begun: impl Future<Output = Result<Answering, AskError>>,
        taken: oneshot::Sender<Result<(), AskError>>,
    ) {
        let mut answering = match begun.await {
            Ok(answering) => answering,
            Err(error) => {
                // Nobody waits for it when another choice was refused before.
                let _nobody = taken.send(Err(error));
                return;
            }
        };
        if taken.send(Ok(())).is_err() || self.started.wait_for(|start| *start).await.is_err() {
            return;
        }
        loop {
            let said = match answering.next().await {
                Ok(Some(chunk)) => Ok(Heard::Chunk(chunk)),
                Ok(None) => answering
                    .take_settled()
                    .map(|settled| Heard::Settled(Box::new(settled)))
                    .ok_or(AskError::NoReceipt),
                Err(error) => Err(error),
            };
            let goes_on = matches!(said, Ok(Heard::Chunk(_)));
            if self.told.send((self.index, said)).await.is_err() || !goes_on {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(text: &str) -> Result<Asking, ChatRequestError> {
        Asking::of_openai(Asked::Chat, &Bytes::copy_from_slice(text.as_bytes()))
    }

    fn several(text: &str) -> Several {
        match asking(text).unwrap() {
            Asking::Several(several) => several,
            Asking::One(_) => panic!("one"),
        }
    }

    fn seeds(several: &Several) -> Vec<Value> {
        let sent = several.requests.iter().map(|request| {
            let sent: Value = serde_json::from_slice(request.body()).unwrap();
            assert_eq!(sent["n"], 1);
            assert_eq!(sent["stream"], true);
            assert_eq!(sent["seed"].as_u64(), request.sampling().seed);
            sent["seed"].clone()
        });
        sent.collect()
    }

    #[test]
    fn one_choice_is_the_request_as_it_came() {
        for n in ["", r#","n":1"#, r#","n":null"#] {
            let text = format!(r#"{{ "model":"m","stream":true{n}}}"#);
            let Asking::One(request) = asking(&text).unwrap() else {
                panic!("several");
            };
            assert_eq!(request.body().trim_ascii_end(), text.as_bytes());
        }
    }

    #[test]
    fn choice_i_has_the_given_seed_plus_i() {
        let three = several(r#"{"model":"m","stream":true,"n":3,"seed":41}"#);
        assert_eq!(seeds(&three), [41, 42, 43]);
        let last = several(r#"{"model":"m","n":2,"seed":-1}"#);
        assert_eq!(seeds(&last), [u64::MAX, 0]);
        let drawn = several(r#"{"model":"m","n":2}"#);
        assert_eq!(seeds(&drawn), [Value::Null, Value::Null]);
    }

    #[test]
    fn a_stream_ends_with_usage_only_where_it_was_asked_for() {
        assert!(!several(r#"{"model":"m","stream":true,"n":2}"#).include_usage);
        let options = r#""stream_options":{"include_usage":true}"#;
        let asked = several(&format!(r#"{{"model":"m","stream":true,"n":2,{options}}}"#));
        assert!(asked.include_usage);
    }

    #[test]
    fn refuses_a_number_of_choices_that_it_does_not_ask_for() {
        for n in ["0", "9", "-1", "1.5", "\"2\"", "true", "[2]"] {
            let refused = asking(&format!(r#"{{"model":"m","n":{n}}}"#)).unwrap_err();
            assert_eq!(refused, ChatRequestError::Member { member: "n" }, "{n}");
        }
    }
}
