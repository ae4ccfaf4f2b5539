//! Multi-label classification scores: an image may have several classes.

use std::fmt;

use serde::Serialize;

use crate::EvalError;

/// The scores of a multi-label classifier on labelled images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MultiLabelScores {
    /// The number of images.
    pub images: usize,
    /// The scores of each class.
    pub classes: Vec<ClassScores>,
    /// The mean binary cross entropy over images and classes.
    pub loss: f64,
}

/// The scores of one class against all others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Its name.
    pub class: String,
    /// Number of images that have the class.
    pub images: usize,
    /// Number of images predicted to have the class, with a probability above one half.
    pub predicted: usize,
    /// Number of those that do have it.
    pub right: usize,
    /// The mean of the precisions at each threshold, weighted by the increase in recall; `None` if no image has the
    /// class.
    pub average_precision: Option<f64>,
}

impl MultiLabelScores {
    /// The mean average precision over the classes that at least one image has; `None` if there is no such class.
    pub fn mean_average_precision(&self) -> Option<f64> {
        let known: Vec<f64> = self.classes.iter().filter_map(|class| class.average_precision).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }

    /// Returns the scores as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "images": self.images, "map": self.mean_average_precision(), "loss": self.loss, "classes": self.classes,
        })
    }
}

impl ClassScores {
    /// The share of the images predicted to have the class that do have it, 0 to 1; `None` if there are no such images.
    pub fn precision(&self) -> Option<f64> {
        (self.predicted > 0).then(|| self.right as f64 / self.predicted as f64)
    }

    /// The share of the images with the class that are predicted to have it; `None` if there are no such images.
    pub fn recall(&self) -> Option<f64> {
        (self.images > 0).then(|| self.right as f64 / self.images as f64)
    }
}

/// A table of classes: average precision, and precision and recall at a probability of one half.
impl fmt::Display for MultiLabelScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share =
            |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1}%", 100.0 * share));
        let head = ("class", "images", "AP", "precision", "recall");
        writeln!(f, "{:<20} {:>8} {:>8} {:>10} {:>8}", head.0, head.1, head.2, head.3, head.4)?;
        self.classes.iter().try_for_each(|class| {
            let [ap, precision, recall] =
                [class.average_precision, class.precision(), class.recall()].map(share);
            writeln!(f, "{:<20} {:>8} {ap:>8} {precision:>10} {recall:>8}", class.class, class.images)
        })
    }
}

/// Evaluates the scores (logits) of the classes against the classes of each image.
///
/// # Shapes
/// `scores` `[N, classes]`, N lists of labels
///
/// # Errors
/// [`EvalError::Argument`] if the lengths do not match or a label is not a class; [`EvalError::NotFinite`] if a score
/// is not finite.
///
/// # Source
/// scikit-learn's `average_precision_score`.
pub fn score_multi_label(
    classes: &[String],
    labels: &[Vec<u32>],
    scores: &[f32],
) -> Result<MultiLabelScores, EvalError> {
    let (images, count) = (labels.len(), classes.len());
    if count == 0 {
        return Err(EvalError::argument("the number of classes", 0, "at least 1"));
    }
    if images == 0 {
        return Err(EvalError::argument("the number of labelled images", 0, "at least 1"));
    }
    if scores.len() != images * count {
        let bound = format!("{}, one for each image and class", images * count);
        return Err(EvalError::argument("the number of scores", scores.len(), bound));
    }
    if let Some(label) = labels.iter().flatten().find(|label| **label as usize >= count) {
        return Err(EvalError::argument("a label", *label, format!("below the {count} classes")));
    }
    if let Some(place) = scores.iter().position(|score| !score.is_finite()) {
        let (row, value) = (place / count, scores[place]);
        return Err(EvalError::NotFinite { name: "scored image", row, rows: images, value });
    }
    let mut has = vec![false; images * count];
    for (row, labels) in labels.iter().enumerate() {
        labels.iter().for_each(|label| has[row * count + *label as usize] = true);
    }
    let loss = scores.iter().zip(&has).map(|(score, has)| {
        let score = f64::from(*score);
        score.max(0.0) - if *has { score } else { 0.0 } + (-score.abs()).exp().ln_1p()
    });
    let loss = loss.sum::<f64>() / (images * count) as f64;
    let of_class = |class: usize| {
        let mut column: Vec<(f32, bool)> =
            (0..images).map(|row| (scores[row * count + class], has[row * count + class])).collect();
        column.sort_by(|a, b| b.0.total_cmp(&a.0));
        let predicted = column.iter().filter(|(score, _)| *score > 0.0);
        ClassScores {
            class: classes[class].clone(),
            images: column.iter().filter(|(_, has)| *has).count(),
            predicted: predicted.clone().count(),
            right: predicted.filter(|(_, has)| *has).count(),
            average_precision: average_precision(&column),
        }
    };
    Ok(MultiLabelScores { images, classes: (0..count).map(of_class).collect(), loss })
}

