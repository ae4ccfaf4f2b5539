//! The name and memory of a GPU, as its driver reports them.

use std::fmt;
use std::process::Command;

/// A GPU.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Card {
    name: String,
    /// Total and free memory, in MiB.
    memory: Option<(u64, u64)>,
    /// NVIDIA's compute capability: the generation of the hardware.
    compute_capability: Option<f64>,
}

impl Card {
    /// The NVIDIA GPU that CUDA numbers `index`.
    pub fn nvidia(index: usize) -> Option<Self> {
        // CUDA numbers only the GPUs that the variable lists; `nvidia-smi` numbers all.
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        Self::query(&number(visible.as_deref(), index)?)
    }

    /// The GPU behind a device, by the name and PCI address that its backend reports. For NVIDIA GPUs, `nvidia-smi`
    /// adds the memory and the compute capability.
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
    pub fn of(device: &burn::tensor::Device) -> Option<Self> {
        let identity = device.identity()?;
        let card = identity.physical?;
        let nvidia = card.pci_address.and_then(|address| Self::query(&address.to_string()));
        nvidia.or(Some(Self { name: identity.name, memory: None, compute_capability: None }))
    }

    /// Whether it multiplies bf16 matrices, if known.
    pub fn has_bf16(&self) -> Option<bool> {
        // Ampere and later.
        self.compute_capability.map(|version| version >= 8.0)
    }

    fn query(id: &str) -> Option<Self> {
        let output = Command::new("nvidia-smi")
            .args(["--query-gpu=name,memory.total,memory.free,compute_cap", "--format=csv,noheader,nounits"])
            .args(["-i", id])
            .output()
            .ok()?;
        output.status.success().then(|| Self::parse(&String::from_utf8_lossy(&output.stdout)))?
    }

    /// Parses a line of `nvidia-smi`.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.lines().next()?.rsplit(',').map(str::trim);
        let compute_capability = fields.next()?.parse().ok();
        let free = fields.next()?.parse().ok();
        let total = fields.next()?.parse().ok();
        // A name may contain commas.
        let name = fields.rev().collect::<Vec<_>>().join(", ");
        (!name.is_empty()).then_some(Self { name, memory: total.zip(free), compute_capability })
    }
}

/// What `nvidia-smi` calls the GPU that CUDA numbers `index` among the visible ones.
fn number(visible: Option<&str>, index: usize) -> Option<String> {
    match visible {
        Some(list) => list.split(',').nth(index).map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
        None => Some(index.to_string()),
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.memory {
            Some((total, free)) => {
                let gb = |mib: u64| (mib << 20) as f64 / 1e9;
                write!(f, ", {:.1} of {:.1} GB free", gb(free), gb(total))
            }
            None => f.write_str(", memory not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_line_is_read() {
        let card = Card::parse("NVIDIA H200, 143771, 143260, 9.0\n").unwrap();
        assert_eq!(card.to_string(), "NVIDIA H200, 150.2 of 150.8 GB free");
        assert_eq!(card.has_bf16(), Some(true));
        let old = Card::parse("Quadro, old, [N/A], [N/A], 7.5\n").unwrap();
        assert_eq!(
            (old.to_string().as_str(), old.has_bf16()),
            ("Quadro, old, memory not known", Some(false))
        );
        assert_eq!(Card::parse("No devices were found"), None);
    }

    #[test]
    fn cards_are_counted_among_the_visible_ones() {
        assert_eq!(number(None, 1).as_deref(), Some("1"));
        assert_eq!(number(Some("3, GPU-5b2"), 1).as_deref(), Some("GPU-5b2"));
        assert_eq!((number(Some(""), 0), number(Some("3"), 1)), (None, None));
    }
}
