//! `mae inspect` and `mae convert` on this project's own files. `mae-model/tests/python` has those of other libraries.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::Device;
use mae_model::{Preset, save};
use mae_vit::{Geometry, Normalize};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn mae(at: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mae"));
    command.current_dir(at).env("RUST_BACKTRACE", "0").args(args.split_whitespace()).output().unwrap()
}

fn says(output: &Output, words: &[&str]) {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
}

fn saved(at: &Path) {
    let model = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap()).init(3, &Device::flex()).unwrap();
    save(&model, &Normalize::half(3), &BTreeMap::new(), at.join("model.safetensors")).unwrap();
}

/// Tensors by name, as bytes.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect()
}

#[test]
fn a_file_is_told_and_carried_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    saved(at);
    let output = mae(at, "inspect .");
    assert!(output.status.success());
    says(
        &output,
        &["encoder and decoder", "16 x 16 px", "64 wide, 4 blocks, 2 heads", "normalised by patch"],
    );
    let json: serde_json::Value =
        serde_json::from_slice(&mae(at, "inspect --json model.safetensors").stdout).unwrap();
    assert_eq!(json["contents"]["kind"], "full");
    assert_eq!(json["tensors"]["cls_token"]["shape"], serde_json::json!([1, 1, 64]));

    for (from, to, out) in [
        ("model.safetensors", "transformers", "hf"),
        ("hf", "official", "back.safetensors"),
        ("model.safetensors", "timm", "timm.safetensors"),
        ("timm.safetensors --num-heads 2", "transformers", "hf-encoder"),
        ("hf-encoder", "timm", "timm-back.safetensors"),
    ] {
        let output = mae(at, &format!("convert {from} --to {to} {out}"));
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(tensors(&at.join("model.safetensors")), tensors(&at.join("back.safetensors")));
    assert_eq!(tensors(&at.join("timm.safetensors")), tensors(&at.join("timm-back.safetensors")));
    // A file converted from transformers' folder keeps what its configuration says.
    says(&mae(at, "inspect back.safetensors"), &["64 wide, 4 blocks, 2 heads", "normalised by patch"]);
    let preprocessor = fs::read_to_string(at.join("hf/preprocessor_config.json")).unwrap();
    assert!(preprocessor.contains("0.5"), "{preprocessor}");
}

#[test]
fn what_is_published_says_how_it_was_trained_and_not_where() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap()).init(3, &Device::flex()).unwrap();
    let recipe = "seed = 7\n[data]\npath = '/home/someone/images'\nval = 'C:\\someone\\val'\n[masking]\nmask_ratio = 0.6\n";
    let metadata = BTreeMap::from([("mae.recipe".to_owned(), recipe.to_owned())]);
    save(&model, &Normalize::half(3), &metadata, at.join("model.safetensors")).unwrap();
    for to in ["official", "timm", "transformers"] {
        let output = mae(at, &format!("convert model.safetensors --to {to} {to}"));
        assert!(output.status.success(), "{output:?}");
    }
    for file in ["official", "timm"] {
        let bytes = fs::read(at.join(file)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let recipe = &header.metadata().as_ref().unwrap()["mae.recipe"];
        assert!(recipe.contains("seed = 7") && !recipe.contains("someone"), "{recipe}");
    }
    let config = fs::read_to_string(at.join("transformers/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["mask_ratio"], 0.6);
}

#[test]
fn a_checkpoint_is_its_average_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (seed, name) in [(1, "model.safetensors"), (2, "ema.safetensors")] {
        let config = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap());
        let model = config.init(seed, &Device::flex()).unwrap();
        save(&model, &Normalize::half(3), &BTreeMap::new(), at.join(name)).unwrap();
    }
    says(&mae(at, "inspect ."), &["ema, out of ema, model"]);
    says(&mae(at, "inspect . --weights-key model"), &["model, out of model, ema"]);
    for (options, out, same) in
        [("", "a", "ema"), (" --weights-key ema", "b", "ema"), (" --weights-key model", "c", "model")]
    {
        let output = mae(at, &format!("convert . --to official {out}{options}"));
        says(&output, &["holds several models", "--weights-key selects another"]);
        assert_eq!(tensors(&at.join(out)), tensors(&at.join(format!("{same}.safetensors"))));
    }
    says(&mae(at, "inspect . --weights-key teacher"), &["'teacher' does not name one of its models"]);
}

