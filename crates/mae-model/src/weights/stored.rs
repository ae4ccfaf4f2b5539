//! A tensor as a file holds it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use safetensors::tensor::Dtype;

/// A tensor in a file, read when it is asked for.
#[derive(Clone)]
pub(crate) struct Stored {
    /// Its name in the file; the first of them where several make one.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Where its bytes are, one after the other along the first dimension.
    parts: Vec<Part>,
}

#[derive(Clone)]
enum Part {
    /// In a file that was read.
    Bytes(Arc<Vec<u8>>, Range<usize>),
    /// In a PyTorch checkpoint.
    Pytorch(pytorch_reader::Tensor),
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

    pub fn pytorch(tensor: pytorch_reader::Tensor) -> Self {
        use pytorch_reader::DType;
        let dtype = match tensor.dtype() {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
            DType::I32 => Dtype::I32,
            DType::I16 => Dtype::I16,
            DType::I8 => Dtype::I8,
            DType::U64 => Dtype::U64,
            DType::U32 => Dtype::U32,
            DType::U16 => Dtype::U16,
            DType::U8 => Dtype::U8,
            DType::Bool => Dtype::BOOL,
        };
        let (name, shape) = (tensor.name.clone(), tensor.shape().to_vec());
        Self { name, dtype, shape, parts: vec![Part::Pytorch(tensor)] }
    }

    /// One tensor of several equal ones, such as the rows of query, key and value; none if they are not equal.
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

    /// Its bytes, row by row.
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
