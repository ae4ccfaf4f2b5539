//! Describes a file: its model, how images are prepared for it, and a summary for people and programs.

mod images;
mod model;
mod summary;
