//! `hardening`: prints what a built kernel has of the committed list, each miss with its reason.
//! Exit status 0 when it passes, 1 when it does not, 2 when it cannot be judged.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use hardening::{CommandLine, Configuration, Finding, ListError, Report, except, judge, parse};
use thiserror::Error;

const USAGE: &str = "usage: hardening LIST CONFIGURATION COMMAND-LINE [EXCEPTIONS]";
/// A resolved configuration has about 60 KiB.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Debug, Error)]
enum JudgeError {
    #[error("{USAGE}")]
    Usage,
    #[error("cannot read `{path}`: {source}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("the list is refused: {0}")]
    List(#[from] ListError),
    #[error("`{0}` sets no symbol")]
    NoConfiguration(String),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok((text, passes)) => {
            // Nothing can be done about a closed output.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::from(u8::from(!passes))
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "hardening: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(String, bool), JudgeError> {
    let (list, configuration_path, line, exceptions) = match arguments {
        [list, configuration, line] => (list, configuration, line, None),
        [list, configuration, line, exceptions] => (list, configuration, line, Some(exceptions)),
        _ => return Err(JudgeError::Usage),
    };
    let mut rows = parse(&read(list)?)?;
    if let Some(exceptions) = exceptions {
        except(&mut rows, &read(exceptions)?)?;
    }
    let configuration = Configuration::read(&read(configuration_path)?);
    if configuration.is_empty() {
        return Err(JudgeError::NoConfiguration(configuration_path.clone()));
    }
    let line = read(line)?;
    let report = judge(&rows, &configuration, &CommandLine::new(&line));
    Ok((text(&report), report.passes()))
}

fn read(path: &str) -> Result<String, JudgeError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
        .map_err(|source| JudgeError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

fn text(report: &Report<'_>) -> String {
    let mut lines = Vec::new();
    for finding in &report.misses {
        lines.push(format!("missed  {}", describe(finding)));
    }
    for finding in &report.stale {
        lines.push(format!("holds after all  {}", describe(finding)));
    }
    lines.push(score("KSPP", report.kspp));
    lines.push(score("all", report.all));
    lines.push(if report.passes() { "passed" } else { "FAILED" }.to_owned());
    lines.push(String::new());
    lines.join("\n")
}

fn describe(finding: &Finding<'_>) -> String {
    let row = finding.row;
    let found = finding.found.as_deref().unwrap_or("not set");
    format!(
        "{:?} {} {:?}, found {found} (line {}): {}",
        row.grade, row.item, row.wish, row.line, row.reason
    )
}

fn score(what: &str, (held, of): (usize, usize)) -> String {
    let tenths = held.saturating_mul(1000).checked_div(of).unwrap_or(0);
    let (whole, rest) = (tenths / 10, tenths % 10);
    format!("{what}: {held} of {of} hold, {whole}.{rest} %")
}
