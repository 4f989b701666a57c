//! Where a shared ledger lies: a `postgres://` address without a password, which comes from a file.
//!
//! A database on this machine is reached without TLS; any other only with it, and only when it
//! shows a certificate under a root that the operator names. Deliberately not here: connecting.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use zeroize::Zeroizing;

use super::LedgerError;

/// A password file's size at most.
const MAX_PASSWORD: u64 = 1024;
/// What may stand behind the question mark.
const PARAMETERS: [&str; 4] = ["host", "port", "user", "dbname"];

/// A ledger's database: host or socket directory, user, name.
#[derive(Clone)]
pub struct LedgerAddress(Box<Config>);

impl FromStr for LedgerAddress {
    type Err = LedgerError;

    /// Parses `postgres://USER@HOST[:PORT]/DATABASE`, or, by a socket's directory,
    /// `postgres:///DATABASE?host=/DIRECTORY&user=USER`. The text is not repeated in an error.
    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let refused = |what| LedgerError::Address { what };
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(refused("must begin with postgres://"));
        }
        let parameters = text.split_once('?').map_or("", |(_, after)| after);
        let mut names = parameters.split('&').filter(|part| !part.is_empty());
        let known = |part: &str| {
            let name = part.split_once('=').map_or(part, |(name, _)| name);
            PARAMETERS.contains(&name)
        };
        if !names.all(known) {
            return Err(refused("takes no parameters but host, port, user, dbname"));
        }
        let config = Config::from_str(text).map_err(|_| refused("cannot be understood"))?;
        if config.get_password().is_some() {
            return Err(refused(
                "must not hold a password: name a file with --ledger-password",
            ));
        }
        if config.get_hosts().len() != 1 || config.get_ports().len() > 1 {
            return Err(refused("must name one host"));
        }
        if config.get_user().is_none() || config.get_dbname().is_none() {
            return Err(refused("must name a user and a database"));
        }
        Ok(Self(Box::new(config)))
    }
}

impl LedgerAddress {
    /// Whether the database is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                let ip = name.parse::<IpAddr>();
                name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
            }
        })
    }
}

impl fmt::Debug for LedgerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerAddress").finish_non_exhaustive()
    }
}

/// A shared ledger and how to get in.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// Where it lies.
    pub address: LedgerAddress,
    /// A file of mode 0600 with the password; none when the database knows the user otherwise.
    pub password: Option<PathBuf>,
    /// Root certificates, PEM, of which one must stand behind the database's own.
    pub roots: Option<PathBuf>,
}

impl LedgerOptions {
    /// What the client library needs to connect; the password is read each time, so that it can be
    /// changed.
    pub(super) fn config(&self, within: Duration) -> Result<Config, LedgerError> {
        let mut config = Config::clone(&self.address.0);
        if let Some(path) = &self.password {
            config.password(password(path)?.as_bytes());
        }
        config
            .application_name("host-agent")
            .connect_timeout(within)
            .tcp_user_timeout(within)
            .keepalives_idle(within)
            .ssl_mode(match self.secure()? {
                Some(_) => SslMode::Require,
                None => SslMode::Disable,
            });
        Ok(config)
    }

    /// The roots with which the connection is made; none when it stays on this machine.
    pub(super) fn secure(&self) -> Result<Option<&Path>, LedgerError> {
        match &self.roots {
            Some(roots) => Ok(Some(roots)),
            None if self.address.is_local() => Ok(None),
            None => Err(LedgerError::Address {
                what: "is another machine's: name its root certificate with --ledger-roots",
            }),
        }
    }
}

fn password(path: &Path) -> Result<Zeroizing<String>, LedgerError> {
    let failed = |source| LedgerError::Password {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(LedgerError::Open { path });
    }
    let mut text = Zeroizing::new(String::new());
    let mut bounded = file.take(MAX_PASSWORD);
    bounded.read_to_string(&mut text).map_err(failed)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    fn refusal(text: &str) -> String {
        LedgerAddress::from_str(text).unwrap_err().to_string()
    }

    #[test]
    fn takes_a_host_or_a_sockets_directory_and_knows_what_is_on_this_machine() {
        for (text, local) in [
            ("postgres://agent@db.example/ledger", false),
            ("postgres://agent@192.0.2.1:5433/ledger", false),
            ("postgres://agent@127.0.0.1/ledger", true),
            ("postgres://agent@localhost/ledger", true),
            ("postgres://agent@localhost.example/ledger", false),
            ("postgresql:///ledger?host=/run/postgresql&user=agent", true),
        ] {
            assert_eq!(
                LedgerAddress::from_str(text).unwrap().is_local(),
                local,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_a_password_and_whatever_could_weaken_a_connection_without_repeating_it() {
        for text in [
            "postgres://agent:sesame@db.example/ledger",
            "postgres://agent@db.example/ledger?password=sesame",
            "postgres://agent@db.example/ledger?sslmode=disable&x=sesame",
            "postgres://agent@db.example/ledger?options=-c%20sesame",
            "postgres://agent@db.example/ledger?hostaddr=127.0.0.1&x=sesame",
            "postgres://agent@db.example,sesame.example/ledger",
            "postgres://db.example/sesame",
            "postgres://sesame@db.example",
            "mysql://sesame",
        ] {
            assert!(!refusal(text).contains("sesame"), "{text}");
        }
    }

    #[test]
    fn another_machine_is_reached_with_a_root_certificate_or_not_at_all() {
        let mut options = LedgerOptions {
            address: "postgres://agent@db.example/ledger".parse().unwrap(),
            password: None,
            roots: None,
        };
        assert!(options.config(Duration::from_secs(1)).is_err());
        options.roots = Some("roots.pem".into());
        let config = options.config(Duration::from_secs(1)).unwrap();
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn a_password_is_its_owners_alone_and_ends_with_its_line() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("password");
        std::fs::write(&path, "sesame\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(password(&path).unwrap().as_str(), "sesame");
        for mode in [0o640, 0o604] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = password(&path).unwrap_err();
            assert!(matches!(refused, LedgerError::Open { .. }), "{mode:o}");
        }
    }
}
