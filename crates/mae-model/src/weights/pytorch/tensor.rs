//! A tensor that lies in a storage, with strides.

use std::io;
use std::sync::Arc;

use safetensors::tensor::Dtype;

use super::invalid;
use super::storages::Storages;

/// A tensor in a checkpoint.
#[derive(Clone)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    /// In elements, into its storage.
    pub(super) offset: usize,
    pub(super) key: String,
    pub(super) storages: Arc<Storages>,
}

impl Tensor {
    pub(super) fn element_size(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    pub(super) fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |all, side| all.checked_mul(*side))
    }

    /// How many elements of its storage it reaches over.
    pub(super) fn extent(&self) -> Option<usize> {
        if self.shape.len() != self.strides.len() {
            return None;
        }
        if self.count()? == 0 {
            return Some(self.offset);
        }
        let mut steps = self.shape.iter().zip(&self.strides);
        let last = steps
            .try_fold(self.offset, |at, (side, stride)| at.checked_add((side - 1).checked_mul(*stride)?));
        last?.checked_add(1)
    }

    /// Its bytes, row by row.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged there.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let (all, size) = (self.storages.read(&self.key)?, self.element_size());
        let (count, extent) = (self.count().unwrap_or(0), self.extent().unwrap_or(usize::MAX));
        if extent.checked_mul(size).is_none_or(|end| end > all.len()) {
            return Err(invalid(format!("storage {} is too short", self.key)));
        }
        let mut bytes = Vec::with_capacity(count * size);
        let (rows, columns) = match (self.shape.split_last(), self.strides.split_last()) {
            // Rows that lie as they are needed.
            (Some((columns, _)), Some((1, _))) if *columns > 0 => (count / columns, *columns),
            _ => (count, 1),
        };
        for row in 0..rows {
            let (mut rest, mut at) = (row * columns, self.offset);
            for (side, stride) in self.shape.iter().zip(&self.strides).rev() {
                at += rest % side * stride;
                rest /= side;
            }
            bytes.extend_from_slice(&all[at * size..][..columns * size]);
        }
        Ok(bytes)
    }
}

/// The type of a storage's elements, by its class.
pub(super) fn storage_dtype(class: &str) -> Option<Dtype> {
    dtype(match class.rsplit('.').next()? {
        "FloatStorage" => "float32",
        "DoubleStorage" => "float64",
        "HalfStorage" => "float16",
        "BFloat16Storage" => "bfloat16",
        "LongStorage" => "int64",
        "IntStorage" => "int32",
        "ShortStorage" => "int16",
        "CharStorage" => "int8",
        "ByteStorage" => "uint8",
        "BoolStorage" => "bool",
        _ => return None,
    })
}

/// A type by PyTorch's name.
pub(super) fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float32" => Dtype::F32,
        "float64" => Dtype::F64,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::BOOL,
        _ => return None,
    })
}
