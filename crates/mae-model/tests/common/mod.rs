//! Reads reference tensors and compares whole tensors with them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use mae_model::{Mae, MaeConfig, load_into};
use mae_vit::{Geometry, StackConfig};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Every tolerance of the golden tests, relative to the largest magnitude of the reference tensor.
pub mod tolerance {
    /// Latents, predictions, features and losses.
    pub const OUTPUT: f64 = 1e-5;
    /// Gradients of the loss.
    pub const GRADIENT: f64 = 1e-4;
    /// Losses and weights over ten optimizer steps.
    pub const STEPS: f64 = 1e-4;
    /// All of them on devices other than the CPU, which sum in another order.
    pub const ON_CARDS: f64 = 1e-3;
    /// A loss in bf16 against the reference in f32.
    pub const BF16_LOSS: f64 = 2e-2;
}

/// Names the device of the golden tests, instead of Flex: tch, tch:cuda, or the backend of another GPU, which selects
/// the best one compiled in.
const VARIABLE: &str = "MAE_TEST_DEVICE";

/// The device of the golden tests.
#[allow(deprecated, reason = "Burn means to give up libtorch; until then it is here")]
pub fn device() -> Device {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) => Device::flex(),
        #[cfg(feature = "tch")]
        Ok("tch") => Device::libtorch(),
        #[cfg(feature = "tch")]
        Ok("tch:cuda") => Device::libtorch_cuda(0),
        Ok("vulkan" | "wgpu" | "metal" | "cuda" | "rocm") => {
            let device = Device::default();
            assert!(!format!("{device:?}").contains("Flex"), "no card's backend is compiled in");
            device
        }
        Ok(name) => panic!("{name} is unknown or not compiled in"),
    }
}

fn on_a_card() -> bool {
    std::env::var(VARIABLE).is_ok_and(|name| name != "tch")
}

/// One reference file.
pub struct Golden {
    bytes: Vec<u8>,
    config: serde_json::Value,
}

impl Golden {
    pub fn open(name: &str) -> Self {
        // The run-time variable comes first, because a test may run where it was not built. Tests of mae-trainer find
        // the files in this crate.
        let crate_folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
        let own = Path::new(&crate_folder).join("tests/golden").join(name);
        let path = if own.exists() {
            own
        } else {
            Path::new(&crate_folder).join("../mae-model/tests/golden").join(name)
        };
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let config = serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
        Self { bytes, config }
    }

    pub fn number(&self, key: &str) -> usize {
        self.config[key].as_u64().unwrap_or_else(|| panic!("{key} in the file's config")) as usize
    }

    pub fn geometry(&self) -> Geometry {
        let side = |i: usize| self.config["image"][i].as_u64().unwrap() as usize;
        Geometry::new((side(0), side(1)), self.number("patch"), self.number("channels")).unwrap()
    }

    pub fn encoder(&self) -> StackConfig {
        StackConfig::new(self.number("embed_dim"), self.number("depth"), self.number("num_heads"))
    }

    pub fn config(&self, norm_pix_loss: bool) -> MaeConfig {
        let decoder = StackConfig::new(
            self.number("decoder_embed_dim"),
            self.number("decoder_depth"),
            self.number("decoder_num_heads"),
        );
        MaeConfig {
            geometry: self.geometry(),
            encoder: self.encoder(),
            decoder,
            norm_eps: 1e-6,
            norm_pix_loss,
        }
    }

    /// A list of numbers in the file's config.
    pub fn numbers(&self, key: &str) -> Vec<usize> {
        self.config[key].as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
    }

    /// The names of all tensors with this prefix, without it.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.names().into_iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// A tensor's values as f64, and its shape.
    pub fn get(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let values = match view.dtype() {
            Dtype::F32 => chunks(view.data()).map(|b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::I64 => chunks(view.data()).map(|b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{name} is {other:?}"),
        };
        (values, view.shape().to_vec())
    }

    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let (values, shape) = self.get(name);
        let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// The `w.*` tensors, written as a weight file of their own and read by the crate's reader.
    pub fn model(&self, norm_pix_loss: bool, device: &Device) -> Mae {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let weights: BTreeMap<String, TensorView<'_>> = file
            .tensors()
            .into_iter()
            .filter_map(|(name, view)| Some((name.strip_prefix("w.")?.to_owned(), view)))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        safetensors::serialize_to_file(weights, None, &path).unwrap();
        load_into(self.config(norm_pix_loss).init(0, device).unwrap(), &path).unwrap()
    }

    /// Overwrites the tensors of a weight file that have the same names as `w.*` tensors.
    pub fn overwrite(&self, path: &Path) {
        let ours = std::fs::read(path).unwrap();
        let (ours, theirs) =
            (SafeTensors::deserialize(&ours).unwrap(), SafeTensors::deserialize(&self.bytes).unwrap());
        let merged: Vec<(String, TensorView<'_>)> = ours
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let theirs = theirs.tensor(&format!("w.{name}"));
                (name, theirs.unwrap_or(view))
            })
            .collect();
        safetensors::serialize_to_file(merged, None, path).unwrap();
    }

    /// Compares a whole tensor: shape, then the largest difference over the largest magnitude.
    pub fn assert_close<const D: usize>(&self, name: &str, ours: Tensor<D>, tolerance: f64) {
        let (values, shape) = self.get(name);
        assert_eq!(ours.dims().to_vec(), shape, "shape of {name}");
        assert_slice(name, &floats(ours), &values, tolerance);
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).map(|c| c.try_into().unwrap())
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data().convert::<f32>();
    data.as_slice::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect()
}

pub fn assert_slice(name: &str, ours: &[f64], reference: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), reference.len(), "length of {name}");
    let scale = reference.iter().fold(0f64, |m, v| m.max(v.abs()));
    let tolerance = if on_a_card() { tolerance::ON_CARDS.max(tolerance) } else { tolerance };
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0f64, f64::max);
    assert!(ours.iter().all(|v| v.is_finite()), "{name} is not finite");
    assert!(
        worst <= tolerance * scale,
        "{name}: off by {:.2e} of its largest magnitude {scale:.3e}; {tolerance:.0e} is allowed",
        worst / scale
    );
}

/// Calls `f` with (official name, values in the official layout) of each trained parameter. The values are those of the
/// tensor that `pick` returns for it (its value, its gradient, …).
pub struct Official<P, F> {
    path: Vec<String>,
    pub geometry: Geometry,
    pub pick: P,
    pub f: F,
}

pub trait Pick {
    fn pick<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Option<Tensor<D>>;
}

pub fn visit_official<P: Pick>(model: &Mae, pick: P, f: impl FnMut(&str, Vec<f64>)) {
    let geometry = model.config().geometry;
    model.visit(&mut Official { path: Vec::new(), geometry, pick, f });
}

impl<P: Pick, F: FnMut(&str, Vec<f64>)> ModuleVisitor for Official<P, F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let Some(tensor) = self.pick.pick(param) else { return };
        let name = match path.strip_prefix("encoder.") {
            Some(rest) => rest.to_owned(),
            None => path.replacen("decoder.", "decoder_", 1).replace("decoder_mask", "mask"),
        };
        let values = if path == "encoder.patch_embed.proj.weight" {
            let (p, c) = (self.geometry.patch_size(), self.geometry.in_chans());
            let dim = tensor.dims()[1];
            floats(tensor.reshape([p, p, c, dim]).permute([3, 2, 0, 1]))
        } else if D == 2 {
            floats(tensor.transpose())
        } else {
            floats(tensor)
        };
        (self.f)(&name, values);
    }
}