#[test]
fn of_a_run_the_last_weights_are_taken_unless_the_best_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (seed, name) in [(1, "model.safetensors"), (2, "best.safetensors")] {
        let config = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap());
        let model = config.init(seed, &Device::flex()).unwrap();
        save(&model, &Normalize::half(3), &BTreeMap::new(), at.join(name)).unwrap();
    }
    for (options, same) in [("", "model"), (" --weights-key last", "model"), (" --weights-key best", "best")]
    {
        // Each conversion replaces the file of the one before.
        let output = mae(at, &format!("convert . --to official out.safetensors --force{options}"));
        says(&output, &["holds several models", "--weights-key selects another"]);
        assert_eq!(tensors(&at.join("out.safetensors")), tensors(&at.join(format!("{same}.safetensors"))));
    }
    // If the last weights are the best, there is no other file of the best.
    fs::rename(at.join("best.safetensors"), at.join("out.safetensors")).unwrap();
    fs::create_dir(at.join("checkpoints")).unwrap();
    says(&mae(at, "inspect . --weights-key best"), &["model.safetensors"]);
    assert!(!at.join("out.safetensors.new").exists());
}

#[test]
fn a_folder_is_replaced_if_nothing_else_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    saved(at);
    let convert = "convert model.safetensors --to transformers hub";
    says(&mae(at, convert), &["written"]);
    let whole = tensors(&at.join("hub/model.safetensors"));
    fs::write(at.join("hub/model.safetensors"), "else").unwrap();
    says(&mae(at, convert), &["hub already exists; --force replaces it"]);
    says(&mae(at, &format!("{convert}/ --force")), &["written"]);
    assert_eq!(tensors(&at.join("hub/model.safetensors")), whole);
    fs::write(at.join("hub/thesis.txt"), "all I have").unwrap();
    says(&mae(at, &format!("{convert} --force")), &["cannot replace hub", "thesis.txt"]);
    assert!(at.join("hub/thesis.txt").exists());
    let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["hub", "model.safetensors"]);
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    saved(at);
    let before = fs::read(at.join("model.safetensors")).unwrap();
    let refused = |args: &str, status: i32, words: &[&str]| {
        let output = mae(at, args);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        says(&output, words);
    };
    refused(
        "convert model.safetensors --to timm model.safetensors",
        1,
        &["already exists; --force replaces it"],
    );
    refused("convert model.safetensors --to onnx out", 2, &["onnx", "official, timm, transformers"]);
    refused("inspect nowhere", 1, &["cannot read nowhere"]);
    fs::create_dir(at.join("empty")).unwrap();
    refused("inspect empty", 1, &["cannot read empty", "the folder is empty"]);
    refused(
        "convert model.safetensors --to timm no/such/folder.safetensors",
        1,
        &["no/such/folder.safetensors"],
    );
    // The number of heads is unknown for a file without a description, if its width is that of no published model.
    let file = SafeTensors::deserialize(&before).unwrap();
    let encoder =
        file.tensors().into_iter().filter(|(name, _)| !name.starts_with("decoder_") && name != "mask_token");
    safetensors::serialize_to_file(encoder, None, &at.join("timm.safetensors")).unwrap();
    refused(
        "convert timm.safetensors --to transformers hf",
        1,
        &["how many heads", "width 64", "--num-heads"],
    );
    refused(
        "convert timm.safetensors --to transformers hf --num-heads 2 --image-size 16x20",
        1,
        &["16 x 20 px have 20 patches", "positions for 16"],
    );
    // transformers would load it without this tensor, and compute something else.
    let norm = TensorView::new(Dtype::F32, vec![64], &[0; 256]).unwrap();
    let more = file.tensors().into_iter().chain([("norm_pre.weight".to_owned(), norm)]);
    safetensors::serialize_to_file(more, None, &at.join("clip.safetensors")).unwrap();
    let hints = "--num-heads 2 --decoder-num-heads 4 --norm-pix-loss true";
    let words = ["a norm before the blocks (norm_pre.weight)"];
    refused(&format!("convert clip.safetensors --to transformers hf {hints}"), 1, &words);
    // A folder that is in the way is not removed either.
    fs::create_dir(at.join("other.partial")).unwrap();
    refused("convert model.safetensors --to transformers other", 1, &["cannot write other.partial"]);
    assert!(at.join("other.partial").is_dir() && !at.join("other").exists());
    assert!(!at.join("hf").exists() && !at.join("hf.partial").exists());
    assert_eq!(fs::read(at.join("model.safetensors")).unwrap(), before);
}

#[test]
fn shells_get_their_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = mae(folder.path(), &format!("completions {shell}"));
        assert!(output.status.success());
        says(&output, &["mae", "inspect", "convert", "norm-pix-loss"]);
    }
}
