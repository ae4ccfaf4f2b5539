//! Compares products with f64 sums of the rounded factors, with and without the instructions.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const WAYS: [Bf16Products; 2] = [Bf16Products::Avx512Bf16, Bf16Products::F32];
/// The value in `out` where no product is written.
const GAP: f32 = 77.0;

/// Returns values of either sign with magnitudes between 2⁻⁶ and 2⁶.
fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut number = || {
        let bits = rng.next_u32();
        let exponent = 121 + bits % 12;
        f32::from_bits(bits & 0x8000_0000 | exponent << 23 | bits >> 8 & 0x7f_ffff)
    };
    (0..len).map(|_| number()).collect()
}

/// A product to compute. Each row of all three matrices is followed by `gap` unused elements.
#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    inner: usize,
    cols: usize,
    transposed: (bool, bool),
    gap: usize,
    write: Write,
}

impl Case {
    fn seed(self) -> u64 {
        (self.rows * 1_000_003 + self.inner * 1009 + self.cols) as u64
    }

    fn stored(self, rows: usize, cols: usize, transposed: bool, seed: u64) -> Vec<f32> {
        let (rows, cols) = if transposed { (cols, rows) } else { (rows, cols) };
        random(rows * (cols + self.gap), seed)
    }

    fn a(self) -> Vec<f32> {
        self.stored(self.rows, self.inner, self.transposed.0, self.seed())
    }

    fn b(self) -> Vec<f32> {
        self.stored(self.inner, self.cols, self.transposed.1, self.seed() + 1)
    }

    fn mat<T: Copy>(self, data: &[T], rows: usize, cols: usize, transposed: bool) -> Mat<'_, T> {
        if transposed {
            Mat::new(data, cols, rows, rows + self.gap).t()
        } else {
            Mat::new(data, rows, cols, cols + self.gap)
        }
    }

    fn multiply<T: Factor>(self, a: &[T], b: &[T], threads: Threads, by: Bf16Products) -> Vec<f32> {
        let a = self.mat(a, self.rows, self.inner, self.transposed.0);
        let b = self.mat(b, self.inner, self.cols, self.transposed.1);
        let mut out = self.before();
        multiply((&mut out, self.cols + self.gap), a, b, self.write, threads, by);
        out
    }

    fn before(self) -> Vec<f32> {
        let mut out = random(self.rows * (self.cols + self.gap), self.seed() + 2);
        for row in out.chunks_mut(self.cols + self.gap) {
            row[self.cols..].fill(GAP);
        }
        out
    }

    /// Compares a result with sums in f64.
    ///
    /// A product of two bf16 values is exact in f32. Each addition rounds by at most u = 2⁻²⁴ of its result. n
    /// additions in any order are therefore off by at most n·u / (1 - n·u) times the sum of the magnitudes (Higham,
    /// "Accuracy and Stability of Numerical Algorithms", section 4.2). A sum of K products takes K additions, starting
    /// at zero. The three blocks of the longest sums here take two more, and adding to `out` takes one.
    fn check(self, a: &[f32], b: &[f32], out: &[f32]) {
        let wide = |x: &f32| f64::from(f32::from(Bf16::from(*x)));
        let (a, b): (Vec<f64>, Vec<f64>) = (a.iter().map(wide).collect(), b.iter().map(wide).collect());
        let a = self.mat(&a, self.rows, self.inner, self.transposed.0);
        let b = self.mat(&b, self.inner, self.cols, self.transposed.1);
        let n = (self.inner + 3) as f64 * 2.0_f64.powi(-24);
        let before = self.before();
        for (i, out) in out.iter().enumerate() {
            let (row, col) = (i / (self.cols + self.gap), i % (self.cols + self.gap));
            if col >= self.cols {
                assert_eq!(*out, GAP, "{self:?} wrote beside row {row}");
                continue;
            }
            let first = if self.write == Write::Add { f64::from(before[i]) } else { 0.0 };
            let (mut sum, mut magnitudes) = (first, first.abs());
            for k in 0..self.inner {
                let product = a.data[row * a.row_stride + k * a.col_stride]
                    * b.data[k * b.row_stride + col * b.col_stride];
                sum += product;
                magnitudes += product.abs();
            }
            let off = (f64::from(*out) - sum).abs();
            assert!(off <= n / (1.0 - n) * magnitudes, "{self:?} at ({row}, {col}): {out}, not {sum}");
        }
    }
}

/// Cases in which each size takes every value from 1 to 70, with all combinations of transposes, gaps and writes.
fn cases() -> impl Iterator<Item = Case> {
    (0..70 * 16).map(|i| Case {
        rows: 1 + i % 70,
        inner: 1 + (i * 37 + i / 70) % 70,
        cols: 1 + (i * 53 + i / 70 * 3) % 70,
        transposed: (i / 70 % 2 == 1, i / 140 % 2 == 1),
        gap: i / 280 % 2 * 5,
        write: if i / 560 % 2 == 1 { Write::Add } else { Write::Set },
    })
}

/// Cases with inner sizes close to those at which a sum is divided.
fn long_cases() -> impl Iterator<Item = Case> {
    [767, 768, 769, 1535, 1536, 1537, 2000].into_iter().enumerate().map(|(i, inner)| Case {
        rows: 29,
        inner,
        cols: 70,
        transposed: (i % 2 == 1, i % 3 == 1),
        gap: i % 2,
        write: if i % 2 == 0 { Write::Add } else { Write::Set },
    })
}

