//! `report.html`: a whole run on one self-contained page, to keep and to send.

mod charts;
mod compare;
mod content;
mod downsample;
mod gallery;
mod html;
mod machine;

use std::path::PathBuf;

use crate::atomic::write_atomic;
use crate::duration::duration;
use crate::records::{EVALUATIONS, Evaluation, METRICS, Record, last_loss, read_evaluations, read_records};
use crate::{Metric, ReportError};
pub use compare::{ComparedRun, Comparison, CurvesOver};
pub use content::{Bars, Figure, Outcome, Page};
use html::{capital, count, escape, facts, fill, json, tile};
use machine::Machine;

/// Maximum class names and unreadable files listed; the others are only counted.
const MAX_NAMES: usize = 40;

/// Joins the names that fit on a page, and says how many more there are.
pub fn first_names(all: &[String], separator: &str) -> String {
    let shown = all[..all.len().min(MAX_NAMES)].join(separator);
    match all.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown}{separator}and {more} more"),
    }
}

impl Page<'_> {
    /// Writes `report.html` into the run's folder and returns its path.
    ///
    /// It has the run's records, evaluations, pictures, recipe and data, in one file without external resources.
    ///
    /// # Errors
    /// If a file of the run cannot be read, or the page cannot be written.
    pub fn write(&self) -> Result<PathBuf, ReportError> {
        let records = read_records(self.folder.join(METRICS))?;
        let evaluations = read_evaluations(self.folder.join(EVALUATIONS))?;
        let folder = std::path::absolute(self.folder).unwrap_or_else(|_| self.folder.to_owned());
        let title =
            folder.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
        let pictures = gallery::pictures(&self.folder.join("pictures"), self.steps_per_epoch, self.outcome)?;
        let page = fill(
            include_str!("page.html"),
            &[
                ("title", &escape(&title)),
                ("task", &escape(self.task)),
                ("subtitle", &escape(&self.subtitle)),
                ("style", include_str!("style.css")),
                ("tiles", &self.tiles(&records, &evaluations)),
                ("pictures", &pictures),
                ("comparison", &self.outcome.bars.iter().map(bars).collect::<String>()),
                ("data", &facts(&self.data)),
                ("model", &facts(&self.model)),
                ("machine", &machine(&self.device)),
                ("recipe", &escape(&self.recipe)),
                ("version", env!("CARGO_PKG_VERSION")),
                ("charts", &json(&charts::charts(self, &records, &evaluations))),
                ("script", include_str!("charts.js")),
            ],
        );
        let path = self.folder.join("report.html");
        write_atomic(&path, |file| file.write_all(page.as_bytes()))?;
        Ok(path)
    }

    /// Returns the tiles with the headline numbers.
    fn tiles(&self, records: &[Record], evaluations: &[Evaluation]) -> String {
        let mut html = String::new();
        let ends = records.first().zip(records.last()).zip(last_loss(records));
        let Some(((first, last), loss)) = ends else { return html };
        let baseline =
            self.outcome.baseline.map(|(name, loss)| format!(", {loss:.3} for {name}")).unwrap_or_default();
        html += &tile("Loss", &format!("{loss:.4}"), &format!("{:.3} at first{baseline}", first.loss));
        let metrics = [Metric::VAL_LOSS].into_iter().chain(self.metrics.iter().copied());
        for metric in metrics {
            let measured = evaluations.iter().filter_map(|evaluation| metric.of(evaluation));
            let Some(value) = measured.clone().next_back() else { continue };
            let best =
                measured.reduce(|best, value| if metric.is_better(value, best) { value } else { best });
            let note = match best {
                Some(best) if best != value => format!("best {}", metric.text(best)),
                _ => "best so far".into(),
            };
            html += &tile(&capital(metric.title), &metric.text(value), &note);
        }
        let steps = format!("{} epochs of {} steps", count(self.epochs), count(self.steps_per_epoch));
        let trained = match last.step == self.total_steps {
            true => count(last.step),
            false => format!("{} of {}", count(last.step), count(self.total_steps)),
        };
        html += &tile("Steps", &trained, &steps);
        let images = last.step as f64 * self.effective_batch as f64;
        let rate = format!("{} images/s", count((images / last.elapsed_s.max(1e-9)).round() as u64));
        html += &tile("Trained for", &duration(last.elapsed_s), &rate);
        let work = self
            .flops_per_image
            .map_or(String::new(), |flops| format!("{:.3} GFLOP per image and step", flops / 1e9));
        html + &tile("Parameters", &format!("{:.2} M", self.params as f64 / 1e6), &work)
    }
}

fn bars(Bars { title, rows, note }: &Bars) -> String {
    let mut html = format!("<figure class=\"card\"><h3>{}</h3><dl class=\"bars\">\n", escape(title));
    for (name, share) in rows {
        let percent = 100.0 * share;
        html += &format!(
            "<div><dt>{}</dt><dd><span class=\"bar\"><span style=\"width:{percent:.1}%\"></span></span>{percent:.1}%</dd></div>\n",
            escape(name)
        );
    }
    html += &format!("</dl><figcaption class=\"note\">{}</figcaption></figure>\n", escape(note));
    html
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
        ("program", concat!("mae-report ", env!("CARGO_PKG_VERSION")).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_everything_and_no_name_breaks_out_of_it() {
        let at = tempfile::tempdir().unwrap();
        let folder = at.path().join("a <b> & \"c\"");
        std::fs::create_dir_all(folder.join("pictures")).unwrap();
        let record =
            r#"{"step":1,"epoch":0.5,"loss":null,"lr":0,"images_per_s":9,"waiting_share":0,"elapsed_s":1}"#;
        std::fs::write(folder.join(METRICS), format!("{record}\n")).unwrap();
        std::fs::write(folder.join("pictures/step-000000002.png"), b"\x89PNG").unwrap();
        std::fs::write(folder.join("pictures/other.png"), b"").unwrap();
        let bars = vec![Bars { title: "<b>", rows: vec![("<i>", 0.5)], note: "</script><!--".to_owned() }];
        let page = Page {
            folder: &folder,
            task: "pretrain",
            subtitle: "<u>".into(),
            loss: "loss",
            metrics: &[],
            epochs: 1,
            steps_per_epoch: 2,
            total_steps: 2,
            effective_batch: 4,
            params: 7,
            flops_per_image: None,
            data: vec![("unreadable files", "</script><img src=x>: no image".into())],
            model: Vec::new(),
            device: "</script>".into(),
            recipe: "mask_ratio = 0.75".into(),
            outcome: &Outcome { bars, ..Outcome::default() },
        };
        let page = std::fs::read_to_string(page.write().unwrap()).unwrap();
        assert!(page.contains("<title>a &lt;b&gt; &amp; &quot;c&quot;"));
        assert!(page.contains("&lt;/script&gt;&lt;img src=x&gt;: no image"));
        assert_eq!(page.matches("</script>").count(), 2, "the page's own two");
        assert_eq!(page.matches("<!--").count(), 0);
        assert_eq!(page.matches("<img ").count(), 1);
        assert!(page.contains("data:image/png;base64,iVBORw==") && page.contains("mask_ratio = 0.75"));
        assert!(!page.contains("{{") && !page.contains("http://"), "nothing unfilled, nothing from outside");
    }

    #[test]
    fn titles_begin_with_a_capital_if_they_are_words() {
        let titles = ["kNN accuracy", "top-1", "held-out loss"];
        assert_eq!(titles.map(capital), ["kNN accuracy", "Top-1", "Held-out loss"]);
    }
}
