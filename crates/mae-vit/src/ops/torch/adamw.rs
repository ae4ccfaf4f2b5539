//! AdamW on libtorch.

use std::cell::RefCell;

use burn::tensor::Tensor;
use burn_tch::TchTensor;
use tch::{Device, Kind};

use super::{primitive, programs, wrap};
use crate::ops::AdamWStep;

/// PyTorch's fused AdamW; on a CPU, the kernel that Flex has does it too, and writes less.
pub(in crate::ops) fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [first, second] = moments;
    let [param, grad] = [param, grad].map(primitive);
    match (param.tensor.kind(), param.tensor.device()) {
        (Kind::Float, Device::Cpu) => {
            let param = param.tensor.contiguous();
            // Each is written in place where no one else holds it, else copied first.
            let mut written = [grad, primitive(first), primitive(second)].map(own);
            let [grad, first, second] = written.each_mut().map(numbers_mut);
            mae_kernels::adamw(grad, numbers(&param), first, second, &step.kernel());
            let [param, first, second] = written.map(wrap);
            (param, [first, second])
        }
        _ => {
            let written = [param, primitive(first), primitive(second)].map(own);
            // All four have to lie alike.
            fused_adamw(written.each_ref().map(|tensor| &tensor.tensor), &grad.tensor.contiguous(), step);
            let [param, first, second] = written.map(wrap);
            (param, [first, second])
        }
    }
}

/// Updates a parameter and its moments in place.
fn fused_adamw(tensors: [&tch::Tensor; 3], grad: &tch::Tensor, step: &AdamWStep) {
    thread_local! {
        /// The number of the update as a tensor, which all parameters of an update share.
        static TIME: RefCell<Option<(i32, tch::Tensor)>> = const { RefCell::new(None) };
    }
    let time = TIME.with_borrow_mut(|cached| match cached {
        Some((time, tensor)) if *time == step.time && tensor.device() == grad.device() => {
            tensor.shallow_clone()
        }
        _ => {
            let tensor = tch::Tensor::full([], f64::from(step.time), (Kind::Float, grad.device()));
            *cached = Some((step.time, tensor.shallow_clone()));
            tensor
        }
    });
    let (beta1, beta2) = (f64::from(step.betas.0), f64::from(step.betas.1));
    let numbers = [step.lr, beta1, beta2, step.weight_decay, f64::from(step.eps)];
    programs::fused_adamw(tensors, grad, &time, numbers);
}

/// A tensor that no one else holds, all of its memory in order.
fn own(tensor: TchTensor) -> TchTensor {
    match tensor.can_mut() && tensor.tensor.is_contiguous() {
        true => tensor,
        false => TchTensor::new(tensor.tensor.copy().contiguous()),
    }
}

/// The numbers of a contiguous f32 tensor on the CPU.
#[allow(unsafe_code, reason = "tch gives a pointer")]
fn numbers(tensor: &tch::Tensor) -> &[f32] {
    assert_eq!((tensor.kind(), tensor.device(), tensor.is_contiguous()), (Kind::Float, Device::Cpu, true));
    // SAFETY: that many numbers lie there in order, for as long as the tensor is borrowed.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// The same to write to; for a tensor that no other shares its memory with.
#[allow(unsafe_code, reason = "tch gives a pointer")]
fn numbers_mut(tensor: &mut TchTensor) -> &mut [f32] {
    let len = numbers(&tensor.tensor).len();
    assert!(tensor.can_mut(), "the memory is shared");
    // SAFETY: as above, and no one else holds the memory.
    unsafe { std::slice::from_raw_parts_mut(tensor.tensor.data_ptr().cast(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cards take is run on a CPU here: the same program, whatever device its tensors are on.
    #[test]
    fn the_fused_update_is_the_kernels() {
        let device = burn::tensor::Device::libtorch();
        let values = |seed: u64, bound: f64| {
            let numbers = crate::InitRng::new(seed).uniform(35, bound);
            Tensor::<2>::from_data(burn::tensor::TensorData::new(numbers, [5, 7]), &device)
        };
        let [grad, mut param, mut first, mut second] =
            [values(1, 1.0), values(2, 1.0), values(3, 0.1), values(4, 0.1).square()];
        let fused = [&param, &first, &second].map(|tensor| primitive(tensor.clone()).tensor.copy());
        for time in [4, 5] {
            let step = AdamWStep { betas: (0.9, 0.95), eps: 1e-8, weight_decay: 0.05, lr: 1e-2, time };
            fused_adamw(fused.each_ref(), &primitive(grad.clone()).tensor, &step);
            (param, [first, second]) = adamw(param, grad.clone(), [first, second], &step);
        }
        for (ours, theirs) in [param, first, second].into_iter().zip(fused) {
            let off = (primitive(ours).tensor - theirs).abs().max().double_value(&[]);
            assert!(off < 1e-6, "{off}");
        }
    }
}
