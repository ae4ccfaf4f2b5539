//! The differences between two recipes, field by field.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::section::{Field, Resume, resume};

/// A field whose value differs between two recipes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The field's path, e.g. `optim.base_lr`.
    pub field: String,
    /// Its value before, as TOML; `None` if it was not set.
    pub before: Option<String>,
    /// Its value now, likewise.
    pub after: Option<String>,
    /// Whether a run can be resumed with the new value.
    pub resume: Resume,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.between("before", "now"))
    }
}

/// Lists the differences between two recipes with the given fields, both as TOML.
pub(crate) fn changes(before: &str, after: &str, fields: &[Field]) -> Vec<Change> {
    let (mut before, after) = (values(before), values(after));
    let change = |field: String, before, after| {
        let resume = resume(&field, fields);
        Change { field, before, after, resume }
    };
    let mut changes = Vec::new();
    for (field, value) in after {
        let old = before.remove(&field);
        if old.as_ref() != Some(&value) {
            changes.push(change(field, old, Some(value)));
        }
    }
    changes.extend(before.into_iter().map(|(field, old)| change(field, Some(old), None)));
    changes
}

/// Every value of a TOML text, by its path.
fn values(text: &str) -> BTreeMap<String, String> {
    fn collect(table: &Table, prefix: &str, values: &mut BTreeMap<String, String>) {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            match value {
                Value::Table(table) => collect(table, &format!("{path}."), values),
                value => {
                    values.insert(path, value.to_string());
                }
            }
        }
    }
    let mut values = BTreeMap::new();
    let table = text.parse::<Table>().expect("a recipe is written as TOML");
    collect(&table, "", &mut values);
    values
}

impl Change {
    /// Formats the field with both values, labelled `before` and `after`.
    pub(crate) fn between(&self, before: &str, after: &str) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        format!("{} ({} {before}, {} {after})", self.field, text(&self.before), text(&self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PretrainRecipe, Recipe, Section};

    #[test]
    fn every_difference_is_named_once_with_both_values() {
        let before = Recipe::<PretrainRecipe>::default();
        let between = |before: &Recipe<PretrainRecipe>, after: &Recipe<PretrainRecipe>| {
            changes(&before.to_toml(), &after.to_toml(), &Recipe::<PretrainRecipe>::fields())
        };
        assert_eq!(between(&before, &before), []);
        let mut after = before.clone();
        after.train.epochs = 7;
        after.optim.weight_decay = 0.25;
        after.optim.warmup_epochs = Some(2.0);
        after.task.model.patch_size = Some(4);
        let changes = between(&before, &after);
        let texts: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(texts.contains(&"epochs (100 before, 7 now)".to_owned()), "{texts:?}");
        assert!(texts.contains(&"optim.warmup_epochs (nothing before, 2.0 now)".to_owned()), "{texts:?}");
        let fixed: Vec<_> =
            changes.iter().filter(|c| c.resume == Resume::Fixed).map(|c| c.field.as_str()).collect();
        assert_eq!(fixed, ["model.patch_size"]);
        assert_eq!(between(&after, &before).len(), 4);
    }
}
