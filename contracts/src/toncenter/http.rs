//! One POST over plain HTTP/1.1, a connection each, bounded in bytes and time.

use core::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ChainError;

/// An answer is at most this long: 50 transactions of the largest kind.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// A request takes at most this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const PATH: &str = "/api/v2/jsonRPC";

/// Text that is not the base of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Only `http://` is spoken here; put TLS in front, or use an endpoint on this machine.
    #[error("expected http://")]
    Scheme,
    /// Not `host:port`, or more than that.
    #[error("expected http://host:port and nothing else")]
    Authority,
}

#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    authority: String,
}

impl Endpoint {
    pub(super) fn parse(base: &str) -> Result<Self, UrlError> {
        let authority = base
            .strip_prefix("http://")
            .ok_or(UrlError::Scheme)?
            .trim_end_matches('/');
        let parsed: http::uri::Authority = authority.parse().map_err(|_| UrlError::Authority)?;
        let plain = parsed.port_u16().is_some() && !authority.contains('@');
        if plain {
            Ok(Self {
                authority: authority.to_owned(),
            })
        } else {
            Err(UrlError::Authority)
        }
    }

    /// The status and the body of the answer.
    pub(super) async fn post(&self, body: String) -> Result<(u16, Bytes), ChainError> {
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(body))
            .await
            .unwrap_or(Err(ChainError::TimedOut(ANSWER_WITHIN)))
    }

    async fn exchange(&self, body: String) -> Result<(u16, Bytes), ChainError> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(ChainError::Unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let request = Request::post(PATH)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| ChainError::Malformed { what: "request" })?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status().as_u16();
            let limited = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
            let body = limited.collect().await.map_err(too_long_or_broken)?;
            Ok((status, body.to_bytes()))
        };
        // The connection's own future moves the bytes; it ends with the answer or with an error.
        tokio::pin!(answer);
        let mut connection = core::pin::pin!(connection);
        tokio::select! {
            biased;
            answered = &mut answer => answered,
            ended = &mut connection => {
                ended.map_err(broken)?;
                answer.await
            }
        }
    }
}

fn broken(error: hyper::Error) -> ChainError {
    ChainError::Unreachable(std::io::Error::other(error))
}

fn too_long_or_broken(error: Box<dyn core::error::Error + Send + Sync>) -> ChainError {
    if error.is::<LengthLimitError>() {
        ChainError::TooLong {
            limit: MAX_ANSWER_BYTES,
        }
    } else {
        ChainError::Unreachable(std::io::Error::other(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_host_and_port_and_nothing_else() {
        assert!(Endpoint::parse("http://127.0.0.1:8081").is_ok());
        assert!(Endpoint::parse("http://127.0.0.1:8081/").is_ok());
        let refusal = |base| Endpoint::parse(base).err();
        assert_eq!(refusal("https://127.0.0.1:1"), Some(UrlError::Scheme));
        assert_eq!(refusal("http://127.0.0.1"), Some(UrlError::Authority));
        assert_eq!(refusal("http://a:b@127.0.0.1:1"), Some(UrlError::Authority));
        assert_eq!(refusal("http://127.0.0.1:1/x"), Some(UrlError::Authority));
        assert_eq!(refusal("http://"), Some(UrlError::Authority));
    }
}
