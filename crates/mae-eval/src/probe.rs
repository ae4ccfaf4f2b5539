//! A linear probe: how well a linear classifier does on frozen features.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};

use crate::EvalError;
use crate::knn::Features;
use crate::lbfgs::{Point, minimize};

/// The factor of the L2 penalty, half the squared norm of the weights, relative to the sum of the losses.
///
/// # Source
/// scikit-learn's `LogisticRegression`: its default `C` of 1.0.
const L2: f64 = 1.0;

/// The tolerance of convergence: the largest allowed entry of the gradient of the objective divided by the number of
/// images.
///
/// # Source
/// Ours: scikit-learn stops at 1e-4 by default; here probabilities are within 1e-4 of the exact solution.
const TOLERANCE: f64 = 1e-7;

/// The maximum number of steps. Ours: redundant features take hundreds; those that would take more are classified well
/// enough long before.
const MAX_STEPS: usize = 1000;

/// Predicts the label of each test image with a linear classifier fitted to the training images.
///
/// Standardises every feature with the training set's mean and standard deviation. Then solves multinomial logistic
/// regression, with a bias and a small L2 penalty on the weights, to convergence: from zeros, by at most 1000 steps of
/// L-BFGS in f64. Nothing is random, and there is no learning rate to tune. Of classes with equal probability, the
/// lowest wins.
///
/// Memory: N + M rows of D + 1 values and N + M rows of one value per class, in f64.
///
/// # Shapes
/// `train` `[N, D]` with N labels, `test` `[M, D]`; the result has M labels.
///
/// # Errors
/// [`EvalError::Argument`] if the numbers of labels or features do not match, or if all labels are of one class;
/// [`EvalError::NotFinite`] if a feature is not finite.
///
/// # Source
/// MAE §A.1 puts a BatchNorm without affine parameters before the linear layer, which is this standardisation.
/// Deviation: the paper trains the layer for 90 epochs with LARS on augmented images. We use the features of one view
/// and reach the same solution as scikit-learn's `LogisticRegression(C=1.0)` on a `StandardScaler`.
pub fn probe_predict(train: &Features, train_labels: &[u32], test: &Features) -> Result<Vec<u32>, EvalError> {
    if test.dim() != train.dim() {
        let bound = format!("{} as in training", train.dim());
        return Err(EvalError::argument("the number of features of a test image", test.dim(), bound));
    }
    // Checked before the fit, which takes the time.
    let test = test.finite("test image")?;
    Ok(Probe::fit(train, train_labels)?.predict(test))
}

/// The accuracy of [`probe_predict`] against `test_labels`, as a share of the test images, 0 to 1.
///
/// # Errors
/// As [`probe_predict`], and [`EvalError::Argument`] unless there is one test label for each test image.
pub fn probe_accuracy(
    train: &Features,
    train_labels: &[u32],
    test: &Features,
    test_labels: &[u32],
) -> Result<f64, EvalError> {
    if test_labels.len() != test.num_images() {
        let bound = format!("{}, one for each image", test.num_images());
        return Err(EvalError::argument("the number of test labels", test_labels.len(), bound));
    }
    let predicted = probe_predict(train, train_labels, test)?;
    let right = predicted.iter().zip(test_labels).filter(|(predicted, label)| predicted == label).count();
    Ok(right as f64 / test.num_images() as f64)
}

/// A fitted linear classifier.
struct Probe {
    scaler: Scaler,
    /// `[D + 1, K]`, K the number of classes; the last row is the bias.
    weights: Array2<f64>,
    /// The distinct labels, ascending.
    classes: Vec<u32>,
}

impl Probe {
    fn fit(train: &Features, labels: &[u32]) -> Result<Self, EvalError> {
        if labels.len() != train.num_images() {
            let bound = format!("{}, one for each image", train.num_images());
            return Err(EvalError::argument("the number of training labels", labels.len(), bound));
        }
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        if classes.len() < 2 {
            return Err(EvalError::argument("the number of classes", classes.len(), "at least 2"));
        }
        let train = train.finite("training image")?;
        let scaler = Scaler::of(train);
        let inputs = scaler.apply(train); // [N, D + 1]
        let targets: Vec<usize> =
            labels.iter().map(|label| classes.partition_point(|class| class < label)).collect();
        let l2 = penalty(classes.len());
        let start = Array2::zeros((inputs.ncols(), classes.len()));
        let Point { at, .. } =
            minimize(start, TOLERANCE, MAX_STEPS, |weights| objective(&inputs, &targets, l2, weights));
        Ok(Self { scaler, weights: at, classes })
    }

