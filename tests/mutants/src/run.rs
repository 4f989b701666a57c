//! Runs the tests that reach a fault, the likeliest and shortest first, until one of them fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::plant::{self, Planted};

/// The first tests that are run together take about this long.
const FIRST: Duration = Duration::from_millis(300);
/// Of each fault first those tests are run, the likeliest, that take about so long together: most
/// faults are caught by them, and what they let pass waits until all others had their turn.
const QUICK: Duration = Duration::from_millis(1_500);
/// Tests that take longer are run only for what no shorter one caught, when all others are judged.
const SHORT: Duration = Duration::from_secs(1);
/// A program that computes so much longer than its tests took without a fault does not end.
const PATIENCE: Duration = Duration::from_secs(10);
/// One that computes nothing for so long does not end either.
const WAITING: Duration = Duration::from_secs(120);
/// A test that computes longer is not looked at to its end before faults are judged: it may reach
/// every place, and take this long.
const LONGEST: Duration = Duration::from_secs(2);
const UNKNOWN: Duration = Duration::from_secs(900);
/// Tests that start programs of others: what those take is not seen here, so they are left out.
const OF_OTHERS: &str = "second_opinion::";

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
const SURVIVED_QUICK: &str = "survived, most tests not run";
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
        ![UNREACHED, SURVIVED].contains(&self.end.as_str()) && !self.is_open()
    }

    /// There are tests left that might catch it.
    fn is_open(&self) -> bool {
        [SURVIVED_SHORT, SURVIVED_QUICK].contains(&self.end.as_str())
    }
}

struct Test {
    program: PathBuf,
    name: String,
    takes: Duration,
    reaches: BTreeSet<usize>,
}

/// Which tests are run, one kind after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Quick,
    Short,
    Long,
}

/// A fault that nothing has caught yet, and the places of the tests that let it pass.
struct Pending {
    fault: Planted,
    passed: BTreeSet<usize>,
}

/// Judges faults for so many seconds; those that the file of results names are not judged again.
pub(crate) fn run(
    list: &Path,
    results: &Path,
    seconds: u64,
    programs: &[PathBuf],
) -> anyhow::Result<()> {
    let until = Instant::now().checked_add(Duration::from_secs(seconds));
    let mut faults = plant::read(list)?;
    let places = faults.iter().map(|fault| fault.number).collect();
    let tests = baseline(programs, results, &places)?;
    // In an order that has nothing to do with places, so that a part of them is a sample.
    faults.sort_by_key(|fault| fault.number.wrapping_mul(2_654_435_761) % 1_000_003);
    let mut done = read_results(results)?;
    // The longer tests of an earlier run are still to be run.
    done.retain(|outcome| !outcome.is_open());
    faults.retain(|fault| !done.iter().any(|outcome| outcome.is_of(fault)));
    let mut pending: Vec<_> = faults
        .into_iter()
        .map(|fault| Pending {
            fault,
            passed: BTreeSet::new(),
        })
        .collect();
    let kills = Mutex::new(Kills::new());
    let file = Mutex::new(OpenOptions::new().create(true).append(true).open(results)?);
    let late = || until.is_some_and(|until| Instant::now() >= until);
    for pass in [Pass::Quick, Pass::Short, Pass::Long] {
        let judged = each(pending, |_, mut one: Pending| {
            if late() {
                return Ok(None);
            }
            let end = judge(&mut one, &tests, pass, &kills)?;
            let line = serde_json::to_string(&Outcome::of(&one.fault, end.clone()))?;
            writeln!(locked(&file), "{line}")?;
            let is_open = Outcome::of(&one.fault, end).is_open();
            Ok(is_open.then_some(one))
        })?;
        pending = judged.into_iter().flatten().collect();
    }
    Ok(())
}

/// Does something with each of these, as many at a time as there are processors, in their order.
fn each<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(usize, T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let workers = std::thread::available_parallelism()?.get();
    let queue = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new(BTreeMap::new());
    let next = || locked(&queue).next();
    let one = |worker: usize| -> anyhow::Result<()> {
        while let Some((place, item)) = next() {
            let result = work(worker, item)?;
            locked(&results).insert(place, result);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..workers).map(|w| scope.spawn(move || one(w))).collect();
        let ended = started.into_iter().map(|worker| worker.join());
        ended.collect::<Vec<_>>()
    })
    .into_iter()
    .try_for_each(|ended| ended.unwrap_or_else(|_| Err(anyhow!("a worker panicked"))))?;
    Ok(std::mem::take(&mut *locked(&results))
        .into_values()
        .collect())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a test caught something in a file or a function.
