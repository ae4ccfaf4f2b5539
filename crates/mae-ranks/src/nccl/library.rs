//! NVIDIA's NCCL library, opened at run time. `cudarc` has bindings too, but does not look for the name `libnccl.so.2`,
//! the only one in PyTorch's packages.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use cudarc::driver::sys::CUstream;

use crate::RanksError;

/// The identifier by which ranks find each other: the main rank creates it, and all others get it.
pub(super) type UniqueId = [u8; 128];

/// The functions of nccl.h that are used.
pub(super) struct Library {
    get_unique_id: unsafe extern "C" fn(*mut RawId) -> c_int,
    comm_init_rank: unsafe extern "C" fn(*mut RawCommunicator, c_int, RawId, c_int) -> c_int,
    comm_destroy: unsafe extern "C" fn(RawCommunicator) -> c_int,
    all_reduce: unsafe extern "C" fn(
        *const c_void,
        *mut c_void,
        usize,
        c_int,
        c_int,
        RawCommunicator,
        *mut c_void,
    ) -> c_int,
    group_start: unsafe extern "C" fn() -> c_int,
    group_end: unsafe extern "C" fn() -> c_int,
    get_error_string: unsafe extern "C" fn(c_int) -> *const c_char,
}

type RawCommunicator = *mut c_void;

/// `ncclUniqueId`, which is passed by value.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawId(UniqueId);

/// A rank's end of the connection between cards.
#[derive(Clone, Copy)]
pub(super) struct Communicator(RawCommunicator);

// SAFETY: NCCL takes calls on a communicator from any thread, one at a time; only the training thread makes them.
unsafe impl Send for Communicator {}
// SAFETY: as above.
unsafe impl Sync for Communicator {}

/// `ncclFloat32` of `ncclDataType_t`.
const FLOAT32: c_int = 7;
/// `ncclAvg` of `ncclRedOp_t`.
const AVERAGE: c_int = 4;

impl Library {
    /// Opens the library, once per process.
    ///
    /// # Errors
    /// [`RanksError::Ranks`] if the library or one of its functions is not found. The version is not checked: averages
    /// need NCCL 2.10.
    pub(super) fn open() -> Result<&'static Self, RanksError> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        LIBRARY.get_or_init(Self::load).as_ref().map_err(|reason| {
            RanksError::ranks(format!(
                "cannot load NCCL, which averages gradients between GPUs: {reason}. PyTorch's packages for CUDA include it; \
                 its folder, nvidia/nccl/lib or nvidia/cu13/lib, must be on LD_LIBRARY_PATH"
            ))
        })
    }

    fn load() -> Result<Self, String> {
        // SAFETY: the library runs no code of its own when it is opened, and is never closed. The types are those of
        // nccl.h.
        unsafe {
            let library = libloading::Library::new("libnccl.so.2").map_err(|error| error.to_string())?;
            let library: &'static libloading::Library = Box::leak(Box::new(library));
            macro_rules! function {
                ($name:literal) => {
                    *library.get($name.to_bytes_with_nul()).map_err(|error| error.to_string())?
                };
            }
            Ok(Self {
                get_unique_id: function!(c"ncclGetUniqueId"),
                comm_init_rank: function!(c"ncclCommInitRank"),
                comm_destroy: function!(c"ncclCommDestroy"),
                all_reduce: function!(c"ncclAllReduce"),
                group_start: function!(c"ncclGroupStart"),
                group_end: function!(c"ncclGroupEnd"),
                get_error_string: function!(c"ncclGetErrorString"),
            })
        }
    }

    fn check(&self, status: c_int) -> Result<(), RanksError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: it returns a static string for any status.
        let text = unsafe { CStr::from_ptr((self.get_error_string)(status)) };
        Err(RanksError::ranks(format!("NCCL: {}", text.to_string_lossy())))
    }

    pub(super) fn unique_id(&self) -> Result<UniqueId, RanksError> {
        let mut id = RawId([0; 128]);
        // SAFETY: it writes the 128 bytes of `id`.
        self.check(unsafe { (self.get_unique_id)(&raw mut id) })?;
        Ok(id.0)
    }

    /// Connects the card of this thread's context with those of the other ranks. Waits for them.
    pub(super) fn connect(&self, id: UniqueId, rank: usize, size: usize) -> Result<Communicator, RanksError> {
        let mut communicator = std::ptr::null_mut();
        // SAFETY: it writes one pointer.
        let status =
            unsafe { (self.comm_init_rank)(&raw mut communicator, size as c_int, RawId(id), rank as c_int) };
        self.check(status)?;
        Ok(Communicator(communicator))
    }

    /// Launches the operations in `calls` together.
    pub(super) fn together(&self, calls: impl FnOnce() -> Result<(), RanksError>) -> Result<(), RanksError> {
        // SAFETY: a group that is begun is ended below.
        self.check(unsafe { (self.group_start)() })?;
        let called = calls();
        // SAFETY: it was begun above.
        let ended = self.check(unsafe { (self.group_end)() });
        called.and(ended)
    }

    /// Enqueues on the stream an in-place average over all ranks of `len` f32 values on the card.
    ///
    /// # Safety
    /// `len` values lie at `address` until the stream has averaged them, and nothing else reads or writes them.
    pub(super) unsafe fn average(
        &self,
        address: u64,
        len: usize,
        Communicator(communicator): Communicator,
        stream: CUstream,
    ) -> Result<(), RanksError> {
        let numbers = address as *mut c_void;
        // SAFETY: the caller guarantees it.
        self.check(unsafe {
            (self.all_reduce)(numbers, numbers, len, FLOAT32, AVERAGE, communicator, stream.cast())
        })
    }

    /// Closes the connection.
    ///
    /// # Safety
    /// The communicator is not used again.
    pub(super) unsafe fn disconnect(&self, Communicator(communicator): Communicator) {
        // SAFETY: the caller guarantees it. A failure changes nothing.
        let _ = unsafe { (self.comm_destroy)(communicator) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs NVIDIA's library, but no card"]
    fn pytorchs_library_opens_and_names_connections() {
        let library = Library::open().unwrap();
        let [one, other] = [0, 1].map(|_| library.unique_id().unwrap());
        assert_ne!(one, other);
        let error = library.check(4).unwrap_err().to_string();
        assert!(error.contains("invalid argument"), "{error}");
    }
}