    /// The log-probabilities of the classes: `[M, D]` to `[M, K]`.
    fn log_probabilities(&self, test: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut scores = self.scaler.apply(test).dot(&self.weights); // [M, K]
        log_softmax(&mut scores);
        scores
    }

    fn predict(&self, test: ArrayView2<'_, f32>) -> Vec<u32> {
        let scores = self.log_probabilities(test);
        let best = scores.outer_iter().map(|row| {
            (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
        });
        best.map(|class| self.classes[class]).collect()
    }
}

/// For two classes, scikit-learn fits one row of weights, w. Ours are w/2 and -w/2, whose squared norm is half of w's.
fn penalty(num_classes: usize) -> f64 {
    if num_classes == 2 { 2.0 * L2 } else { L2 }
}

/// The objective divided by N, loss plus penalty of `weights` `[D + 1, K]` on `inputs` `[N, D + 1]`, and its gradient
/// `[D + 1, K]`.
fn objective(inputs: &Array2<f64>, targets: &[usize], l2: f64, weights: &Array2<f64>) -> (f64, Array2<f64>) {
    let mut scores = inputs.dot(weights); // [N, K]
    log_softmax(&mut scores);
    let mut value = 0.0;
    for (mut row, &target) in scores.outer_iter_mut().zip(targets) {
        value -= row[target];
        row.mapv_inplace(f64::exp);
        row[target] -= 1.0;
    }
    let mut gradient = inputs.t().dot(&scores); // [D + 1, K]
    // The bias is not penalised.
    let penalised = weights.slice(s![..-1, ..]);
    value += 0.5 * l2 * penalised.iter().map(|weight| weight * weight).sum::<f64>();
    gradient.slice_mut(s![..-1, ..]).scaled_add(l2, &penalised);
    let count = targets.len() as f64;
    gradient /= count;
    (value / count, gradient)
}

/// Replaces each row of scores with its log-softmax.
fn log_softmax(scores: &mut Array2<f64>) {
    for mut row in scores.outer_iter_mut() {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let norm = most + row.iter().map(|score| (score - most).exp()).sum::<f64>().ln();
        row.mapv_inplace(|score| score - norm);
    }
}

/// Standardises each feature to mean 0 and standard deviation 1 on the training set.
struct Scaler {
    mean: Array1<f64>,
    /// One over the standard deviation; 1 for a constant feature.
    scale: Array1<f64>,
}

impl Scaler {
    /// # Source
    /// scikit-learn's `StandardScaler`: standard deviations over N, and constant features as in `_is_constant_feature`.
    fn of(rows: ArrayView2<'_, f32>) -> Self {
        let count = rows.nrows() as f64;
        let mut mean = Array1::<f64>::zeros(rows.ncols());
        for row in rows.outer_iter() {
            Zip::from(&mut mean).and(row).for_each(|mean, &value| *mean += f64::from(value) / count);
        }
        let mut variance = Array1::<f64>::zeros(rows.ncols());
        for row in rows.outer_iter() {
            Zip::from(&mut variance).and(row).and(&mean).for_each(|variance, &value, &mean| {
                *variance += (f64::from(value) - mean).powi(2) / count;
            });
        }
        let scale = Zip::from(&variance).and(&mean).map_collect(|&variance, &mean| {
            let rounding = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
            if variance <= rounding { 1.0 } else { 1.0 / variance.sqrt() }
        });
        Self { mean, scale }
    }

