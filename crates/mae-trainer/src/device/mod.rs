//! Devices by name. Only this module knows which backends were compiled in.

mod card;
mod panics;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use mae_vit::{Compute, Precision, ops};

use crate::TrainerError;
use card::Card;

#[cfg(feature = "cli")]
pub(crate) use panics::is_expected;
pub(crate) use panics::within_memory;

/// A device as a user names it: `flex`, `tch`, `tch:cuda:0`, `vulkan:1`, …
///
/// A name may be of a device that does not exist; only [`open`](Self::open) needs the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// Burn's own CPU backend.
    Flex,
    /// libtorch on the CPU.
    Tch,
    /// libtorch on a CUDA GPU.
    TchCuda(usize),
    /// libtorch on Apple's Metal.
    TchMps,
    /// wgpu with WGSL shaders on any graphics API that is available.
    Wgpu(Option<usize>),
    /// wgpu with SPIR-V shaders on Vulkan.
    Vulkan(Option<usize>),
    /// wgpu on Metal.
    Metal,
    /// CUDA without libtorch.
    Cuda(usize),
    /// AMD's ROCm.
    Rocm(usize),
}

/// All device names, for messages and help.
pub const DEVICE_NAMES: &str =
    "flex, tch, tch:cuda[:N], tch:mps, wgpu[:N], wgpu:cpu, vulkan[:N], vulkan:cpu, metal, cuda[:N], rocm[:N]";

/// The index that stands for the software driver.
const SOFTWARE: usize = usize::MAX;

impl DeviceName {
    /// The Cargo feature that compiles its backend in.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Tch | Self::TchCuda(_) | Self::TchMps => "tch",
            Self::Wgpu(_) => "wgpu",
            Self::Vulkan(_) => "vulkan",
            Self::Metal => "metal",
            Self::Cuda(_) => "cuda",
            Self::Rocm(_) => "rocm",
        }
    }

    /// The device of a rank: GPUs are numbered upwards from the named one.
    pub fn of_local_rank(self, local_rank: usize) -> Self {
        match self {
            Self::TchCuda(card) => Self::TchCuda(card + local_rank),
            Self::Cuda(card) => Self::Cuda(card + local_rank),
            Self::Rocm(card) => Self::Rocm(card + local_rank),
            Self::Wgpu(Some(card)) if card != SOFTWARE => Self::Wgpu(Some(card + local_rank)),
            Self::Vulkan(Some(card)) if card != SOFTWARE => Self::Vulkan(Some(card + local_rank)),
            other => other,
        }
    }

    /// Whether it is a GPU, judging by its name.
    pub fn is_card(self) -> bool {
        !matches!(self, Self::Flex | Self::Tch | Self::Wgpu(Some(SOFTWARE)) | Self::Vulkan(Some(SOFTWARE)))
    }

    /// The precision that suits the device best: bf16 on GPUs that support it, otherwise f32.
    pub fn default_precision(self, device: &Device) -> Precision {
        let has_bf16 = || {
            let known = self.card(device).and_then(|card| card.has_bf16());
            Precision::Bf16.is_supported_by(device) && known.unwrap_or(true)
        };
        if self.is_card() && has_bf16() { Precision::Bf16 } else { Precision::F32 }
    }

    /// The device's name, its GPU's name and memory, and, if bf16 runs without our own kernels, the reason.
    pub fn describe(self, device: &Device) -> String {
        let mut text = match self.card(device) {
            Some(card) => format!("{self}: {card}"),
            None => self.to_string(),
        };
        if let Some(reason) = ops::without_kernels(device) {
            text += &format!("; bf16 runs without our kernels, slower: {reason}");
        }
        text
    }

    /// The GPU behind the name, if there is one and it can be identified.
    pub(crate) fn card(self, device: &Device) -> Option<Card> {
        match self {
            Self::TchCuda(index) | Self::Cuda(index) => Card::nvidia(index),
            #[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
            Self::Wgpu(_) | Self::Vulkan(_) | Self::Metal | Self::Rocm(_) => Card::of(device),
            _ => {
                let _ = device;
                None
            }
        }
    }

    /// Opens the device and computes a sum on it, so that a missing device is detected here.
    ///
    /// # Errors
    /// If its backend was not compiled in (the message names the feature), or the device fails.
    pub fn open(self) -> Result<Device, TrainerError> {
        let unavailable = |reason: String| TrainerError::Device { name: self.to_string(), reason };
        // Backends report a missing card or driver by panicking.
        let opened = panics::catch(
            |_| true,
            || {
                let device = self.make()?;
                let two = burn::tensor::Tensor::<1>::ones([2], &device).sum().into_scalar::<f32>();
                Some((device, two))
            },
        );
        match opened {
            Ok(Some((device, 2.0))) => Ok(device),
            Ok(Some((_, sum))) => Err(unavailable(format!("it computes 1 + 1 = {sum}"))),
            Ok(None) => Err(TrainerError::NotCompiled { name: self.to_string(), feature: self.feature() }),
            Err(reason) => Err(unavailable(reason)),
        }
    }

    /// The device, if its backend was compiled in.
    #[allow(
        deprecated,
        reason = "libtorch is deprecated in Burn 0.22 and gone from 0.23: it is named here alone"
    )]
    #[allow(unreachable_patterns, reason = "with every backend compiled in, no name is left over")]
    fn make(self) -> Option<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Some(Device::flex()),
            #[cfg(feature = "tch")]
            Self::Tch => Some(Device::libtorch()),
            #[cfg(feature = "tch")]
            Self::TchCuda(index) => Some(Device::libtorch_cuda(index)),
            #[cfg(feature = "tch")]
            Self::TchMps => Some(Device::libtorch_mps()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(index) => Some(Device::wgpu(kind(index))),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(index) => Some(Device::vulkan(kind(index))),
            #[cfg(feature = "metal")]
            Self::Metal => Some(Device::metal(kind(None))),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Some(Device::cuda(index)),
            #[cfg(feature = "rocm")]
            Self::Rocm(index) => Some(Device::rocm(index)),
            _ => None,
        }
    }
}

