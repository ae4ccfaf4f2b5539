//! The most probable classes of an image.

use serde_json::json;

use super::rows::Row;

/// An image and its most probable classes, the first one first; none for an image that cannot be read.
pub struct Predicted {
    pub name: String,
    /// Numbers of classes, and their probabilities.
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
    /// The most probable classes of a row of probabilities. Of two that are equally probable the first one comes first.
    pub fn new(name: String, probabilities: &[f32], top_k: usize) -> Self {
        let mut classes: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
        if probabilities.iter().any(|probability| probability.is_nan()) {
            classes.clear();
        }
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        classes.truncate(top_k);
        Self { name, classes }
    }

    /// An object on one line, with null for what is not known.
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

    /// A line of CSV, empty where nothing is known.
    pub fn to_record(&self, names: &[String], top_k: usize) -> impl Iterator<Item = String> {
        let pairs = self.pairs(names, top_k).flat_map(|pair| <[String; 2]>::from(pair.unwrap_or_default()));
        [self.name.clone()].into_iter().chain(pairs)
    }

    /// The names of the classes and their probabilities in the fewest digits that tell them from other f32.
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
