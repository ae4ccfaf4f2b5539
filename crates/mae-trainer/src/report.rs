//! `report.html`: a whole run on one page that needs nothing else, to be kept and sent around.

mod charts;
mod gallery;
mod html;

use std::path::PathBuf;

use crate::atomic::write_atomic;
use crate::evaluate::{Accuracies, FeatureReport};
use crate::machine::Machine;
use crate::progress::{BAD_FILES, duration};
use crate::records::{EVALUATIONS, Evaluation, METRICS, Record, read_evaluations, read_records};
use crate::{Run, TrainerError};
use html::{count, escape, facts, fill, json, tile};

/// What a report tells that stands in no file of the run; what is `None` is left out.
#[derive(Clone, Debug, Default)]
pub struct ReportFacts {
    /// Where the run was computed.
    pub device: String,
    /// The loss of predicting zero.
    pub zero_loss: Option<f64>,
    /// Accuracies of the trained features beside others.
    pub features: Option<FeatureReport>,
}

/// Class names and unreadable files beyond these are only counted.
const MAX_NAMES: usize = 40;

/// Writes `report.html` into the run's folder; returns where.
///
/// It has the run's records, evaluations, pictures, recipe and data, in one file without outside resources.
///
/// # Errors
/// If a file of the run cannot be read, or the report cannot be written.
pub fn write_report(run: &Run, about: &ReportFacts) -> Result<PathBuf, TrainerError> {
    let records = read_records(&run.path(METRICS))?;
    let evaluations = read_evaluations(&run.path(EVALUATIONS))?;
    let folder = std::path::absolute(run.path("")).unwrap_or_else(|_| run.path(""));
    let title = folder.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
    let page = fill(
        include_str!("report/page.html"),
        &[
            ("title", &escape(&title)),
            ("subtitle", &escape(&subtitle(run))),
            ("style", include_str!("report/style.css")),
            ("tiles", &tiles(run, about, &records, &evaluations)),
            ("gallery", &gallery::gallery(&run.path("pictures"), run.plan.pace.steps_per_epoch)?),
            ("comparison", &about.features.as_ref().map(comparison).unwrap_or_default()),
            ("data", &data(run)),
            ("model", &model(run)),
            ("machine", &machine(&about.device)),
            ("recipe", &escape(&run.recipe.to_toml())),
            ("version", env!("CARGO_PKG_VERSION")),
            ("charts", &json(&charts::charts(run.plan.pace.steps_per_epoch, &records, &evaluations, about))),
            ("script", include_str!("report/charts.js")),
        ],
    );
    let path = run.path("report.html");
    write_atomic(&path, |file| file.write_all(page.as_bytes()))?;
    Ok(path)
}

fn subtitle(run: &Run) -> String {
    let geometry = &run.plan.config.geometry;
    let (height, width) = geometry.image_size();
    format!(
        "{} · {height}×{width} px in patches of {} px · {} mask, {:.0}% masked",
        run.recipe.model.preset,
        geometry.patch_size(),
        run.recipe.masking.strategy,
        100.0 * (1.0 - run.plan.num_keep as f64 / geometry.num_patches() as f64)
    )
}

