//! Segmentation scores as a table for people and as JSON for programs.

use std::fmt::Write;

use super::SegmentationScores;
use crate::EvalError;

/// The heading of the column of names, which sets its minimum width.
const NAME: &str = "class";
/// The name of the last line.
const MEAN: &str = "mean";

impl SegmentationScores {
    /// A table with a line for each class: its share of the pixels, IoU, accuracy and Dice; the last line has the
    /// means.
    ///
    /// # Errors
    /// [`EvalError::Argument`] unless there is one name for each class.
    pub fn table(&self, classes: &[String]) -> Result<String, EvalError> {
        self.check(classes)?;
        let names = classes.iter().map(String::as_str).chain([NAME, MEAN]);
        let width = names.map(|name| name.chars().count()).max().unwrap_or_default();
        let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.2}%", 100.0 * share));
        let mut table = String::new();
        let mut line = |name: &str, [share, iou, accuracy, dice]: [&str; 4]| {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<width$} {share:>8} {iou:>8} {accuracy:>9} {dice:>8}");
        };
        line(NAME, ["share", "IoU", "accuracy", "Dice"]);
        let mut scores = |name: &str, scores: [Option<f64>; 4]| {
            let scores = scores.map(percent);
            line(name, scores.each_ref().map(String::as_str));
        };
        for (class, name) in classes.iter().enumerate() {
            let share = Some(self.share[class]);
            scores(name, [share, self.iou[class], self.accuracy[class], self.dice[class]]);
        }
        scores(MEAN, [None, Some(self.mean_iou), Some(self.mean_accuracy), Some(self.mean_dice)]);
        Ok(table)
    }

    /// Returns the scores as JSON.
    ///
    /// # Errors
    /// [`EvalError::Argument`] unless there is one name for each class.
    pub fn to_json(&self, classes: &[String]) -> Result<serde_json::Value, EvalError> {
        self.check(classes)?;
        let of_class = |(class, name): (usize, &String)| {
            serde_json::json!({
                "class": name, "share": self.share[class], "iou": self.iou[class],
                "accuracy": self.accuracy[class], "dice": self.dice[class],
            })
        };
        Ok(serde_json::json!({
            "mean_iou": self.mean_iou, "mean_accuracy": self.mean_accuracy, "mean_dice": self.mean_dice,
            "pixel_accuracy": self.pixel_accuracy,
            "classes": classes.iter().enumerate().map(of_class).collect::<Vec<_>>(),
        }))
    }

    fn check(&self, classes: &[String]) -> Result<(), EvalError> {
        if classes.len() == self.iou.len() {
            return Ok(());
        }
        let bound = format!("{}, one for each class", self.iou.len());
        Err(EvalError::argument("the number of class names", classes.len(), bound))
    }
}

#[cfg(test)]
mod tests {
    use crate::{PixelCounts, SegmentationScores};

    fn scores() -> SegmentationScores {
        let mut pixels = PixelCounts::new(3).unwrap();
        pixels.add(&[0, 0, 0, 1], &[0, 0, 1, 1]).unwrap();
        pixels.scores().unwrap()
    }

    #[test]
    fn columns_are_aligned_and_the_last_line_has_the_means() {
        let table = scores().table(&["sky", "pavement", "Füße"].map(String::from)).unwrap();
        let expected = "\
class       share      IoU  accuracy     Dice
sky        50.00%   66.67%   100.00%   80.00%
pavement   50.00%   50.00%    50.00%   66.67%
Füße        0.00%        -         -        -
mean            -   58.33%    75.00%   73.33%
";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_program_reads_the_same_numbers_by_name() {
        let json = scores().to_json(&["a", "b", "c"].map(String::from)).unwrap();
        assert_eq!(
            json["classes"][1],
            serde_json::json!({
                "class": "b", "share": 0.5, "iou": 0.5, "accuracy": 0.5, "dice": 2.0 / 3.0,
            })
        );
        assert!(json["classes"][2]["iou"].is_null());
        assert_eq!(json["mean_accuracy"], 0.75);
        let error = scores().table(&["a".into()]).unwrap_err().to_string();
        assert_eq!(error, "the number of class names is 1, but must be 3, one for each class");
    }
}
