//! Tests that commands which the documentation shows with an error fail with exactly that error.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;
use std::path::Path;

use common::{BLUE, colours, mae};

/// A command with the lines of its error, as a page has them.
struct Refused {
    page: &'static str,
    arguments: String,
    error: Vec<String>,
}

fn documented() -> Vec<Refused> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut found: Vec<Refused> = Vec::new();
    for page in ["cli.md", "training.md"] {
        let text = fs::read_to_string(docs.join(page)).unwrap();
        let (mut command, mut in_error) = (None, false);
        for line in text.lines() {
            if let Some(arguments) = line.strip_prefix("$ mae ") {
                (command, in_error) = (Some(arguments), false);
            } else if line.starts_with("```") {
                (command, in_error) = (None, false);
            } else if let Some(arguments) = command.filter(|_| line.starts_with("error: ")) {
                found.push(Refused { page, arguments: arguments.to_owned(), error: vec![line.to_owned()] });
                in_error = true;
            } else if in_error {
                found.last_mut().unwrap().error.push(line.to_owned());
            }
        }
    }
    found
}

/// The files that the commands name.
fn files(at: &Path) {
    let classes = ["astronaut", "chelsea", "coffee", "hubble_deep_field", "rocket"];
    colours(&at.join("photos"), &classes.map(|class| (class, BLUE, 2)));
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].map(|class| (class, BLUE, 1));
    colours(&at.join("digits/train"), &digits);
    colours(&at.join("digits/test"), &digits);
    colours(&at.join("other"), &["a", "b"].map(|class| (class, BLUE, 1)));
    let done = |arguments: &str| {
        let output = mae(at, arguments);
        assert!(output.status.success(), "{output:?}");
    };
    let model = "--preset nano --image-size 16 --patch-size 4";
    done(&format!("pretrain --quiet --data photos {model} --batch-size 5 --epochs 1 --out run"));
    done("probe run photos photos --quiet --cached --tokens mean --epochs 1 --batch-size 5 --out probe");
    done("convert run --to timm encoder.safetensors");
    // Weight files are recognised by their content.
    fs::rename(at.join("encoder.safetensors"), at.join("official.pth")).unwrap();
    let weights = fs::read(at.join("run/model.safetensors")).unwrap();
    fs::write(at.join("tiny.safetensors"), &weights).unwrap();
    fs::write(at.join("cut.safetensors"), &weights[..100]).unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    fs::write(at.join("my.toml"), "epochs = 5\n[optim]\nlr = 1.0\n").unwrap();
}

#[test]
fn documented_errors_are_those_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().canonicalize().unwrap();
    files(&at);
    let commands = documented();
    for Refused { page, arguments, error } in &commands {
        let output = mae(&at, arguments);
        assert_eq!(output.status.code(), Some(1), "{page}: mae {arguments}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let said: Vec<&str> =
            text.trim_end().lines().skip_while(|line| !line.starts_with("error: ")).collect();
        let same = said.len() == error.len()
            && said.iter().zip(error).all(|(said, written)| {
                let written = written.replace("/home/me", at.to_str().unwrap());
                // An ellipsis at the end stands for the rest of the line.
                written.strip_suffix('…').map_or(*said == written, |start| said.starts_with(start))
            });
        assert!(same, "{page}: mae {arguments}\n{}\nis documented as\n{}", said.join("\n"), error.join("\n"));
    }
    assert!(commands.len() >= 14, "{} commands with an error", commands.len());
}
