//! NumPy files (`.npy`, formats 1.0 to 3.0) of one image.
//!
//! An array of two dimensions is `[H, W]`. An array of three is `[C, H, W]` if the first dimension is smaller than the
//! last, else `[H, W, C]`: an image has fewer channels than rows or columns. Values are converted as in TIFF files. No
//! channel is alpha.

use super::canvas::{Canvas, Spot, Type};
use super::header::{Header, Problem, Stored};

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// The array of a file.
pub(crate) struct Npy<'a> {
    header: Header,
    stored: Type,
    little: bool,
    /// The strides in values: of rows, columns and channels.
    steps: [usize; 3],
    data: &'a [u8],
}

impl<'a> Npy<'a> {
    /// Reads the header of a file; no values are converted.
    ///
    /// # Errors
    /// [`Problem::Damaged`] if the header is cut short or invalid, or if the file is shorter or longer than its array;
    /// [`Problem::Unsupported`] for an unsupported type or shape.
    pub(crate) fn open(file: &'a [u8]) -> Result<Self, Problem> {
        let (text, data) = split(file)?;
        let mut fields = Fields { rest: text.trim() };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        fields.token("{")?;
        while !fields.skip("}") {
            let key = fields.quoted()?;
            fields.token(":")?;
            match key {
                "descr" => descr = Some(fields.descr()?),
                "fortran_order" => fortran = Some(fields.truth()?),
                "shape" => shape = Some(fields.shape()?),
                other => {
                    return Err(damaged(format!(
                        "its header has the key {other:?}, but must have descr, fortran_order and shape"
                    )));
                }
            }
            // NumPy writes a comma after the last entry as well.
            if !fields.skip(",") {
                fields.token("}")?;
                break;
            }
        }
        let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
            return Err(damaged("its header lacks one of descr, fortran_order and shape".into()));
        };
        let (little, stored) = number_type(descr)?;
        let (order, shape) = match shape[..] {
            [height, width] => ([0, 1, 2], [height, width, 1]),
            [channels, height, width] if channels < width => ([1, 2, 0], [channels, height, width]),
            [height, width, channels] => ([0, 1, 2], [height, width, channels]),
            _ => {
                let what = format!("the shape {shape:?} (only 2 or 3 dimensions are supported)");
                return Err(Problem::Unsupported(what));
            }
        };
        let sides = 1..=u32::MAX as usize;
        if let Some(side) = shape.iter().find(|side| !sides.contains(side)) {
            let message = format!("a dimension of {shape:?} is {side}, but must be 1 to {}", u32::MAX);
            return Err(Problem::Damaged(message));
        }
        let size = stored.size() as u128;
        let (expected, found) = (shape.iter().fold(size, |bytes, side| bytes * *side as u128), data.len());
        if expected != found as u128 {
            let message =
                format!("the array takes {expected} bytes, but the file has {found} after its header");
            return Err(Problem::Damaged(message));
        }
        let [a, b, c] = shape;
        let steps = if fortran { [1, a, a * b] } else { [b * c, c, 1] };
        let [height, width, channels] = order.map(|axis| shape[axis]);
        let header = Header { height, width, channels, alpha: false, pixel_type: stored.pixel(None) };
        Ok(Self { header, stored, little, steps: order.map(|axis| steps[axis]), data })
    }

    /// Size and type of the image.
    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// Reads pixels that take at most `max_bytes`.
    ///
    /// # Errors
    /// [`Problem::TooLarge`] before memory is allocated; [`Problem::Unsupported`] for a value that no 32-bit float
    /// represents.
    pub(crate) fn read(&self, max_bytes: u64) -> Result<Stored, Problem> {
        let Self { header, stored, little, steps, data } = *self;
        let size = stored.size();
        let mut canvas = Canvas::new(header, stored, None, max_bytes)?;
        let swap = little != cfg!(target_endian = "little");
        let mut line = Vec::with_capacity(header.width * header.channels * size);
        for row in 0..header.height {
            line.clear();
            if steps[1..] == [header.channels, 1] {
                let length = header.width * header.channels * size;
                line.extend_from_slice(&data[row * length..][..length]);
            } else {
                for column in 0..header.width {
                    for channel in 0..header.channels {
                        let at = (row * steps[0] + column * steps[1] + channel * steps[2]) * size;
                        line.extend_from_slice(&data[at..at + size]);
                    }
                }
            }
            if swap {
                line.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            canvas.put(Spot { row, column: 0, channel: 0 }, header.channels, &line)?;
        }
        Ok(canvas.finish())
    }
}

