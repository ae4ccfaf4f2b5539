//! Compares the 3 x 3 convolution and its gradients with direct sums in f64.

use mae_kernels::{Map, ProductType, conv3x3, conv3x3_input_backward, conv3x3_weight_backward};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Calls `f` with the indices into x, weight and y of every product of the convolution.
fn every_product(map: Map, [c_in, c_out]: [usize; 2], mut f: impl FnMut(usize, usize, usize)) {
    let Map { batch, height, width } = map;
    for pixel in 0..batch * height * width {
        let (b, y, x) = (pixel / (height * width), pixel / width % height, pixel % width);
        for k in 0..9 {
            let (row, column) = ((y + k / 3).wrapping_sub(1), (x + k % 3).wrapping_sub(1));
            if row >= height || column >= width {
                continue;
            }
            let from = (b * height + row) * width + column;
            for o in 0..c_out {
                for i in 0..c_in {
                    f(from * c_in + i, (o * c_in + i) * 9 + k, pixel * c_out + o);
                }
            }
        }
    }
}

fn assert_near(what: &str, ours: &[f32], reference: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let scale = reference.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance * scale, "{what} is off by {:.1e} of its largest number", worst / scale);
}

/// Odd and even sizes, a single row, maps smaller than a tile, several groups of tiles, and channels that do not fill a
/// vector.
const SHAPES: [(Map, [usize; 2]); 6] = [
    (Map { batch: 2, height: 6, width: 4 }, [3, 5]),
    (Map { batch: 3, height: 5, width: 7 }, [16, 20]),
    (Map { batch: 1, height: 1, width: 9 }, [33, 2]),
    (Map { batch: 5, height: 1, width: 1 }, [4, 17]),
    (Map { batch: 2, height: 33, width: 18 }, [5, 3]),
    (Map { batch: 1, height: 40, width: 90 }, [2, 16]),
];

#[test]
fn the_convolution_and_its_gradients() {
    for (products, tolerance) in [(ProductType::F32, 2e-6), (ProductType::Bf16, 2e-2)] {
        for (seed, (map, channels)) in (0..).zip(SHAPES) {
            let pixels = map.batch * map.height * map.width;
            let [c_in, c_out] = channels;
            let (x, weight) = (random(pixels * c_in, 3 * seed), random(9 * c_in * c_out, 3 * seed + 1));
            let grad = random(pixels * c_out, 3 * seed + 2);
            let (mut y, mut x_grad) = (vec![0.0; grad.len()], vec![0.0; x.len()]);
            let mut weight_grad = vec![0.0; weight.len()];
            every_product(map, channels, |from, kernel, to| {
                let [x, w, g] = [x[from], weight[kernel], grad[to]].map(f64::from);
                y[to] += x * w;
                x_grad[from] += w * g;
                weight_grad[kernel] += x * g;
            });
            let name = |what: &str| format!("{what} of {map:?}, {channels:?}");
            assert_near(&name("output"), &conv3x3(&x, &weight, map, channels, products), &y, tolerance);
            let ours = conv3x3_input_backward(&grad, &weight, map, channels, products);
            assert_near(&name("input gradient"), &ours, &x_grad, tolerance);
            let ours = conv3x3_weight_backward(&grad, &x, map, channels, products);
            assert_near(&name("weight gradient"), &ours, &weight_grad, tolerance);
        }
    }
}
