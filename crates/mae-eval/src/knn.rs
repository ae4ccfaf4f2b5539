//! Weighted k-nearest-neighbour classification of frozen features.

use crate::EvalError;
use ndarray::{Array2, ArrayView1, ArrayView2, s};

/// The temperature that kNN accuracies are reported at.
///
/// # Source
/// arXiv 1805.01978, section 3.4: weights `exp(similarity / 0.07)`.
pub const KNN_TEMPERATURE: f64 = 0.07;

/// Number of test images compared with all training images at once: bounds the similarity matrix to a few megabytes.
const BLOCK_ROWS: usize = 64;

/// A row of features for each image.
///
/// # Shapes
/// `[N, D]`, both at least 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    rows: Array2<f32>,
}

impl Features {
    /// Cuts `data` into rows of `dim` features.
    ///
    /// # Errors
    /// [`EvalError::Argument`] unless `data` consists of one or more whole rows.
    pub fn new(data: Vec<f32>, dim: usize) -> Result<Self, EvalError> {
        let len = data.len();
        let refused = || {
            let bound = format!("a multiple of the {dim} features of an image, and at least one");
            EvalError::argument("the number of features", len, bound)
        };
        if dim == 0 || len == 0 || !len.is_multiple_of(dim) {
            return Err(refused());
        }
        let rows = Array2::from_shape_vec((len / dim, dim), data).map_err(|_| refused())?;
        Ok(Self { rows })
    }

    /// The number of images, N.
    #[must_use]
    pub fn num_images(&self) -> usize {
        self.rows.nrows()
    }

    /// The number of features of an image, D.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.rows.ncols()
    }

    /// The rows, `[N, D]`.
    ///
    /// # Errors
    /// [`EvalError::NotFinite`] if a feature is not finite; `name` says what a row is.
    pub(crate) fn finite(&self, name: &'static str) -> Result<ArrayView2<'_, f32>, EvalError> {
        for (row, features) in self.rows.outer_iter().enumerate() {
            if let Some(&value) = features.iter().find(|feature| !feature.is_finite()) {
                return Err(EvalError::NotFinite { name, row, rows: self.rows.nrows(), value });
            }
        }
        Ok(self.rows.view())
    }

    /// Divides every row by its L2 norm. A row of zeros stays zero, as in PyTorch's `normalize`, and has similarity 0
    /// to every image.
    fn normalized(&self, name: &'static str) -> Result<Array2<f32>, EvalError> {
        let mut rows = self.finite(name)?.to_owned();
        for mut features in rows.outer_iter_mut() {
            // In f64, neither the squares nor their sum overflow or underflow.
            let norm = features.iter().map(|&feature| f64::from(feature).powi(2)).sum::<f64>().sqrt();
            features.mapv_inplace(|feature| (f64::from(feature) / norm.max(1e-12)) as f32);
        }
        Ok(rows)
    }
}

/// Labels each test image by its `k` nearest training images.
///
/// Neighbours are ranked by cosine similarity, and each votes with weight `exp(similarity / temperature)`. Of equally
/// similar images, the first is nearer; of classes with equal votes, the lowest wins.
///
/// # Shapes
/// `train` `[N, D]` with N labels, `test` `[M, D]`; the result has M labels.
///
/// # Errors
/// [`EvalError::Argument`] if `k` is 0 or larger than N (a caller with a small set chooses a smaller one and says so),
/// if the temperature is not positive and finite, or if the numbers of labels or features do not match;
/// [`EvalError::NotFinite`] if a feature is not finite.
///
/// # Source
/// arXiv 1805.01978, section 3.4.
pub fn knn_predict(
    train: &Features,
    train_labels: &[u32],
    test: &Features,
    k: usize,
    temperature: f64,
) -> Result<Vec<u32>, EvalError> {
    if k == 0 || k > train.num_images() {
        let bound = format!("from 1 to the number of training images, {}", train.num_images());
        return Err(EvalError::argument("the number of neighbours k", k, bound));
    }
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(EvalError::argument("the temperature", temperature, "positive and finite"));
    }
    if train_labels.len() != train.num_images() {
        let bound = format!("{}, one for each image", train.num_images());
        return Err(EvalError::argument("the number of training labels", train_labels.len(), bound));
    }
    if test.dim() != train.dim() {
        let bound = format!("{} as in training", train.dim());
        return Err(EvalError::argument("the number of features of a test image", test.dim(), bound));
    }

    let mut classes = train_labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let (train, test) = (train.normalized("training image")?, test.normalized("test image")?);
    let mut predicted = Vec::with_capacity(test.nrows());
    for start in (0..test.nrows()).step_by(BLOCK_ROWS) {
        let end = test.nrows().min(start + BLOCK_ROWS);
        let similarities = similarities(test.slice(s![start..end, ..]), train.view());
        for row in similarities.outer_iter() {
            predicted.push(vote(&nearest(row, k), train_labels, &classes, temperature));
        }
    }
    Ok(predicted)
}

/// The accuracy of [`knn_predict`] against `test_labels`, as a share of the test images, 0 to 1.
///
/// # Errors
/// As [`knn_predict`], and [`EvalError::Argument`] unless there is one test label for each test image.
pub fn knn_accuracy(
    train: &Features,
    train_labels: &[u32],
    test: &Features,
    test_labels: &[u32],
    k: usize,
    temperature: f64,
) -> Result<f64, EvalError> {
    if test_labels.len() != test.num_images() {
        let bound = format!("{}, one for each image", test.num_images());
        return Err(EvalError::argument("the number of test labels", test_labels.len(), bound));
    }
    let predicted = knn_predict(train, train_labels, test, k, temperature)?;
    let right = predicted.iter().zip(test_labels).filter(|(predicted, label)| predicted == label).count();
    Ok(right as f64 / test.num_images() as f64)
}

