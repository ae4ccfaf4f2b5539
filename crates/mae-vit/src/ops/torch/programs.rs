//! PyTorch operations that `tch` does not bind, as TorchScript programs. `make_programs.py` generates them.

use tch::{CModule, Device, IValue, Kind, Tensor};

thread_local! {
    static PROGRAMS: CModule =
        CModule::load_data(&mut include_bytes!("programs.pt").as_slice()).expect("the program is whole");
    /// `None` if libtorch was built without oneDNN.
    static ONEDNN: Option<CModule> = CModule::load_data(&mut include_bytes!("onednn.pt").as_slice()).ok();
}

/// A matrix product with an optional bias, `[n, k]`, `[k, m]`, `[m]` → `[n, m]`, not recorded by autograd.
///
/// # Source
/// `torch.addmm`; on a CPU `torch.ops.mkldnn._linear_pointwise`, to which `torch.compile` lowers linear layers there.
/// oneDNN multiplies such matrices faster than MKL, which eager PyTorch uses.
pub(super) fn product(a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let (a, b, bias) = (a.detach(), b.detach(), bias.map(Tensor::detach));
    ONEDNN.with(|program| match program {
        Some(program) if suits_onednn(&a, &b) => {
            let inputs =
                [IValue::Tensor(a), IValue::Tensor(b.tr()), bias.map_or(IValue::None, IValue::Tensor)];
            match program.method_is("linear", &inputs).expect("matrices that fit") {
                IValue::Tensor(out) => out,
                other => unreachable!("{other:?} is not a tensor"),
            }
        }
        _ => match bias {
            Some(bias) => bias.addmm(&a, &b),
            None => a.mm(&b),
        },
    })
}

/// A matrix product `[n, k]`, `[k, m]` → `[n, m]` in another dtype, not recorded by autograd. On a GPU, bf16 factors
/// give f32 without intermediate rounding.
///
/// # Source
/// `torch.mm` with its `out_dtype`.
pub(super) fn product_as(a: &Tensor, b: &Tensor, kind: Kind) -> Tensor {
    if a.device().is_cuda() && a.kind() == Kind::BFloat16 && kind == Kind::Float {
        return a.detach().mm_dtype(&b.detach(), kind);
    }
    product(a, b, None).to_kind(kind)
}

/// Whether oneDNN should compute a product. Not if PyTorch would first copy `a` on one thread. Not if the columns of
/// `b` lie whole memory pages apart, because they then share a few cache lines while oneDNN packs them.
fn suits_onednn(a: &Tensor, b: &Tensor) -> bool {
    const PAGE: i64 = 4096 / size_of::<f32>() as i64;
    let apart = b.stride()[1] % PAGE == 0;
    (a.kind(), a.device(), a.is_contiguous(), apart) == (Kind::Float, Device::Cpu, true, false)
}

/// The gradients of `inputs`, from which autograd recorded `out`, given the gradient of `out`.
///
/// # Source
/// `torch.autograd.grad`; `tch` differentiates only scalars.
pub(super) fn gradients(out: &Tensor, inputs: &[&Tensor], grad: &Tensor) -> Vec<Tensor> {
    let inputs = inputs.iter().map(|input| input.shallow_clone()).collect();
    let inputs = [
        IValue::Tensor(out.shallow_clone()),
        IValue::TensorList(inputs),
        IValue::Tensor(grad.shallow_clone()),
    ];
    let grads = PROGRAMS.with(|programs| programs.method_is("gradients", &inputs)).expect("a whole graph");
    match grads {
        IValue::TensorList(grads) => grads,
        other => unreachable!("{other:?} are not tensors"),
    }
}

/// The sum of squares over all tensors, `[1]`.
///
/// # Source
/// `torch._foreach_norm`, as in `clip_grad_norm_`: a few kernel launches for all tensors on a GPU.
pub(super) fn sum_of_squares(tensors: Vec<Tensor>) -> Tensor {
    let _without = tch::no_grad_guard();
    let sum = PROGRAMS.with(|programs| programs.method_is("sum_of_squares", &[IValue::TensorList(tensors)]));
    match sum.expect("tensors on one device") {
        IValue::Tensor(sum) => sum,
        other => unreachable!("{other:?} is not a tensor"),
    }
}

/// Copies the second tensor of each pair into the first; on a GPU, in a few kernel launches for all pairs.
///
/// # Source
/// `torch._foreach_copy_`
pub(super) fn copy<'a>(pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)>) {
    let (to, of): (Vec<_>, Vec<_>) = pairs.map(|(to, of)| (to.shallow_clone(), of.shallow_clone())).unzip();
    if to.is_empty() {
        return;
    }
    let _without = tch::no_grad_guard();
    let lists = [to, of].map(IValue::TensorList);
    PROGRAMS.with(|programs| programs.method_is("copy", &lists)).expect("tensors of one shape on one device");
}

/// Updates parameters and moments in place by AdamW. Each item is a parameter, its gradient and its two moments. `time`
/// counts the updates, and `numbers` are the learning rate, both betas, the weight decay and eps.
///
/// # Source
/// `torch._fused_adamw_`
pub(super) fn fused_adamw<'a>(
    tensors: impl Iterator<Item = [&'a Tensor; 4]>,
    time: &Tensor,
    numbers: [f64; 5],
) {
    let mut lists = [const { Vec::new() }; 4];
    for tensors in tensors {
        for (list, tensor) in lists.iter_mut().zip(tensors) {
            list.push(tensor.shallow_clone());
        }
    }
    let times = lists[0].iter().map(|_| time.shallow_clone()).collect();
    let [params, grads, first, second] = lists;
    let lists = [params, grads, first, second, times].map(IValue::TensorList);
    let inputs: Vec<_> = lists.into_iter().chain([IValue::DoubleList(numbers.to_vec())]).collect();
    let _without = tch::no_grad_guard();
    PROGRAMS
        .with(|programs| programs.method_is("adamw", &inputs))
        .expect("tensors of one shape on one device");
}
