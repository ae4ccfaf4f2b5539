//! A cache of decoded pages, bounded in bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use parquet::data_type::ByteArray;

/// The capacity of the cache in bytes. One page is kept even if it is larger.
const MAX_BYTES: usize = 64 << 20;

/// The values of a page.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) values: Vec<Option<ByteArray>>,
    /// The memory that they use.
    pub(super) bytes: usize,
}

/// Identifies a page: the index of its chunk, and its index in the chunk.
pub(super) type Key = (usize, usize);

type Slot = Arc<OnceLock<Result<Arc<Values>, String>>>;

/// The most recently used pages.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    pages: HashMap<Key, Page>,
    /// Number of uses so far.
    uses: u64,
}

#[derive(Debug)]
struct Page {
    slot: Slot,
    used: u64,
}

impl Cache {
    /// Returns a cached page, or reads it with `read`. Threads that need the same page wait for the one that is reading
    /// it.
    pub(super) fn get(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<Values, String>,
    ) -> Result<Arc<Values>, String> {
        let slot = self.with(|kept| {
            kept.uses += 1;
            let used = kept.uses;
            let page = kept.pages.entry(key).or_insert_with(|| Page { slot: Slot::default(), used });
            page.used = used;
            page.slot.clone()
        });
        let mut read_now = false;
        let values = slot.get_or_init(|| {
            read_now = true;
            read().map(Arc::new)
        });
        if values.is_err() {
            self.with(|kept| kept.pages.remove(&key));
        } else if read_now {
            self.with(Kept::shrink);
        }
        values.clone()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        // A panic cannot leave the cache half updated, so the content of a poisoned lock is valid.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    /// Drops the least recently used pages until the others fit the capacity.
    fn shrink(&mut self) {
        let size = |page: &Page| match page.slot.get() {
            Some(Ok(values)) => values.bytes,
            _ => 0,
        };
        let mut bytes: usize = self.pages.values().map(size).sum();
        while bytes > MAX_BYTES && self.pages.len() > 1 {
            let oldest =
                self.pages.iter().filter(|(_, page)| size(page) > 0).min_by_key(|(_, page)| page.used);
            let Some(key) = oldest.map(|(key, _)| *key) else { break };
            bytes -= self.pages.remove(&key).map_or(0, |page| size(&page));
        }
    }
}
