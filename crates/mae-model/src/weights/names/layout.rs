//! The layout of parameters in official files.

use burn::tensor::{DType, TensorData};
use mae_vit::Geometry;
use safetensors::tensor::Dtype;

/// The official name of a parameter. The encoder's have no prefix; the decoder's have `decoder_`, except `mask_token`.
pub(crate) fn official_name(param: &str) -> String {
    match param.split_once('.') {
        Some(("encoder", rest)) => rest.into(),
        Some(("decoder", "mask_token")) => "mask_token".into(),
        Some(("decoder", rest)) => format!("decoder_{rest}"),
        _ => param.into(),
    }
}

enum Layout {
    Same,
    /// `[d_in, d_out]` here, `[d_out, d_in]` there.
    Transposed,
    /// `[P·P·C, D]` here, a convolution kernel `[D, C, P, P]` there.
    Kernel,
}

fn layout(official: &str, rank: usize) -> Layout {
    match rank {
        2 if official == "patch_embed.proj.weight" => Layout::Kernel,
        2 => Layout::Transposed,
        _ => Layout::Same,
    }
}

/// The shape of a parameter in an official file.
pub(crate) fn official_shape(official: &str, shape: &[usize], g: &Geometry) -> Vec<usize> {
    match layout(official, shape.len()) {
        Layout::Same => shape.to_vec(),
        Layout::Transposed => vec![shape[1], shape[0]],
        Layout::Kernel => vec![shape[1], g.in_chans(), g.patch_size(), g.patch_size()],
    }
}

/// Converts a parameter's values to their layout in an official file.
pub(crate) fn to_official(official: &str, data: TensorData, g: &Geometry) -> TensorData {
    let shape = data.shape().to_vec();
    let there = official_shape(official, &shape, g);
    let (p, c) = (g.patch_size(), g.in_chans());
    match layout(official, shape.len()) {
        Layout::Same => data,
        Layout::Transposed => permuted(&data, &there, |i| (i % shape[0]) * shape[1] + i / shape[0]),
        Layout::Kernel => permuted(&data, &there, |i| {
            let (d, channel, pixel) = (i / (c * p * p), i / (p * p) % c, i % (p * p));
            (pixel * c + channel) * shape[1] + d
        }),
    }
}

/// Converts values from an official file to a parameter of the given shape.
pub(crate) fn from_official(official: &str, data: TensorData, shape: &[usize], g: &Geometry) -> TensorData {
    let (p, c) = (g.patch_size(), g.in_chans());
    match layout(official, shape.len()) {
        Layout::Same => data,
        Layout::Transposed => permuted(&data, shape, |i| (i % shape[1]) * shape[0] + i / shape[1]),
        Layout::Kernel => permuted(&data, shape, |i| {
            let (row, d) = (i / shape[1], i % shape[1]);
            let (pixel, channel) = (row / c, row % c);
            (d * c + channel) * p * p + pixel
        }),
    }
}

/// Data of shape `shape` whose element `i` is `data`'s element `source(i)`.
fn permuted(data: &TensorData, shape: &[usize], source: impl Fn(usize) -> usize) -> TensorData {
    let values = data.as_slice::<f32>().expect("official tensors are handled in f32");
    TensorData::new((0..values.len()).map(|i| values[source(i)]).collect(), shape.to_vec())
}

/// Burn's name for a dtype that weights are read from; `None` for other dtypes.
pub(crate) fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// Whether a dtype is floating point.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    float(dtype).is_some() || dtype == Dtype::F64
}
