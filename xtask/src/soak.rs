//! `cargo xtask soak`: disturbs training, embedding and packing at random moments; compares with undisturbed runs.

mod job;
mod kind;
mod process;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use self::job::Job;
use self::kind::Kind;
use self::process::{Process, Usage};
use self::world::{Disk, break_image, write_images};
use crate::programs::{self, target};

/// Options of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Options {
    /// Minutes of disturbances, after which the last job runs to its end.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Seed of the order and the moments of disturbances.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder with `mae` and `examples/pack`, as cargo builds them [default: a release build is made].
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// Results of one kind of disturbance of one job.
#[derive(Default)]
struct Line {
    count: usize,
    /// Jobs that ended early and were started again.
    restarted: usize,
    /// Jobs that ended in the same bits as the undisturbed one.
    same: usize,
    /// Jobs that met the broken image and named it; their bits may differ.
    named: usize,
    /// Jobs that ended in other bits, or in an error that does not name the cause.
    failed: usize,
    usage: Usage,
}

/// Disturbs jobs until the time is over and prints a table; fails if any job failed.
pub fn soak(options: &Options) -> Result<()> {
    let programs = match &options.programs {
        Some(folder) => folder.clone(),
        None => build()?,
    };
    let programs =
        fs::canonicalize(&programs).with_context(|| format!("cannot open {}", programs.display()))?;
    let folder = std::env::temp_dir().join(format!("mae-soak-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = run(options, &programs, &folder);
    fs::remove_dir_all(&folder)?;
    result
}

/// Builds `mae` and the packing program; returns their folder.
fn build() -> Result<PathBuf> {
    programs::build(&["--package=mae-cli", "--package=mae-data", "--bin=mae", "--example=pack"])?;
    Ok(target().join("release"))
}

fn run(options: &Options, programs: &Path, folder: &Path) -> Result<()> {
    let images = folder.join("images");
    write_images(&images)?;
    let disk = Disk::mount(&folder.join("disk"));
    let mut kinds = vec![Kind::Kill, Kind::Stop, Kind::BrokenImage];
    match &disk {
        Ok(_) => kinds.extend([Kind::FullDisk, Kind::ReadOnly]),
        Err(error) => println!("no full and no read-only disk: {error:#}"),
    }
    let mut soak = Soak { programs, folder, disk: disk.ok(), rng: ChaCha8Rng::seed_from_u64(options.seed) };

    fs::create_dir_all(soak.place())?;

    // Fine-tuning and embedding begin with the weights of the undisturbed pre-training.
    let mut expected = Vec::new();
    for job in Job::ALL {
        expected.push(soak.undisturbed(job).with_context(|| format!("{}, undisturbed", job.name()))?);
    }
    let mut lines: BTreeMap<(Job, Kind), Line> = BTreeMap::new();
    let mut pairs: Vec<_> =
        Job::ALL.into_iter().flat_map(|job| kinds.iter().map(move |kind| (job, *kind))).collect();
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < Duration::from_secs(60 * options.minutes) {
        // Each pair comes once in a random order, then again.
        let place = round % pairs.len();
        let other = place + soak.below(pairs.len() - place);
        pairs.swap(place, other);
        let (job, kind) = pairs[place];
        let line = lines.entry((job, kind)).or_default();
        line.count += 1;
        if let Err(error) = soak.disturbed(job, kind, &expected[job as usize], line) {
            line.failed += 1;
            println!("FAILED in round {round}, {} and {}: {error:#}", job.name(), kind.name());
            println!("its files: {}", soak.keep(round)?.display());
        }
        soak.clear()?;
        round += 1;
    }
    print(&lines);
    let failed: usize = lines.values().map(|line| line.failed).sum();
    ensure!(failed == 0, "{failed} of {round} jobs failed, with seed {}", options.seed);
    Ok(())
}

/// Prints the table.
fn print(lines: &BTreeMap<(Job, Kind), Line>) {
    println!(
        "\n{:<10}{:<14}{:>5}{:>10}{:>11}{:>7}{:>8}  RSS in MiB: start, end, most growth",
        "job", "kind", "count", "restarted", "same bits", "named", "failed"
    );
    for ((job, kind), line) in lines {
        println!(
            "{:<10}{:<14}{:>5}{:>10}{:>11}{:>7}{:>8}  {}",
            job.name(),
            kind.name(),
            line.count,
            line.restarted,
            line.same,
            line.named,
            line.failed,
            line.usage
        );
    }
}

/// State of all jobs.
struct Soak<'a> {
    programs: &'a Path,
    folder: &'a Path,
    disk: Option<Disk>,
    rng: ChaCha8Rng,
}

/// Output and duration of an undisturbed job.
struct Expected {
    outcome: Vec<u8>,
    took: Duration,
}

impl Soak<'_> {
    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound as u64) as usize
    }

    fn undisturbed(&mut self, job: Job) -> Result<Expected> {
        let out = self.folder.join(job.name());
        let began = Instant::now();
        let mut process = Process::start(job.command(self.programs, self.folder, &out))?;
        let end = process.wait()?;
        ensure!(end.success(), "{end}");
        let took = began.elapsed();
        println!("{:<12}undisturbed, {:.1} s, RSS {}", job.name(), took.as_secs_f64(), end.usage);
        Ok(Expected { outcome: job.outcome(&out)?, took })
    }

    /// Starts a job, disturbs it once or more, and lets it run to its end.
    fn disturbed(&mut self, job: Job, kind: Kind, expected: &Expected, line: &mut Line) -> Result<()> {
        let out = self.place().join(job.name());
        let mut said = String::new();
        let (mut interrupted, mut done) = (false, false);
        let mut times = if kind == Kind::BrokenImage { 1 } else { 1 + self.below(3) };
        while times > 0 && !done {
            times -= 1;
            let moment = expected.took.mul_f64(self.below(1000) as f64 / 1000.0);
            let mut process = Process::start(job.command(self.programs, self.folder, &out))?;
            process.run_for(moment)?;
            let undo = self.disturb(kind, &process)?;
            let end = process.wait();
            undo.undo()?;
            let end = end?;
            ensure!(end.expected(kind), "{end}");
            println!("{:<10}{:<14}at {:>5.1} s: {end}", job.name(), kind.name(), moment.as_secs_f64());
            (interrupted, done) = (interrupted || !end.success(), end.success());
            line.usage.add(&end.usage);
            said += &end.said;
        }
        if kind != Kind::BrokenImage && !done {
            let end = Process::start(job.command(self.programs, self.folder, &out))?.wait()?;
            ensure!(end.success(), "{end}");
            line.usage.add(&end.usage);
        }
        said += &job::unreadable(&out);
        line.restarted += usize::from(interrupted && kind != Kind::BrokenImage);
        let same = job.outcome(&out).is_ok_and(|outcome| outcome == expected.outcome);
        let named = kind == Kind::BrokenImage && said.contains(world::BROKEN);
        ensure!(
            same || named,
            "its result differs from the undisturbed job's{}",
            if said.is_empty() { "" } else { ", and named no image" }
        );
        line.same += usize::from(same);
        line.named += usize::from(named);
        Ok(())
    }

    /// The folder of disturbed jobs.
    fn place(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.folder.join("plain"), |disk| disk.path.clone())
    }

    /// Copies what a failed job left to a folder that stays.
    fn keep(&self, round: usize) -> Result<PathBuf> {
        let kept = target().join("soak");
        fs::create_dir_all(&kept)?;
        let kept = kept.join(format!("{}-{round}", std::process::id()));
        let copied = Command::new("cp").arg("-a").arg(self.place()).arg(&kept).status()?;
        ensure!(copied.success(), "cannot copy to {}", kept.display());
        Ok(kept)
    }

    /// Empties the folder of disturbed jobs, which may be a mount point and so cannot be removed.
    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(self.place())? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        Ok(())
    }

    /// Disturbs a process; returns how to undo it.
    fn disturb(&self, kind: Kind, process: &Process) -> Result<world::Undo> {
        match (kind, &self.disk) {
            (Kind::Kill, _) => process.signal("-KILL"),
            (Kind::Stop, _) => process.signal("-TERM"),
            (Kind::FullDisk, Some(disk)) => return disk.fill(),
            (Kind::ReadOnly, Some(disk)) => return disk.read_only(),
            (Kind::BrokenImage, _) => return break_image(&self.folder.join("images")),
            _ => {}
        }
        Ok(world::Undo::Nothing)
    }
}
