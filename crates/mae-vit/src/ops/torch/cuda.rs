//! CUDA kernels for the operations between bf16 matrix products. Where PyTorch reads and writes a tensor several times,
//! they do it once. NVRTC, which PyTorch's packages include, compiles them for the card at their first use. Without
//! NVRTC, and on cards without bf16, PyTorch's operations are used.
//!
//! The kernels run on the card's default stream. So does PyTorch, unless it is given another stream, which nothing here
//! does.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::{CompileOptions, Ptx, compile_ptx_with_opts};
use tch::{Device, Kind, Tensor};

use crate::Precision;

mod address;
mod upload;

use address::address;
use upload::Uploads;

const BF16: &str = include_str!("cuda/bf16.cuh");
const NORM: &str = include_str!("cuda/norm.cu");
const COLUMNS: &str = include_str!("cuda/columns.cu");

/// The error for a card that has no kernels and needs none.
pub(super) const NO_BF16: &str = "the card has no bf16";
/// The first major compute capability with bf16 instructions: Ampere's.
const FIRST_WITH_BF16: i32 = 8;
/// The largest row width that fits in the registers of a warp.
const MAX_WIDTH: i64 = 2048;
/// Rows that a block works on at once, in both files: one per warp.
const ROWS: i64 = 8;
/// Threads of a warp. In columns.cu, each handles eight adjacent columns.
const LANES: i64 = 32;
/// Blocks that fill a large card. More would leave more partial sums to add.
const BLOCKS: i64 = 1024;

/// A card, opened alongside PyTorch in the CUDA context that both share.
pub(super) struct Card {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    uploads: Mutex<Uploads>,
    kernels: OnceLock<Result<Kernels, String>>,
}

/// The kernels of a card that has them.
#[derive(Clone, Copy)]
pub(super) struct Cuda(&'static Card, &'static Kernels);

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cuda")
    }
}

struct Kernels {
    rounded: CudaFunction,
    add: CudaFunction,
    gelu: CudaFunction,
    gelu_backward: CudaFunction,
    column_sums: CudaFunction,
    add_parts: CudaFunction,
    /// By width.
    norms: Mutex<HashMap<i64, &'static Norms>>,
}

struct Norms {
    forward: CudaFunction,
    backward: CudaFunction,
}

/// Normalised rows, and what their backward pass needs.
#[derive(Debug)]
pub(super) struct Normed {
    /// `[.., D]`, bf16
    pub(super) out: Tensor,
    /// `[R]`
    mean: Tensor,
    /// `[R]`
    rstd: Tensor,
}

impl Clone for Normed {
    fn clone(&self) -> Self {
        let [out, mean, rstd] = [&self.out, &self.mean, &self.rstd].map(Tensor::shallow_clone);
        Self { out, mean, rstd }
    }
}

/// Compiles a source file for cards of a compute capability.
fn compile(source: &str, (major, minor): (i32, i32), mut options: Vec<String>) -> Result<Ptx, String> {
    #[allow(unsafe_code, reason = "it opens a library")]
    // SAFETY: NVIDIA's library runs no code of its own when it is opened.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err("libnvrtc is not among the libraries".into());
    }
    options.push(format!("--gpu-architecture=compute_{major}{minor}"));
    options.push("--std=c++17".into());
    let options = CompileOptions { options, ..CompileOptions::default() };
    compile_ptx_with_opts(format!("{BF16}{source}"), options).map_err(|error| error.to_string())
}

/// The compiler options for kernels on rows of a width.
fn of_width(width: i64) -> Vec<String> {
    vec![format!("-DWIDTH={width}")]
}

fn function(module: &Arc<CudaModule>, name: &str) -> Result<CudaFunction, String> {
    module.load_function(name).map_err(|error| format!("{name}: {error}"))
}