type Kills = BTreeMap<(String, String), u32>;

/// Every test, how long it takes without a fault, and which places it reaches.
fn baseline(
    programs: &[PathBuf],
    beside: &Path,
    places: &BTreeSet<usize>,
) -> anyhow::Result<Vec<Test>> {
    let mut all = Vec::new();
    for program in programs {
        let ignored: BTreeSet<String> = names(program, &["--ignored"])?.into_iter().collect();
        let mut names = names(program, &[])?;
        names.retain(|name| !ignored.contains(name) && !name.starts_with(OF_OTHERS));
        all.extend(names.into_iter().map(|name| (program.clone(), name)));
    }
    let tests = each(all, |worker, (program, name)| {
        let reached = beside.with_extension(format!("reached-{worker}"));
        drop(fs::remove_file(&reached));
        let mut command = Command::new(&program);
        command.args(["--exact", &name, "--test-threads=1"]);
        command.env("PLANTED_REACHED", &reached);
        let (success, _, takes) = ended(&mut command, LONGEST)?;
        ensure!(success != Some(false), "{name} fails without a fault");
        if success.is_none() {
            return Ok(Test {
                reaches: places.clone(),
                takes: UNKNOWN,
                program,
                name,
            });
        }
        let numbers = fs::read_to_string(&reached).unwrap_or_default();
        let reaches = numbers.lines().filter_map(|line| line.parse().ok());
        Ok(Test {
            reaches: reaches.collect(),
            program,
            name,
            takes,
        })
    })?;
    let whole = tests.iter().filter(|test| test.takes < UNKNOWN);
    let all: Duration = whole.clone().map(|test| test.takes).sum();
    let (count, seconds) = (whole.count(), all.as_secs_f64());
    let longer = tests.len().saturating_sub(count);
    let text = format!("{count} tests, {seconds:.1} s one by one; {longer} longer ones\n");
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

/// What the tests of a pass make of a fault.
fn judge(
    one: &mut Pending,
    tests: &[Test],
    pass: Pass,
    kills: &Mutex<Kills>,
) -> anyhow::Result<String> {
    let number = one.fault.number;
    let reaching = tests.iter().enumerate();
    let mut waiting: Vec<_> = reaching
        .filter(|(place, test)| test.reaches.contains(&number) && !one.passed.contains(place))
        .collect();
    if waiting.is_empty() && one.passed.is_empty() {
        return Ok(UNREACHED.to_owned());
    }
    let all = waiting.len();
    waiting.retain(|(_, test)| pass == Pass::Long || test.takes <= SHORT);
    let places = [
        format!("{} {}", one.fault.file, one.fault.function),
        one.fault.file.clone(),
    ];
    sort_by_likelihood(&mut waiting, &places, &locked(kills));
    if pass == Pass::Quick {
        let mut spent = Duration::ZERO;
        waiting.retain(|(_, test)| {
            spent = spent.saturating_add(test.takes);
            spent <= QUICK
        });
    }
    let left = all.saturating_sub(waiting.len());
    let mut together = FIRST;
    while !waiting.is_empty() {
        let (mut batch, mut takes) = (Vec::new(), Duration::ZERO);
        while let Some((place, test)) = waiting.first().copied() {
            if !batch.is_empty() && takes.saturating_add(test.takes) > together {
                break;
            }
            takes = takes.saturating_add(test.takes);
            batch.push(test);
            one.passed.insert(place);
            waiting.remove(0);
        }
        if let Some(end) = caught(number, &batch, takes)? {
            for of in places {
                let mut kills = locked(kills);
                let count = kills.entry((of, end.clone())).or_default();
                *count = count.saturating_add(1);
            }
            return Ok(end);
        }
        together = together.saturating_mul(2);
    }
    let word = match (left, pass) {
        (0, _) => SURVIVED,
        (_, Pass::Quick) => SURVIVED_QUICK,
        (_, Pass::Short | Pass::Long) => SURVIVED_SHORT,
    };
    Ok(word.to_owned())
}

/// The shorter, and the more often it caught something here, the earlier.
fn sort_by_likelihood(waiting: &mut [(usize, &Test)], [here, near]: &[String; 2], kills: &Kills) {
    let count = |name: &str, of: &str| kills.get(&(of.to_owned(), name.to_owned())).copied();
    waiting.sort_by_cached_key(|(_, test)| {
        let here = count(&test.name, here).unwrap_or(0).saturating_mul(20);
        let near = count(&test.name, near).unwrap_or(0);
        let weight = here.saturating_add(near).saturating_add(1);
        test.takes.as_micros().checked_div(u128::from(weight))
    });
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
        let (success, said, _) = ended(&mut command, patience)?;
        match success {
            Some(true) => continue,
            Some(false) => {}
            None => return Ok(Some(ENDLESS.to_owned())),
        }
        let failed = of_it.find(|test| said.contains(&format!("test {} ... FAILED", test.name)));
        return Ok(Some(match failed {
            Some(test) => test.name.clone(),
            None => "the program aborted".to_owned(),
        }));
    }
    Ok(None)
}

