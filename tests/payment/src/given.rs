//! Which chain the program is given: everything by arguments, nothing guessed.
//!
//! There is no network that it runs on by itself: what it sends are real coins of whoever's wallets
//! it is given.

use std::path::PathBuf;

use contracts::lite::{LiteServer, LiteServers};
use contracts::proof::BlockId;
use protocol::nano::Nano;
use protocol::ton::NetworkId;

/// How it is called.
pub const USAGE: &str = "\
usage: payment-live --network ID --lite-server KEY@HOST:PORT --lite-server KEY@HOST:PORT
         --trusted-block SEQNO:ROOT:FILE --chain http://HOST:PORT
         --payer-seed FILE --payee-seed FILE --state DIR --deposit NANO

Opens a payment channel from one wallet to the other, promises, claims and closes it, with every
account read by proof from the given lite-servers, and checks all sums to the nano unit. It sends
real coins of that network and returns them, less fees of about 0.1 coins, to the same two wallets.

  --network      -3 for the test network; any other, the main network too, if it is yours to spend
  --lite-server  twice or more
  --chain        an endpoint in the manner of toncenter v2, for messages and transactions; HTTP only
  --payer-seed, --payee-seed
                 made by `host-agent wallet new --seed FILE --network ID`; each holds coins
  --state        where the channel's key is kept; a run that was cut short is taken up there
  --deposit      nano units, 1000 at least";

/// What is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No chain is given.
    NothingGiven,
    /// An argument that it does not know, or without its value.
    Unknown(String),
    /// A value that is not of its form.
    Value(&'static str),
    /// It must be there.
    Missing(&'static str),
    /// Fewer than two servers.
    OneServer,
    /// Too little to be divided.
    Deposit,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingGiven => f.write_str("no lite-server is given, and there is no default"),
            Self::Unknown(word) => write!(f, "`{word}` is not known, or has no value"),
            Self::Value(name) => write!(f, "the value of `{name}` is not of its form"),
            Self::Missing(name) => write!(f, "`{name}` is missing"),
            Self::OneServer => f.write_str("one server can hide what it likes: two or more"),
            Self::Deposit => f.write_str("a deposit of less than 1000 nano units"),
        }
    }
}

/// The chain and the parties.
#[derive(Debug)]
pub struct Given {
    /// Which network.
    pub network: NetworkId,
    /// By whose proofs, from which block on.
    pub by: LiteServers,
    /// Where messages go and transactions are read.
    pub endpoint: String,
    /// The payer's seed.
    pub payer: PathBuf,
    /// The payee's seed.
    pub payee: PathBuf,
    /// Where the run keeps its files.
    pub state: PathBuf,
    /// What is deposited.
    pub deposit: Nano,
}

#[derive(Default)]
struct Words {
    servers: Vec<LiteServer>,
    network: Option<NetworkId>,
    pinned: Option<BlockId>,
    endpoint: Option<String>,
    payer: Option<PathBuf>,
    payee: Option<PathBuf>,
    state: Option<PathBuf>,
    deposit: Option<Nano>,
}

impl Words {
    fn take(&mut self, name: &str, value: String) -> Result<(), Refused> {
        match name {
            "--lite-server" => {
                let server = value.parse();
                let server = server.map_err(|_| Refused::Value("--lite-server"))?;
                self.servers.push(server);
            }
            "--network" => {
                let id = value.parse().map_err(|_| Refused::Value("--network"))?;
                self.network = Some(NetworkId(id));
            }
            "--trusted-block" => {
                let block = value.parse();
                self.pinned = Some(block.map_err(|_| Refused::Value("--trusted-block"))?);
            }
            "--deposit" => {
                let units = value.parse().map_err(|_| Refused::Value("--deposit"))?;
                let units = Nano::new(units).map_err(|_| Refused::Value("--deposit"))?;
                self.deposit = Some(units);
            }
            "--chain" => self.endpoint = Some(value),
            "--payer-seed" => self.payer = Some(value.into()),
            "--payee-seed" => self.payee = Some(value.into()),
            "--state" => self.state = Some(value.into()),
            other => return Err(Refused::Unknown(other.to_owned())),
        }
        Ok(())
    }
}

