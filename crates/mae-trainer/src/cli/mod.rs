//! The command line that every training program shares.

mod advice;
pub mod output;
mod parse;
mod pretrain;
mod recipe;
mod stop;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::Device;
use clap::Args;

use crate::device::{DEVICE_NAMES, DeviceName, check_compute};
use crate::run::{check_free, new_folder, single};
use crate::{
    Collective, Recipe, Restored, Run, Task, TaskRecipe, TrainState, Trainer, TrainerError, dry_run,
    summarize,
};

pub use advice::explain;
pub use parse::parse;
pub use pretrain::PretrainArgs;
pub use recipe::RecipeArgs;
pub use stop::{INTERRUPTED, StopFlag};

/// The end of the `--help` text of a program that pre-trains.
pub const EXAMPLES: &str = "\
Examples:
  cargo xtask train
  cargo xtask train -- --data photos --preset tiny --epochs 200
  cargo xtask train -- --recipe digits --data digits/train --val digits/test
  cargo xtask train -- --resume runs/photos-tiny-1

Exit status: 0 success, 1 error, 2 wrong options, 130 interrupted, with a checkpoint written.";

/// A task's own options.
pub trait TaskArgs: Args {
    /// The task.
    type Task: Task;

    /// The recipe to start from if neither a file nor a name is given.
    ///
    /// # Errors
    /// If there is none.
    fn start(&self, _common: &RecipeArgs) -> Result<Recipe<RecipeOf<Self>>, TrainerError> {
        Ok(Recipe::default())
    }

    /// Applies the options to the recipe.
    ///
    /// # Errors
    /// If the options do not fit.
    fn apply(&self, recipe: &mut Recipe<RecipeOf<Self>>) -> Result<(), TrainerError>;

    /// The part of a new run's folder name that follows the name of its data, for a recipe and, if given, its
    /// `--recipe` name.
    fn folder_name(_recipe: &Recipe<RecipeOf<Self>>, named: Option<&str>) -> String {
        task_and_recipe(RecipeOf::<Self>::TASK, named)
    }
}

/// Joins the names of a task and a named recipe. The recipe's name may already begin with the task's.
pub fn task_and_recipe(task: &str, named: Option<&str>) -> String {
    match named {
        Some(name) if name.starts_with(task) => name.to_owned(),
        Some(name) => format!("{task}-{name}"),
        None => task.to_owned(),
    }
}

/// No options of a task's own: its fields are changed by `--set`.
#[derive(Args)]
pub struct NoArgs<T: Task> {
    #[clap(skip)]
    task: std::marker::PhantomData<fn(T)>,
}

impl<T: Task> TaskArgs for NoArgs<T> {
    type Task = T;

    fn apply(&self, _: &mut Recipe<T::Recipe>) -> Result<(), TrainerError> {
        Ok(())
    }
}

/// The recipe sections of the task that the options belong to.
type RecipeOf<A> = <<A as TaskArgs>::Task as Task>::Recipe;

/// Options of a program that trains.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs<A: TaskArgs> {
    /// Device to compute on: flex, tch, tch:cuda:0, vulkan, wgpu, …; all but flex need a Cargo feature at build time.
    #[arg(long, default_value = "flex", long_help = device_help())]
    pub device: DeviceName,

    /// Resume the run in this folder from its last checkpoint; no other option is needed.
    ///
    /// Options under Recipe change the run from here on, if weights, order and position do not depend on them:
    /// --epochs, --base-lr, --workers and the like. --data, --val and --labels give the new path of images or tables
    /// that have moved.
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    pub resume: Option<PathBuf>,

    /// Folder of the new run [default: the first free runs/NAME-N].
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,

    /// Stop after this many updates and write a checkpoint; --resume continues.
    #[arg(long, value_name = "STEPS")]
    pub stop_after: Option<u64>,

    /// Print the plan, check the data, measure time and memory on a few updates, and do not train.
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,

    /// Print no progress lines.
    #[arg(long, short)]
    pub quiet: bool,

    /// The task's own.
    #[command(flatten)]
    pub own: A,

    /// Changes to the recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,

    /// Named recipe to start from, instead of a file.
    #[arg(
        long = "recipe",
        value_name = "NAME",
        conflicts_with = "config",
        long_help = recipe_help::<RecipeOf<A>>(),
        help_heading = "Recipe"
    )]
    pub named: Option<String>,
}

fn device_help() -> String {
    format!(
        "Device to compute on: {DEVICE_NAMES}. All but flex need the Cargo feature of the same name at build time."
    )
}

fn recipe_help<S: TaskRecipe>() -> String {
    let names = Recipe::<S>::names().map(|(name, about)| format!("\n- {name}: {about}")).collect::<String>();
    format!("Named recipe to start from, instead of a file; other options override it.{names}")
}