/// Whether the program ended well, `None` when it did not end in time; what it said, and how long
/// it computed.
fn ended(
    command: &mut Command,
    patience: Duration,
) -> anyhow::Result<(Option<bool>, String, Duration)> {
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
    let (mut takes, mut moved) = (Duration::ZERO, Instant::now());
    let status = loop {
        // Of a process that has ended there is nothing to read any more.
        let now = computed(child.id());
        if now > takes {
            (takes, moved) = (now, Instant::now());
        }
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if takes > patience || moved.elapsed() > WAITING => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(3)),
        }
    };
    let said = reads.join().unwrap_or_default();
    Ok((status.map(|status| status.success()), said, takes))
}

/// How long a process has computed, by its clock of a hundredth of a second.
fn computed(process: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the program's name, which may hold anything: 11 numbers, then the user's and system's.
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks.saturating_mul(10))
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
        "| room | planted | judged | caught | survived | some tests not run | unreached | |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    for (room, counts) in &rooms {
        let tenths = counts
            .caught
            .saturating_mul(1000)
            .checked_div(counts.judged)
            .unwrap_or(0);
        let (whole, rest) = (tenths / 10, tenths % 10);
        let Counts {
            planted,
            judged,
            caught,
            survived,
            open,
            unreached,
        } = counts;
        writeln!(
            out,
            "| {room} | {planted} | {judged} | {caught} | {survived} | {open} | {unreached} \
             | {whole}.{rest} % |"
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

/// How many faults there are, and what became of them.
#[derive(Debug, Default)]
struct Counts {
    planted: usize,
    judged: usize,
    caught: usize,
    survived: usize,
    open: usize,
    unreached: usize,
}

/// By room and together.
fn rooms(faults: &[Planted], outcomes: &[Outcome]) -> BTreeMap<String, Counts> {
    let room = |file: &str| {
        let inner = file.strip_prefix("verifier/src/").unwrap_or(file);
        inner.split('/').next().unwrap_or_default().to_owned()
    };
    let mut rooms: BTreeMap<String, Counts> = BTreeMap::new();
    let mut add = |file: &str, one: fn(&mut Counts) -> &mut usize| {
        for name in [room(file), "together".to_owned()] {
            let count = one(rooms.entry(name).or_default());
            *count = count.saturating_add(1);
        }
    };
    for fault in faults {
        add(&fault.file, |counts| &mut counts.planted);
    }
    for outcome in outcomes {
        add(&outcome.file, |counts| &mut counts.judged);
        add(
            &outcome.file,
            match outcome.end.as_str() {
                UNREACHED => |counts| &mut counts.unreached,
                SURVIVED => |counts| &mut counts.survived,
                SURVIVED_SHORT | SURVIVED_QUICK => |counts| &mut counts.open,
                _ => |counts| &mut counts.caught,
            },
        );
    }
    rooms
}
