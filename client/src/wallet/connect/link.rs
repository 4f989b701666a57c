//! The link that a wallet opens, or scans: who asks, for what. Known wallets, with their bridges.
//!
//! The link is the only message that is not sealed. It holds no secret of the session, but our
//! nonce, by which the bridge, which never sees the link, cannot answer it for a wallet.

use core::fmt::Write as _;

use super::sealed::ClientId;

/// A wallet program that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownWallet {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// Its universal link.
    pub link: &'static str,
    /// Its bridge.
    pub bridge: &'static str,
}

/// From the public list of wallets, `ton-blockchain/wallets-list` of 2025-10-03, `wallets-v2.json`:
/// those with links that need no other program.
pub const KNOWN_WALLETS: &[KnownWallet] = &[
    KnownWallet {
        name: "tonkeeper",
        link: "https://app.tonkeeper.com/ton-connect",
        bridge: "https://bridge.tonapi.io/bridge",
    },
    KnownWallet {
        name: "mytonwallet",
        link: "https://connect.mytonwallet.org",
        bridge: "https://tonconnectbridge.mytonwallet.org/bridge",
    },
    KnownWallet {
        name: "tonhub",
        link: "https://tonhub.com/ton-connect",
        bridge: "https://connect.tonhubapi.com/tonconnect",
    },
];

/// The link that every wallet takes; it must use our bridge.
pub const ANY_WALLET: &str = "tc://";

/// The link with a request in it.
#[must_use]
pub(super) fn link(base: &str, id: &ClientId, request: &str) -> String {
    let join = if base.contains('?') { '&' } else { '?' };
    format!("{base}{join}v=2&id={id}&r={}&ret=none", percent(request))
}

/// Text as a value in a URL: everything but unreserved characters is escaped.
#[must_use]
pub(super) fn percent(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _written = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_version_end_request_and_no_way_back() {
        let id = ClientId([0xab; 32]);
        let hex = "ab".repeat(32);
        assert_eq!(
            link(ANY_WALLET, &id, r#"{"a":"é ~"}"#),
            format!("tc://?v=2&id={hex}&r=%7B%22a%22%3A%22%C3%A9%20~%22%7D&ret=none")
        );
        let joined = link("https://wallet.example/?a=b", &id, "x");
        assert!(joined.starts_with("https://wallet.example/?a=b&v=2&id=ab"));
    }

    #[test]
    fn every_known_wallet_is_reached_over_tls() {
        for wallet in KNOWN_WALLETS {
            assert!(wallet.link.starts_with("https://"), "{wallet:?}");
            assert!(wallet.bridge.starts_with("https://"), "{wallet:?}");
        }
    }
}
