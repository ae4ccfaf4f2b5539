//! Command-line parsing that accepts negative numbers as values and suggests our names for other tools' options.

use std::panic;
use std::sync::Once;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command, FromArgMatches, Parser};

/// Options of timm, lightly and the official code, and their names here.
const ELSEWHERE: [(&str, &str); 15] = [
    ("--lr", "--base-lr"),
    ("--blr", "--base-lr"),
    ("--bs", "--batch-size"),
    ("--arch", "--preset"),
    ("--model", "--preset"),
    ("--data-path", "--data"),
    ("--data-dir", "--data"),
    ("--input-size", "--image-size"),
    ("--output-dir", "--out"),
    ("--num-workers", "--workers"),
    ("--clip-grad-norm", "--clip-grad"),
    ("--norm-pix", "--norm-pix-loss"),
    ("--eval-every", "--eval-epochs"),
    ("--eval-interval", "--eval-epochs"),
    ("--check-val-every-n-epoch", "--eval-epochs"),
];

/// Reads the command line, or ends the program with a message as clap does.
///
/// A negative number is the value of the option before it, so that the error states the option's bound. The error for
/// an unknown option that another tool has suggests ours.
pub fn parse<C: Parser>() -> C {
    parse_as(C::command())
}

/// [`parse`] for a command with another name and description.
pub(super) fn parse_as<C: FromArgMatches>(command: Command) -> C {
    hush();
    read(command, std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Silences panics that become errors, and panics of the full-screen view, which training survives.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            #[cfg(feature = "tui")]
            if crate::managed::draws() {
                return;
            }
            if !crate::device::is_expected(info) {
                hook(info);
            }
        }));
    });
}

fn read<C: FromArgMatches>(
    command: Command,
    args: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> Result<C, clap::Error> {
    let mut command = with_negative_numbers(command);
    let parsed = command.try_get_matches_from_mut(args).and_then(|matches| C::from_arg_matches(&matches));
    parsed.map_err(|error| bound(suggest(error), &mut command).format(&mut command))
}

fn with_negative_numbers(command: Command) -> Command {
    let option = |arg: clap::Arg| match arg.get_action() {
        ArgAction::Set | ArgAction::Append if !arg.is_positional() => arg.allow_negative_numbers(true),
        _ => arg,
    };
    command.mut_args(option).mut_subcommands(with_negative_numbers)
}

/// Suggests our name for another tool's option. clap already suggests names that differ by a few letters, such as for
/// `--mask_ratio`.
fn suggest(mut error: clap::Error) -> clap::Error {
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(given))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    {
        let given = given.replace('_', "-");
        if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == given) {
            error.insert(ContextKind::SuggestedArg, ContextValue::String((*ours).into()));
        }
    }
    error
}

/// States the bound of a whole number. The standard library says of `-1` or `1.5` only that a digit is invalid.
fn bound(error: clap::Error, command: &mut Command) -> clap::Error {
    let whole =
        std::error::Error::source(&error).is_some_and(|source| source.is::<std::num::ParseIntError>());
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        (Some(option), Some(value)) if whole => {
            let text =
                format!("invalid value '{value}' for '{option}': it must be a whole number, 0 or more");
            command.error(ErrorKind::ValueValidation, text)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        train: super::super::TrainArgs<super::super::PretrainArgs>,
    }

    fn refused(args: &str) -> String {
        read::<Program>(Program::command(), ["program"].into_iter().chain(args.split(' ')))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_negative_number_is_a_value() {
        let program: Program =
            read(Program::command(), ["program", "--base-lr", "-1", "--seed", "3"]).unwrap();
        assert_eq!((program.train.recipe.base_lr, program.train.recipe.seed), (Some(-1.0), Some(3)));
        for args in ["--seed -1", "--batch-size 1.5", "--epochs many"] {
            let error = refused(args);
            assert!(error.contains("it must be a whole number, 0 or more"), "{error}");
        }
    }

    #[test]
    fn names_of_other_tools_are_answered_with_ours() {
        for (given, ours) in [
            ("--lr 0.1", "'--base-lr'"),
            ("--blr=0.1", "'--base-lr'"),
            ("--mask_ratio 0.5", "'--mask-ratio'"),
            ("--arch tiny", "'--preset'"),
        ] {
            let error = refused(given);
            assert!(error.contains(&format!("a similar argument exists: {ours}")), "{error}");
        }
    }

    #[test]
    fn sizes_are_a_number_or_height_and_width() {
        assert!(
            refused("--image-size 96,64")
                .contains("'96,64' is not a size in pixels: expected N or HEIGHTxWIDTH")
        );
        let program: Program = read(Program::command(), ["program", "--image-size", "96x64"]).unwrap();
        assert_eq!(program.train.own.image_size, Some((96, 64)));
    }
}
