//! Decodes the image files named on standard input, one a line. Prints `H W` and the pixels, or `error` and the reason.
#![allow(clippy::print_stdout, reason = "a command line talks to others")]

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use mae_image::{DecodeLimits, decode_file};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = stdout().lock();
    for path in stdin().lock().lines() {
        match decode_file(Path::new(&path?), &DecodeLimits::default()) {
            Ok(image) => {
                writeln!(out, "{} {}", image.height(), image.width())?;
                out.write_all(image.data())?;
            }
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                writeln!(out, "error {error}{cause}")?;
            }
        }
    }
    Ok(())
}
