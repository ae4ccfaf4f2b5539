//! The sampler deals like PyTorch's, and its shuffles are uniform.

use std::collections::{HashMap, HashSet};

use mae_data::DistributedSampler;
use proptest::prelude::*;

fn ranks(
    len: usize,
    world_size: usize,
    epoch: u64,
    set: impl Fn(DistributedSampler) -> DistributedSampler,
) -> Vec<Vec<usize>> {
    let rank = |rank| set(DistributedSampler::new(len, 7, rank, world_size).unwrap()).indices(epoch);
    (0..world_size).map(rank).collect()
}

/// All indices that the ranks see, in the order in which they were dealt.
fn dealt(ranks: &[Vec<usize>]) -> Vec<usize> {
    let turns = ranks.iter().map(Vec::len).max().unwrap();
    (0..turns).flat_map(|turn| ranks.iter().map(move |rank| rank[turn])).collect()
}

/// Compares with `golden/sampler/ranks.json`, which `golden/make_sampler.py` writes. PyTorch's own shuffle replaces
/// ours, so the test compares how an order is dealt.
#[test]
fn deals_as_pytorch() {
    let cases: serde_json::Value = serde_json::from_str(include_str!("golden/sampler/ranks.json")).unwrap();
    let cases = cases.as_array().unwrap();
    let number = |case: &serde_json::Value, key: &str| case[key].as_u64().unwrap() as usize;
    let lists =
        |case: &serde_json::Value| serde_json::from_value::<Vec<Vec<usize>>>(case["ranks"].clone()).unwrap();

    let alone = cases.iter().filter(|case| number(case, "world_size") == 1 && case["drop_last"] == false);
    let orders: HashMap<(usize, bool), Vec<usize>> =
        alone.map(|case| ((number(case, "len"), case["shuffle"] == true), lists(case).remove(0))).collect();
    assert_eq!(orders.len(), 14);

    for case in cases {
        let (len, world_size) = (number(case, "len"), number(case, "world_size"));
        let order = &orders[&(len, case["shuffle"] == true)];
        let drop_last = case["drop_last"] == true;
        let mut ours =
            ranks(len, world_size, 2, |sampler| sampler.with_shuffle(false).with_drop_last(drop_last));
        ours.iter_mut().flatten().for_each(|index| *index = order[*index]);
        assert_eq!(ours, lists(case), "{case}");
    }
}

proptest! {
    #[test]
    fn padded_ranks_are_the_whole_order_continued_from_its_start(len in 1..300usize, world_size in 1..40usize, epoch: u64) {
        let whole = ranks(len, 1, epoch, |sampler| sampler).remove(0);
        let ranks = ranks(len, world_size, epoch, |sampler| sampler);
        prop_assert!(ranks.iter().all(|rank| rank.len() == len.div_ceil(world_size)));
        let continued: Vec<usize> = whole.into_iter().cycle().take(len.div_ceil(world_size) * world_size).collect();
        prop_assert_eq!(dealt(&ranks), continued);
    }

    #[test]
    fn ranks_partition_an_epoch_but_for_its_last_few(len in 1..300usize, world_size in 1..40usize, epoch: u64) {
        let ranks = ranks(len, world_size, epoch, |sampler| sampler.with_drop_last(true));
        let each = len / world_size;
        prop_assert!(ranks.iter().all(|rank| rank.len() == each));
        let seen: HashSet<usize> = ranks.into_iter().flatten().collect();
        prop_assert_eq!(seen.len(), each * world_size);
        prop_assert!(seen.into_iter().all(|index| index < len));
    }

    #[test]
    fn ranks_partition_every_epoch_of_a_length_that_divides(each in 1..40usize, world_size in 1..12usize, epoch: u64, drop_last: bool) {
        let len = each * world_size;
        let ranks = ranks(len, world_size, epoch, |sampler| sampler.with_drop_last(drop_last));
        let mut seen: Vec<usize> = ranks.into_iter().flatten().collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
    }

    #[test]
    fn an_order_is_of_its_seed_and_epoch(seed: u64, epoch in 0..u64::MAX) {
        let order = |seed, epoch| DistributedSampler::new(50, seed, 0, 1).unwrap().indices(epoch);
        prop_assert_eq!(order(seed, epoch), order(seed, epoch));
        prop_assert_ne!(order(seed, epoch), order(seed, epoch + 1));
        prop_assert_ne!(order(seed, epoch), order(seed.wrapping_add(1), epoch));
        // PyTorch's orders would be equal here.
        prop_assert_ne!(order(seed, epoch + 1), order(seed.wrapping_add(1), epoch));
    }
}

#[test]
fn every_order_is_as_likely() {
    const EPOCHS: u64 = 24_000;
    let sampler = DistributedSampler::new(4, 0, 0, 1).unwrap();
    let mut counts: HashMap<Vec<usize>, f64> = HashMap::new();
    for epoch in 0..EPOCHS {
        *counts.entry(sampler.indices(epoch)).or_default() += 1.0;
    }
    assert_eq!(counts.len(), 24);
    let chi_square: f64 = counts.values().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
    // The 99.9th percentile of chi-square with 23 degrees of freedom.
    assert!(chi_square < 49.73, "{counts:?} gives {chi_square}");
}

#[test]
fn impossible_worlds_are_refused() {
    let message =
        |len, rank, world_size| DistributedSampler::new(len, 0, rank, world_size).unwrap_err().to_string();
    assert_eq!(message(0, 0, 1), "data set length is 0, but must be 1 to 4294967295");
    assert_eq!(message(1 << 33, 0, 1), "data set length is 8589934592, but must be 1 to 4294967295");
    assert_eq!(message(5, 0, 0), "world_size is 0, but must be 1 to 4294967295");
    assert_eq!(message(5, 4, 4), "rank is 4, but must be below the world_size of 4");
}
