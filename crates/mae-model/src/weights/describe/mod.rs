//! What a file holds: its model, how images are prepared for it, and all of that for people and programs.

mod images;
mod model;
mod summary;
