//! Buffers that are kept: fresh pages cost as much as the arithmetic on them.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// Buffers that no one uses, by capacity. Training asks for the same sizes again and again.
static IDLE: Mutex<BTreeMap<usize, Vec<Vec<f32>>>> = Mutex::new(BTreeMap::new());

/// From this many numbers on, a buffer of up to half as much again is taken where there is none of the size. The forward
/// pass then makes its activations where the last step's gradients were; small buffers cost little to keep apart, and a
/// step of a small model is quicker by it.
const LARGE: usize = 2 << 20;

/// Numbers from the pool, to which they go back; what they are at first is left over from earlier use.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` numbers of any value.
    pub fn any(len: usize) -> Self {
        let most = if len < LARGE { len } else { len + len / 2 };
        let mut idle = IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let buffer = idle.range_mut(len..=most).find_map(|(_, buffers)| buffers.pop());
        drop(idle);
        match buffer {
            Some(mut buffer) => {
                buffer.resize(len, 0.0);
                Self(buffer)
            }
            None => Self(vec![0.0; len]),
        }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::any(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if !buffer.is_empty() {
            let mut idle = IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            idle.entry(buffer.capacity()).or_default().push(buffer);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// Gives idle buffers back to the system: worth it where the shapes change for good.
pub fn release_idle() {
    IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
}
