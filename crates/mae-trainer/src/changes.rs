//! What differs between two recipes, field by field.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use crate::Recipe;

/// One field of a recipe with two values.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The field's path, e.g. `optim.base_lr`.
    pub field: String,
    /// What it was, as in TOML; none where it was not set.
    pub before: Option<String>,
    /// What it is now.
    pub after: Option<String>,
    /// Whether a run that has begun cannot go on with it: weights, the order of the images or the place in the
    /// schedule depend on it.
    pub fixed: bool,
}

/// What together makes the images of an update: one may change if another one makes up for it.
const BATCH: [&str; 3] = ["batch_size", "accum_iter", "ranks"];

/// Fields, or sections, that weights, order or position depend on.
const FIXED: [&str; 8] = [
    "seed",
    "data.path",
    "data.drop_last",
    "data.repeats",
    "data.shapes",
    "data.images",
    "data.normalize",
    "model",
];

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.between("before", "now"))
    }
}

impl Recipe {
    /// What differs in `other`.
    pub fn changes(&self, other: &Self) -> Vec<Change> {
        let (mut before, after) = (self.fields(), other.fields());
        let mut changes = Vec::new();
        for (field, value) in after {
            let old = before.remove(&field);
            if old.as_ref() != Some(&value) {
                changes.push(Change::new(field, old, Some(value)));
            }
        }
        changes.extend(before.into_iter().map(|(field, old)| Change::new(field, Some(old), None)));
        if self.effective_batch() != other.effective_batch() {
            let batch = changes.iter_mut().filter(|change| BATCH.contains(&change.field.as_str()));
            batch.for_each(|change| change.fixed = true);
        }
        changes
    }

    /// Every value under its path.
    fn fields(&self) -> BTreeMap<String, String> {
        fn collect(table: &Table, prefix: &str, fields: &mut BTreeMap<String, String>) {
            for (name, value) in table {
                let path = format!("{prefix}{name}");
                match value {
                    Value::Table(table) => collect(table, &format!("{path}."), fields),
                    value => {
                        fields.insert(path, value.to_string());
                    }
                }
            }
        }
        let mut fields = BTreeMap::new();
        let table = Table::try_from(self).expect("a recipe has string keys and plain values");
        collect(&table, "", &mut fields);
        fields
    }
}

impl Change {
    /// The field with its values, each named.
    pub(crate) fn between(&self, before: &str, after: &str) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        format!("{} ({} {before}, {} {after})", self.field, text(&self.before), text(&self.after))
    }

    fn new(field: String, before: Option<String>, after: Option<String>) -> Self {
        let within = |section: &str| {
            field.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let fixed = FIXED.into_iter().any(within);
        Self { field, before, after, fixed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named_once_with_both_values() {
        let before = Recipe::default();
        assert_eq!(before.changes(&before), []);
        let mut after = Recipe { epochs: 7, ..before.clone() };
        after.optim.adamw.weight_decay = 0.25;
        after.optim.warmup_epochs = Some(2.0);
        after.model.patch_size = Some(4);
        let changes = before.changes(&after);
        let texts: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(texts.contains(&"epochs (100 before, 7 now)".to_owned()), "{texts:?}");
        assert!(texts.contains(&"optim.warmup_epochs (nothing before, 2.0 now)".to_owned()), "{texts:?}");
        let fixed: Vec<_> = changes.iter().filter(|c| c.fixed).map(|c| c.field.as_str()).collect();
        assert_eq!(fixed, ["model.patch_size"]);
        assert_eq!(after.changes(&before).len(), 4);
    }
}
