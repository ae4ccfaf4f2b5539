//! The bits of a scan: Huffman codes and the coefficients that they stand for.

/// Bits that a code is looked up by.
const LOOK: u32 = 11;

/// Where the coefficients of a block stand, row by row, in the order in which they are coded; beyond the block, the last
/// of them.
///
/// # Source
/// ITU-T T.81, figure A.6. What damaged data codes beyond the block is the last coefficient, as in libjpeg's
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

/// A block's coefficients, row by row; the rest is there for the compiler, which then checks no bounds.
pub(crate) type Coefficients = [i16; 128];

/// What coefficients are multiplied by, in the order in which they are coded; beyond the block, as the last.
pub(crate) type Quantisation = [u16; 128];

/// A Huffman table.
pub(crate) struct Huffman {
    /// By the next bits: a symbol and, above it, its code's length; 0 for a longer code.
    symbols_of: Box<[u16; 1 << LOOK]>,
    /// By the next bits: from the top down, a coefficient's value, 8 bits of how many places are passed over before it,
    /// 8 bits of how many bits that takes. The block's end is a 0 beyond it. 0 for what takes more bits.
    steps: Box<[u32; 1 << LOOK]>,
    /// By length: the first code that is too great, left-aligned to 16 bits; the first code; where its symbol stands.
    lengths: [(u32, u32, usize); 17],
    symbols: [u8; 256],
}

impl Huffman {
    /// A table of the numbers of codes of each length, and of their symbols in turn.
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

/// What `bits`, which begin with the code of `symbol`, come to.
fn step_of(bits: u32, symbol: u32) -> u32 {
    let (length, zeros, size) = (symbol >> 8, symbol >> 4 & 15, symbol & 15);
    if length == 0 || length + size > LOOK {
        return 0;
    }
    if size == 0 {
        // Sixteen zeros, the last of them as a value; or the block's end.
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

/// Reads a scan's data bit by bit. Behind its end there are zeros.
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the top down.
    buffer: u64,
    count: u32,
    /// Bits in the buffer, or read already, that the data did not have.
    invented: u32,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, count: 0, invented: 0 }
    }

    /// Makes sure of a code and the value that it announces: 16 + 15 bits.
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
                // As before a marker, any number of 0xFF may stand before a zero: libjpeg's `jpeg_fill_bit_buffer`.
                [0xFF, 0xFF, ..] => {
                    self.at += 1;
                    continue;
                }
                // A marker, or the end.
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

    /// The value that `size` bits hold.
    #[inline(always)]
    fn value(&mut self, size: u32) -> i32 {
        let bits = ((self.buffer >> 1) >> (63 - size)) as u32;
        self.skip(size);
        extend(bits, size)
    }

    /// The next `size` bits, at most 16, as a number.
    #[inline(always)]
    pub(crate) fn number(&mut self, size: u32) -> u32 {
        self.refill();
        let bits = ((self.buffer >> 1) >> (63 - size)) as u32;
        self.skip(size);
        bits
    }

    /// The symbol that the next bits stand for; nothing if there is no such code.
    #[inline(always)]
    pub(crate) fn next_symbol(&mut self, table: &Huffman) -> Option<u32> {
        self.refill();
        self.symbol(table)
    }

    /// The value that the next `size` bits, at most 15, hold.
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

    /// Reads a block into `coefficients`, which are 0, but for the first: returns how much that differs from the one
    /// before it, and the number of coefficients up to the last that is not 0, if not more. Nothing if there is no such
    /// code.
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
            // The block's end stands beyond it too, as a 0.
            if at <= 64 || value != 0 {
                end = at.min(64);
            }
        }
        Some((difference, end))
    }

    /// Whether more was read than there is.
    pub(crate) fn is_beyond_end(&self) -> bool {
        self.invented > self.count
    }

    /// Goes on behind the next restart marker, if there is one.
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
