//! Kernel buffers as tensors. A buffer returns to the pool when the last tensor on it is dropped.
#![allow(unsafe_code, reason = "burn-std's interface to foreign memory is unsafe")]

use std::mem::MaybeUninit;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{DType, Shape};
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};
use mae_kernels::Buffer;

/// Wraps a buffer as a tensor.
pub(super) fn tensor(buffer: Buffer, shape: Shape) -> FlexTensor {
    let len = std::mem::size_of_val::<[f32]>(&buffer);
    // SAFETY: all of a buffer is initialised.
    let bytes = unsafe { Bytes::from_controller(Box::new(Pooled(buffer)), len) };
    FlexTensor::new(bytes, Layout::contiguous(shape), DType::F32)
}

struct Pooled(Buffer);

impl AllocationController for Pooled {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let len = std::mem::size_of_val::<[f32]>(&self.0);
        // SAFETY: the same memory as bytes, for the same lifetime. The caller writes only initialised bytes, and every
        // bit pattern is a valid f32.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let len = std::mem::size_of_val::<[f32]>(&self.0);
        // SAFETY: the same memory as bytes, for the same lifetime.
        Ok(unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) })
    }
}
