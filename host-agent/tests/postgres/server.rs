//! A PostgreSQL of a test's own: made in a temporary directory, reached by a socket there, ended
//! with the test, also when the test is killed. It runs as nobody, in a namespace of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A server starts within this time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    programs: PathBuf,
    place: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A new server of the programs that `COCOON_POSTGRES` names, with settings of its own.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let mut server = Self::make(settings);
        server.resume();
        server
    }

    /// A new data directory; nothing runs yet.
    pub(crate) fn make(settings: &[&str]) -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "a test's input: which PostgreSQL"
        )]
        let programs = std::env::var("COCOON_POSTGRES");
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: free.local_addr().unwrap().port(),
            programs: programs.expect("COCOON_POSTGRES names its programs").into(),
            place: tempfile::tempdir().unwrap(),
            settings: settings
                .iter()
                .map(|setting| (*setting).to_owned())
                .collect(),
            child: None,
        };
        let mut make = server.command("initdb");
        make.args([
            "--username=agent",
            "--auth=trust",
            "--no-sync",
            "--locale=C",
        ]);
        make.args(["--encoding=UTF8", "--pgdata"])
            .arg(server.data());
        let made = make.output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        server
    }

    /// Where its files are, and a test's beside them.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place().join("data")
    }

    /// Its port, by which the socket is named, too.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Its address, by the socket's directory.
    pub(crate) fn address(&self) -> String {
        let (place, port) = (self.place().display(), self.port);
        format!("postgres:///postgres?host={place}&port={port}&user=agent")
    }

    /// Runs statements on it, past the ledger's client; what it refused, it says.
    pub(crate) fn run(&self, statements: &str) -> Result<(), String> {
        let (place, port) = (self.place().display(), self.port);
        let config = format!("host={place} port={port} user=agent dbname=postgres");
        // On a thread of its own: who asks may be on a runtime already.
        std::thread::scope(|threads| {
            let asked = threads.spawn(|| ask(&config, statements));
            asked.join().unwrap()
        })
    }

    /// Ends it at once, with all its processes, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            // What it started is killed by the kernel a moment later.
            let socket = self.place().join(format!(".s.PGSQL.{}", self.port));
            while UnixStream::connect(&socket).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Starts it on what is on the disk, and waits until it answers.
    pub(crate) fn resume(&mut self) {
        let log = self.place().join("log");
        let mut start = self.command("postgres");
        start.arg("-D").arg(self.data()).arg("-k").arg(self.place());
        start.args(["-c", "shared_buffers=32MB", "-c", "listen_addresses="]);
        start.args(["-c", &format!("port={}", self.port)]);
        for setting in &self.settings {
            start.args(["-c", setting]);
        }
        start.stderr(File::create(&log).unwrap());
        let began = Instant::now();
        loop {
            // It ends by itself while a killed one's processes are not all gone.
            let mut child = start.spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                if self.run("SELECT 1").is_ok() {
                    self.child = Some(child);
                    return;
                }
                let said = || std::fs::read_to_string(&log);
                assert!(began.elapsed() < PATIENCE, "no start: {:?}", said());
                std::thread::sleep(Duration::from_millis(50));
            }
            let said = || std::fs::read_to_string(&log);
            assert!(began.elapsed() < PATIENCE, "no start: {:?}", said());
        }
    }

    /// A program that is nobody's, and whose processes all end with it and with this test.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--user",
            "--map-user=65534",
        ]);
        command.args(["--map-group=65534", "--pid", "--fork", "--kill-child=KILL"]);
        command.arg(self.programs.join(program));
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ask(config: &str, statements: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let connected = tokio_postgres::connect(config, tokio_postgres::NoTls).await;
        let (client, connection) = connected.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let done = client.batch_execute(statements).await;
        done.map_err(|error| match error.as_db_error() {
            Some(refused) => refused.message().to_owned(),
            None => error.to_string(),
        })
    })
}