#[test]
fn every_size_is_near_the_sums_in_f64() {
    for case in cases().chain(long_cases()) {
        let (a, b) = (case.a(), case.b());
        for by in WAYS {
            case.check(&a, &b, &case.multiply(&a, &b, Threads::One, by));
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for case in cases().step_by(29).chain(long_cases()) {
            let (a, b) = (case.a(), case.b());
            let one = case.multiply(&a, &b, Threads::One, bf16_products());
            let all = pool.install(|| case.multiply(&a, &b, Threads::All, bf16_products()));
            assert!(one.iter().zip(&all).all(|(one, all)| one.to_bits() == all.to_bits()), "{case:?}");
        }
    }
}

#[test]
fn rounded_factors_give_the_same_bits() {
    for case in cases().step_by(13).chain(long_cases()) {
        let (a, b) = (case.a(), case.b());
        let rounded = |x: &[f32]| x.iter().map(|x| Bf16::from(*x)).collect::<Vec<_>>();
        for by in WAYS {
            let wide = case.multiply(&a, &b, Threads::One, by);
            let narrow = case.multiply(&rounded(&a), &rounded(&b), Threads::One, by);
            assert_eq!(wide, narrow, "{case:?}");
        }
    }
}

#[test]
fn nan_and_infinity_reach_their_row_and_column() {
    let case = Case { rows: 40, inner: 90, cols: 50, transposed: (false, true), gap: 0, write: Write::Set };
    for by in WAYS {
        let (mut a, mut b) = (case.a(), case.b());
        a[17 * 90 + 33] = f32::NAN;
        b[21 * 90 + 89] = f32::INFINITY; // column 21
        let out = case.multiply(&a, &b, Threads::All, by);
        for (i, out) in out.iter().enumerate() {
            let (row, col) = (i / 50, i % 50);
            assert_eq!(out.is_nan(), row == 17, "{by} ({row}, {col})");
            assert_eq!(out.is_infinite(), row != 17 && col == 21, "{by} ({row}, {col})");
        }
    }
}

#[test]
fn subnormal_numbers_are_zero() {
    let (tiny, small) = (f32::MIN_POSITIVE / 2.0, f32::MIN_POSITIVE);
    for by in WAYS {
        let product = |a: &[f32]| {
            let mut out = [GAP];
            multiply(
                (&mut out, 1),
                Mat::dense(a, 2),
                Mat::dense(&[1.0, 1.0], 1),
                Write::Set,
                Threads::One,
                by,
            );
            out[0]
        };
        assert_eq!((product(&[tiny, tiny]), product(&[small, -small])), (0.0, 0.0), "{by}");
        assert_eq!(product(&[small, tiny]), small, "{by}");
        let narrow = [Bf16::from_bits(1); 2];
        let mut out = [GAP];
        let ones = [1e30; 2];
        multiply((&mut out, 1), Mat::dense(&narrow, 2), Mat::dense(&ones, 1), Write::Set, Threads::One, by);
        assert_eq!(out, [0.0], "{by}");
    }
}

#[test]
fn sizes_of_zero() {
    for by in WAYS {
        for threads in [Threads::One, Threads::All] {
            let product = |rows: usize, inner: usize, cols: usize, write| {
                let mut out = [GAP; 12];
                let (a, b) = (vec![1.0; rows * inner], vec![1.0; inner * cols]);
                let (a, b) = (Mat::new(&a, rows, inner, inner), Mat::new(&b, inner, cols, cols));
                multiply((&mut out, 4), a, b, write, threads, by);
                out
            };
            assert_eq!(product(0, 3, 4, Write::Set), [GAP; 12]);
            assert_eq!(product(3, 3, 0, Write::Set), [GAP; 12]);
            assert_eq!(product(3, 0, 4, Write::Add), [GAP; 12]);
            let empty_sums = [[0.0, 0.0, 0.0, GAP]; 3];
            assert_eq!(product(3, 0, 3, Write::Set), *empty_sums.as_flattened());
        }
    }
    matmul_bf16(
        &mut [],
        0,
        Mat::new(&[0.0; 0], 0, 0, 0),
        Mat::new(&[0.0; 0], 0, 0, 0),
        Write::Set,
        Threads::All,
    );
}

#[test]
#[should_panic(expected = "inner sizes")]
fn inner_sizes_must_agree() {
    matmul_bf16(&mut [0.0], 1, Mat::dense(&[1.0, 1.0], 2), Mat::dense(&[1.0], 1), Write::Set, Threads::One);
}

#[test]
#[should_panic(expected = "the product does not fit")]
fn the_product_must_fit() {
    matmul_bf16(&mut [0.0], 1, Mat::dense(&[1.0, 1.0], 1), Mat::dense(&[1.0], 1), Write::Set, Threads::One);
}

#[test]
fn what_is_used_has_a_name() {
    assert_eq!(WAYS.map(|by| by.to_string()), ["AVX512_BF16", "f32 arithmetic on rounded factors"]);
    assert!(WAYS.contains(&bf16_products()));
}