fn damaged(what: String) -> Problem {
    Problem::Damaged(what)
}

/// Splits a file into the text of the header and the bytes after it.
fn split(file: &[u8]) -> Result<(&str, &[u8]), Problem> {
    let cut = || damaged(format!("the file ends after {} bytes, within its header", file.len()));
    let rest = match file.strip_prefix(MAGIC) {
        Some(rest) => rest,
        None if MAGIC.starts_with(file) => return Err(cut()),
        None => return Err(damaged("the file does not start as a NumPy file".into())),
    };
    let (length, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [1..=3, 0, ..] | [] | [1..=3] => return Err(cut()),
        [major, ..] => {
            return Err(Problem::Unsupported(format!("file format {major}, but only 1 to 3 are supported")));
        }
    };
    let (text, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    // Latin-1 up to format 2.0; the keys and values that are read are ASCII.
    let text = std::str::from_utf8(text).map_err(|_| damaged("its header is not text".into()))?;
    Ok((text, data))
}

/// Parses a type: whether it is little-endian, and which it is.
fn number_type(descr: &str) -> Result<(bool, Type), Problem> {
    let unsupported = || Problem::Unsupported(format!("numbers of the type {descr}"));
    let (order, kind) = descr.split_at_checked(1).ok_or_else(unsupported)?;
    let little = match order {
        "<" | "|" => true,
        ">" => false,
        "=" => cfg!(target_endian = "little"),
        _ => return Err(unsupported()),
    };
    let stored = match kind {
        "u1" => Type::U8,
        "u2" => Type::U16,
        "u4" => Type::U32,
        "u8" => Type::U64,
        "i1" => Type::I8,
        "i2" => Type::I16,
        "i4" => Type::I32,
        "i8" => Type::I64,
        "f2" => Type::F16,
        "f4" => Type::F32,
        "f8" => Type::F64,
        _ => return Err(unsupported()),
    };
    if order == "|" && stored.size() > 1 {
        return Err(unsupported());
    }
    Ok((little, stored))
}

/// The unread rest of a Python dictionary as NumPy writes it.
struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    fn wrong(&self) -> Problem {
        let near: String = self.rest.chars().take(20).collect();
        damaged(format!("its header cannot be parsed from {near:?} on"))
    }

    /// Skips `token` if it comes next, and returns whether it did.
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn token(&mut self, token: &str) -> Result<(), Problem> {
        if self.skip(token) { Ok(()) } else { Err(self.wrong()) }
    }

    fn quoted(&mut self) -> Result<&'a str, Problem> {
        let quote = if self.skip("'") { '\'' } else { self.token("\"").map(|()| '"')? };
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| self.wrong())?;
        self.rest = rest;
        Ok(text)
    }

    /// Parses the type of the values. The type of records is a list, which is refused.
    fn descr(&mut self) -> Result<&'a str, Problem> {
        if self.rest.trim_start().starts_with(['[', '(']) {
            let records: String = self.rest.trim_start().chars().take(40).collect();
            return Err(Problem::Unsupported(format!("records: {records}")));
        }
        self.quoted()
    }

    fn truth(&mut self) -> Result<bool, Problem> {
        if self.skip("True") { Ok(true) } else { self.token("False").map(|()| false) }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Problem> {
        let mut sides = Vec::new();
        self.token("(")?;
        while !self.skip(")") {
            let rest = self.rest.trim_start();
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let side = rest[..digits].parse().map_err(|_| self.wrong())?;
            sides.push(side);
            self.rest = &rest[digits..];
            // Python 2 wrote long integers with this suffix.
            self.skip("L");
            if !self.skip(",") {
                self.token(")")?;
                break;
            }
        }
        Ok(sides)
    }
}
