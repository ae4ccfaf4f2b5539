//! What programs print. A reader that stops reading, a full disk behind `> log` and a closed stream never end a program by a
//! panic.
//!
//! | what is printed | the reader has stopped | it cannot be written otherwise |
//! |---|---|---|
//! | [`print()`]: what a command was asked for | the program ends quietly, with status 0 ([`fail`]) | an error, status 1 |
//! | [`tell`]: how work goes on, and where its files are | the work goes on | the work goes on; said once on standard error |
//! | [`warn`]: on standard error | the work goes on | the work goes on |

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Once;

use super::advice::explain;
use crate::TrainerError;

/// Prints what a command was asked for; adds no newline.
///
/// # Errors
/// [`TrainerError::Output`], which [`fail`] makes an exit status of.
pub fn print(text: impl Display) -> Result<(), TrainerError> {
    write(stdout().lock(), text).map_err(|source| TrainerError::Output { source })
}

/// Prints a line on how work goes on, as [`tell`].
pub fn tell_line(line: &str) {
    tell(format_args!("{line}\n"));
}

/// Prints how work goes on, which does not depend on who reads it; adds no newline.
pub fn tell(text: impl Display) {
    static TOLD: Once = Once::new();
    if let Err(error) = write(stdout().lock(), text)
        && error.kind() != ErrorKind::BrokenPipe
    {
        TOLD.call_once(|| warn(format_args!("warning: cannot write to standard output: {error}\n")));
    }
}

/// Prints to standard error; adds no newline.
pub fn warn(text: impl Display) {
    // There is nowhere left to say that it failed.
    let _ = write(stderr().lock(), text);
}

/// Ends a program that failed: prints the error, unless the reader of its output has stopped, who has seen enough.
pub fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(TrainerError::Output { source }) = error.downcast_ref()
            && source.kind() == ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        cause = error.source();
    }
    warn(format_args!("error: {}\n", explain(error)));
    ExitCode::FAILURE
}

fn write(mut stream: impl Write, text: impl Display) -> io::Result<()> {
    write!(stream, "{text}")?;
    stream.flush()
}
