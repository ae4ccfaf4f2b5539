//! Outputs of a training run to look at: records as JSON lines and as TensorBoard events, curves, pictures, and one
//! page with all of it. Nothing here knows how a model is trained.
//!
//! A run's folder has [`Record`]s and [`Evaluation`]s of some of its updates; [`Page`] makes `report.html` from them.
//!
//! ```
//! use mae_report::{Record, RecordWriter, draw_loss_curve, read_records, save_png};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("metrics.jsonl");
//! let mut writer = RecordWriter::open(&path, 0)?;
//! for step in 1..=20 {
//!     let loss = 1.0 / step as f64;
//!     writer.write(&Record { step, loss, ..Record::default() })?;
//! }
//! let curve = draw_loss_curve("a loss", &read_records(&path)?, None)?;
//! save_png(&curve, &folder.path().join("loss.png"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atomic;
mod draw;
mod duration;
mod error;
mod metric;
mod page;
mod records;
mod tensorboard;

pub use atomic::{make_folder, write_atomic};
pub use draw::{
    Heatmap, ReconstructionRow, SegmentationRow, class_colour, draw_class_scores, draw_confusion, draw_grid,
    draw_heatmaps, draw_loss_curve, draw_reconstructions, draw_segmentation, draw_tiles, error_picture,
    label_picture, overlay_labels, save_label_png, save_label_tiff, save_png, with_note,
};
pub use duration::duration;
pub use error::ReportError;
pub use mae_data::Image;
pub use metric::Metric;
pub use page::{Bars, ComparedRun, Comparison, CurvesOver, Figure, Outcome, Page, first_names};
pub use records::{
    EVALUATIONS, Evaluation, EvaluationWriter, Line, LineWriter, METRICS, Record, RecordWriter, last_loss,
    read_evaluations, read_records,
};
pub use tensorboard::TensorBoard;

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
