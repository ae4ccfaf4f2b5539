//! One page of a TIFF file: the type of its values and the position of its strips or tiles.

use super::directory::{Directory, LISTED, Values, cut, tag};
use crate::source::Source;
use crate::stored::canvas::Type;
use crate::stored::header::Problem;

/// The tags of a page of a supported kind.
#[derive(Clone)]
pub(super) struct Page {
    /// Whether values are little-endian.
    pub(super) little: bool,
    pub(super) height: u64,
    pub(super) width: u64,
    pub(super) samples: u64,
    pub(super) stored: Type,
    /// The TIFF code of the sample format.
    pub(super) format: u64,
    /// Whether the last sample is alpha.
    pub(super) alpha: bool,
    /// Whether each sample has chunks of its own.
    pub(super) planar: bool,
    pub(super) compression: u64,
    pub(super) predictor: u64,
    /// The JPEG tables that all chunks share.
    pub(super) tables: Option<Vec<u8>>,
    pub(super) tiled: bool,
    pub(super) chunk_height: u64,
    pub(super) chunk_width: u64,
    pub(super) places: Places,
}

/// The positions of a page's chunks, its strips or tiles.
#[derive(Clone)]
pub(super) enum Places {
    Listed {
        offsets: Values<'static>,
        lengths: Option<Values<'static>>,
    },
    /// Consecutive uncompressed planes, one chunk each.
    Planes {
        offset: u64,
        length: u64,
    },
}

/// The TIFF codes of compressions.
pub(super) const NONE: u64 = 1;
pub(super) const LZW: u64 = 5;
pub(super) const JPEG: u64 = 7;
const PACK_BITS: u64 = 32773;
/// The TIFF code of palette colours.
const PALETTE: u64 = 3;
/// Deflate: the standard code and the older one.
const DEFLATE: [u64; 2] = [8, 32946];

fn unsupported<T>(kind: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Unsupported(kind.into()))
}

fn damaged<T>(message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Damaged(message.into()))
}

impl Page {
    pub(super) fn new(directory: &Directory) -> Result<Self, Problem> {
        Self::read_tags(directory, false)
    }

    /// Like [`new`](Self::new), but values may be palette indices, whose colours are ignored.
    pub(super) fn of_indices(directory: &Directory) -> Result<Self, Problem> {
        Self::read_tags(directory, true)
    }

    fn read_tags(directory: &Directory, indices: bool) -> Result<Self, Problem> {
        let height = side(directory, tag::HEIGHT, "height")?;
        let width = side(directory, tag::WIDTH, "width")?;
        let samples = directory.number(tag::SAMPLES)?.unwrap_or(1);
        if samples == 0 || samples > u64::from(u16::MAX) {
            return damaged(format!("a pixel has {samples} samples, but must have 1 to {}", u16::MAX));
        }
        let photometric = directory.number(tag::PHOTOMETRIC)?;
        if !(indices && photometric == Some(PALETTE)) {
            check_colours(photometric)?;
        }
        let format = format_of(directory, samples)?;
        let bits = bits_of(directory, samples)?;
        let stored = stored_type(format, bits)?;
        let compression = directory.number(tag::COMPRESSION)?.unwrap_or(NONE);
        let predictor = directory.number(tag::PREDICTOR)?.unwrap_or(1);
        check_coding(compression, predictor, stored)?;
        if directory.number(tag::FILL_ORDER)?.is_some_and(|order| order != 1) {
            return unsupported("bits in reverse order (FillOrder 2)");
        }
        let planar = match directory.number(tag::PLANAR)? {
            None | Some(1) => false,
            Some(2) => true,
            Some(other) => return damaged(format!("PlanarConfiguration is {other}, not 1 or 2")),
        };
        // A single sample beyond grey or RGB may be alpha; one of several extra bands is not.
        let colours = if photometric == Some(2) { 3 } else { 1 };
        let extra = directory.find(tag::EXTRA_SAMPLES, 1)?.and_then(|values| values.get(0));
        let alpha = samples == colours + 1 && matches!(extra, Some(1 | 2));
        let most = if compression == JPEG { u64::MAX } else { 0 };
        let tables = directory.find(tag::JPEG_TABLES, most)?.map(|values| values.bytes.into_owned());
        let tiled = directory.find(tag::TILE_OFFSETS, 0)?.is_some();
        let (chunk_height, chunk_width, offsets, lengths) = if tiled {
            let height = side(directory, tag::TILE_HEIGHT, "height of tiles")?;
            let width = side(directory, tag::TILE_WIDTH, "width of tiles")?;
            (height, width, tag::TILE_OFFSETS, tag::TILE_LENGTHS)
        } else {
            let rows = match directory.number(tag::ROWS_PER_STRIP)? {
                Some(0) => return damaged("strips have 0 rows"),
                Some(rows) => rows.min(height),
                None => height,
            };
            (rows, width, tag::STRIP_OFFSETS, tag::STRIP_LENGTHS)
        };
        let planes = if planar { samples } else { 1 };
        let chunks = [height.div_ceil(chunk_height), width.div_ceil(chunk_width), planes];
        let expected = chunks.into_iter().fold(1, |product, count| product * u128::from(count));
        let most = u64::try_from(expected).unwrap_or(u64::MAX);
        let Some(offsets) = directory.find(offsets, most)? else {
            return damaged("the file does not say where its pixels are");
        };
        let lengths = directory.find(lengths, most)?;
        if lengths.is_none() && compression != NONE {
            return damaged("the file does not say how long its compressed pixels are");
        }
        let listed = lengths.as_ref().map_or(u64::MAX, |lengths| lengths.count).min(offsets.count);
        if u128::from(listed) < expected {
            return damaged(format!("the pixels lie in {expected} parts, but the file lists {listed}"));
        }
        Ok(Self {
            little: directory.file().little,
            height,
            width,
            samples,
            stored,
            format,
            alpha,
            planar,
            compression,
            predictor,
            tables,
            tiled,
            chunk_height,
            chunk_width,
            places: Places::Listed { offsets: offsets.keep(), lengths: lengths.map(Values::keep) },
        })
    }

