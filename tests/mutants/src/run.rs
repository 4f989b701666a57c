//! Runs the tests that reach a fault, the likeliest and shortest first, until one of them fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::plant::{self, Planted};

/// The first tests that are run together take about this long.
const FIRST: Duration = Duration::from_millis(300);
/// Tests that take longer are run only for what no shorter one caught, when all others are judged.
const SHORT: Duration = Duration::from_secs(1);
/// A program that takes so much longer than its tests did without a fault does not end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    file: String,
    line: usize,
    column: usize,
    function: String,
    from: String,
    to: String,
    /// The test that failed, or one of the words below.
    end: String,
}

const UNREACHED: &str = "no test reaches it";
const SURVIVED: &str = "survived";
const SURVIVED_SHORT: &str = "survived, the long tests not run";
const ENDLESS: &str = "does not end";

impl Outcome {
    fn of(fault: &Planted, end: String) -> Self {
        Self {
            file: fault.file.clone(),
            line: fault.line,
            column: fault.column,
            function: fault.function.clone(),
            from: fault.from.clone(),
            to: fault.to.clone(),
            end,
        }
    }

    fn is_of(&self, fault: &Planted) -> bool {
        Self::of(fault, self.end.clone()) == *self
    }

    fn is_caught(&self) -> bool {
        ![UNREACHED, SURVIVED, SURVIVED_SHORT].contains(&self.end.as_str())
    }
}

struct Test {
    program: PathBuf,
    name: String,
    takes: Duration,
    reaches: BTreeSet<usize>,
}

/// Judges faults for so many seconds; those that the file of results names are not judged again.
pub(crate) fn run(
    list: &Path,
    results: &Path,
    seconds: u64,
    programs: &[PathBuf],
) -> anyhow::Result<()> {
    let until = Instant::now().checked_add(Duration::from_secs(seconds));
    let tests = baseline(programs, &results.with_extension("reached"))?;
    let mut faults = plant::read(list)?;
    // In an order that has nothing to do with places, so that a part of them is a sample.
    faults.sort_by_key(|fault| fault.number.wrapping_mul(2_654_435_761) % 1_000_003);
    let mut done = read_results(results)?;
    // The longer tests of an earlier run are still to be run.
    done.retain(|outcome| outcome.end != SURVIVED_SHORT);
    faults.retain(|fault| !done.iter().any(|outcome| outcome.is_of(fault)));
    let mut kills = Kills::new();
    let mut file = OpenOptions::new().create(true).append(true).open(results)?;
    let mut open = Vec::new();
    let late = || until.is_some_and(|until| Instant::now() >= until);
    let reached: BTreeSet<usize> = tests
        .iter()
        .flat_map(|test| &test.reaches)
        .copied()
        .collect();
    let (short, long): (Vec<_>, Vec<_>) = tests.iter().partition(|test| test.takes <= SHORT);
    for (tests, is_last) in [(short, false), (long, true)] {
        for fault in std::mem::take(&mut faults) {
            if late() {
                break;
            }
            let end = match judge(&fault, &tests, &mut kills)? {
                Some(end) => end,
                None if !reached.contains(&fault.number) => UNREACHED.to_owned(),
                None if is_last => SURVIVED.to_owned(),
                None => {
                    open.push(fault.clone());
                    SURVIVED_SHORT.to_owned()
                }
            };
            let line = serde_json::to_string(&Outcome::of(&fault, end))?;
            writeln!(file, "{line}")?;
        }
        faults = std::mem::take(&mut open);
    }
    Ok(())
}

/// How often a test caught something in a file or a function.
type Kills = BTreeMap<(String, String), u32>;

/// Every test, how long it takes without a fault, and which places it reaches.
fn baseline(programs: &[PathBuf], reached: &Path) -> anyhow::Result<Vec<Test>> {
    let mut tests = Vec::new();
    for program in programs {
        let ignored: BTreeSet<String> = names(program, &["--ignored"])?.into_iter().collect();
        for name in names(program, &[])? {
            if ignored.contains(&name) {
                continue;
            }
            drop(fs::remove_file(reached));
            let began = Instant::now();
            let mut command = Command::new(program);
            command.args(["--exact", &name, "--test-threads=1"]);
            command
                .env("PLANTED_REACHED", reached)
                .stdout(Stdio::null());
            ensure!(command.status()?.success(), "{name} fails without a fault");
            let numbers = fs::read_to_string(reached).unwrap_or_default();
            tests.push(Test {
                program: program.clone(),
                takes: began.elapsed(),
                reaches: numbers
                    .lines()
                    .filter_map(|line| line.parse().ok())
                    .collect(),
                name,
            });
        }
    }
    let all: Duration = tests.iter().map(|test| test.takes).sum();
    let text = format!(
        "{} tests, {:.1} s one by one\n",
        tests.len(),
        all.as_secs_f64()
    );
    std::io::stderr().write_all(text.as_bytes())?;
    Ok(tests)
}

