//! The pictures of a report, embedded in the page.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::content::Outcome;
use super::html::{count, escape};
use crate::ReportError;

/// Maximum number of pictures embedded in the page; the others stay in their folder.
const MAX_PICTURES: usize = 12;
/// Maximum bytes of these pictures, so that the page fits into an e-mail.
const MAX_PICTURE_BYTES: u64 = 15_000_000;

/// Returns the pictures by step, the last one in view, and the figures, each with its title and note. Omits figures
/// whose file does not exist.
pub(super) fn pictures(
    folder: &Path,
    steps_per_epoch: u64,
    outcome: &Outcome,
) -> Result<String, ReportError> {
    let all = by_step(folder)?;
    let figures = &outcome.figures;
    let note = |note: &str| match note {
        "" => String::new(),
        note => format!("<p class=\"note\">{}</p>\n", escape(note)),
    };
    let mut html = String::from(
        "<section id=\"gallery\" aria-labelledby=\"gallery-title\">\n<h2 id=\"gallery-title\">Pictures</h2>\n",
    );
    if !all.is_empty() || figures.is_empty() {
        html += &format!(
            "<figure class=\"card\">\n<div class=\"pictures\">\n{}</div>\n{CONTROLS}{}</figure>\n",
            gallery(&all, steps_per_epoch)?,
            note(outcome.pictures_note.filter(|_| !all.is_empty()).unwrap_or_default())
        );
    }
    for figure in figures {
        let Some(source) = data_url(&figure.path)? else { continue };
        let (title, note) = (escape(figure.title), note(&figure.note));
        html += &format!(
            "<figure class=\"card\">\n<h3>{title}</h3>\n<img alt=\"{title}\" src=\"{source}\">\n{note}</figure>\n"
        );
    }
    Ok(html + "</section>\n")
}

/// The controls that choose the picture in view.
const CONTROLS: &str = "<figcaption>
<output id=\"shown\"></output>
<input id=\"pick\" type=\"range\" min=\"0\" value=\"0\" step=\"1\" aria-label=\"Picture to show\" hidden>
<button id=\"enlarge\" type=\"button\" aria-pressed=\"false\" hidden>Enlarge</button>
</figcaption>
";

/// Returns a picture as a data URL; `None` if there is no such file.
fn data_url(path: &Path) -> Result<Option<String>, ReportError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::Read { path: path.to_owned(), source }),
    }
}

fn gallery(all: &[Picture], steps_per_epoch: u64) -> Result<String, ReportError> {
    let mut html = String::new();
    let chosen = choose(all);
    for (i, picture) in chosen.iter().enumerate() {
        let Some(source) = data_url(&picture.path)? else { continue };
        let hidden = if i + 1 == chosen.len() { "" } else { " hidden" };
        let step = picture.step;
        let epoch = step as f64 / steps_per_epoch.max(1) as f64;
        html += &format!(
            "<img alt=\"Pictures at step {step}\" data-label=\"step {} · epoch {epoch:.1}\"{hidden} src=\"{source}\">\n",
            count(step)
        );
    }
    if chosen.is_empty() {
        html += "<p class=\"note\">No picture was drawn.</p>\n";
    } else if chosen.len() < all.len() {
        html += &format!(
            "<p class=\"note\">{} of {} pictures, evenly spread; the others are in the run's folder <code>pictures</code>.</p>\n",
            chosen.len(),
            all.len()
        );
    }
    Ok(html)
}

struct Picture {
    step: u64,
    bytes: u64,
    path: PathBuf,
}

/// Returns the files `step-N.png` of a folder, by step; none if there is no folder.
fn by_step(folder: &Path) -> Result<Vec<Picture>, ReportError> {
    let refused = |source| ReportError::Read { path: folder.to_owned(), source };
    let mut pictures = Vec::new();
    if !folder.exists() {
        return Ok(pictures);
    }
    for entry in std::fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let step = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".png"));
        if let Some(step) = step.and_then(|step| step.parse().ok()) {
            let bytes = entry.metadata().map_err(refused)?.len();
            pictures.push(Picture { step, bytes, path: entry.path() });
        }
    }
    pictures.sort_by_key(|picture| picture.step);
    Ok(pictures)
}

/// Chooses as many pictures as a page may hold, evenly spread from the first to the last; always the last.
fn choose(all: &[Picture]) -> Vec<&Picture> {
    let largest = all.iter().map(|picture| picture.bytes).max().unwrap_or(0).max(1);
    let most = all.len().min(MAX_PICTURES).min((MAX_PICTURE_BYTES / largest) as usize);
    match most {
        0 | 1 => all.last().into_iter().collect(),
        _ => (0..most).map(|i| &all[i * (all.len() - 1) / (most - 1)]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Figure;

    #[test]
    fn notes_stand_below_the_pictures_they_are_of() {
        let at = tempfile::tempdir().unwrap();
        let path = at.path().join("classes.png");
        std::fs::write(&path, b"\x89PNG").unwrap();
        let figure = |name: &str| Figure::new("IoU by class", at.path().join(name));
        let figures =
            vec![figure("classes.png").with_note("best & first"), figure("none.png").with_note("never")];
        let outcome = Outcome { figures, pictures_note: Some("worst first"), ..Outcome::default() };
        let html = pictures(at.path(), 1, &outcome).unwrap();
        assert!(html.contains(
            "src=\"data:image/png;base64,iVBORw==\">\n<p class=\"note\">best &amp; first</p>\n</figure>"
        ));
        assert!(!html.contains("worst first") && !html.contains("never"), "there are no such pictures");
        std::fs::rename(&path, at.path().join("step-000000007.png")).unwrap();
        let html = pictures(at.path(), 1, &outcome).unwrap();
        assert!(html.contains("</figcaption>\n<p class=\"note\">worst first</p>\n</figure>"));
        assert!(!html.contains("IoU by class"));
    }

    #[test]
    fn spreads_pictures_from_the_first_to_the_last_within_bounds() {
        let picture = |step, bytes| Picture { step, bytes, path: PathBuf::new() };
        let chosen = |len: u64, bytes| {
            let all: Vec<_> = (0..len).map(|step| picture(step, bytes)).collect();
            choose(&all).iter().map(|picture| picture.step).collect::<Vec<_>>()
        };
        assert!(chosen(0, 1).is_empty());
        assert_eq!(chosen(3, 1), [0, 1, 2]);
        assert_eq!(chosen(45, 1), [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44]);
        assert_eq!(chosen(45, 5_000_000), [0, 22, 44]);
        assert_eq!(chosen(45, 50_000_000), [44]);
    }
}