/// Updates between reads of metrics. A GPU works ahead, and each read waits for it.
const METRIC_STEPS_ON_CARDS: u64 = 10;

/// How a training program has ended.
pub enum Ended<T: Task> {
    /// It trained nothing; with the report of `--dry-run`.
    DryRun(String),
    /// It was asked to stop; a checkpoint is written.
    Stopped,
    /// The run is finished; with its summary.
    Finished(Box<Run<T>>, String),
}

impl<A: TaskArgs> TrainArgs<A> {
    /// The report of `--dry-run`, if it was given.
    ///
    /// # Errors
    /// If the recipe or the data cannot be used, or the ranks are not about to train the same run.
    pub fn dry_run(
        &self,
        ranks: &Arc<dyn Collective>,
        device: &Device,
    ) -> Result<Option<String>, TrainerError> {
        if !self.dry_run {
            return Ok(None);
        }
        if let (Some(folder), true) = (&self.out, ranks.is_main()) {
            check_free(folder)?;
        }
        let name = self.device.describe(device);
        dry_run::<A::Task>(ranks, &self.recipe(device)?, device, &name, self.tell()).map(Some)
    }

    /// Creates or resumes the run that the options request. Also returns the changes to its recipe, one per line.
    ///
    /// # Errors
    /// If the run cannot be created, or cannot be resumed with the options.
    pub fn run(&self, device: &Device) -> Result<(Run<A::Task>, Vec<String>), TrainerError> {
        self.run_on(&single(), device)
    }

    /// [`run`](Self::run) on several ranks.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if the ranks are not about to train the same run.
    pub fn run_on(
        &self,
        ranks: &Arc<dyn Collective>,
        device: &Device,
    ) -> Result<(Run<A::Task>, Vec<String>), TrainerError> {
        if let Some(folder) = &self.resume {
            let whole = self.recipe.config.is_some() || self.named.is_some();
            return Run::open_on(ranks, folder, |recipe| {
                let recipe = if whole { self.recipe(device)? } else { self.applied(recipe.clone())? };
                check_compute(recipe.compute(), device)?;
                Ok(recipe)
            });
        }
        let recipe = self.recipe(device)?;
        check_compute(recipe.compute(), device)?;
        let new = || new_folder(recipe.data.path.as_deref(), &A::folder_name(&recipe, self.named.as_deref()));
        let folder = self.out.clone().unwrap_or_else(new);
        Ok((Run::create_on(ranks, &recipe, &folder)?, Vec::new()))
    }

    /// The recipe of a new run. Fields that are left open get the defaults that suit the device.
    fn recipe(&self, device: &Device) -> Result<Recipe<RecipeOf<A>>, TrainerError> {
        let recipe = match (&self.recipe.config, &self.named) {
            (Some(path), _) => Recipe::read_file(path)?,
            (None, Some(name)) => Recipe::named(name)?,
            (None, None) => self.own.start(&self.recipe)?,
        };
        let mut recipe = self.applied(recipe)?;
        if self.device.is_card() {
            recipe.train.precision.get_or_insert_with(|| self.device.default_precision(device));
            recipe.eval.metric_steps.get_or_insert(METRIC_STEPS_ON_CARDS);
        }
        Ok(recipe)
    }

    /// A recipe with the options applied.
    fn applied(&self, mut recipe: Recipe<RecipeOf<A>>) -> Result<Recipe<RecipeOf<A>>, TrainerError> {
        let before = recipe.data.path.clone();
        self.recipe.apply(&mut recipe)?;
        self.own.apply(&mut recipe)?;
        self.recipe.set.iter().try_for_each(|(field, value)| recipe.set(field, value))?;
        if recipe.data.path != before {
            // The recipe of another run contains the number of that run's images.
            recipe.data.images = None;
        }
        Ok(recipe)
    }

    /// The state from which the run starts or resumes, and the errors of newer, damaged checkpoints.
    ///
    /// # Errors
    /// If a checkpoint or a weight file cannot be used.
    pub fn state(
        &self,
        run: &Run<A::Task>,
        device: &Device,
    ) -> Result<Restored<<A::Task as Task>::Model>, TrainerError> {
        run.latest_state(device)
    }

    /// Returns a function that prints progress lines, or nothing with `--quiet`.
    pub fn tell(&self) -> fn(&str) {
        if self.quiet { |_| () } else { output::tell_line }
    }

    /// The number of updates after which to stop for now.
    pub fn stop_at<M>(&self, state: &TrainState<M>) -> u64 {
        self.stop_after.map_or(u64::MAX, |steps| state.step.saturating_add(steps))
    }

