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
    ///
    /// # Panics
    /// Where the system has no memory for them, even without the buffers that nobody uses: a panic can be caught, an
    /// allocation that fails by itself ends the process.
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
            None => Self(new_buffer(len)),
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

/// Memory for `len` numbers.
fn new_buffer(len: usize) -> Vec<f32> {
    let mut buffer = Vec::new();
    if buffer.try_reserve_exact(len).is_err() {
        release_idle();
        let reserved = buffer.try_reserve_exact(len);
        assert!(reserved.is_ok(), "cannot allocate memory: {} bytes", len.saturating_mul(size_of::<f32>()));
    }
    buffer.resize(len, 0.0);
    buffer
}

/// Gives idle buffers back to the system: worth it where the shapes change for good.
pub fn release_idle() {
    IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_a_panic_and_no_abort() {
        let refused = std::panic::catch_unwind(|| Buffer::any(isize::MAX as usize / 8));
        let said = refused.unwrap_err().downcast::<String>().unwrap();
        assert!(said.starts_with("cannot allocate memory: "), "{said}");
    }
}
