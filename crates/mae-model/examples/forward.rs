//! Runs weights of any scheme: features of whole images and, if there is a decoder, the loss under given masks.
//!
//! usage: forward WEIGHTS INPUT OUT [NUM_HEADS [DECODER_NUM_HEADS NORM_PIX_LOSS]]
//!
//! INPUT is a safetensors file of `image` `[B, C, H, W]`, normalised, and `noise` `[B, L]`; the quarter of the patches
//! with the least noise is kept. OUT gets `features` `[B, 1 + L, D]` and `loss` `[1]`. The other arguments are values
//! that a file may not state.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use mae_masking::{MaskBatch, Masking, num_keep};
use mae_model::{Contents, Hints, WeightFile};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn read(file: &SafeTensors<'_>, name: &str) -> Result<TensorData, Box<dyn Error>> {
    let view = file.tensor(name)?;
    let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Ok(TensorData::new(values.collect::<Vec<_>>(), view.shape().to_vec()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [weights, input, out, numbers @ ..] = args.as_slice() else {
        return Err("usage: forward WEIGHTS INPUT OUT [NUM_HEADS [DECODER_NUM_HEADS NORM_PIX_LOSS]]".into());
    };
    let hints = Hints {
        num_heads: numbers.first().map(|n| n.parse()).transpose()?,
        decoder_num_heads: numbers.get(1).map(|n| n.parse()).transpose()?,
        norm_pix_loss: numbers.get(2).map(|n| n.parse()).transpose()?,
        ..Hints::default()
    };
    let device = Device::flex();
    let bytes = std::fs::read(input)?;
    let input = SafeTensors::deserialize(&bytes)?;
    let images = Tensor::<4>::from_data(read(&input, "image")?, &device);

    let file = WeightFile::open(weights)?;
    let mut found: BTreeMap<&str, TensorData> = BTreeMap::new();
    let (encoder, _) = file.encoder(&hints, &device)?;
    found.insert("features", encoder.forward(images.clone()).into_data());
    if file.contents() == Contents::Full {
        let noise = read(&input, "noise")?;
        let len = noise.shape()[1];
        let rows =
            noise.as_slice::<f32>()?.chunks(len).map(|row| Masking::from_noise(row, num_keep(len, 0.75)?));
        let masks = MaskBatch::new(&rows.collect::<Result<Vec<_>, _>>()?)?;
        let (model, _) = file.mae(&hints, &device)?;
        found.insert("loss", model.forward(images, &masks).into_data());
    }
    let views = found
        .iter()
        .map(|(name, data)| Ok((name, TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes())?)));
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    safetensors::serialize_to_file(views, None, Path::new(out))?;
    Ok(())
}
