//! The most probable classes of an image.

use serde_json::json;

use super::rows::Row;

/// An image and its most probable classes, the most probable one first. An unreadable image has none.
pub struct Predicted {
    pub name: String,
    /// Class indices and their probabilities.
    pub classes: Vec<(usize, f32)>,
}

/// The names of a file's columns.
pub fn columns(top_k: usize) -> impl Iterator<Item = String> {
    let pair = |place: usize| {
        let end = if place == 1 { String::new() } else { format!("_{place}") };
        [format!("class{end}"), format!("probability{end}")]
    };
    ["path".to_owned()].into_iter().chain((1..=top_k).flat_map(pair))
}

impl Predicted {
    /// Picks the most probable classes of a row of probabilities. Equally probable classes keep their order.
    pub fn new(name: String, probabilities: &[f32], top_k: usize) -> Self {
        let mut classes: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
        if probabilities.iter().any(|probability| probability.is_nan()) {
            classes.clear();
        }
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        classes.truncate(top_k);
        Self { name, classes }
    }

    /// A JSON object on one line, with null for missing values.
    pub fn to_json(&self, names: &[String], top_k: usize) -> String {
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".into());
        let pairs = self.pairs(names, top_k).flat_map(|pair| {
            let (class, probability) = pair.unzip();
            [or_null(class.map(|class| json!(class).to_string())), or_null(probability)]
        });
        let values = [json!(self.name).to_string()].into_iter().chain(pairs);
        let fields: Vec<_> =
            columns(top_k).zip(values).map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// The fields of a CSV record, empty for missing values.
    pub fn to_record(&self, names: &[String], top_k: usize) -> impl Iterator<Item = String> {
        let pairs = self.pairs(names, top_k).flat_map(|pair| <[String; 2]>::from(pair.unwrap_or_default()));
        [self.name.clone()].into_iter().chain(pairs)
    }

    /// The class names and probabilities, each probability in the fewest digits that distinguish it from other f32
    /// values.
    fn pairs(&self, names: &[String], top_k: usize) -> impl Iterator<Item = Option<(String, String)>> {
        (0..top_k).map(|place| {
            let (class, probability) = self.classes.get(place)?;
            Some((names[*class].clone(), probability.to_string()))
        })
    }
}

impl Row {
    pub fn predicted(self, top_k: usize) -> Predicted {
        Predicted::new(self.name, &self.numbers, top_k)
    }
}