/// The numbers to see first.
fn tiles(run: &Run, about: &ReportFacts, records: &[Record], evaluations: &[Evaluation]) -> String {
    let mut html = String::new();
    let Some((first, last)) = records.first().zip(records.last()) else { return html };
    let tail = &records[records.len() - records.len().div_ceil(20)..];
    let loss = tail.iter().map(|record| record.loss).sum::<f64>() / tail.len() as f64;
    let zero = about.zero_loss.map(|loss| format!(", {loss:.3} for predicting zero")).unwrap_or_default();
    html += &tile("Loss", &format!("{loss:.4}"), &format!("{:.3} at first{zero}", first.loss));
    let latest = |value: fn(&Evaluation) -> Option<f64>| evaluations.iter().rev().find_map(value);
    if let Some(loss) = latest(|evaluation| evaluation.val_loss) {
        html += &tile("Held-out loss", &format!("{loss:.4}"), "on images that were not trained on");
    }
    let percent = |accuracy: f64| format!("{:.1}%", 100.0 * accuracy);
    let knn = about.features.as_ref().map(|features| features.knn);
    if let Some(accuracy) = knn.map(|knn| knn.trained).or_else(|| latest(|evaluation| evaluation.knn)) {
        let before = knn.map(|knn| format!("{} before training", percent(knn.untrained)));
        html += &tile("kNN accuracy", &percent(accuracy), &before.unwrap_or("of frozen features".into()));
    }
    if let Some(accuracy) = latest(|evaluation| evaluation.probe) {
        html += &tile("Linear probe", &percent(accuracy), "accuracy on frozen features");
    }
    let plan = &run.plan;
    let steps = format!("{} epochs of {} steps", count(run.recipe.epochs), count(plan.pace.steps_per_epoch));
    let trained = match last.step == plan.pace.total_steps {
        true => count(last.step),
        false => format!("{} of {}", count(last.step), count(plan.pace.total_steps)),
    };
    html += &tile("Steps", &trained, &steps);
    let images = last.step as f64 * plan.pace.effective_batch as f64;
    let rate = format!("{} images/s", count((images / last.elapsed_s.max(1e-9)).round() as u64));
    html += &tile("Trained for", &duration(last.elapsed_s), &rate);
    let parameters = format!("{:.2} M", plan.config.num_params() as f64 / 1e6);
    let work = format!("{:.3} GFLOP an image and step", plan.flops_per_image() / 1e9);
    html + &tile("Parameters", &parameters, &work)
}

/// Accuracies as bars.
fn comparison(report: &FeatureReport) -> String {
    let FeatureReport { knn, probe, images, k, held_out } = report;
    let which = if *held_out { "held-out images" } else { "others of the training set" };
    let (bank, queries) = (count(images.0 as u64), count(images.1 as u64));
    let mut html = bars(
        "kNN accuracy of frozen features",
        knn,
        &format!("k = {k}, {bank} images vote on {queries} {which}"),
    );
    if let Some(probe) = probe {
        html += &bars(
            "Linear probe of frozen features",
            probe,
            &format!("fitted to {bank} images, tried on {queries} {which}"),
        );
    }
    html
}

fn bars(title: &str, accuracies: &Accuracies, note: &str) -> String {
    let Accuracies { trained, untrained, pixels } = *accuracies;
    let mut html = format!("<figure class=\"card\"><h3>{title}</h3><dl class=\"bars\">\n");
    let rows = [("trained", Some(trained)), ("raw pixels", pixels), ("before training", Some(untrained))];
    for (name, accuracy) in rows {
        let Some(accuracy) = accuracy else { continue };
        let percent = 100.0 * accuracy;
        html += &format!(
            "<div><dt>{name}</dt><dd><span class=\"bar\"><span style=\"width:{percent:.1}%\"></span></span>{percent:.1}%</dd></div>\n"
        );
    }
    html += &format!("</dl><figcaption class=\"note\">{note}</figcaption></figure>\n");
    html
}

fn data(run: &Run) -> String {
    let recipe = &run.recipe.data;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let classes = run.data.train.class_names();
    let mut rows = vec![
        ("training images", path(&recipe.path).unwrap_or_else(|| "built-in shapes".into())),
        ("how many", count(run.data.train.len() as u64)),
        (
            "held-out images",
            match &run.data.val {
                Some(val) => {
                    let path = path(&recipe.val).unwrap_or_else(|| "built-in shapes".into());
                    format!("{path}: {}", count(val.len() as u64))
                }
                None => "none".into(),
            },
        ),
        (
            "classes",
            match classes.len() {
                0 => "none".into(),
                len => format!("{len}: {}", names(classes, ", ")),
            },
        ),
    ];
    let bad = std::fs::read_to_string(run.path(BAD_FILES)).unwrap_or_default();
    let bad: Vec<String> = bad.lines().map(str::to_owned).collect();
    rows.push((
        "unreadable files",
        match bad.len() {
            0 => "none met".into(),
            len => format!("{len}\n{}", names(&bad, "\n")),
        },
    ));
    facts(&rows)
}

