//! `cargo xtask bench overlap`: how much of the sum over ranks hides behind the backward pass.

use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;

use super::median::median;
use super::ranks::{cropped, rates_of};
use super::scaling::{Copies, Sum, bucket_bytes, on_hosts};
use crate::programs::{build, run};

/// The backward pass's share of computing: two products for each one of the forward pass.
const BACKWARD: f64 = 2.0 / 3.0;

/// A model on hosts of one thread each.
struct Case {
    preset: &'static str,
    /// Of each host.
    images: usize,
    mbit_per_s: u32,
    updates: usize,
}

const CASES: [Case; 2] = [
    Case { preset: "tiny", images: 16, mbit_per_s: 100, updates: 8 },
    Case { preset: "base", images: 8, mbit_per_s: 400, updates: 3 },
];

/// Whole steps that send gradients at the end, beside steps that send them during the backward pass, on 2 and on 4 hosts.
pub fn overlap(data: &Path, rounds: usize) -> Result<()> {
    build(&["--package=distributed", "--features=mpi", "--bins", "--examples"])?;
    // Small folders would make short epochs, and the loader starts anew with each.
    let copies = Copies::of(data, 100)?;
    let cores = available_parallelism().map_or(1, usize::from) as f64;
    println!(
        "| model | link Mbit/s | hosts | images a host | computing ms | sum ms | can hide ms | step, sum at the end ms | step, \
         overlapped ms | hidden |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for case in &CASES {
        let alone = case.step_s(1, &copies.0, true)?;
        for hosts in [2, 4] {
            let mut sums = case.on(hosts, "release/examples/all_reduce");
            let mut sum: Sum = run(sums.args(["--preset", case.preset, "--repeats", "3"]))?;
            let sum_s = median(&mut sum.seconds);
            // More hosts than cores take turns on them.
            let compute_s = alone * (hosts as f64 / cores).max(1.0);
            // The last bucket is full when the backward pass has ended.
            let last = (bucket_bytes(hosts) / (sum.numbers as f64 * 4.0)).min(1.0);
            let can_hide_s = (sum_s * (1.0 - last)).min(compute_s * BACKWARD);
            // In turns: whoever else uses the machine slows both.
            let mut steps = [Vec::new(), Vec::new()];
            for _ in 0..rounds {
                for (overlapped, steps) in [false, true].into_iter().zip(&mut steps) {
                    steps.push(case.step_s(hosts, &copies.0, overlapped)?);
                }
            }
            let [at_the_end, overlapped] = steps.map(|mut steps| median(&mut steps));
            let Case { preset, images, mbit_per_s, .. } = case;
            println!(
                "| {preset} | {mbit_per_s} | {hosts} | {images} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0}% |",
                1e3 * compute_s,
                1e3 * sum_s,
                1e3 * can_hide_s,
                1e3 * at_the_end,
                1e3 * overlapped,
                100.0 * (at_the_end - overlapped) / can_hide_s
            );
        }
    }
    Ok(())
}

impl Case {
    fn on(&self, hosts: usize, program: &str) -> Command {
        on_hosts(hosts, self.mbit_per_s, program)
    }

    /// The median step of a run.
    fn step_s(&self, hosts: usize, data: &Path, overlapped: bool) -> Result<f64> {
        let mut program = self.on(hosts, "release/distributed");
        program.env("MAE_OVERLAP", if overlapped { "1" } else { "0" });
        let rates = rates_of(program, data, &cropped(self.preset), self.images, self.updates)?;
        let mut seconds: Vec<_> = rates.iter().map(|rate| (hosts * self.images) as f64 / rate).collect();
        Ok(median(&mut seconds))
    }
}