impl Given {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Refused> {
        let mut words = Words::default();
        let mut arguments = arguments.into_iter().peekable();
        if arguments.peek().is_none() {
            return Err(Refused::NothingGiven);
        }
        while let Some(name) = arguments.next() {
            let Some(value) = arguments.next() else {
                return Err(Refused::Unknown(name));
            };
            words.take(&name, value)?;
        }
        if words.servers.len() < 2 {
            return Err(Refused::OneServer);
        }
        let deposit = words.deposit.ok_or(Refused::Missing("--deposit"))?;
        if deposit < Nano::from_u64(1000) {
            return Err(Refused::Deposit);
        }
        Ok(Self {
            network: words.network.ok_or(Refused::Missing("--network"))?,
            by: LiteServers {
                servers: words.servers,
                pinned: words.pinned.ok_or(Refused::Missing("--trusted-block"))?,
            },
            endpoint: words.endpoint.ok_or(Refused::Missing("--chain"))?,
            payer: words.payer.ok_or(Refused::Missing("--payer-seed"))?,
            payee: words.payee.ok_or(Refused::Missing("--payee-seed"))?,
            state: words.state.ok_or(Refused::Missing("--state"))?,
            deposit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u8) -> String {
        format!("{}@127.0.0.1:{number}", format!("{number:02x}").repeat(32))
    }

    fn good() -> Vec<(&'static str, String)> {
        let hash = "5a".repeat(32);
        vec![
            ("--lite-server", server(1)),
            ("--lite-server", server(2)),
            ("--network", "-3".to_owned()),
            ("--trusted-block", format!("7:{hash}:{hash}")),
            ("--chain", "http://127.0.0.1:8081".to_owned()),
            ("--payer-seed", "a".to_owned()),
            ("--payee-seed", "b".to_owned()),
            ("--state", "c".to_owned()),
            ("--deposit", "200000000".to_owned()),
        ]
    }

    fn parse(words: &[(&'static str, String)]) -> Result<Given, Refused> {
        let all = words
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
        Given::parse(all)
    }

    #[test]
    fn a_chain_that_is_given_whole_is_taken() {
        let given = parse(&good()).unwrap();
        assert_eq!(given.network, NetworkId(-3));
        assert_eq!(given.by.servers.len(), 2);
        assert_eq!(given.deposit, Nano::from_u64(200_000_000));
    }

    #[test]
    fn nothing_runs_on_a_chain_that_is_not_given_or_given_in_part() {
        assert_eq!(Given::parse([]).unwrap_err(), Refused::NothingGiven);
        assert_eq!(parse(&good()[1..]).unwrap_err(), Refused::OneServer);
        for (at, (name, _)) in good().into_iter().enumerate().skip(2) {
            let mut words = good();
            words.remove(at);
            assert_eq!(parse(&words).unwrap_err(), Refused::Missing(name));
        }
        let mut less = good();
        less[8].1 = "999".to_owned();
        assert_eq!(parse(&less).unwrap_err(), Refused::Deposit);
    }

    #[test]
    fn values_of_another_form_and_unknown_words_are_named() {
        for (at, name) in [
            (0, "--lite-server"),
            (2, "--network"),
            (3, "--trusted-block"),
            (8, "--deposit"),
        ] {
            let mut words = good();
            words[at].1 = "0.5ton".to_owned();
            assert_eq!(parse(&words).unwrap_err(), Refused::Value(name));
        }
        let unknown = |words: &[&str]| Given::parse(words.iter().map(|word| (*word).to_owned()));
        let help = Refused::Unknown("--help".to_owned());
        assert_eq!(unknown(&["--help"]).unwrap_err(), help);
        assert_eq!(unknown(&["--help", "x"]).unwrap_err(), help);
    }
}