/// The average precision of scores in descending order. Images with equal scores share a threshold.
fn average_precision(column: &[(f32, bool)]) -> Option<f64> {
    let positives = column.iter().filter(|(_, has)| *has).count();
    let (mut found, mut right, mut sum) = (0, 0, 0.0);
    for equal in column.chunk_by(|a, b| a.0 == b.0) {
        let more = equal.iter().filter(|(_, has)| *has).count();
        (found, right) = (found + equal.len(), right + more);
        sum += more as f64 / positives.max(1) as f64 * right as f64 / found as f64;
    }
    (positives > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        classes: usize,
        labels: Vec<Vec<u32>>,
        scores: Vec<f32>,
        average_precision: Vec<Option<f64>>,
        precision: Vec<Option<f64>>,
        recall: Vec<Option<f64>>,
        loss: f64,
    }

    #[test]
    fn measures_as_scikit_learn_and_pytorch() {
        let golden: Golden = serde_json::from_str(include_str!("../tests/golden/multi_label.json")).unwrap();
        let classes: Vec<String> = (0..golden.classes).map(|class| class.to_string()).collect();
        let scores = score_multi_label(&classes, &golden.labels, &golden.scores).unwrap();
        assert!((scores.loss - golden.loss).abs() < 1e-6, "{}, {}", scores.loss, golden.loss);
        assert_eq!(scores.classes.len(), golden.average_precision.len());
        for (i, class) in scores.classes.iter().enumerate() {
            let near = |ours: Option<f64>, theirs: Option<f64>| match (ours, theirs) {
                (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() < 1e-9, "{i}: {ours}, {theirs}"),
                (ours, theirs) => assert_eq!(ours, theirs, "{i}"),
            };
            near(class.average_precision, golden.average_precision[i]);
            near(class.precision(), golden.precision[i]);
            near(class.recall(), golden.recall[i]);
        }
        let known: Vec<f64> = golden.average_precision.iter().flatten().copied().collect();
        assert!(known.len() < scores.classes.len(), "a class without images is left out");
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        assert!((scores.mean_average_precision().unwrap() - mean).abs() < 1e-9);
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let classes = ["a", "b"].map(String::from);
        let message = |labels: &[Vec<u32>], scores: &[f32]| {
            score_multi_label(&classes, labels, scores).unwrap_err().to_string()
        };
        assert!(score_multi_label(&[], &[vec![]], &[]).unwrap_err().to_string().contains("classes is 0"));
        assert_eq!(message(&[], &[]), "the number of labelled images is 0, but must be at least 1");
        assert!(message(&[vec![]], &[0.0]).contains("must be 2, one for each image and class"));
        assert_eq!(message(&[vec![2]], &[0.0; 2]), "a label is 2, but must be below the 2 classes");
        assert!(message(&[vec![0]], &[0.0, f32::NAN]).contains("NaN"));
    }
}
