//! What a card does in a second, and what it has room for.

use std::fs;

use anyhow::{Context, Result};

use super::{Bench, Line, watched};
use crate::bench::median::median;
use crate::bench::step::Report;
use crate::programs::run;

/// PyTorch's rows.
const EAGER: &str = "PyTorch eager";
const COMPILED: &str = "torch.compile";

impl Bench<'_> {
    /// Whole training steps on a batch in memory, beside timm's under autocast.
    pub fn rates(&mut self, flops: f64) -> Result<()> {
        self.say(
            "| model | program | images/s | of PyTorch eager | TFLOP/s | of the products' rate | card MiB |\n|---|---|---|---|---|---|---|",
        );
        let (batch, steps) = (self.options.batch, self.options.steps.to_string());
        let every = (self.options.steps / 4).to_string();
        let extra = ["--steps", &steps, "--read-every", &every];
        for shape in &self.options.shapes.clone() {
            let export = self.export(shape, batch)?;
            // Compiling may take longer than the card is available, so it comes last.
            let compiled = (!self.options.eager_only).then(|| COMPILED.to_owned());
            let ours = self.options.devices.iter().cloned();
            let names: Vec<_> = [EAGER.to_owned()].into_iter().chain(ours).chain(compiled).collect();
            let mut columns: Vec<Result<(Vec<f64>, Option<u64>)>> =
                names.iter().map(|_| Ok((Vec::new(), None))).collect();
            let program = |name: &str, extra: &[&str]| match name {
                EAGER => self.theirs(&export, "bf16", extra),
                COMPILED => self.theirs(&export, "bf16", &[extra, &["--compile"]].concat()),
                device => self.ours(device, shape, batch, "bf16", extra),
            };
            for round in 0..self.options.rounds {
                for (name, column) in names.iter().zip(&mut columns) {
                    let Ok((seconds, mib)) = column else { continue };
                    let timed = run::<Report>(&mut program(name, &extra));
                    if let Ok(report) = &timed {
                        // The table comes at the end; this remains if a later program never ends.
                        eprintln!("{shape} {name}: {:.1} images/s", batch as f64 / report.step_s());
                    }
                    // A separate run: polling the card's memory slows the program down.
                    let measured = timed.and_then(|report| match round {
                        0 if !self.options.without_memory => {
                            Ok((report, watched(&mut program(name, &["--steps", "4"]))?.card_mib))
                        }
                        _ => Ok((report, *mib)),
                    });
                    match measured {
                        Ok((report, card_mib)) => {
                            seconds.push(report.step_s());
                            *mib = card_mib;
                        }
                        Err(error) => *column = Err(error),
                    }
                }
            }
            fs::remove_dir_all(&export).with_context(|| format!("cannot remove {}", export.display()))?;
            let work = self.work(shape)? * batch as f64;
            let peer_s = columns[0].as_mut().map_or(f64::NAN, |(seconds, _)| median(seconds));
            for (name, column) in names.iter().zip(columns) {
                let row = column.map(|(mut seconds, mib)| {
                    let step_s = median(&mut seconds);
                    format!(
                        "{:.1} | {:.2} | {:.2} | {:.2} | {} |",
                        batch as f64 / step_s,
                        peer_s / step_s,
                        work / step_s / 1e12,
                        work / step_s / flops,
                        mib.map_or("not known".into(), |mib| mib.to_string())
                    )
                });
                self.row(&format!("{shape} | {name}"), row);
            }
        }
        self.say(&format!(
            "\nbf16, batch {batch}, forward, backward and AdamW; medians of {} rounds in turns. PyTorch: timm's blocks, \
             autocast, scaled-dot-product attention, fused AdamW.\n",
            self.options.rounds
        ));
        Ok(())
    }

    /// Floating-point operations of a step and image, as the plan says.
    fn work(&self, shape: &str) -> Result<f64> {
        let output = self.ours("flex", shape, 1, "f32", &["--steps", "2", "--work", "flops"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        text.trim().parse().with_context(|| format!("no number of operations for {shape}: {text}"))
    }

    /// A model that only has to train.
    pub fn fits(&mut self) -> Result<()> {
        let (shape, batch) = self.options.fits.split_once(':').context("--fits takes SHAPE:BATCH")?;
        let (shape, batch) = (shape.to_owned(), batch.parse::<usize>().context("--fits takes SHAPE:BATCH")?);
        self.say("| model | batch | device | activations | images/s | card MiB |\n|---|---|---|---|---|---|");
        for device in &self.options.devices.clone() {
            for (kept, extra) in [("kept", &[][..]), ("computed again", &["--grad-checkpointing"][..])] {
                // Backends without operations of their own keep everything.
                if !(extra.is_empty() || device.starts_with("tch")) {
                    continue;
                }
                let mut command = self.ours(device, &shape, batch, "bf16", &["--steps", "8"]);
                let row = watched(command.args(extra)).map(|measured| {
                    let rate = batch as f64 / measured.report.step_s();
                    format!(
                        "{rate:.1} | {} |",
                        measured.card_mib.map_or("not known".into(), |mib| mib.to_string())
                    )
                });
                self.row(&format!("{shape} | {batch} | {device} | {kept}"), row);
            }
        }
        self.say("");
        Ok(())
    }

    /// The encoder on visible patches beside one that sees all tokens.
    pub fn visible(&mut self) -> Result<()> {
        self.say("| model | decoder blocks | device | all tokens, images/s | visible patches, images/s | ratio |\n|---|---|---|---|---|---|");
        let shape = self.options.shapes[self.options.shapes.len() - 1].clone();
        let (batch, steps) = ((self.options.batch / 2).max(1), self.options.steps.to_string());
        let every = (self.options.steps / 4).to_string();
        for device in &self.options.devices.clone() {
            for depth in ["8", "1"] {
                let measure = || {
                    let mut seconds = [Vec::new(), Vec::new()];
                    for _ in 0..self.options.rounds {
                        for (work, seconds) in ["all-tokens", "train"].into_iter().zip(&mut seconds) {
                            let extra = [
                                "--steps",
                                &steps,
                                "--read-every",
                                &every,
                                "--work",
                                work,
                                "--decoder-depth",
                                depth,
                            ];
                            let report: Report = run(&mut self.ours(device, &shape, batch, "bf16", &extra))?;
                            seconds.push(report.step_s());
                        }
                    }
                    let [all, visible] = seconds.map(|mut seconds| median(&mut seconds));
                    let rate = |seconds: f64| batch as f64 / seconds;
                    Ok(format!("{:.1} | {:.1} | {:.2} |", rate(all), rate(visible), all / visible))
                };
                let row = measure();
                self.row(&format!("{shape} | {depth} | {device}"), row);
            }
        }
        self.say(&format!("\nbf16, batch {batch}. The paper (table 2): 2.8 and 3.7 times for ViT-L.\n"));
        Ok(())
    }

    /// Training from JPEG files beside training on a batch in memory.
    pub fn loading(&mut self) -> Result<()> {
        let Some(data) = self.options.data.clone() else {
            self.say("Loading was not measured: there is no --data.");
            return Ok(());
        };
        let data = data.to_str().context("--data is not text")?;
        let (shape, batch) = (self.options.shapes[0].clone(), self.options.batch);
        let (batch_text, workers) = (batch.to_string(), self.options.workers.to_string());
        self.say("| device | in memory, images/s | from JPEG files | ratio | waiting for data |\n|---|---|---|---|---|");
        for device in &self.options.devices.clone() {
            let measure = || {
                let extra = ["--steps", &self.options.steps.to_string(), "--read-every", "10"];
                let report: Report = run(&mut self.ours(device, &shape, batch, "bf16", &extra))?;
                let memory = batch as f64 / report.step_s();
                let mut args = vec!["--data", data, "--batch-size", &batch_text, "--workers", &workers];
                args.extend(["--precision", "bf16", "--metric-steps", "10"]);
                if shape != "digits" {
                    args.extend(["--preset", &shape]);
                }
                let lines = self.train(device, &args, self.options.steps as u64)?;
                // The first half fills the loader and warms up.
                let half = &lines[lines.len() / 2..];
                let mean = |value: fn(&Line) -> f64| half.iter().map(value).sum::<f64>() / half.len() as f64;
                let (loaded, waiting) = (mean(|line| line.images_per_s), mean(|line| line.waiting_share));
                Ok(format!("{memory:.1} | {loaded:.1} | {:.2} | {:.1}% |", loaded / memory, 100.0 * waiting))
            };
            let row = measure();
            self.row(device, row);
        }
        self.say(&format!("\n{shape}, bf16, batch {batch}, {workers} decoding threads.\n"));
        Ok(())
    }
}
