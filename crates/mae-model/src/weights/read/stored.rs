//! A tensor as a file stores it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use safetensors::tensor::Dtype;

use super::pytorch;

/// A tensor in a file, read on demand.
#[derive(Clone)]
pub(crate) struct Stored {
    /// Its name in the file; the first name if it is stacked from several.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// The parts whose bytes, one after the other, make the tensor.
    parts: Vec<Part>,
}

#[derive(Clone)]
enum Part {
    /// In a file in memory.
    Bytes(Arc<Vec<u8>>, Range<usize>),
    /// In a PyTorch checkpoint.
    Pytorch(pytorch::Tensor),
}

impl Stored {
    pub fn bytes(
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        file: &Arc<Vec<u8>>,
        range: Range<usize>,
    ) -> Self {
        let parts = vec![Part::Bytes(file.clone(), range)];
        Self { name: name.into(), dtype, shape: shape.into(), parts }
    }

    pub fn pytorch(name: String, tensor: pytorch::Tensor) -> Self {
        let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
        Self { name, dtype, shape, parts: vec![Part::Pytorch(tensor)] }
    }

    /// A tensor of zeros, whose bytes are the same in every floating-point type.
    pub fn zeros(name: &str, dtype: Dtype, shape: &[usize]) -> Self {
        let len = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        Self::bytes(name, dtype, shape, &Arc::new(vec![0; len]), 0..len)
    }

    /// A `[1, rows, width]` tensor with a row of zeros put before the others.
    pub fn with_zero_row(&self) -> Self {
        let mut all = self.clone();
        let mut parts = Self::zeros(&self.name, self.dtype, &self.shape[2..]).parts;
        parts.append(&mut all.parts);
        all.shape[1] += 1;
        Self { parts, ..all }
    }

    /// Stacks tensors along the first dimension, such as query, key and value. `None` if their shapes or dtypes differ.
    pub fn stacked(parts: Vec<Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut all = parts.next()?;
        let (first, rows) = (all.shape.clone(), *all.shape.first()?);
        for part in parts {
            if part.shape != first || part.dtype != all.dtype {
                return None;
            }
            all.shape[0] += rows;
            all.parts.extend(part.parts);
        }
        Some(all)
    }

    /// Its bytes in row-major order.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for part in &self.parts {
            match part {
                Part::Bytes(file, range) => all.extend_from_slice(&file[range.clone()]),
                Part::Pytorch(tensor) => all.append(&mut tensor.read()?),
            }
        }
        Ok(all)
    }
}
