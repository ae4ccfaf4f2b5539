//! Matrix products on borrowed slices, by the `gemm` crate.

/// A matrix in a slice, row-major or column-major.
#[derive(Clone, Copy)]
pub struct Mat<'a, T = f32> {
    pub(crate) data: &'a [T],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Elements from one row to the next. One of the two strides is 1.
    pub(crate) row_stride: usize,
    /// Elements from one column to the next.
    pub(crate) col_stride: usize,
}

impl<'a, T: Copy> Mat<'a, T> {
    /// Creates a row-major `rows` × `cols` matrix with rows `row_stride` elements apart.
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

    /// Creates a row-major matrix with `cols` columns and as many rows as the slice holds.
    pub fn dense(data: &'a [T], cols: usize) -> Self {
        Self::new(data, data.len() / cols, cols, cols)
    }

    /// Returns the number of columns.
    pub fn cols(self) -> usize {
        self.cols
    }

    /// Returns the transpose, without a copy.
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

/// Whether a row-major matrix fits into `len` elements and its rows do not overlap.
pub(crate) fn fits(len: usize, rows: usize, cols: usize, row_stride: usize) -> bool {
    cols <= row_stride && (rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= len)
}

/// What a product does to the values already in its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Overwrites them.
    Set,
    /// Adds the product to them.
    Add,
}

/// The threads of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone.
    One,
    /// All threads of the current rayon pool.
    All,
}

impl Threads {
    /// The minimum number of chunks of a rayon task.
    pub(crate) fn min_len(self) -> usize {
        match self {
            Self::One => usize::MAX,
            Self::All => 1,
        }
    }
}

/// Computes `out = a · b` or `out += a · b`. `out` is row-major, with rows `row_stride` elements apart.
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
    // SAFETY: `Mat` and the assertion above keep every index of the three matrices inside its slice. `out` is borrowed
    // mutably, so it overlaps neither operand.
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
