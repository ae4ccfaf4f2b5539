//! Paths in a recipe.

use std::path::PathBuf;

use crate::TrainerError;

/// Makes a recipe's path absolute, so that it keeps its meaning when the run is continued from another folder.
///
/// # Errors
/// [`TrainerError::Path`] names the field if the path is not UTF-8, as TOML requires.
pub(crate) fn settle(field: &str, path: &mut PathBuf) -> Result<(), TrainerError> {
    if let Ok(absolute) = std::path::absolute(&path) {
        *path = absolute;
    }
    match path.to_str() {
        Some(_) => Ok(()),
        None => {
            let bound = "UTF-8, like the recipe: rename it, or use a symbolic link to it";
            Err(TrainerError::Path { field: field.to_owned(), path: path.clone(), bound })
        }
    }
}
