//! Advice on errors, in terms of the command line.

use std::error::Error;

use mae_model::ModelError;

use crate::{TrainerError, chain};

/// Formats an error with its causes and advice on what to do, on one line.
pub fn explain(whole: &(dyn Error + 'static)) -> String {
    let mut cause = Some(whole);
    while let Some(error) = cause {
        if let Some(advice) = error.downcast_ref().and_then(advice) {
            return format!("{}; {advice}", chain(whole));
        }
        cause = error.source();
    }
    chain(whole)
}

fn advice(error: &TrainerError) -> Option<String> {
    Some(match error {
        TrainerError::RunExists { path } => {
            format!("continue it with --resume {}, or choose another --out", path.display())
        }
        TrainerError::Occupied { .. } => "choose another --out".to_owned(),
        TrainerError::ImagesGone { field, .. } => match *field {
            "data.path" => "name their new folder with --data DIR".to_owned(),
            "data.val" => "name their new folder with --val DIR".to_owned(),
            "data.labels" => "name the table's new path with --labels FILE".to_owned(),
            _ => "name the table's new path with --val-labels FILE".to_owned(),
        },
        TrainerError::ResumeWithOptions { path, .. } => {
            format!("a new pre-training run can start from its weights with --init-from {}", path.display())
        }
        TrainerError::OutOfMemory { batch_size: 1, .. } => {
            "the batch size is already 1: --grad-checkpointing takes less memory per image".to_owned()
        }
        TrainerError::OutOfMemory { batch_size, accum_iter, .. } => format!(
            "--batch-size {} --accum-iter {} halves the images per pass and keeps those per update; --grad-checkpointing \
             takes less memory per image",
            batch_size / 2,
            accum_iter * 2
        ),
        TrainerError::Model(ModelError::Different { path, field: "image_size", expected, .. }) => format!(
            "resample its positions first: mae convert {} NEW.safetensors --to official --resample-to {expected}",
            path.display()
        ),
        TrainerError::Task(error) => return error.downcast_ref().and_then(advice),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_answered_with_smaller_batches() {
        let error = TrainerError::OutOfMemory { batch_size: 64, accum_iter: 2, said: "no memory".into() };
        let text = explain(&error);
        assert!(text.contains("64 images") && text.contains("--batch-size 32 --accum-iter 4"), "{text}");
    }

    #[test]
    fn advice_is_found_behind_other_errors() {
        let exists = TrainerError::RunExists { path: "runs/a".into() };
        let text = explain(&TrainerError::task(TrainerError::task(exists)));
        assert_eq!(
            text,
            "runs/a already holds a run; continue it with --resume runs/a, or choose another --out"
        );
    }
}
