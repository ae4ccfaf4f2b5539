//! A strided tensor in a storage.

use std::io;
use std::sync::Arc;

use safetensors::tensor::Dtype;

use super::error::invalid;
use super::storages::Storages;

/// A tensor in a checkpoint.
#[derive(Clone)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    /// Offset into its storage, in elements.
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

    /// The length that its storage needs, in elements. `None` if shape and strides do not match, or on overflow.
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

    /// Its bytes in row-major order.
    ///
    /// # Errors
    /// If the file cannot be read, or its storage is damaged.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let (all, size) = (self.storages.read(&self.key)?, self.element_size());
        let (count, extent) = (self.count().unwrap_or(0), self.extent().unwrap_or(usize::MAX));
        if extent.checked_mul(size).is_none_or(|end| end > all.len()) {
            return Err(invalid(format!("storage {} is too short", self.key)));
        }
        let mut bytes = Vec::with_capacity(count * size);
        let (rows, columns) = match (self.shape.split_last(), self.strides.split_last()) {
            // Rows that are contiguous in the storage.
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
