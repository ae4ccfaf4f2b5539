//! The Rust programs of the documentation's pages, as doctests. Nothing else is in here.

/// The page on extensions.
#[cfg(doctest)]
#[doc = include_str!("extending.md")]
struct Extending;

/// The page on the library.
#[cfg(doctest)]
#[doc = include_str!("library.md")]
struct Library;
