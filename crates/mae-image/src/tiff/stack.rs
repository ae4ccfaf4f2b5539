//! Selects the pages of a TIFF file that make up its image.

use ::image::metadata::Orientation;

use super::directory::{Directory, File, Walk, tag};
use super::page::{NONE, Page, Places};
use crate::exif;
use crate::stored::canvas::Missing;
use crate::stored::header::Problem;

/// The tags of the pages that make up one image. They remain valid when the file is closed.
pub(crate) struct Tiff {
    /// All of one size and type.
    pub(super) pages: Vec<Page>,
    /// The value for "no data".
    pub(super) missing: Option<Missing>,
    /// The orientation of the stored image.
    pub(super) orientation: Orientation,
}

/// The description of a series of pages, found in the first.
struct Series {
    channels: u64,
    /// Whether ImageJ wrote the file: it leaves out the directories of a large stack.
    imagej: bool,
}

/// The first page of a file, even if it is a thumbnail or a mask.
pub(super) fn first(file: File) -> Result<Tiff, Problem> {
    let first = file.first()?;
    Ok(Tiff { pages: vec![Page::new(&first)?], missing: None, orientation: orientation(&first)? })
}

/// The first page that is not a thumbnail or mask. Its values may be palette indices.
pub(super) fn indices(file: File) -> Result<Tiff, Problem> {
    let first = first_page(file)?;
    let (page, missing) = (Page::of_indices(&first)?, no_data(&first)?);
    Ok(Tiff { pages: vec![page], missing, orientation: orientation(&first)? })
}

/// Finds the pages of the image.
pub(super) fn find(file: File) -> Result<Tiff, Problem> {
    let first = first_page(file)?;
    let text = first.text(tag::DESCRIPTION)?.unwrap_or_default();
    let series = of_imagej(&text).or_else(|| of_ome(&text)).transpose()?;
    let page = Page::new(&first)?;
    let missing = no_data(&first)?;
    let pages = match series {
        Some(series) if series.channels > page.samples => channels(&first, page, &series)?,
        _ => vec![page],
    };
    Ok(Tiff { pages, missing, orientation: orientation(&first)? })
}

fn orientation(directory: &Directory) -> Result<Orientation, Problem> {
    let told = directory.orientation()?;
    let most = if told.is_some() { 0 } else { u64::MAX };
    let xmp = directory.find(tag::XMP, most)?;
    Ok(exif::upright(told, xmp.as_ref().map(|values| &*values.bytes)))
}

/// The first directory that is neither a thumbnail nor a mask; the very first if all are.
fn first_page(file: File) -> Result<Directory, Problem> {
    let first = file.first()?;
    let mut walk = Walk::default();
    let mut directory = first.clone();
    while !is_page(&directory)? && walk.is_new(&directory)? {
        match directory.next() {
            Some(next) => directory = next?,
            None => return Ok(first),
        }
    }
    Ok(if is_page(&directory)? { directory } else { first })
}

fn is_page(directory: &Directory) -> Result<bool, Problem> {
    let new = directory.number(tag::NEW_SUBFILE_TYPE)?.unwrap_or(0);
    let old = directory.number(tag::SUBFILE_TYPE)?;
    // Bits for a reduced image and for a mask.
    Ok(new & 0b101 == 0 && old != Some(2))
}

/// The value that stands for "no data".
fn no_data(directory: &Directory) -> Result<Option<Missing>, Problem> {
    let Some(text) = directory.text(tag::NO_DATA)? else { return Ok(None) };
    let missing = Missing::parse(text.trim());
    let wrong = || Problem::Damaged(format!("the value for \"no data\" is {text:?}, but must be a number"));
    missing.map(Some).ok_or_else(wrong)
}

