//! Printing for programs. A reader that stops reading, a full disk behind `> log` or a closed stream never makes a
//! program panic.
//!
//! | function | the reader has stopped | writing fails otherwise |
//! |---|---|---|
//! | [`print()`]: a command's output | the program ends quietly, with status 0 ([`fail`]) | an error, status 1 |
//! | [`tell`]: progress, and where files are | the work goes on | the work goes on, with one warning on stderr |
//! | [`warn`]: text on standard error | the work goes on | the work goes on |

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Once;

use super::advice::explain;
use crate::TrainerError;

/// Prints a command's output; adds no newline.
///
/// # Errors
/// [`TrainerError::Output`], which [`fail`] turns into an exit status.
pub fn print(text: impl Display) -> Result<(), TrainerError> {
    write(stdout().lock(), text).map_err(|source| TrainerError::Output { source })
}

/// Prints a line of progress, as [`tell`] does.
pub fn tell_line(line: &str) {
    tell(format_args!("{line}\n"));
}

/// Prints progress; adds no newline. The work goes on whether or not anyone reads it.
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
    // There is nowhere left to report the failure.
    let _ = write(stderr().lock(), text);
}

/// Ends a program that failed: prints the error and returns the exit status. If the reader of the output has stopped,
/// ends quietly with success.
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
