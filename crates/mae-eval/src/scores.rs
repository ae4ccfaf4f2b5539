//! Classification scores: accuracies, the mean loss and the confusion matrix.

use std::fmt;

use serde::Serialize;

use crate::EvalError;

/// The scores of a classifier on labelled images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Number of images by true class, then by predicted class.
    pub confusion: Vec<Vec<usize>>,
    /// Number of images whose class is among the five highest scores; `None` if only predictions are known.
    pub top5: Option<usize>,
    /// The mean cross entropy; `None` if only predictions are known.
    pub loss: Option<f64>,
}

impl Scores {
    /// Scores one prediction per image, without top-5 accuracy and loss.
    ///
    /// # Errors
    /// [`EvalError::Argument`] unless there is at least one label, one prediction for each label, and all are classes.
    pub fn of_labels(classes: Vec<String>, labels: &[u32], predicted: &[u32]) -> Result<Self, EvalError> {
        check(&classes, labels, predicted.len())?;
        let mut confusion = vec![vec![0; classes.len()]; classes.len()];
        for (label, predicted) in labels.iter().zip(predicted) {
            let cell = confusion[*label as usize].get_mut(*predicted as usize);
            let bound = || format!("below the {} classes", classes.len());
            *cell.ok_or_else(|| EvalError::argument("a prediction", *predicted, bound()))? += 1;
        }
        Ok(Self { classes, confusion, top5: None, loss: None })
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.confusion.iter().flatten().sum()
    }

    /// Top-1 accuracy: the share of images that are predicted correctly, 0 to 1.
    pub fn top1(&self) -> f64 {
        let right: usize = (0..self.classes.len()).map(|class| self.confusion[class][class]).sum();
        right as f64 / self.images() as f64
    }

    /// Top-5 accuracy: the share of images whose class is among the five highest scores; `None` if unknown.
    pub fn top5(&self) -> Option<f64> {
        self.top5.map(|count| count as f64 / self.images() as f64)
    }

    /// The number of images of a class, and how many of them are predicted correctly.
    pub fn of_class(&self, class: usize) -> (usize, usize) {
        (self.confusion[class].iter().sum(), self.confusion[class][class])
    }

    /// Returns the scores as JSON, including the accuracies.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "images": self.images(), "top1": self.top1(), "top5": self.top5(), "loss": self.loss,
            "classes": self.classes, "confusion": self.confusion,
        })
    }
}

/// A table of classes: number of images, share predicted correctly, and the class that each is most often mistaken for.
impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:>8} {:>8}  most often mistaken for", "class", "images", "right")?;
        for (class, row) in self.confusion.iter().enumerate() {
            let (images, right) = self.of_class(class);
            let others = row.iter().enumerate().filter(|(other, count)| *other != class && **count > 0);
            let other = others.max_by_key(|(other, count)| (**count, std::cmp::Reverse(*other)));
            let other =
                other.map_or(String::new(), |(other, count)| format!("{} ({count})", self.classes[other]));
            let share = match images {
                0 => "-".to_owned(),
                _ => format!("{:.1}%", 100.0 * right as f64 / images as f64),
            };
            writeln!(f, "{:<20} {images:>8} {share:>8}  {other}", self.classes[class])?;
        }
        Ok(())
    }
}

/// Evaluates the scores (logits) of a classifier against the labels.
///
/// Among equal scores the first class wins.
///
/// # Shapes
/// `scores` `[N, classes]`, N labels
///
/// # Errors
/// [`EvalError::Argument`] if the lengths do not match or a label is not a class; [`EvalError::NotFinite`] if a score
/// is not finite.
pub fn score(classes: &[String], labels: &[u32], scores: &[f32]) -> Result<Scores, EvalError> {
    check(classes, labels, scores.len() / classes.len().max(1))?;
    let (mut predicted, mut top5, mut loss) = (Vec::with_capacity(labels.len()), 0, 0.0);
    for (row, (scores, label)) in scores.chunks(classes.len()).zip(labels).enumerate() {
        if let Some(&value) = scores.iter().find(|score| !score.is_finite()) {
            return Err(EvalError::NotFinite { name: "scored image", row, rows: labels.len(), value });
        }
        let own = scores[*label as usize];
        let before =
            |(class, score): (usize, &f32)| *score > own || (*score == own && class < *label as usize);
        top5 += usize::from(scores.iter().enumerate().filter(|entry| before(*entry)).count() < 5);
        let best = (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
        predicted.push(best as u32);
        let most = f64::from(scores[best]);
        loss += most + scores.iter().map(|score| (f64::from(*score) - most).exp()).sum::<f64>().ln();
        loss -= f64::from(own);
    }
    let loss = Some(loss / labels.len() as f64);
    Ok(Scores { top5: Some(top5), loss, ..Scores::of_labels(classes.to_vec(), labels, &predicted)? })
}

fn check(classes: &[String], labels: &[u32], answers: usize) -> Result<(), EvalError> {
    if labels.is_empty() {
        return Err(EvalError::argument("the number of labelled images", 0, "at least 1"));
    }
    if answers != labels.len() {
        let bound = format!("{}, one for each image", labels.len());
        return Err(EvalError::argument("the number of predictions", answers, bound));
    }
    match labels.iter().find(|label| **label as usize >= classes.len()) {
        Some(label) => {
            Err(EvalError::argument("a label", *label, format!("below the {} classes", classes.len())))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("c{class}")).collect()
    }

    #[test]
    fn counts_what_is_right_and_what_is_among_five() {
        // Scores fall with the class index: class 0 ranks first, class 5 sixth.
        let row: Vec<f32> = (0..7).map(|class| -(class as f32)).collect();
        let scores = score(&classes(7), &[0, 4, 5, 0], &row.repeat(4)).unwrap();
        assert_eq!((scores.top1(), scores.top5()), (0.5, Some(0.75)));
        assert_eq!(scores.confusion[4], [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(scores.of_class(0), (2, 2));
        let sum: f64 = (0..7).map(|class| (-f64::from(class)).exp()).sum();
        let loss = (0.0 + 4.0 + 5.0 + 0.0) / 4.0 + sum.ln();
        assert!((scores.loss.unwrap() - loss).abs() < 1e-6);
        let table = scores.to_string();
        assert!(table.contains("c4                          1     0.0%  c0 (1)"), "{table}");
        // The first of equal scores is the prediction, and the others rank after it.
        let equal = score(&classes(7), &[0, 4, 5, 6], &[1.0; 28]).unwrap();
        assert_eq!((equal.top1(), equal.top5()), (0.25, Some(0.5)));
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let message =
            |labels: &[u32], scores: &[f32]| score(&classes(2), labels, scores).unwrap_err().to_string();
        assert_eq!(message(&[], &[]), "the number of labelled images is 0, but must be at least 1");
        assert_eq!(message(&[0], &[]), "the number of predictions is 0, but must be 1, one for each image");
        assert_eq!(message(&[2], &[0.0, 1.0]), "a label is 2, but must be below the 2 classes");
        assert!(message(&[0], &[0.0, f32::NAN]).contains("NaN"));
    }
}
