//! AdamW on libtorch.

use std::cell::RefCell;

use burn::tensor::Tensor;
use burn_tch::TchTensor;
use tch::{Device, Kind};

use super::programs;
use super::tensor::{primitive, wrap};
use crate::ops::arguments::AdamWStep;

/// PyTorch's fused AdamW. For f32 on a CPU, the kernel of the Flex backend instead, which writes less memory.
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
            // Each is written in place if nothing else shares it, else copied first.
            let mut written = [grad, primitive(first), primitive(second)].map(own);
            let [grad, first, second] = written.each_mut().map(numbers_mut);
            mae_kernels::adamw(grad, numbers(&param), first, second, &step.kernel());
            let [param, first, second] = written.map(wrap);
            (param, [first, second])
        }
        _ => {
            let (param, before) = match is_own(&param) {
                true => (param, None),
                // The model before the update is still in use.
                false => {
                    let like = (param.tensor.kind(), param.tensor.device());
                    (TchTensor::new(tch::Tensor::empty(param.tensor.size(), like)), Some(param))
                }
            };
            let written = [param, own(primitive(first)), own(primitive(second))];
            let update = Update {
                before: before.map(|param| param.tensor.detach().contiguous()),
                written: written.each_ref().map(|tensor| tensor.tensor.shallow_clone()),
                // All four tensors need the same memory layout.
                grad: grad.tensor.contiguous(),
                step: *step,
            };
            TOGETHER.with_borrow_mut(|together| match together {
                Some(updates) => updates.push(update),
                None => fused_adamw(&[update]),
            });
            let [param, first, second] = written.map(wrap);
            (param, [first, second])
        }
    }
}

/// A pending in-place update.
struct Update {
    /// The parameter before the update, if `written[0]` is still uninitialised.
    before: Option<tch::Tensor>,
    /// The parameter and its moments.
    written: [tch::Tensor; 3],
    grad: tch::Tensor,
    step: AdamWStep,
}

thread_local! {
    /// Updates queued while an optimizer steps.
    static TOGETHER: RefCell<Option<Vec<Update>>> = const { RefCell::new(None) };
}

/// See [`ops::together`](crate::ops::together).
pub(in crate::ops) fn together<T>(step: impl FnOnce() -> T) -> T {
    /// Clears the queue, also after a panic.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            TOGETHER.set(None);
        }
    }
    if TOGETHER.with_borrow(Option::is_some) {
        // A nested call leaves its updates to the outer one.
        return step();
    }
    let _forget = Forget;
    TOGETHER.set(Some(Vec::new()));
    let out = step();
    let mut updates = TOGETHER.take().unwrap_or_default();
    // One launch takes one set of hyperparameters, on one device.
    let key = |update: &Update| (update.step, update.grad.device());
    while let Some(first) = updates.first().map(key) {
        let (alike, others): (Vec<_>, Vec<_>) = updates.into_iter().partition(|update| key(update) == first);
        fused_adamw(&alike);
        updates = others;
    }
    out
}

/// Updates parameters and their moments in place. All updates share the hyperparameters and device of the first.
fn fused_adamw(updates: &[Update]) {
    let [Update { grad, step, .. }, ..] = updates else { return };
    let time = tch::Tensor::full([], f64::from(step.time), (Kind::Float, grad.device()));
    programs::copy(updates.iter().filter_map(|update| Some((&update.written[0], update.before.as_ref()?))));
    let (beta1, beta2) = (f64::from(step.betas.0), f64::from(step.betas.1));
    let numbers = [step.lr, beta1, beta2, step.weight_decay, f64::from(step.eps)];
    let tensors = updates
        .iter()
        .map(|Update { written: [param, first, second], grad, .. }| [param, grad, first, second]);
    programs::fused_adamw(tensors, &time, numbers);
}

/// Whether nothing else shares the tensor, and it is contiguous.
fn is_own(tensor: &TchTensor) -> bool {
    tensor.can_mut() && tensor.tensor.is_contiguous()
}

/// The tensor, or a contiguous copy that nothing else shares.
pub(super) fn own(tensor: TchTensor) -> TchTensor {
    match is_own(&tensor) {
        true => tensor,
        false => TchTensor::new(tensor.tensor.copy().contiguous()),
    }
}

/// The values of a contiguous f32 tensor on the CPU.
#[allow(unsafe_code, reason = "tch gives a pointer")]
fn numbers(tensor: &tch::Tensor) -> &[f32] {
    assert_eq!((tensor.kind(), tensor.device(), tensor.is_contiguous()), (Kind::Float, Device::Cpu, true));
    // SAFETY: the pointer addresses `numel` contiguous values, which live as long as the tensor is borrowed.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// [`numbers`], but writable; the tensor must not share its memory.
#[allow(unsafe_code, reason = "tch gives a pointer")]
fn numbers_mut(tensor: &mut TchTensor) -> &mut [f32] {
    let len = numbers(&tensor.tensor).len();
    assert!(tensor.can_mut(), "the memory is shared");
    // SAFETY: as above, and nothing else shares the memory.
    unsafe { std::slice::from_raw_parts_mut(tensor.tensor.data_ptr().cast(), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the GPU's code path on a CPU: it is the same program on every device.
    #[test]
    fn the_fused_update_is_the_kernels() {
        let device = burn::tensor::Device::libtorch();
        let values = |seed: u64, bound: f64| {
            let numbers = crate::InitRng::new(seed).uniform(35, bound);
            Tensor::<2>::from_data(burn::tensor::TensorData::new(numbers, [5, 7]), &device)
        };
        let [grad, mut param, mut first, mut second] =
            [values(1, 1.0), values(2, 1.0), values(3, 0.1), values(4, 0.1).square()];
        let copies = || [&param, &first, &second].map(|tensor| primitive(tensor.clone()).tensor.copy());
        let (once, twice) = (copies(), copies());
        let update = |written: &[tch::Tensor; 3], step| Update {
            before: None,
            written: written.each_ref().map(tch::Tensor::shallow_clone),
            grad: primitive(grad.clone()).tensor,
            step,
        };
        for time in [4, 5] {
            let step = AdamWStep { betas: (0.9, 0.95), eps: 1e-8, weight_decay: 0.05, lr: 1e-2, time };
            // The parameter of the second update is shared: the update reads `before` and writes elsewhere.
            let mut held = update(&twice, step);
            let before = twice[0].copy();
            held.before = Some(before.shallow_clone());
            held.written[0].copy_(&tch::Tensor::full_like(&before, f64::NAN));
            fused_adamw(&[update(&once, step), held]);
            (param, [first, second]) = adamw(param, grad.clone(), [first, second], &step);
        }
        for (ours, theirs) in [param, first, second].into_iter().zip(once.iter().zip(&twice)) {
            for theirs in [theirs.0, theirs.1] {
                let off = (&primitive(ours.clone()).tensor - theirs).abs().max().double_value(&[]);
                assert!(off < 1e-6, "{off}");
            }
        }
    }
}