fn similarities(test: ArrayView2<'_, f32>, train: ArrayView2<'_, f32>) -> Array2<f32> {
    test.dot(&train.t()) // [BLOCK_ROWS, N]
}

/// The `k` training images most similar to one test image, in no particular order, with their similarities.
fn nearest(similarities: ArrayView1<'_, f32>, k: usize) -> Vec<(usize, f32)> {
    let mut neighbours: Vec<(usize, f32)> = similarities.iter().copied().enumerate().collect();
    neighbours.select_nth_unstable_by(k - 1, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    neighbours.truncate(k);
    neighbours
}

fn vote(neighbours: &[(usize, f32)], labels: &[u32], classes: &[u32], temperature: f64) -> u32 {
    let most = neighbours.iter().map(|neighbour| neighbour.1).fold(f32::NEG_INFINITY, f32::max);
    let mut votes = vec![0.0; classes.len()];
    for &(index, similarity) in neighbours {
        // Weights are relative to the nearest neighbour's: this scales all votes alike and keeps exp in range.
        let weight = (f64::from(similarity - most) / temperature).exp();
        votes[classes.partition_point(|&class| class < labels[index])] += weight;
    }
    let mut winner = 0;
    for class in 1..votes.len() {
        if votes[class] > votes[winner] {
            winner = class;
        }
    }
    classes[winner]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        dim: usize,
        train: Vec<f32>,
        train_labels: Vec<u32>,
        test: Vec<f32>,
        test_labels: Vec<u32>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        k: usize,
        temperature: f64,
        predicted: Vec<u32>,
        accuracy: f64,
    }

    #[test]
    fn predicts_as_scikit_learn_and_pytorch_do() {
        let golden: Golden = serde_json::from_str(include_str!("../tests/golden/knn.json")).unwrap();
        let train = Features::new(golden.train, golden.dim).unwrap();
        let test = Features::new(golden.test, golden.dim).unwrap();
        assert!(golden.cases.len() > 4);
        for Case { k, temperature, predicted, accuracy } in golden.cases {
            let ours = knn_predict(&train, &golden.train_labels, &test, k, temperature).unwrap();
            assert_eq!(ours, predicted, "k {k}, temperature {temperature}");
            let ours = knn_accuracy(&train, &golden.train_labels, &test, &golden.test_labels, k, temperature);
            assert_eq!(ours.unwrap(), accuracy);
        }
    }

    fn features<const D: usize>(rows: &[[f32; D]]) -> Features {
        Features::new(rows.as_flattened().to_vec(), D).unwrap()
    }

    #[test]
    fn only_the_direction_counts_and_ties_go_to_the_lowest() {
        let train = features(&[[0.0, 9e30], [1e-9, 0.0], [5.0, 0.0], [0.0, 0.0]]);
        let labels = [7, u32::MAX, 2, 0];
        let predict = |test: &[[f32; 2]], k| knn_predict(&train, &labels, &features(test), k, 0.07).unwrap();
        assert_eq!(predict(&[[1.0, 0.1], [0.1, 1.0]], 1), [u32::MAX, 7], "equally near: the first");
        assert_eq!(predict(&[[1.0, 0.1]], 2), [2], "equal votes: the lowest class");
        assert_eq!(predict(&[[0.0, 0.0]], 4), [0], "like nothing: equal votes for all");
    }

    #[test]
    fn a_vanishing_temperature_is_the_nearest_neighbour() {
        let train = features(&[[1.0, 0.0], [0.9, 0.1], [0.8, 0.2]]);
        let test = features(&[[1.0, 0.01]]);
        assert_eq!(knn_predict(&train, &[3, 1, 1], &test, 3, 1e-9).unwrap(), [3]);
        assert_eq!(knn_predict(&train, &[3, 1, 1], &test, 3, 1e9).unwrap(), [1]);
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let (train, test) = (features(&[[1.0, 0.0], [0.0, 1.0]]), features(&[[1.0, 1.0]]));
        let message = |labels: &[u32], test: &Features, k, temperature| {
            knn_predict(&train, labels, test, k, temperature).unwrap_err().to_string()
        };
        assert_eq!(
            message(&[0, 1], &test, 3, 0.07),
            "the number of neighbours k is 3, but must be from 1 to the number of training images, 2"
        );
        assert!(message(&[0, 1], &test, 0, 0.07).starts_with("the number of neighbours k is 0"));
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(message(&[0, 1], &test, 1, temperature).starts_with("the temperature is "));
        }
        assert_eq!(
            message(&[0], &test, 1, 0.07),
            "the number of training labels is 1, but must be 2, one for each image"
        );
        assert_eq!(
            message(&[0, 1], &features(&[[1.0]]), 1, 0.07),
            "the number of features of a test image is 1, but must be 2 as in training"
        );
        assert_eq!(
            message(&[0, 1], &features(&[[1.0, 0.0], [f32::NAN, 1.0]]), 1, 0.07),
            "test image 1 of 2 has the value NaN, but every feature must be finite"
        );
        assert!(knn_accuracy(&train, &[0, 1], &test, &[], 1, 0.07).is_err());
        for (len, dim) in [(0, 1), (5, 2), (4, 0)] {
            let error = Features::new(vec![0.0; len], dim).unwrap_err().to_string();
            assert!(error.starts_with(&format!(
                "the number of features is {len}, but must be a multiple of the {dim}"
            )));
        }
    }
}
