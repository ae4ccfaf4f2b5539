//! A running program: its signals, its output, its memory.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kind::Kind;

/// Resident memory of processes, in MiB.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Half a second after the start, or half-way through a shorter process.
    start: f64,
    /// At the end.
    end: f64,
    /// The largest growth of one process from its start to its end.
    growth: f64,
}

impl Usage {
    fn of(samples: &[(Duration, f64)]) -> Self {
        let early = samples.iter().find(|(at, _)| *at > Duration::from_millis(500));
        let early = early.or(samples.get(samples.len() / 2));
        let (start, end) = (early.map_or(0.0, |(_, mib)| *mib), samples.last().map_or(0.0, |(_, mib)| *mib));
        Self { start, end, growth: end - start }
    }

    /// Takes the larger of each value.
    pub fn add(&mut self, other: &Self) {
        self.start = self.start.max(other.start);
        self.end = self.end.max(other.end);
        self.growth = self.growth.max(other.growth);
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}, {:.0}, {:+.0}", self.start, self.end, self.growth)
    }
}

/// A program that was started; it is killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    began: Instant,
    samples: Vec<(Duration, f64)>,
}

/// How a program ended.
pub struct End {
    status: ExitStatus,
    /// The program's output.
    pub said: String,
    pub usage: Usage,
}

impl Process {
    /// Starts the program, with its output in a file.
    pub fn start(mut command: Command) -> Result<Self> {
        let log = std::env::temp_dir().join(format!("mae-soak-{}.log", std::process::id()));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command.stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log, began: Instant::now(), samples: Vec::new() })
    }

    /// Samples the program's memory until `moment` after its start, or its end.
    pub fn run_for(&mut self, moment: Duration) -> Result<()> {
        while self.began.elapsed() < moment && self.child.try_wait()?.is_none() {
            self.sample();
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Samples the program's memory until its end.
    pub fn wait(&mut self) -> Result<End> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                let said = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
                fs::remove_file(&self.log)?;
                return Ok(End { status, said, usage: Usage::of(&self.samples) });
            }
            if self.began.elapsed() > Duration::from_secs(1800) {
                bail!("it did not end within half an hour");
            }
            self.sample();
            sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal. Does nothing if the process has ended.
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill").args([name, &self.child.id().to_string()]).output();
    }

    fn sample(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        self.samples.extend(kib.map(|kib| (self.began.elapsed(), kib / 1024.0)));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Whether the program ended as documented: done, stopped with a checkpoint, or with an error that names the cause.
    pub fn expected(&self, kind: Kind) -> bool {
        const INTERRUPTED: i32 = 130;
        let failed = |cause: &str| self.status.code() == Some(1) && self.said.contains(cause);
        self.success()
            || match kind {
                // A signal that comes before the program listens ends it, as it ends any other program.
                Kind::Kill | Kind::Stop => self.status.code().is_none_or(|code| code == INTERRUPTED),
                Kind::FullDisk => failed("No space left on device"),
                Kind::ReadOnly => failed("Read-only file system"),
                Kind::BrokenImage => failed(super::world::BROKEN),
            }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.said.lines().last().unwrap_or("nothing printed");
        write!(f, "{}, RSS {}; {last}", self.status, self.usage)
    }
}