fn names(program: &Path, more: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new(program);
    command.args(["--list", "--format=terse"]).args(more);
    let output = command
        .output()
        .with_context(|| program.display().to_string())?;
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

/// How one of these tests catches the fault; `None` where none does.
fn judge(fault: &Planted, tests: &[&Test], kills: &mut Kills) -> anyhow::Result<Option<String>> {
    let place = format!("{} {}", fault.file, fault.function);
    let mut waiting = tests.to_vec();
    waiting.retain(|test| test.reaches.contains(&fault.number));
    let count = |name: &str, of: &str| kills.get(&(of.to_owned(), name.to_owned())).copied();
    waiting.sort_by_cached_key(|test| {
        let here = count(&test.name, &place).unwrap_or(0).saturating_mul(20);
        let near = count(&test.name, &fault.file).unwrap_or(0);
        let weight = here.saturating_add(near).saturating_add(1);
        // The shorter, and the more often it caught something here, the earlier.
        test.takes.as_micros().checked_div(u128::from(weight))
    });
    let mut together = FIRST;
    while !waiting.is_empty() {
        let mut batch = Vec::new();
        let mut takes = Duration::ZERO;
        while let Some(test) = waiting.first().copied() {
            if !batch.is_empty() && takes.saturating_add(test.takes) > together {
                break;
            }
            takes = takes.saturating_add(test.takes);
            batch.push(test);
            waiting.remove(0);
        }
        if let Some(end) = caught(fault.number, &batch, takes)? {
            for of in [&place, &fault.file] {
                let count = kills.entry((of.clone(), end.clone())).or_default();
                *count = count.saturating_add(1);
            }
            return Ok(Some(end));
        }
        together = together.saturating_mul(2);
    }
    Ok(None)
}

/// How the fault is caught by one of these tests.
fn caught(number: usize, batch: &[&Test], takes: Duration) -> anyhow::Result<Option<String>> {
    let programs: BTreeSet<&PathBuf> = batch.iter().map(|test| &test.program).collect();
    for program in programs {
        let mut of_it = batch.iter().filter(|test| test.program == *program);
        let mut command = Command::new(program);
        command.args(["--exact", "--test-threads=1"]);
        command.args(of_it.clone().map(|test| &test.name));
        command.env("PLANTED", number.to_string());
        let patience = takes.saturating_mul(5).saturating_add(PATIENCE);
        let Some((success, said)) = ended(&mut command, patience)? else {
            return Ok(Some(ENDLESS.to_owned()));
        };
        if success {
            continue;
        }
        let failed = of_it.find(|test| said.contains(&format!("test {} ... FAILED", test.name)));
        return Ok(Some(match failed {
            Some(test) => test.name.clone(),
            None => "the program aborted".to_owned(),
        }));
    }
    Ok(None)
}

/// Whether the program ended well, and what it said; `None` when it did not end in time.
fn ended(command: &mut Command, patience: Duration) -> anyhow::Result<Option<(bool, String)>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut out = child.stdout.take().context("its output")?;
    let reads = std::thread::spawn(move || {
        let mut said = Vec::new();
        drop(out.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    });
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if began.elapsed() > patience => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(3)),
        }
    };
    let said = reads.join().unwrap_or_default();
    Ok(status.map(|status| (status.success(), said)))
}

fn read_results(results: &Path) -> anyhow::Result<Vec<Outcome>> {
    let text = match fs::read_to_string(results) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    // What was judged again stands there twice; the later word holds.
    let mut last = BTreeMap::new();
    for line in text.lines() {
        let found: Outcome = serde_json::from_str(line)?;
        let place = (found.file.clone(), found.line, found.column);
        last.insert((place, found.from.clone(), found.to.clone()), found);
    }
    Ok(last.into_values().collect())
}

/// A table by room, and every fault that no test caught, on standard output.
pub(crate) fn report(list: &Path, results: &Path) -> anyhow::Result<()> {
    let faults = plant::read(list)?;
    let mut outcomes = read_results(results)?;
    outcomes.retain(|outcome| faults.iter().any(|fault| outcome.is_of(fault)));
    let rooms = rooms(&faults, &outcomes);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| room | planted | judged | caught | |\n|---|---|---|---|---|"
    )?;
    for (room, [planted, judged, caught]) in &rooms {
        let tenths = caught
            .saturating_mul(1000)
            .checked_div(*judged)
            .unwrap_or(0);
        let (whole, rest) = (tenths / 10, tenths % 10);
        writeln!(
            out,
            "| {room} | {planted} | {judged} | {caught} | {whole}.{rest} % |"
        )?;
    }
    writeln!(out)?;
    outcomes.retain(|outcome| !outcome.is_caught());
    outcomes.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    for outcome in &outcomes {
        let Outcome {
            file,
            line,
            function,
            from,
            to,
            end,
            ..
        } = outcome;
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (from, to) = (flat(from), flat(to));
        writeln!(
            out,
            "- {file}:{line} `{function}`: `{from}` → `{to}` ({end})"
        )?;
    }
    Ok(())
}

/// Planted, judged and caught, by room and together.
fn rooms(faults: &[Planted], outcomes: &[Outcome]) -> BTreeMap<String, [usize; 3]> {
    let room = |file: &str| {
        let inner = file.strip_prefix("verifier/src/").unwrap_or(file);
        inner.split('/').next().unwrap_or_default().to_owned()
    };
    let mut rooms: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut add = |file: &str, counts: [usize; 3]| {
        for name in [room(file), "together".to_owned()] {
            let sums = rooms.entry(name).or_default();
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.saturating_add(count);
            }
        }
    };
    for fault in faults {
        add(&fault.file, [1, 0, 0]);
    }
    for outcome in outcomes {
        add(&outcome.file, [0, 1, usize::from(outcome.is_caught())]);
    }
    rooms
}