    /// The bytes that its lists and tables take.
    pub(super) fn kept(&self) -> u64 {
        let tables = self.tables.as_ref().map_or(0, Vec::len);
        let places = match &self.places {
            Places::Listed { offsets, lengths } => {
                offsets.bytes.len() + lengths.as_ref().map_or(0, |lengths| lengths.bytes.len())
            }
            Places::Planes { .. } => 0,
        };
        (tables + places) as u64
    }

    /// The samples per pixel in one chunk.
    pub(super) fn chunk_samples(&self) -> u64 {
        if self.planar { 1 } else { self.samples }
    }

    /// The number of chunks of one plane, down and across.
    pub(super) fn grid(&self) -> (u64, u64) {
        (self.height.div_ceil(self.chunk_height), self.width.div_ceil(self.chunk_width))
    }

    /// The offset and length of the `i`th chunk, which unpacks to `unpacked` bytes; `None` for a chunk that is left
    /// out.
    pub(super) fn chunk(
        &self,
        source: &Source,
        i: u64,
        unpacked: u64,
    ) -> Result<Option<(u64, u64)>, Problem> {
        let (offset, length) = match &self.places {
            Places::Planes { offset, length } => {
                (i.checked_mul(*length).and_then(|at| at.checked_add(*offset)), *length)
            }
            Places::Listed { offsets, lengths } => {
                let length = lengths.as_ref().map_or(Some(unpacked), |lengths| lengths.get(i as usize));
                (offsets.get(i as usize), length.ok_or_else(|| self.unlisted(i))?)
            }
        };
        let offset = offset.ok_or_else(|| self.unlisted(i))?;
        // GDAL does not write empty chunks.
        if offset == 0 && length == 0 {
            return Ok(None);
        }
        if self.compression == NONE && length < unpacked {
            return damaged(format!(
                "{} {i} has {length} bytes, but its pixels take {unpacked}",
                self.part()
            ));
        }
        if !source.holds(offset, length) {
            return Err(cut(source.length()));
        }
        Ok(Some((offset, length)))
    }

    fn unlisted(&self, i: u64) -> Problem {
        Problem::Damaged(format!("the file does not say where {} {i} is", self.part()))
    }

    /// The name of a chunk in errors.
    pub(super) fn part(&self) -> &'static str {
        if self.tiled { "tile" } else { "strip" }
    }
}

