//! Parameters by path: visits a module's parameters with their names, and derives ids from the names.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

/// A parameter's path, shape and id, and whether it is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamInfo {
    /// Field names joined by dots, e.g. `encoder.blocks.0.attn.qkv.weight`.
    pub path: String,
    /// Its shape in the module.
    pub shape: Vec<usize>,
    /// Whether it gets gradients in training.
    pub trained: bool,
    /// The key of its gradients and optimizer state; a function of the path after [`with_path_ids`].
    pub id: ParamId,
}

/// All parameters of a module in the order of its fields.
pub fn list_params<M: Module>(module: &M) -> Vec<ParamInfo> {
    let mut infos = Vec::new();
    // Outside training, no parameter takes gradients; we list which ones would in training.
    visit_params(&module.clone().train(), |info, _| infos.push(info));
    infos
}

/// Calls `f` with each parameter and a reader of its values.
pub(crate) fn visit_params<M: Module>(module: &M, f: impl FnMut(ParamInfo, &dyn Fn() -> TensorData)) {
    struct Visitor<F>(Vec<String>, F);
    impl<F: FnMut(ParamInfo, &dyn Fn() -> TensorData)> ModuleVisitor for Visitor<F> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let read = || param.val().into_data().convert::<f32>();
            let (path, shape, trained) = (self.0.join("."), param.dims().to_vec(), param.is_require_grad());
            (self.1)(ParamInfo { path, shape, trained, id: param.id }, &read);
        }
    }
    module.visit(&mut Visitor(Vec::new(), f));
}

/// Replaces the values of all parameters for which `f` gives new ones.
pub(crate) fn replace_params<M: Module>(module: M, f: impl FnMut(&str, &[usize]) -> Option<TensorData>) -> M {
    struct Mapper<F>(Vec<String>, F);
    impl<F: FnMut(&str, &[usize]) -> Option<TensorData>> ModuleMapper for Mapper<F> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match (self.1)(&self.0.join("."), &param.dims()) {
                Some(data) => {
                    let device = param.device();
                    let id = param.id;
                    param.transform_for_load(Tensor::from_data(data, &device), id)
                }
                None => param,
            }
        }
    }
    module.map(&mut Mapper(Vec::new(), f))
}

/// Whether every parameter's id is the one that [`with_path_ids`] derives from its path.
pub fn has_path_ids<M: Module>(module: &M) -> bool {
    list_params(module).iter().all(|param| param.id == path_id(&param.path))
}

/// Makes every parameter's id a function of its path.
///
/// Burn draws ids at random and keys optimizer state by them. With ids from paths, the state finds its parameter again,
/// however the weights were restored.
pub fn with_path_ids<M: Module>(module: M) -> M {
    struct Mapper(Vec<String>);
    impl ModuleMapper for Mapper {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (_, tensor, mapper) = param.consume();
            Param::from_mapped_value(path_id(&self.0.join(".")), tensor, mapper)
        }
    }
    module.map(&mut Mapper(Vec::new()))
}

fn path_id(path: &str) -> ParamId {
    ParamId::from(fnv1a(path))
}

/// The 64-bit FNV-1a hash: stable everywhere, unlike the standard library's.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
