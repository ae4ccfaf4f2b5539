//! How much of the sum over ranks hides behind the backward pass.

use anyhow::Result;

use super::{BUCKET_BYTES, Steps, Sum};
use crate::bench_ranks::{cropped, rates_of};
use crate::median;
use crate::programs::run;

/// The backward pass's share of computing: two products for each one of the forward pass.
const BACKWARD: f64 = 2.0 / 3.0;

/// A model, the images of a host, the rate of links, and updates to measure.
const CASES: [(&str, usize, u32, usize); 2] = [("tiny", 16, 200, 8), ("base", 8, 1000, 5)];

impl Steps<'_> {
    /// Whole steps that send gradients at the end, beside steps that send them during the backward pass.
    pub(super) fn overlap(&self) -> Result<()> {
        println!(
            "\n| model | link Mbit/s | hosts | images a host | computing ms | sum ms | can hide ms | step, sum at the end ms | step, overlapped ms | hidden |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for (preset, batch, mbit_per_s, updates) in CASES {
            let alone = self.step_s(1, preset, batch, mbit_per_s, updates, true)?;
            for hosts in [2, 4] {
                let mut sums = self.options.hosts_at(mbit_per_s, hosts, "release/examples/all_reduce");
                let mut sum: Sum = run(sums.args(["--preset", preset, "--repeats", "3"]))?;
                let sum_s = median(&mut sum.seconds);
                let compute_s = alone * self.turns(hosts);
                let last = (BUCKET_BYTES / (sum.numbers as f64 * 4.0)).min(1.0);
                let can_hide_s = (sum_s * (1.0 - last)).min(compute_s * BACKWARD);
                // In turns: whoever else uses the machine slows both.
                let mut steps = [Vec::new(), Vec::new()];
                for _ in 0..3 {
                    for (overlapped, steps) in [false, true].into_iter().zip(&mut steps) {
                        steps.push(self.step_s(hosts, preset, batch, mbit_per_s, updates, overlapped)?);
                    }
                }
                let [at_the_end, overlapped] = steps.map(|mut steps| median(&mut steps));
                println!(
                    "| {preset} | {mbit_per_s} | {hosts} | {batch} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0}% |",
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

    /// The median step of a run on so many hosts.
    fn step_s(
        &self,
        hosts: usize,
        preset: &'static str,
        batch: usize,
        mbit_per_s: u32,
        updates: usize,
        overlapped: bool,
    ) -> Result<f64> {
        let mut program = self.options.hosts_at(mbit_per_s, hosts, "release/distributed");
        program.env("MAE_OVERLAP", if overlapped { "1" } else { "0" });
        let rates = rates_of(program, self.data, &cropped(preset), batch, updates)?;
        let mut seconds: Vec<_> = rates.iter().map(|rate| (hosts * batch) as f64 / rate).collect();
        Ok(median(&mut seconds))
    }
}
