//! The tables that a JPEG file's segments define, as of the start of a scan.

use super::bits::{Huffman, Quantisation};
use super::marker;

/// Quantisation and Huffman tables, and the restart interval.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) quantisations: [Option<Quantisation>; 4],
    /// Tables of the DC coefficients of blocks, and of the AC coefficients.
    pub(crate) huffman: [[Option<Huffman>; 4]; 2],
    /// MCUs between restart markers; 0 for no restarts.
    pub(crate) restart: usize,
}

impl Tables {
    /// Reads the tables that a segment defines; `None` if it is damaged.
    pub(crate) fn read(&mut self, marker: u8, data: &[u8]) -> Option<()> {
        match marker {
            marker::QUANTISATION => self.read_quantisations(data),
            marker::HUFFMAN => self.read_huffman(data),
            marker::RESTART => {
                self.restart = usize::from(u16::from_be_bytes(*data.first_chunk()?));
                Some(())
            }
            _ => Some(()),
        }
    }

    fn read_quantisations(&mut self, mut data: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = data {
            let bytes = 1 + usize::from(head >> 4);
            let values = rest.get(..64 * bytes).filter(|_| bytes <= 2)?;
            let value = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            let mut quantisation = [value(&values[63 * bytes..]); 128];
            for (to, from) in quantisation.iter_mut().zip(values.chunks_exact(bytes)) {
                *to = value(from);
            }
            *self.quantisations.get_mut(usize::from(head & 15))? = Some(quantisation);
            data = &rest[64 * bytes..];
        }
        Some(())
    }

    fn read_huffman(&mut self, mut data: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = data {
            let counts = rest.first_chunk::<16>()?;
            let end = 16 + counts.iter().map(|&count| usize::from(count)).sum::<usize>();
            let tables = self.huffman.get_mut(usize::from(head >> 4))?;
            *tables.get_mut(usize::from(head & 15))? = Some(Huffman::new(counts, rest.get(16..end)?)?);
            data = &rest[end..];
        }
        Some(())
    }
}
