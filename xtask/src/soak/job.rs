//! The jobs to disturb: commands that can be repeated, and the parts of their results that are compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    Pretrain,
    Finetune,
    Embed,
    Pack,
}

impl Job {
    pub const ALL: [Self; 4] = [Self::Pretrain, Self::Finetune, Self::Embed, Self::Pack];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Finetune => "finetune",
            Self::Embed => "embed",
            Self::Pack => "pack",
        }
    }

    /// The command that starts or resumes the job. `folder` contains the images and the undisturbed pre-training.
    pub fn command(self, programs: &Path, folder: &Path, out: &Path) -> Command {
        let (images, weights) = (folder.join("images"), folder.join(Self::Pretrain.name()));
        let mut command = match self {
            Self::Pack => Command::new(programs.join("examples/pack")),
            _ => Command::new(programs.join("mae")),
        };
        match self {
            Self::Pretrain | Self::Finetune if out.join("recipe.toml").exists() => {
                command.args([self.name(), "--quiet", "--resume"]).arg(out);
            }
            Self::Pretrain => {
                command.args(["pretrain", "--quiet", "--preset=nano", "--batch-size=8", "--epochs=2"]);
                command.args(["--checkpoint-steps=2", "--ema=0.9"]);
                command.arg("--data").arg(images).arg("--out").arg(out);
            }
            Self::Finetune => {
                let config = folder.join("finetune.toml");
                let text = "epochs = 2\nbatch_size = 8\n[eval]\ncheckpoint_steps = 2\n";
                // If this fails, the command reports it.
                let _ = fs::write(&config, text);
                command.args(["finetune", "--quiet", "--config"]).arg(config);
                command.arg("--out").arg(out).arg(weights).arg(&images).arg(&images);
            }
            Self::Embed => {
                command.args(["embed", "--batch-size=1"]);
                command.arg(weights).arg(images).arg(out.with_extension("npy"));
            }
            Self::Pack => {
                command.arg(images).arg(out).args(["--short-side", "64", "--images-per-shard", "16"]);
            }
        }
        command
    }

    /// The parts of the result that must be the same in the end, to the bit.
    pub fn outcome(self, out: &Path) -> Result<Vec<u8>> {
        match self {
            Self::Pretrain | Self::Finetune => {
                let mut outcome = losses(&read(&out.join("metrics.jsonl"))?);
                outcome.extend(read(&out.join("evaluations.jsonl"))?);
                outcome.extend(tensors(&read(&out.join("model.safetensors"))?)?);
                Ok(outcome)
            }
            Self::Embed => {
                Ok([read(&out.with_extension("npy"))?, read(&out.with_extension("npy.txt"))?].concat())
            }
            Self::Pack => {
                let names = fs::read_dir(out).with_context(|| format!("no {}", out.display()))?;
                let mut files = names.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
                files.sort();
                let mut outcome = Vec::new();
                for file in files {
                    outcome.extend(file.file_name().unwrap_or_default().as_encoded_bytes());
                    outcome.extend(read(&file)?);
                }
                Ok(outcome)
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Names of the images that a training run could not read.
pub fn unreadable(out: &Path) -> String {
    fs::read_to_string(out.join("bad_files.log")).unwrap_or_default()
}

/// The losses as they are written. Times and throughput differ.
fn losses(records: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(records);
    let loss = |line: &str| {
        line.split("\"loss\":").nth(1).and_then(|rest| rest.split(',').next()).map(str::to_owned)
    };
    text.lines().filter_map(loss).collect::<Vec<_>>().join("\n").into_bytes()
}

/// The bytes after the header, which may list its metadata in another order.
fn tensors(file: &[u8]) -> Result<&[u8]> {
    let header = file.first_chunk().map(|length| u64::from_le_bytes(*length) as usize);
    header.and_then(|length| file.get(8 + length..)).context("a model.safetensors without a header")
}
