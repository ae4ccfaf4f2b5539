//! The bits of a scan: Huffman codes and the coefficients that they stand for.

/// The number of bits by which a code is looked up.
const LOOK: u32 = 11;

/// The row-major position of each coefficient of a block, in zigzag (coding) order; beyond the block, the last
/// position.
///
/// # Source
/// ITU-T T.81, figure A.6. If damaged data codes a coefficient beyond the block, it is the last one, as in libjpeg's
/// `jpeg_natural_order`.
pub(crate) const PLACES: [u8; 128] = {
    let zigzag = [
        0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,
        6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38,
        31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
    ];
    let mut places = [63; 128];
    let mut at = 0;
    while at < 64 {
        places[at] = zigzag[at];
        at += 1;
    }
    places
};

/// A block's 64 coefficients, row-major. The padding lets the compiler omit bounds checks.
pub(crate) type Coefficients = [i16; 128];

/// The factors of the coefficients, in zigzag order; beyond the block, the last factor.
pub(crate) type Quantisation = [u16; 128];

/// A Huffman table.
pub(crate) struct Huffman {
    /// By the next `LOOK` bits: a symbol and, above it, the length of its code; 0 for longer codes.
    symbols_of: Box<[u16; 1 << LOOK]>,
    /// By the next `LOOK` bits, from the top down: a coefficient's value (16 bits), the number of zeros before it (8
    /// bits), and the bits consumed (8 bits). The end of a block is a 0 beyond it. 0 if code and value need more bits.
    steps: Box<[u32; 1 << LOOK]>,
    /// By length: the first code that is too large, left-aligned to 16 bits; the first code; the index of its symbol.
    lengths: [(u32, u32, usize); 17],
    symbols: [u8; 256],
}

impl Huffman {
    /// Builds a table from the number of codes of each length, and their symbols in order; `None` if they do not match.
    ///
    /// # Source
    /// ITU-T T.81, annex C.
    pub(crate) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            symbols_of: Box::new([0; 1 << LOOK]),
            steps: Box::new([0; 1 << LOOK]),
            lengths: [(0, 0, 0); 17],
            symbols: [0; 256],
        };
        table.symbols.get_mut(..symbols.len())?.copy_from_slice(symbols);
        let (mut code, mut at) = (0_u32, 0);
        for (length, &count) in (1..).zip(counts) {
            let first = (code, at);
            for _ in 0..count {
                let symbol = *symbols.get(at)?;
                if length <= LOOK {
                    let begin = (code << (LOOK - length)) as usize;
                    let all = table.symbols_of.get_mut(begin..begin + (1 << (LOOK - length)))?;
                    all.fill((length as u16) << 8 | u16::from(symbol));
                }
                code += 1;
                at += 1;
            }
            if code > 1 << length {
                return None;
            }
            table.lengths[length as usize] = (code << (16 - length), first.0, first.1);
            code <<= 1;
        }
        for (bits, (step, symbol)) in (0..).zip(table.steps.iter_mut().zip(table.symbols_of.iter())) {
            *step = step_of(bits, u32::from(*symbol));
        }
        Some(table)
    }
}

/// The entry of `Huffman::steps` for `bits`, which begin with the code of `symbol`.
fn step_of(bits: u32, symbol: u32) -> u32 {
    let (length, zeros, size) = (symbol >> 8, symbol >> 4 & 15, symbol & 15);
    if length == 0 || length + size > LOOK {
        return 0;
    }
    if size == 0 {
        // Sixteen zeros, the last of them as a value, or the end of the block.
        return (if zeros == 15 { 15 } else { 64 }) << 8 | length;
    }
    let value = extend(bits >> (LOOK - length - size) & ((1 << size) - 1), size);
    (value as u32) << 16 | zeros << 8 | (length + size)
}

/// # Source
/// ITU-T T.81, figure F.12.
#[inline(always)]
fn extend(bits: u32, size: u32) -> i32 {
    let (bits, half) = (bits as i32, (1 << size) >> 1);
    if bits < half { bits - (1 << size) + 1 } else { bits }
}

