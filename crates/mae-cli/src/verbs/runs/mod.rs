//! Several runs at once: `mae runs` lists them, `mae compare` draws their curves.

pub mod compare;
pub mod list;
mod overview;