    /// Does everything that the options request: opens the device, creates or resumes the run, trains, and summarises.
    /// On the main rank, `tell` receives the text for users before and after training.
    ///
    /// # Errors
    /// If anything cannot be used, read or written, or a loss that is not finite ends the run.
    pub fn train(
        &self,
        ranks: &Arc<dyn Collective>,
        tell: &dyn Fn(String),
    ) -> Result<Ended<A::Task>, TrainerError> {
        // Check and resolve the request before anything is computed.
        let device_name = self.device.of_local_rank(ranks.local_rank());
        let device = device_name.open()?;
        let ranks = &crate::ranks_on(ranks, &device)?;
        if let Some(text) = self.dry_run(ranks, &device)? {
            return Ok(Ended::DryRun(text));
        }
        let (run, changes) = self.run_on(ranks, &device)?;
        let Restored { state, damaged } = self.state(&run, &device)?;
        if ranks.is_main() {
            tell(run.describe(&state, &device_name.describe(&device), &changes, &damaged));
        }
        let stop = StopFlag::listen()?;
        let mut trainer =
            Trainer::new(&run, &device).stop_at(self.stop_at(&state)).stop_when(|| stop.raised());
        trainer = trainer.telling(self.tell());
        #[cfg(feature = "tui")]
        if !self.quiet && ranks.size() == 1 && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            trainer = trainer.telling(|_| ()).observed_by(crate::managed::FullScreen::open(&run, state.step));
        }
        let state = trainer.train(state)?;
        if !run.finished(state.step)? {
            if ranks.is_main() {
                tell(stopped(&run, &state));
            }
            return Ok(Ended::Stopped);
        }
        let summary = summarize(&run, &state, &device)?;
        Ok(Ended::Finished(Box::new(run), summary))
    }

    /// [`train`](Self::train) that prints its text to standard output. Returns the exit status.
    ///
    /// # Errors
    /// As [`train`](Self::train).
    pub fn train_and_tell(&self, ranks: &Arc<dyn Collective>) -> Result<ExitCode, TrainerError> {
        let main = ranks.is_main();
        match self.train(ranks, &|text| output::tell(text))? {
            Ended::Stopped => return Ok(ExitCode::from(INTERRUPTED)),
            Ended::DryRun(text) if main => output::print(text)?,
            Ended::Finished(_, summary) if main => output::tell(format_args!("\n{summary}")),
            _ => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The message about a run that was asked to stop.
pub fn stopped<T: Task>(run: &Run<T>, state: &TrainState<T::Model>) -> String {
    format!("\nstopped after step {}; continue with --resume {}\n", state.step, run.path("").display())
}

/// Runs `work` with the ranks that this process was launched with: those of MPI if it is compiled in, otherwise this
/// process alone. An error is printed with its rank and ends the other ranks, which would wait for this one.
pub fn with_ranks<E: AsRef<dyn std::error::Error + 'static>>(
    work: impl FnOnce(&Arc<dyn Collective>) -> Result<ExitCode, E>,
) -> ExitCode {
    let ranks = match crate::launched_ranks() {
        Ok(ranks) => ranks,
        Err(error) => return output::fail(&error),
    };
    work(&ranks).unwrap_or_else(|error| {
        if ranks.size() == 1 {
            return output::fail(error.as_ref());
        }
        let error = explain(error.as_ref());
        output::warn(format_args!("error: rank {}: {error}\n", ranks.rank()));
        ranks.abort()
    })
}

/// A complete program that trains a task: reads the command line, trains, and prints the result. `--help` begins with
/// `about`.
pub fn main<A: TaskArgs>(about: &'static str) -> ExitCode {
    // Usage lines show the program's own name.
    let command = TrainArgs::<A>::augment_args(clap::Command::new("train")).about(about);
    let args = parse::parse_as::<TrainArgs<A>>(command);
    with_ranks(|ranks| args.train_and_tell(ranks).map_err(Box::<dyn std::error::Error>::from))
}

/// Parses `N` or `HEIGHTxWIDTH` as (height, width).
///
/// # Errors
/// If it is neither.
pub fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let refused =
        |_| format!("'{text}' is not a size in pixels: expected N or HEIGHTxWIDTH, such as 224 or 96x64");
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    Ok((height.parse().map_err(refused)?, width.parse().map_err(refused)?))
}

/// Replaces a value if an option is given.
pub fn set<T: Clone>(target: &mut T, option: &Option<T>) {
    if let Some(value) = option {
        *target = value.clone();
    }
}

/// Fills in an optional value if an option is given.
pub fn fill<T: Clone>(target: &mut Option<T>, option: &Option<T>) {
    if option.is_some() {
        target.clone_from(option);
    }
}
