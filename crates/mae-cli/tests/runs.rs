//! `mae runs` on runs of all tasks, at all stages.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;
use std::path::Path;

use common::{BLUE, RED, colours, mae, refused, setting};
use serde_json::Value;

/// Two runs of pre-training, one of them stopped, and one of fine-tuning.
fn runs(at: &Path) {
    setting(at);
    colours(&at.join("val"), &[("red", RED, 4), ("blue", BLUE, 3)]);
    let shape = "--image-size 16 --patch-size 4 --batch-size 4 --quiet";
    let pretrain = format!("pretrain --data train --val val {shape}");
    assert!(mae(at, &format!("{pretrain} --epochs 3 --out runs/one")).status.success());
    let stopped = mae(at, &format!("{pretrain} --epochs 30 --stop-after 4 --out runs/deep/two"));
    assert_eq!(stopped.status.code(), Some(130));
    let finetune = "finetune . train val --epochs 2 --batch-size 4 --quiet --out runs/tuned";
    assert!(mae(at, finetune).status.success());
}

fn listed(at: &Path, args: &str) -> Vec<Value> {
    let output = mae(at, &format!("runs --json {args}"));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

fn names(runs: &[Value]) -> Vec<&str> {
    runs.iter().map(|run| run["run"].as_str().unwrap()).collect()
}

#[test]
fn runs_are_listed_with_what_their_files_say() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    runs(at);
    let found = listed(at, "--sort run");
    assert_eq!(names(&found), ["runs/deep/two", "runs/one", "runs/tuned"]);
    let [two, one, tuned] = &found[..] else { unreachable!() };
    assert_eq!([&two["task"], &one["task"], &tuned["task"]], ["pretrain", "pretrain", "finetune"]);
    assert_eq!([&two["finished"], &one["finished"], &tuned["finished"]], [false, true, true]);
    assert_eq!((two["record"]["step"].as_u64(), two["epochs"].as_u64()), (Some(4), Some(30)));
    // With a batch size of four, an epoch of the eleven images has two updates.
    assert_eq!((two["record"]["epoch"].as_f64(), one["record"]["epoch"].as_f64()), (Some(2.0), Some(3.0)));
    for run in [one, tuned] {
        let path = at.join(run["run"].as_str().unwrap());
        let last = |name: &str| -> Value {
            let text = fs::read_to_string(path.join(name)).unwrap();
            serde_json::from_str(text.lines().last().unwrap()).unwrap()
        };
        assert_eq!(run["record"], last("metrics.jsonl"));
        assert_eq!(run["evaluation"], last("evaluations.jsonl"));
    }
    assert_eq!(names(&listed(at, "runs/tuned runs/deep --sort run")), ["runs/deep/two", "runs/tuned"]);

    // By default, the newest run comes first. Sorted by a metric, the best comes first, and runs without it come last.
    assert_eq!(names(&listed(at, ""))[0], "runs/tuned");
    assert_eq!(names(&listed(at, "--sort top1"))[0], "runs/tuned");
    assert_eq!(names(&listed(at, "--sort epoch"))[0], "runs/one");
    let losses: Vec<f64> =
        listed(at, "--sort loss").iter().map(|run| run["record"]["loss"].as_f64().unwrap()).collect();
    assert!(losses.is_sorted(), "{losses:?}");

    let output = mae(at, "runs --sort run");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    let words: Vec<&str> = lines[0].split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(words[..6], ["run", "task", "images", "epoch", "step", "loss"]);
    assert!(words.contains(&"kNN accuracy") && words.contains(&"top-1"), "{text}");
    assert!(lines[1].starts_with("runs/deep/two") && lines[1].contains("2.00/30"), "{text}");
    assert!(!lines[1].contains("finished") && lines[2].ends_with("finished"), "{text}");
    let loss = format!("{:.4}", one["record"]["loss"].as_f64().unwrap());
    assert!(lines[2].contains(&loss) && lines[2].contains("ago"), "{text}");

    // Runs behind links are listed, a link to a parent folder adds none, and names need not be UTF-8.
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::{ffi::OsStrExt, fs::symlink};
        fs::create_dir(at.join("linked")).unwrap();
        symlink(at.join("runs/one"), at.join("linked").join(std::ffi::OsStr::from_bytes(b"\xffone")))
            .unwrap();
        symlink(at.join("linked"), at.join("linked/above")).unwrap();
        let found = listed(at, "linked");
        assert_eq!((found.len(), &found[0]["record"]), (1, &one["record"]));
    }

    // A run that is resumed beyond its end is unfinished until it reaches the new end.
    assert_eq!(
        mae(at, "pretrain --resume runs/one --epochs 9 --stop-after 8 --quiet").status.code(),
        Some(130)
    );
    assert_eq!(listed(at, "--sort run")[1]["finished"], false);
}

#[test]
fn what_is_no_run_or_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    refused(at, "runs", &["runs"]);
    fs::create_dir_all(at.join("runs/empty")).unwrap();
    refused(at, "runs", &["runs holds no run", "recipe.toml"]);
    // A run that has just begun has no records. A damaged one does not hide the others.
    fs::create_dir_all(at.join("runs/new")).unwrap();
    fs::write(at.join("runs/new/recipe.toml"), "task = \"pretrain\"\nepochs = 5\n").unwrap();
    fs::write(at.join("runs/empty/recipe.toml"), "task = ").unwrap();
    let output = mae(at, "runs");
    let [said, error] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("runs/new") && said.contains("0.00/5") && said.contains("built-in"), "{said}");
    assert!(error.contains("runs/empty/recipe.toml") && error.contains("1 of 2 runs"), "{error}");
    fs::remove_dir_all(at.join("runs/empty")).unwrap();
    refused(at, "runs --sort size", &["--sort is size", "run, changed, epoch, loss"]);
}

#[test]
fn curves_of_runs_stand_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    runs(at);
    let output = mae(at, "compare runs/one runs/deep/two --over steps --out page.html");
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(at.join("page.html")).unwrap();
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let titles: Vec<_> = data["charts"].as_array().unwrap().iter().map(|c| c["title"].clone()).collect();
    let all = ["Loss", "Held-out loss", "kNN accuracy", "Linear probe", "Images per second", "Learning rate"];
    assert_eq!(titles, all);
    for (series, (run, steps)) in
        data["charts"][0]["series"].as_array().unwrap().iter().zip([("runs/one", 6), ("runs/deep/two", 4)])
    {
        assert_eq!((&series["name"], series["x"].as_array().unwrap().len()), (&run.into(), steps));
    }
    assert!(page.contains("<th scope=\"row\">epochs</th><td>3</td><td>30</td>"), "what differs");
    assert!(!page.contains("model.preset"), "and nothing else");

    // Another comparison replaces the page. A file that is no comparison is kept.
    assert!(mae(at, "compare runs/one runs/tuned --out page.html").status.success());
    assert!(fs::read_to_string(at.join("page.html")).unwrap().contains("top-1"));
    fs::write(at.join("thesis.html"), "<html>").unwrap();
    let compare = "compare runs/one runs/tuned --out thesis.html";
    refused(at, compare, &["thesis.html already exists and is not a comparison; --force replaces it"]);
    assert!(mae(at, &format!("{compare} --force")).status.success());
    refused(at, "compare runs/one runs/none", &["cannot read runs/none/recipe.toml"]);
    assert_eq!(mae(at, "compare runs/one").status.code(), Some(2));
}
