//! Where a tensor lies on a card.

use tch::{Kind, Tensor};

/// The address of a contiguous tensor's numbers of this type, as a kernel's argument.
///
/// # Panics
/// If the tensor is another: a kernel cannot tell, and would compute garbage.
pub(super) fn address(tensor: &Tensor, kind: Kind) -> u64 {
    assert_eq!((tensor.kind(), tensor.is_contiguous()), (kind, true));
    tensor.data_ptr() as u64
}