    /// Standardises the rows and appends a column of ones: `[N, D]` to `[N, D + 1]`.
    fn apply(&self, rows: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut inputs = Array2::ones((rows.nrows(), rows.ncols() + 1));
        for (mut input, row) in inputs.axis_iter_mut(Axis(0)).zip(rows.outer_iter()) {
            Zip::from(input.slice_mut(s![..-1]))
                .and(row)
                .and(&self.mean)
                .and(&self.scale)
                .for_each(|input, &value, &mean, &scale| *input = (f64::from(value) - mean) * scale);
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        dim: usize,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        train: Vec<f32>,
        train_labels: Vec<u32>,
        test: Vec<f32>,
        test_labels: Vec<u32>,
        predicted: Vec<u32>,
        probabilities: Vec<f64>,
        objective: f64,
        accuracy: f64,
    }

    #[test]
    fn predicts_as_scikit_learn_does() {
        let golden: Golden = serde_json::from_str(include_str!("../tests/golden/probe.json")).unwrap();
        assert_eq!(golden.cases.len(), 2);
        for case in golden.cases {
            let train = Features::new(case.train, golden.dim).unwrap();
            let test = Features::new(case.test, golden.dim).unwrap();
            let probe = Probe::fit(&train, &case.train_labels).unwrap();
            let ours = probe.log_probabilities(test.finite("test image").unwrap()).mapv(f64::exp);
            assert_eq!(ours.len(), case.probabilities.len());
            let off = ours.iter().zip(&case.probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let fitted = probe.log_probabilities(train.finite("training image").unwrap());
            let own = case.train_labels.iter().map(|label| probe.classes.binary_search(label).unwrap());
            let losses: f64 = fitted.outer_iter().zip(own).map(|(row, class)| -row[class]).sum();
            let square = probe.weights.slice(s![..-1, ..]).mapv(|weight| weight * weight).sum();
            let objective = losses + 0.5 * penalty(probe.classes.len()) * square;
            let relative = (objective / case.objective - 1.0).abs();
            eprintln!("{}: probabilities within {off:.1e}, objective {relative:.1e}", case.name);
            assert!(off < 1e-4 && relative < 1e-4, "{}: {off}, {relative}", case.name);
            let predicted = probe_predict(&train, &case.train_labels, &test).unwrap();
            assert_eq!(predicted, case.predicted, "{}", case.name);
            let accuracy = probe_accuracy(&train, &case.train_labels, &test, &case.test_labels).unwrap();
            assert_eq!(accuracy, case.accuracy, "{}", case.name);
        }
    }

    fn features<const D: usize>(rows: &[[f32; D]]) -> Features {
        Features::new(rows.as_flattened().to_vec(), D).unwrap()
    }

    #[test]
    fn scale_offset_and_features_that_say_nothing_do_not_matter() {
        let plain = [[1.0], [2.0], [8.0], [9.0]];
        let odd = plain.map(|[x]| [3e30 * x, 1e-30 * x - 5e-30, 0.1]);
        let labels = [u32::MAX, u32::MAX, 4, 4];
        let predict = |train: &Features| probe_predict(train, &labels, train).unwrap();
        assert_eq!(predict(&features(&plain)), labels);
        assert_eq!(predict(&features(&odd)), labels);
        // Only the constant feature: the lower of two equally frequent classes.
        assert_eq!(predict(&features(&[[0.1]; 4])), [4; 4]);
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let (train, test) = (features(&[[1.0, 0.0], [0.0, 1.0]]), features(&[[1.0, 1.0]]));
        let message = |train: &Features, labels: &[u32], test: &Features| {
            probe_predict(train, labels, test).unwrap_err().to_string()
        };
        assert_eq!(message(&train, &[3, 3], &test), "the number of classes is 1, but must be at least 2");
        assert_eq!(
            message(&train, &[0], &test),
            "the number of training labels is 1, but must be 2, one for each image"
        );
        assert_eq!(
            message(&train, &[0, 1], &features(&[[1.0]])),
            "the number of features of a test image is 1, but must be 2 as in training"
        );
        let broken = features(&[[1.0, 0.0], [f32::NAN, 1.0]]);
        let reason = "1 of 2 has the value NaN, but every feature must be finite";
        assert_eq!(message(&broken, &[0, 1], &test), format!("training image {reason}"));
        assert_eq!(message(&train, &[0, 1], &broken), format!("test image {reason}"));
        assert_eq!(
            probe_accuracy(&train, &[0, 1], &test, &[]).unwrap_err().to_string(),
            "the number of test labels is 0, but must be 1, one for each image"
        );
    }
}