/// Checks that the device supports the requested compute settings.
pub(crate) fn check_compute(compute: Compute, device: &Device) -> Result<(), TrainerError> {
    let Compute { precision, grad_checkpointing } = compute;
    if !precision.is_supported_by(device) {
        return Err(TrainerError::argument(
            "precision",
            precision,
            "f32 on this device, which supports no other",
        ));
    }
    if grad_checkpointing && !ops::is_fused(device) {
        let bound = "false on this device: only flex and tch recompute activations";
        return Err(TrainerError::argument("grad_checkpointing", true, bound));
    }
    Ok(())
}

/// Converts an index to wgpu's numbering: the best device, the n-th discrete GPU, or the software driver.
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
fn kind(index: Option<usize>) -> burn::tensor::DeviceKind {
    use burn::tensor::DeviceKind;
    match index {
        None => DeviceKind::DefaultDevice,
        Some(SOFTWARE) => DeviceKind::Cpu,
        Some(n) => DeviceKind::DiscreteGpu(n),
    }
}

impl FromStr for DeviceName {
    type Err = TrainerError;

    fn from_str(text: &str) -> Result<Self, TrainerError> {
        let unknown = || TrainerError::UnknownDevice { name: text.into(), known: DEVICE_NAMES };
        let index = |rest: &str| match rest {
            "" => Ok(None),
            ":cpu" => Ok(Some(SOFTWARE)),
            _ => rest.strip_prefix(':').and_then(|n| n.parse().ok()).map(Some).ok_or_else(unknown),
        };
        let card = |rest: &str| match index(rest)? {
            Some(SOFTWARE) => Err(unknown()),
            other => Ok(other.unwrap_or(0)),
        };
        match text {
            "flex" => Ok(Self::Flex),
            "tch" => Ok(Self::Tch),
            "tch:mps" => Ok(Self::TchMps),
            "metal" => Ok(Self::Metal),
            _ => match text {
                _ if text.starts_with("tch:cuda") => card(&text[8..]).map(Self::TchCuda),
                _ if text.starts_with("vulkan") => index(&text[6..]).map(Self::Vulkan),
                _ if text.starts_with("wgpu") => index(&text[4..]).map(Self::Wgpu),
                _ if text.starts_with("cuda") => card(&text[4..]).map(Self::Cuda),
                _ if text.starts_with("rocm") => card(&text[4..]).map(Self::Rocm),
                _ => Err(unknown()),
            },
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::Tch => f.write_str("tch"),
            Self::TchCuda(n) => write!(f, "tch:cuda:{n}"),
            Self::TchMps => f.write_str("tch:mps"),
            Self::Wgpu(None) => f.write_str("wgpu"),
            Self::Wgpu(Some(SOFTWARE)) => f.write_str("wgpu:cpu"),
            Self::Wgpu(Some(n)) => write!(f, "wgpu:{n}"),
            Self::Vulkan(None) => f.write_str("vulkan"),
            Self::Vulkan(Some(SOFTWARE)) => f.write_str("vulkan:cpu"),
            Self::Vulkan(Some(n)) => write!(f, "vulkan:{n}"),
            Self::Metal => f.write_str("metal"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Rocm(n) => write!(f, "rocm:{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_round_trip() {
        for name in [
            "flex",
            "tch",
            "tch:cuda:1",
            "tch:mps",
            "wgpu",
            "wgpu:cpu",
            "vulkan:2",
            "metal",
            "cuda:0",
            "rocm:3",
        ] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceName>().unwrap(), DeviceName::Cuda(0));
    }

    #[test]
    fn ranks_of_a_machine_count_cards_from_the_one_that_is_named() {
        let of = |name: &str| name.parse::<DeviceName>().unwrap().of_local_rank(2).to_string();
        let names = ["tch:cuda:1", "cuda", "vulkan:0", "wgpu:cpu", "vulkan", "flex"].map(of);
        assert_eq!(names, ["tch:cuda:3", "cuda:2", "vulkan:2", "wgpu:cpu", "vulkan", "flex"]);
    }

    #[test]
    fn unknown_devices_and_missing_backends_are_told_apart() {
        for name in ["gpu", "cuda:x", "tch:cuda:cpu", "vulkan1", ""] {
            let error = name.parse::<DeviceName>().unwrap_err().to_string();
            assert!(error.contains("tch:cuda") && error.contains(&format!("'{name}'")), "{error}");
        }
        #[cfg(not(feature = "cuda"))]
        {
            let error = DeviceName::Cuda(0).open().unwrap_err().to_string();
            assert!(error.contains("--features cuda"), "{error}");
        }
    }
}