/// `page` and the pages after it that hold the other channels.
fn channels(first: &Directory, page: Page, series: &Series) -> Result<Vec<Page>, Problem> {
    let wanted = series.channels;
    if wanted > u64::from(u16::MAX) || !wanted.is_multiple_of(page.samples) {
        let samples = page.samples;
        return Err(Problem::Damaged(format!("{wanted} channels do not fill pages of {samples}")));
    }
    if series.imagej && first.next().is_none() && page.compression == NONE && page.samples == 1 {
        return contiguous(first.file(), page, wanted).map(|page| vec![page]);
    }
    let mut walk = Walk::default();
    walk.is_new(first)?;
    walk.count(page.kept())?;
    let mut directory = first.clone();
    let mut pages = vec![page];
    while pages.len() as u64 * pages[0].samples < wanted {
        let found = pages.len() as u64 * pages[0].samples;
        let Some(next) = directory.next() else {
            return Err(Problem::Damaged(format!(
                "the file names {wanted} channels, but has pages for {found}"
            )));
        };
        directory = next?;
        if !walk.is_new(&directory)? {
            return Err(Problem::Damaged("the pages form a circle".into()));
        }
        if !is_page(&directory)? {
            continue;
        }
        let page = Page::new(&directory)?;
        let of = |page: &Page| (page.height, page.width, page.samples, page.stored);
        if of(&page) != of(&pages[0]) {
            return Err(Problem::Unsupported(format!(
                "channels that differ in size or type: {:?} and {:?} (height, width, samples, type)",
                of(&pages[0]),
                of(&page)
            )));
        }
        walk.count(page.kept())?;
        pages.push(page);
    }
    Ok(pages)
}

/// A large ImageJ file as one page: its other channels follow the first without directories of their own.
fn contiguous(file: File, page: Page, channels: u64) -> Result<Page, Problem> {
    let pixels = page.height.checked_mul(page.width);
    let length = pixels.and_then(|pixels| pixels.checked_mul(page.stored.size() as u64));
    let Places::Listed { offsets, .. } = &page.places else {
        return Err(Problem::Damaged("the file does not say where its pixels are".into()));
    };
    let Some((length, offset)) = length.zip(offsets.get(0)) else { return Err(file.cut()) };
    if length.checked_mul(channels).is_none_or(|all| !file.holds(offset, all)) {
        return Err(file.cut());
    }
    let (chunk_height, chunk_width) = (page.height, page.width);
    let places = Places::Planes { offset, length };
    Ok(Page { samples: channels, planar: true, tiled: false, chunk_height, chunk_width, places, ..page })
}

fn stack<T>(slices: u64, frames: u64) -> Result<T, Problem> {
    Err(Problem::Unsupported(format!(
        "a stack of {slices} slices and {frames} frames (only single planes are supported)"
    )))
}

/// Reads ImageJ's lines of `key=value`.
fn of_imagej(text: &str) -> Option<Result<Series, Problem>> {
    let lines = text.starts_with("ImageJ=").then(|| text.lines())?;
    let value = |key: &str| {
        let mut lines = lines.clone().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse::<u64>().ok())
    };
    let [channels, slices, frames] = ["channels", "slices", "frames"].map(|key| value(key).unwrap_or(1));
    let told = channels.saturating_mul(slices).saturating_mul(frames);
    // ImageJ treats images of no named kind as slices.
    let images = value("images").unwrap_or(told);
    Some(if slices > 1 || frames > 1 {
        stack(slices, frames)
    } else if images > told {
        stack(images, frames)
    } else {
        Ok(Series { channels, imagej: true })
    })
}

/// Reads the description of the first image from OME XML.
fn of_ome(text: &str) -> Option<Result<Series, Problem>> {
    let text = text.trim();
    if !text.starts_with('<') || !text.ends_with("OME>") {
        return None;
    }
    let found = text.match_indices("Pixels").find_map(|(at, name)| {
        let before = text[..at].chars().next_back();
        let rest = &text[at + name.len()..];
        let is_start = matches!(before, Some('<' | ':')) && rest.starts_with(char::is_whitespace);
        is_start.then(|| rest.split('>').next().unwrap_or_default())
    });
    let Some(pixels) = found else {
        return Some(Err(Problem::Unsupported("an OME description in another file".into())));
    };
    let value = |key: &str| {
        let (before, rest) = pixels.split_once(&format!("{key}="))?;
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let is_name = before.ends_with(char::is_whitespace);
        rest[1..].split(quote).next().filter(|_| is_name)?.trim().parse::<u64>().ok()
    };
    let (Some(channels), Some(slices), Some(frames)) = (value("SizeC"), value("SizeZ"), value("SizeT"))
    else {
        return Some(Err(Problem::Damaged("the OME description lacks SizeC, SizeZ or SizeT".into())));
    };
    Some(if slices > 1 || frames > 1 {
        stack(slices, frames)
    } else {
        Ok(Series { channels, imagej: false })
    })
}