/// Reads a scan's data bit by bit. Past its end, all bits are 0.
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the most significant down.
    buffer: u64,
    count: u32,
    /// Bits supplied past the end of the data, in the buffer or already read.
    invented: u32,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, count: 0, invented: 0 }
    }

    /// Ensures that a code and the value after it are in the buffer: 16 + 15 bits.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        let bytes = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<4>());
        if let Some(bytes) = bytes
            && !bytes.contains(&0xFF)
        {
            self.buffer |= u64::from(u32::from_be_bytes(*bytes)) << (32 - self.count);
            self.count += 32;
            self.at += 4;
            return;
        }
        self.refill_slowly();
    }

    #[cold]
    #[inline(never)]
    fn refill_slowly(&mut self) {
        while self.count <= 56 {
            let byte = match self.data.get(self.at..).unwrap_or_default() {
                [0xFF, 0x00, ..] => {
                    self.at += 2;
                    0xFF
                }
                // As before a marker, any number of 0xFF may precede a zero: libjpeg's `jpeg_fill_bit_buffer`.
                [0xFF, 0xFF, ..] => {
                    self.at += 1;
                    continue;
                }
                // A marker, or the end of the data.
                [0xFF, ..] | [] => {
                    self.invented += 8;
                    0
                }
                [byte, ..] => {
                    self.at += 1;
                    *byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// Reads the coefficient that the next `size` bits code.
    #[inline(always)]
    fn value(&mut self, size: u32) -> i32 {
        let bits = ((self.buffer >> 1) >> (63 - size)) as u32;
        self.skip(size);
        extend(bits, size)
    }

    /// Reads the next `size` bits, at most 16, as an unsigned integer.
    #[inline(always)]
    pub(crate) fn number(&mut self, size: u32) -> u32 {
        self.refill();
        let bits = ((self.buffer >> 1) >> (63 - size)) as u32;
        self.skip(size);
        bits
    }

    /// Reads the next symbol; `None` if there is no such code.
    #[inline(always)]
    pub(crate) fn next_symbol(&mut self, table: &Huffman) -> Option<u32> {
        self.refill();
        self.symbol(table)
    }

    /// Reads the coefficient that the next `size` bits, at most 15, code.
    #[inline(always)]
    pub(crate) fn next_value(&mut self, size: u32) -> i32 {
        self.refill();
        self.value(size)
    }

    #[inline(always)]
    fn look(&self) -> usize {
        (self.buffer >> (64 - LOOK)) as usize
    }

    #[inline(always)]
    fn symbol(&mut self, table: &Huffman) -> Option<u32> {
        let entry = u32::from(table.symbols_of[self.look()]);
        if entry == 0 {
            return self.long_symbol(table);
        }
        self.skip(entry >> 8);
        Some(entry & 0xFF)
    }

    #[cold]
    #[inline(never)]
    fn long_symbol(&mut self, table: &Huffman) -> Option<u32> {
        let code = (self.buffer >> 48) as u32;
        let length = (LOOK + 1..=16).find(|&length| code < table.lengths[length as usize].0)?;
        let (_, first, at) = table.lengths[length as usize];
        let symbol = table.symbols.get(at + (code >> (16 - length)).checked_sub(first)? as usize)?;
        self.skip(length);
        Some(u32::from(*symbol))
    }

    /// Reads a block into `coefficients`, which must be 0, except for the DC coefficient. Returns the difference of the
    /// DC coefficient from that of the block before, and an upper bound on the number of coefficients up to the last
    /// nonzero one. `None` if there is no such code.
    #[inline(always)]
    pub(crate) fn block(
        &mut self,
        (first, others): (&Huffman, &Huffman),
        quantisation: &Quantisation,
        coefficients: &mut Coefficients,
    ) -> Option<(i32, usize)> {
        self.refill();
        let size = self.symbol(first)?;
        if size > 15 {
            return None;
        }
        let difference = self.value(size);
        let (mut at, mut end) = (1, 1);
        while at < 64 {
            self.refill();
            let step = others.steps[self.look()];
            let value = if step != 0 {
                self.skip(step & 0xFF);
                at += (step >> 8 & 0xFF) as usize;
                (step as i32 >> 16) as i16
            } else {
                let symbol = self.symbol(others)?;
                let (zeros, size) = (symbol >> 4, symbol & 15);
                at += if size == 0 && zeros != 15 { 64 } else { zeros as usize };
                self.value(size) as i16
            };
            let value = value.wrapping_mul(quantisation[at & 127] as i16);
            coefficients[usize::from(PLACES[at & 127]) & 127] = value;
            at += 1;
            // The end-of-block code also leads beyond the block, as a 0.
            if at <= 64 || value != 0 {
                end = at.min(64);
            }
        }
        Some((difference, end))
    }

    /// Whether more bits were read than the data has.
    pub(crate) fn is_beyond_end(&self) -> bool {
        self.invented > self.count
    }

    /// Continues after the next restart marker; `None` if there is none or if another marker comes first.
    pub(crate) fn restart(&mut self) -> Option<()> {
        (self.buffer, self.count, self.invented) = (0, 0, 0);
        loop {
            self.at += memchr::memchr(0xFF, self.data.get(self.at..)?)? + 1;
            match self.data.get(self.at)? {
                0x00 | 0xFF => {}
                0xD0..=0xD7 => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}
