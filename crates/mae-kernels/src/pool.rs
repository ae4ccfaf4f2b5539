//! A pool of buffers for reuse: fresh memory pages cost as much as the arithmetic on them.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The pool of the process. Training requests the same sizes again and again.
static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// The limit of idle memory, as a multiple of the peak memory in use. A step uses its sizes one after another, so they
/// add up to more than is in use at any time. Sizes that a program no longer uses, such as those of another model, are
/// freed.
const IDLE_SHARE: usize = 2;

/// Idle buffers and the amounts of memory, counted in f32 elements.
struct Pool {
    /// By capacity.
    idle: BTreeMap<usize, Idle>,
    idle_numbers: usize,
    used_numbers: usize,
    most_used: usize,
    /// Counts the returned buffers; serves as a clock.
    now: u64,
}

/// The idle buffers of one capacity.
#[derive(Default)]
struct Idle {
    buffers: Vec<Vec<f32>>,
    /// The time at which the last one was returned.
    since: u64,
}

impl Pool {
    const fn new() -> Self {
        Self { idle: BTreeMap::new(), idle_numbers: 0, used_numbers: 0, most_used: 0, now: 0 }
    }

    /// Takes an idle buffer of at least `len` elements, and not many more, if there is one.
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let most = if len < LARGE { len } else { len + len / 2 };
        let buffer = self.idle.range_mut(len..=most).find_map(|(_, idle)| idle.buffers.pop());
        if let Some(buffer) = &buffer {
            self.idle_numbers -= buffer.capacity();
            self.lend(buffer);
        }
        buffer
    }

    /// Counts a buffer as used.
    fn lend(&mut self, buffer: &Vec<f32>) {
        self.used_numbers += buffer.capacity();
        self.most_used = self.most_used.max(self.used_numbers);
    }

    /// Keeps a buffer. Returns the buffers that exceed the limit: those whose sizes were returned least recently.
    fn keep(&mut self, buffer: Vec<f32>) -> Vec<Vec<f32>> {
        self.now += 1;
        self.used_numbers = self.used_numbers.saturating_sub(buffer.capacity());
        self.idle_numbers += buffer.capacity();
        let idle = self.idle.entry(buffer.capacity()).or_default();
        idle.since = self.now;
        idle.buffers.push(buffer);
        let mut given_back = Vec::new();
        while self.idle_numbers > IDLE_SHARE * self.most_used {
            self.idle.retain(|_, idle| !idle.buffers.is_empty());
            let Some(oldest) = self.idle.values_mut().min_by_key(|idle| idle.since) else { break };
            let buffers = std::mem::take(&mut oldest.buffers);
            self.idle_numbers -= buffers.iter().map(Vec::capacity).sum::<usize>();
            given_back.extend(buffers);
        }
        given_back
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From this many elements on, a request also accepts a buffer up to half as large again. The forward pass can then
/// write its activations to the last step's gradient buffers. Small buffers cost little to keep apart, and a step of a
/// small model is faster that way.
const LARGE: usize = 2 << 20;

/// A buffer of f32 values from the pool, to which it returns when dropped. Its initial values are left over from
/// earlier use.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// Returns `len` arbitrary values.
    ///
    /// # Panics
    /// If the system has no memory for them, even after idle buffers are freed. A panic can be caught, whereas a failed
    /// allocation aborts the process.
    pub fn any(len: usize) -> Self {
        let buffer = pool().take(len);
        match buffer {
            Some(mut buffer) => {
                buffer.resize(len, 0.0);
                Self(buffer)
            }
            None => {
                let buffer = new_buffer(len);
                pool().lend(&buffer);
                Self(buffer)
            }
        }
    }

    /// Returns `len` zeros.
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
            // Frees them without holding the lock.
            let given_back = pool().keep(buffer);
            drop(given_back);
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

/// Allocates `len` values. If that fails, frees idle buffers and tries again.
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

/// Frees idle buffers. This is worth it when shapes change for good.
pub fn release_idle() {
    let mut pool = pool();
    (pool.idle_numbers, pool.most_used) = (0, pool.used_numbers);
    let idle = std::mem::take(&mut pool.idle);
    drop(pool);
    drop(idle);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a buffer of each size at once, returns them to the pool and counts those that are freed.
    fn turn(pool: &mut Pool, sizes: &[usize]) -> usize {
        let mut any = |len| {
            pool.take(len).unwrap_or_else(|| {
                let buffer = Vec::with_capacity(len);
                pool.lend(&buffer);
                buffer
            })
        };
        let used: Vec<_> = sizes.iter().map(|len| any(*len)).collect();
        used.into_iter().map(|buffer| pool.keep(buffer).len()).sum()
    }

    #[test]
    fn sizes_that_are_used_in_turns_are_kept() {
        let mut pool = Pool::new();
        for _ in 0..100 {
            assert_eq!(turn(&mut pool, &[100, 200, 300]), 0);
            assert_eq!(turn(&mut pool, &[110, 210, 280]), 0);
        }
        assert_eq!((pool.used_numbers, pool.most_used, pool.idle_numbers), (0, 600, 1200));
    }

    #[test]
    fn sizes_that_nobody_uses_any_more_are_given_back() {
        let mut pool = Pool::new();
        for size in 1..1000 {
            turn(&mut pool, &[size, size]);
            assert!(pool.idle_numbers <= IDLE_SHARE * pool.most_used);
        }
        assert!(pool.take(1).is_none() && pool.take(999).is_some());
    }

    #[test]
    fn memory_that_is_not_there_is_a_panic_and_no_abort() {
        let refused = std::panic::catch_unwind(|| Buffer::any(isize::MAX as usize / 8));
        let said = refused.unwrap_err().downcast::<String>().unwrap();
        assert!(said.starts_with("cannot allocate memory: "), "{said}");
    }
}
