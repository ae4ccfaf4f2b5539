//! Collects the classes of the rows of Parquet files.

use std::collections::HashMap;

use super::columns::LabelColumn;
use crate::source::labels::{Labels, sorted};

/// Classes collected row by row.
#[derive(Default)]
pub(super) struct Classes {
    list: bool,
    /// The names of the classes, if the values are indices into them.
    names: Option<Vec<String>>,
    found: HashMap<String, u32>,
    rows: Vec<Option<Box<[u32]>>>,
}

impl Classes {
    pub(super) fn of(column: Option<&LabelColumn>) -> Self {
        let list = column.is_some_and(|column| column.list);
        Self { list, names: column.and_then(|column| column.names.clone()), ..Self::default() }
    }

    /// Adds `rows` unlabelled rows.
    pub(super) fn push_none(&mut self, rows: usize) {
        self.rows.resize(self.rows.len() + rows, None);
    }

    /// Adds a row with the values of its class column.
    pub(super) fn push(&mut self, values: Option<Vec<String>>) -> Result<(), String> {
        let unlabelled = |values: &Vec<String>| {
            !self.list && (values[0].is_empty() || self.names.is_some() && values[0] == "-1")
        };
        let Some(values) = values.filter(|values| !unlabelled(values)) else {
            self.rows.push(None);
            return Ok(());
        };
        let mut labels = values.into_iter().map(|value| self.number(value)).collect::<Result<Vec<_>, _>>()?;
        labels.sort_unstable();
        labels.dedup();
        self.rows.push(Some(labels.into()));
        Ok(())
    }

    fn number(&mut self, value: String) -> Result<u32, String> {
        if let Some(names) = &self.names {
            let number = value.parse().ok().filter(|number| (*number as usize) < names.len());
            return number
                .ok_or_else(|| format!("its class is {value}, but must be from 0 to {}", names.len() - 1));
        }
        if value.chars().any(char::is_control) {
            return Err("its class has a control character, such as a line break, in its name".into());
        }
        let next = self.found.len() as u32;
        Ok(*self.found.entry(value).or_insert(next))
    }

    /// Returns the labels of all rows and the class names.
    pub(super) fn finish(self) -> (Labels, Vec<String>) {
        let class_names = self.names.clone().unwrap_or_else(|| {
            sorted(self.found.keys().map(String::as_str)).into_iter().map(str::to_owned).collect()
        });
        let labels = match self.list {
            true => Labels::Several(self.rows),
            false => Labels::One(self.rows.iter().map(|row| row.as_ref()?.first().copied()).collect()),
        };
        if self.names.is_some() {
            return (labels, class_names);
        }
        let mut places = vec![0; class_names.len()];
        for (place, name) in (0..).zip(&class_names) {
            places[self.found[name] as usize] = place;
        }
        (labels.renumbered(&places), class_names)
    }
}
