//! The program `openssl`, asked about single items.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program, and a directory for its files.
pub(super) struct Openssl {
    pub(super) place: tempfile::TempDir,
}

impl Openssl {
    pub(super) fn open() -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.place.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(super) fn takes(&self, arguments: &[&str]) -> bool {
        let status = Command::new("openssl")
            .args(arguments)
            .current_dir(self.place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.expect("the program openssl").success()
    }

    /// What it prints, where it ends well.
    pub(super) fn says(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.place.path())
            .stderr(Stdio::null())
            .output()
            .expect("the program openssl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }

    /// Several certificates in one file.
    pub(super) fn pems(&self, name: &str, ders: &[Vec<u8>]) -> bool {
        let mut all = Vec::new();
        for der in ders {
            if !self.pem("x509", "part.pem", der) {
                return false;
            }
            all.extend(fs::read(self.place.path().join("part.pem")).unwrap());
        }
        self.write(name, &all);
        true
    }

    /// DER to PEM; an unreadable item leaves no file.
    pub(super) fn pem(&self, kind: &str, name: &str, der: &[u8]) -> bool {
        self.write("item.der", der);
        self.takes(&[kind, "-inform", "DER", "-in", "item.der", "-out", name])
    }

    /// A leaf under an authority under a root, with lists where there are some.
    pub(super) fn chain(&self, lists: &[&str], at: u64) -> bool {
        let at = at.to_string();
        let mut arguments = vec!["verify", "-ignore_critical", "-attime", &at];
        arguments.extend(["-CAfile", "root.pem", "-untrusted", "authority.pem"]);
        for list in lists {
            arguments.extend(["-CRLfile", list]);
        }
        if !lists.is_empty() {
            arguments.push("-crl_check_all");
        }
        arguments.push("leaf.pem");
        self.takes(&arguments)
    }

    pub(super) fn signed(&self, hash: &str, key: &str, message: &[u8], signature: &[u8]) -> bool {
        self.write("message", message);
        self.write("signature", signature);
        let sign = [
            "dgst",
            hash,
            "-verify",
            key,
            "-signature",
            "signature",
            "message",
        ];
        self.takes(&sign)
    }

    pub(super) fn leaf_key(&self) -> bool {
        self.takes(&[
            "x509", "-in", "leaf.pem", "-pubkey", "-noout", "-out", "leaf.key",
        ])
    }
}

/// r and s, big-endian, as the DER that `openssl` reads.
pub(super) fn der_signature(scalars: [&[u8]; 2]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let start = bytes
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(bytes.len() - 1);
        let mut body = bytes[start..].to_vec();
        if body[0] & 0x80 != 0 {
            body.insert(0, 0);
        }
        [vec![0x02, u8::try_from(body.len()).unwrap()], body].concat()
    };
    let body = [integer(scalars[0]), integer(scalars[1])].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}