/// The card with this index, if NVIDIA's driver opens it.
pub(super) fn card(index: usize) -> Option<&'static Card> {
    static CARDS: Mutex<BTreeMap<usize, Option<&'static Card>>> = Mutex::new(BTreeMap::new());
    let mut cards = CARDS.lock().unwrap_or_else(PoisonError::into_inner);
    *cards.entry(index).or_insert_with(|| {
        #[allow(unsafe_code, reason = "it opens a library")]
        // SAFETY: as above.
        if !unsafe { cudarc::driver::sys::is_culib_present() } {
            return None;
        }
        let context = CudaContext::new(index).ok()?;
        Some(Box::leak(Box::new(Card {
            stream: context.default_stream(),
            uploads: Mutex::new(Uploads::new(&context).ok()?),
            kernels: OnceLock::new(),
            context,
        })))
    })
}

impl Card {
    /// Copies bytes to the card and converts them to f32 there. `None` if pinned memory or an event is unavailable.
    pub(super) fn upload_bytes(&self, bytes: &[u8], shape: &[i64], device: Device) -> Option<Tensor> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.upload((&self.context, &self.stream), bytes, shape, device).ok()
    }

    /// The kernels, or why there are none.
    pub(super) fn kernels(&'static self) -> Result<Cuda, &'static str> {
        let kernels = self.kernels.get_or_init(|| self.compile_kernels());
        kernels.as_ref().map(|kernels| Cuda(self, kernels)).map_err(String::as_str)
    }

    fn compile_kernels(&self) -> Result<Kernels, String> {
        let columns = self.load(COLUMNS, Vec::new())?;
        Ok(Kernels {
            rounded: function(&columns, "rounded")?,
            add: function(&columns, "add")?,
            gelu: function(&columns, "gelu")?,
            gelu_backward: function(&columns, "gelu_backward")?,
            column_sums: function(&columns, "column_sums")?,
            add_parts: function(&columns, "add_parts")?,
            norms: Mutex::new(HashMap::new()),
        })
    }

    /// Compiles a source file for this card and loads it.
    fn load(&self, source: &str, options: Vec<String>) -> Result<Arc<CudaModule>, String> {
        let attribute = |name| self.context.attribute(name).map_err(|error| error.to_string());
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        if major < FIRST_WITH_BF16 {
            return Err(NO_BF16.into());
        }
        let program = compile(source, (major, minor), options)?;
        self.context.load_module(program).map_err(|error| error.to_string())
    }
}

impl Cuda {
    fn norms(self, width: i64) -> &'static Norms {
        let mut norms = self.1.norms.lock().unwrap_or_else(PoisonError::into_inner);
        norms.entry(width).or_insert_with(|| {
            let compiled = self.0.load(NORM, of_width(width)).and_then(|module| {
                Ok(Norms {
                    forward: function(&module, "norm_forward")?,
                    backward: function(&module, "norm_backward")?,
                })
            });
            // NVRTC has compiled the other file for this card, so an error here is a bug.
            Box::leak(Box::new(
                compiled.unwrap_or_else(|error| panic!("layer norm of {width} numbers: {error}")),
            ))
        })
    }
}

/// The kernels of the card that a tensor is on, if there are any for products of this precision and rows of its width.
pub(super) fn kernels(x: &Tensor, precision: Precision) -> Option<Cuda> {
    let Device::Cuda(index) = x.device() else { return None };
    let width = x.size().last().copied().unwrap_or(0);
    if precision != Precision::Bf16 || width % 8 != 0 {
        return None;
    }
    card(index)?.kernels().ok()
}

/// Whether rows are narrow enough for the layer norm.
pub(super) fn is_narrow(width: i64) -> bool {
    width <= MAX_WIDTH
}

fn grid(x: i64, y: i64) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (x as u32, y as u32, 1),
        block_dim: (LANES as u32, ROWS as u32, 1),
        shared_mem_bytes: 0,
    }
}

/// The launch configuration of the layer norm's kernels.
fn a_warp_a_row(blocks: i64) -> LaunchConfig {
    LaunchConfig { block_dim: ((LANES * ROWS) as u32, 1, 1), ..grid(blocks, 1) }
}

