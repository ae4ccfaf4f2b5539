//! A linear map and its gradients.

use crate::branch::weight_gradient;
use crate::gemm::{Mat, ProductType, Threads, Write};
use crate::rows::{set_bias, sum_rows};
use crate::transpose::transposed;
use crate::{Buffer, on_pool};

/// `x · weight + bias`.
///
/// # Shapes
/// `[R, d_in]`, `[d_in, d_out]`, `[d_out]` → `[R, d_out]`
pub fn linear(x: &[f32], weight: &[f32], bias: &[f32], products: ProductType) -> Buffer {
    let (d_in, d_out) = (weight.len() / bias.len(), bias.len());
    let mut out = Buffer::any(x.len() / d_in * d_out);
    on_pool(|| {
        set_bias(&mut out, bias);
        let (x, weight) = (Mat::dense(x, d_in), Mat::dense(weight, d_out));
        products.matmul(&mut out, d_out, x, weight, Write::Add, Threads::All);
    });
    out
}

/// The gradients of weight and bias.
///
/// # Shapes
/// grad `[R, d_out]`, x `[R, d_in]` → `[d_in, d_out]`, `[d_out]`
pub fn linear_backward(
    grad: &[f32],
    x: &[f32],
    d_in: usize,
    d_out: usize,
    products: ProductType,
) -> (Buffer, Buffer) {
    on_pool(|| (weight_gradient(x, d_in, grad, d_out, products), sum_rows(grad, d_out, Threads::All)))
}

/// The gradient of the input.
///
/// # Shapes
/// grad `[R, d_out]`, weight `[d_in, d_out]` → `[R, d_in]`
pub fn linear_input_backward(grad: &[f32], weight: &[f32], d_out: usize, products: ProductType) -> Buffer {
    let d_in = weight.len() / d_out;
    let mut out = Buffer::any(grad.len() / d_out * d_in);
    on_pool(|| {
        // As in a branch: a copy, because the `gemm` crate is slow with a transposed factor.
        let copy = (products == ProductType::F32).then(|| transposed(weight, d_out));
        let weight = copy.as_ref().map_or(Mat::dense(weight, d_out).t(), |copy| Mat::dense(copy, d_in));
        products.matmul(&mut out, d_in, Mat::dense(grad, d_out), weight, Write::Set, Threads::All);
    });
    out
}
