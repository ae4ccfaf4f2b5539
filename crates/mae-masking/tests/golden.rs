//! Known draws: masks stay the same over time, and equal those of a second implementation (golden/draws.py).

use mae_masking::{MaskKey, Masker, Strategy};

#[derive(serde::Deserialize)]
struct Case {
    strategy: Strategy,
    grid: (usize, usize),
    mask_ratio: f64,
    key: [String; 3],
    ids_keep: Vec<usize>,
    ids_masked: Option<Vec<usize>>,
}

#[test]
fn draws_are_the_known_ones() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/draws.json")).unwrap();
    assert_eq!(cases.len(), 54);
    for case in cases {
        let [seed, pass, sample] = case.key.map(|word| word.parse::<u64>().unwrap());
        let sample = sample as usize;
        let masker = Masker::new(case.strategy, case.grid, case.mask_ratio).unwrap();
        let masking = masker.draw(MaskKey { seed, pass, sample });
        assert_eq!(masking.ids_keep(), case.ids_keep, "{masker:?} of {seed}, {pass}, {sample}");
        if let Some(ids_masked) = case.ids_masked {
            assert_eq!(masking.ids_masked(), ids_masked, "{masker:?} of {seed}, {pass}, {sample}");
        }
    }
}
