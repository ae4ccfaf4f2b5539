//! Matrix products on borrowed slices, by the `gemm` crate.

/// A matrix in a slice, in rows or in columns.
#[derive(Clone, Copy)]
pub struct Mat<'a, T = f32> {
    pub(crate) data: &'a [T],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// From a row to the next. One of the two strides is 1.
    pub(crate) row_stride: usize,
    /// From a column to the next.
    pub(crate) col_stride: usize,
}

impl<'a, T: Copy> Mat<'a, T> {
    /// `rows` × `cols`, row-major, each row `row_stride` numbers after the one before.
    ///
    /// # Panics
    /// If the slice is too short.
    pub fn new(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(
            fits(data.len(), rows, cols, row_stride),
            "a {rows} x {cols} matrix in {} numbers",
            data.len()
        );
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// `cols` wide, row-major, as many rows as there are numbers.
    pub fn dense(data: &'a [T], cols: usize) -> Self {
        Self::new(data, data.len() / cols, cols, cols)
    }

    /// Its width.
    pub fn cols(self) -> usize {
        self.cols
    }

    /// The transpose.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether a row-major matrix lies inside `len` numbers, its rows apart.
pub(crate) fn fits(len: usize, rows: usize, cols: usize, row_stride: usize) -> bool {
    cols <= row_stride && (rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= len)
}

/// What becomes of the numbers that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// They are overwritten.
    Set,
    /// The product is added to them.
    Add,
}

/// Where something is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// On the calling thread.
    One,
    /// On all of rayon's.
    All,
}

impl Threads {
    /// Chunks that a task of rayon's takes at least.
    pub(crate) fn min_len(self) -> usize {
        match self {
            Self::One => usize::MAX,
            Self::All => 1,
        }
    }
}

/// `out = a · b` or `out += a · b`; `out` is row-major, each row `row_stride` numbers after the one before.
///
/// # Panics
/// If the inner sizes differ or `out` is too short.
#[allow(unsafe_code, reason = "the gemm crate takes pointers")]
pub fn matmul(out: &mut [f32], row_stride: usize, a: Mat<'_>, b: Mat<'_>, write: Write, threads: Threads) {
    assert_eq!(a.cols, b.rows, "inner sizes");
    assert!(fits(out.len(), a.rows, b.cols, row_stride), "the product does not fit");
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: `Mat` and the assertion above hold every index of the three matrices inside its slice; `out` is
    // borrowed mutably and so overlaps neither operand.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            row_stride as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}