#[allow(unsafe_code, reason = "a kernel takes addresses")]
impl Cuda {
    /// Layer norm of f32 `[.., D]` with f32 weight `[D]` and bias `[D]`, as bf16.
    pub(super) fn norm(self, x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Normed {
        let [x, weight, bias] = [x, weight, bias].map(Tensor::contiguous);
        let width = weight.size()[0];
        let rows = x.numel() as i64 / width;
        let out = Tensor::empty(x.size(), (Kind::BFloat16, x.device()));
        let [mean, rstd] = [0, 1].map(|_| Tensor::empty([rows], (Kind::Float, x.device())));
        let [x_at, weight_at, bias_at, mean_at, rstd_at] =
            [&x, &weight, &bias, &mean, &rstd].map(|tensor| address(tensor, Kind::Float));
        let out_at = address(&out, Kind::BFloat16);
        let mut launch = self.0.stream.launch_builder(&self.norms(width).forward);
        launch.arg(&x_at).arg(&weight_at).arg(&bias_at).arg(&out_at).arg(&mean_at).arg(&rstd_at);
        launch.arg(&rows).arg(&eps);
        let config = a_warp_a_row((rows + ROWS - 1) / ROWS);
        // SAFETY: these match the kernel's parameters, and the tensors have the sizes that it reads and writes.
        unsafe { launch.launch(config) }.expect("a kernel that was loaded");
        Normed { out, mean, rstd }
    }

    /// Gradients of the layer norm's input, weight and bias, given the bf16 gradient of its output. Adds `past`, the
    /// f32 gradient `[B, Q, D]` of the last Q tokens of each image, to the gradient of the input.
    pub(super) fn norm_backward(
        self,
        normed: &Normed,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
        past: &Tensor,
    ) -> [Tensor; 3] {
        let [x, weight, grad, past] = [x, weight, grad, past].map(Tensor::contiguous);
        let width = weight.size()[0];
        let rows = x.numel() as i64 / width;
        let (len, queries) = (x.size()[1] as i32, past.size()[1] as i32);
        let blocks = ((rows + ROWS - 1) / ROWS).min(BLOCKS / 4);
        let x_grad = Tensor::empty(x.size(), (Kind::Float, x.device()));
        let parts = Tensor::empty([blocks, 2, width], (Kind::Float, x.device()));
        let grad_at = address(&grad, Kind::BFloat16);
        let [x_at, mean_at, rstd_at, weight_at, past_at, x_grad_at, parts_at] =
            [&x, &normed.mean, &normed.rstd, &weight, &past, &x_grad, &parts]
                .map(|tensor| address(tensor, Kind::Float));
        let mut launch = self.0.stream.launch_builder(&self.norms(width).backward);
        launch.arg(&grad_at).arg(&x_at).arg(&mean_at).arg(&rstd_at).arg(&weight_at).arg(&past_at);
        launch.arg(&x_grad_at).arg(&parts_at).arg(&rows).arg(&len).arg(&queries);
        let config = a_warp_a_row(blocks);
        // SAFETY: as above.
        unsafe { launch.launch(config) }.expect("a kernel that was loaded");
        let sums = self.add_parts(&parts); // [2, D]
        [x_grad, sums.get(0), sums.get(1)]
    }

    /// Rounds f32 `[R, C]` to bf16. Also returns the f32 column sums of the input, `[C]`.
    pub(super) fn rounded(self, x: &Tensor) -> (Tensor, Tensor) {
        let x = x.contiguous();
        let out = Tensor::empty(x.size(), (Kind::BFloat16, x.device()));
        let sums = self.columns(&self.1.rounded, &[(&x, Kind::Float), (&out, Kind::BFloat16)]);
        (out, sums)
    }

    /// The f32 sum of an f32 and a bf16 tensor of one shape.
    pub(super) fn add(self, x: &Tensor, y: &Tensor) -> Tensor {
        assert_eq!(x.size(), y.size());
        let [x, y] = [x, y].map(|tensor| tensor.detach().contiguous());
        let out = Tensor::empty(x.size(), (Kind::Float, x.device()));
        let [x_at, out_at] = [&x, &out].map(|tensor| address(tensor, Kind::Float));
        let y_at = address(&y, Kind::BFloat16);
        let eights = x.numel() as i64 / 8;
        let mut launch = self.0.stream.launch_builder(&self.1.add);
        launch.arg(&x_at).arg(&y_at).arg(&out_at).arg(&eights);
        // SAFETY: as above.
        unsafe { launch.launch(grid((eights + ROWS * LANES - 1) / (ROWS * LANES), 1)) }
            .expect("a kernel that was loaded");
        out
    }

    /// The exact GELU in bf16.
    pub(super) fn gelu(self, x: &Tensor) -> Tensor {
        let x = x.contiguous();
        let out = Tensor::empty(x.size(), (Kind::BFloat16, x.device()));
        let [x_at, out_at] = [&x, &out].map(|tensor| address(tensor, Kind::BFloat16));
        let eights = x.numel() as i64 / 8;
        let mut launch = self.0.stream.launch_builder(&self.1.gelu);
        launch.arg(&x_at).arg(&out_at).arg(&eights);
        // SAFETY: as above.
        unsafe { launch.launch(grid((eights + ROWS * LANES - 1) / (ROWS * LANES), 1)) }
            .expect("a kernel that was loaded");
        out
    }

    /// The bf16 gradient of GELU's input, given the bf16 gradient of its output; also its column sums, in f32.
    pub(super) fn gelu_backward(self, grad: &Tensor, x: &Tensor) -> (Tensor, Tensor) {
        let (grad, x) = (grad.contiguous(), x.contiguous());
        let out = Tensor::empty(x.size(), (Kind::BFloat16, x.device()));
        let tensors = [&grad, &x, &out].map(|tensor| (tensor, Kind::BFloat16));
        let sums = self.columns(&self.1.gelu_backward, &tensors);
        (out, sums)
    }

    /// The sums of a bf16 matrix's columns, in f32.
    pub(super) fn column_sums(self, x: &Tensor) -> Tensor {
        self.columns(&self.1.column_sums, &[(&x.contiguous(), Kind::BFloat16)])
    }

    /// Runs a kernel of columns.cu on tensors of one shape, and adds up its partial column sums.
    fn columns(self, kernel: &CudaFunction, tensors: &[(&Tensor, Kind)]) -> Tensor {
        let (first, _) = tensors[0];
        let columns = *first.size().last().expect("at least one axis");
        let rows = first.numel() as i64 / columns;
        let across = (columns + 8 * LANES - 1) / (8 * LANES);
        let down = ((rows + ROWS - 1) / ROWS).min((BLOCKS / across).max(1));
        let parts = Tensor::empty([down, columns], (Kind::Float, first.device()));
        let (parts_at, narrow) = (address(&parts, Kind::Float), columns as i32);
        let addresses: Vec<u64> = tensors.iter().map(|(tensor, kind)| address(tensor, *kind)).collect();
        let mut launch = self.0.stream.launch_builder(kernel);
        for at in &addresses {
            launch.arg(at);
        }
        launch.arg(&parts_at).arg(&rows).arg(&narrow);
        // SAFETY: as above.
        unsafe { launch.launch(grid(across, down)) }.expect("a kernel that was loaded");
        self.add_parts(&parts)
    }

    /// The sums over the first axis of `[parts, ..]`.
    fn add_parts(self, parts: &Tensor) -> Tensor {
        let out = Tensor::empty(&parts.size()[1..], (Kind::Float, parts.device()));
        let (count, columns) = (parts.size()[0] as i32, out.numel() as i32);
        let [parts_at, out_at] = [parts, &out].map(|tensor| address(tensor, Kind::Float));
        let mut launch = self.0.stream.launch_builder(&self.1.add_parts);
        launch.arg(&parts_at).arg(&out_at).arg(&count).arg(&columns);
        // SAFETY: as above.
        unsafe { launch.launch(grid((i64::from(columns) + LANES - 1) / LANES, 1)) }
            .expect("a kernel that was loaded");
        out
    }
}

#[cfg(test)]
mod tests;