/// The first names, and how many more there are.
fn names(all: &[String], separator: &str) -> String {
    let shown = all[..all.len().min(MAX_NAMES)].join(separator);
    match all.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown}{separator}and {more} more"),
    }
}

fn model(run: &Run) -> String {
    let plan = &run.plan;
    let (geometry, encoder, decoder) = (plan.config.geometry, plan.config.encoder, plan.config.decoder);
    let tower = |width, depth, heads| format!("{width} wide, {depth} blocks, {heads} heads");
    let target = if plan.config.norm_pix_loss { "pixels normalised by patch" } else { "pixels" };
    facts(&[
        ("encoder", tower(encoder.embed_dim, encoder.depth, encoder.num_heads)),
        ("decoder", tower(decoder.embed_dim, decoder.depth, decoder.num_heads)),
        (
            "sees",
            format!(
                "{} of {} patches, {}",
                plan.num_keep,
                geometry.num_patches(),
                run.recipe.masking.strategy
            ),
        ),
        ("predicts", target.into()),
        (
            "batch",
            format!(
                "{} = {} images × {} accumulated{}",
                plan.pace.effective_batch,
                plan.batch_size,
                plan.accum_iter,
                if plan.ranks == 1 { String::new() } else { format!(" × {} ranks", plan.ranks) }
            ),
        ),
        ("peak rate", format!("{:.3e}", plan.pace.schedule.peak_lr())),
    ])
}

fn machine(device: &str) -> String {
    let Machine { cpu, cpus, os } = Machine::this();
    let threads = if cpus == 1 { "1 thread".into() } else { format!("{cpus} threads") };
    // Burn writes a device as `Device<Flex(Cpu)>`.
    let device = device.strip_prefix("Device<").and_then(|name| name.strip_suffix('>')).unwrap_or(device);
    facts(&[
        ("device", device.to_owned()),
        ("processor", format!("{cpu}, {threads}")),
        ("system", os),
        ("program", concat!("mae-trainer ", env!("CARGO_PKG_VERSION")).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipe;

    #[test]
    fn a_report_holds_everything_and_no_name_breaks_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = Recipe { epochs: 1, batch_size: Some(4), ..Recipe::default() };
        recipe.data.shapes = 8;
        recipe.model.patch_size = Some(8);
        let run = Run::create(&recipe, &folder.path().join("a <b> & \"c\"")).unwrap();
        let record =
            r#"{"step":1,"epoch":0.5,"loss":null,"lr":0,"images_per_s":9,"waiting_share":0,"elapsed_s":1}"#;
        std::fs::write(run.path(METRICS), format!("{record}\n")).unwrap();
        std::fs::write(run.path(BAD_FILES), "</script><img src=x>: no image\n").unwrap();
        std::fs::create_dir(run.path("pictures")).unwrap();
        std::fs::write(run.path("pictures/step-000000002.png"), b"\x89PNG").unwrap();
        std::fs::write(run.path("pictures/other.png"), b"").unwrap();
        let about = ReportFacts { device: "</script><!--".into(), ..ReportFacts::default() };

        let page = std::fs::read_to_string(write_report(&run, &about).unwrap()).unwrap();
        assert!(page.contains("<title>a &lt;b&gt; &amp; &quot;c&quot;"));
        assert!(page.contains("&lt;/script&gt;&lt;img src=x&gt;: no image"));
        assert_eq!(page.matches("</script>").count(), 2, "the page's own two");
        assert_eq!(page.matches("<!--").count(), 0);
        assert_eq!(page.matches("<img ").count(), 1);
        assert!(page.contains("data:image/png;base64,iVBORw=="));
        assert!(page.contains("mask_ratio = 0.75") && page.contains("built-in shapes"));
        assert!(!page.contains("{{") && !page.contains("http://"), "nothing unfilled, nothing from outside");
    }
}