/// Reads a height or width, which must be 1 to `u32::MAX`.
fn side(directory: &Directory, tag: u64, name: &str) -> Result<u64, Problem> {
    match directory.number(tag)? {
        None => damaged(format!("the file does not say the {name}")),
        Some(side) if side == 0 || side > u64::from(u32::MAX) => {
            damaged(format!("the {name} is {side}, but must be 1 to {}", u32::MAX))
        }
        Some(side) => Ok(side),
    }
}

/// Refuses colours that must be computed: values are read as stored.
fn check_colours(photometric: Option<u64>) -> Result<(), Problem> {
    Err(Problem::Colours(match photometric {
        // `WhiteIsZero`, `BlackIsZero`, RGB, a colour filter array or linear raw bands; unknown.
        None | Some(0..=2 | 32803 | 34892) => return Ok(()),
        Some(PALETTE) => "a palette".to_owned(),
        Some(4) => "a mask of transparency".to_owned(),
        Some(5) => "CMYK colours".to_owned(),
        Some(6) => "YCbCr colours".to_owned(),
        Some(8..=10) => "Lab colours".to_owned(),
        Some(32844 | 32845) => "LogLuv colours".to_owned(),
        Some(other) => format!("PhotometricInterpretation {other}"),
    }))
}

/// The sample format of all bands: 1 unsigned, 2 signed, 3 float.
fn format_of(directory: &Directory, samples: u64) -> Result<u64, Problem> {
    let Some(formats) = directory.find(tag::SAMPLE_FORMAT, samples.max(LISTED))? else { return Ok(1) };
    match formats.same(samples) {
        Some(format @ 1..=3) => Ok(format),
        // "Undefined" is read as unsigned by libtiff and tifffile too.
        Some(4) => Ok(1),
        Some(5 | 6) => unsupported("complex numbers"),
        Some(other) => damaged(format!("SampleFormat is {other}, but must be 1 to 6")),
        None => unsupported(format!("bands of different kinds (SampleFormat {})", formats.list())),
    }
}

fn bits_of(directory: &Directory, samples: u64) -> Result<u64, Problem> {
    let Some(bits) = directory.find(tag::BITS, samples.max(LISTED))? else { return Ok(1) };
    bits.same(samples)
        .map_or_else(|| unsupported(format!("bands of different depths ({} bits)", bits.list())), Ok)
}

fn stored_type(format: u64, bits: u64) -> Result<Type, Problem> {
    Ok(match (format, bits) {
        (1, 8) => Type::U8,
        (1, 16) => Type::U16,
        (1, 32) => Type::U32,
        (1, 64) => Type::U64,
        (2, 8) => Type::I8,
        (2, 16) => Type::I16,
        (2, 32) => Type::I32,
        (2, 64) => Type::I64,
        (3, 16) => Type::F16,
        (3, 32) => Type::F32,
        (3, 64) => Type::F64,
        (3, bits) => return unsupported(format!("floats of {bits} bits")),
        (_, 1) => return Err(Problem::Colours("numbers of 1 bit".to_owned())),
        (_, bits) => return unsupported(format!("numbers of {bits} bits")),
    })
}

fn check_coding(compression: u64, predictor: u64, stored: Type) -> Result<(), Problem> {
    let name = match compression {
        NONE | LZW | PACK_BITS => "",
        JPEG if stored == Type::U8 => "",
        code if DEFLATE.contains(&code) => "",
        2 => "CCITT modified Huffman",
        3 => "CCITT Group 3",
        4 => "CCITT Group 4",
        6 => "old-style JPEG",
        JPEG => "JPEG of more than 8 bits",
        33003 | 33005 | 34712 => "JPEG 2000",
        34887 => "LERC",
        34925 => "LZMA",
        50000 => "Zstandard",
        50001 => "WebP",
        50002 | 52546 => "JPEG XL",
        _ => return unsupported(format!("TIFF compression {compression}")),
    };
    if !name.is_empty() {
        return unsupported(format!("{name} compression (TIFF compression {compression})"));
    }
    let predictable = compression == LZW || DEFLATE.contains(&compression);
    match predictor {
        1 => Ok(()),
        // Readers disagree on whether the tag applies then.
        2 | 3 if !predictable => {
            unsupported(format!("predictor {predictor} and TIFF compression {compression}"))
        }
        2 => Ok(()),
        3 if matches!(stored, Type::F16 | Type::F32 | Type::F64) => Ok(()),
        3 => damaged("predictor 3 is for floats, but the numbers are integers"),
        _ => unsupported(format!("predictor {predictor}")),
    }
}
