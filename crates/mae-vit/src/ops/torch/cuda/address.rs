//! Device addresses of tensors.

use tch::{Kind, Tensor};

/// The device address of a contiguous tensor of this dtype, as a kernel argument.
///
/// # Panics
/// If the tensor has another dtype or is not contiguous: a kernel cannot tell, and would compute garbage.
pub(super) fn address(tensor: &Tensor, kind: Kind) -> u64 {
    assert_eq!((tensor.kind(), tensor.is_contiguous()), (kind, true));
    tensor.data_ptr() as u64
}
