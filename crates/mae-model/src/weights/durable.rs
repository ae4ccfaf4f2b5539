//! Makes written files durable.

use std::path::Path;

/// Syncs a file to disk, so that it survives a power cut, and gives it the permissions of any other file of this
/// process. safetensors writes through a temporary file that only its owner may read.
pub(crate) fn settle(path: &Path) -> std::io::Result<()> {
    let mut probe = path.as_os_str().to_owned();
    probe.push(".mode");
    let permissions = std::fs::File::create(&probe)?.metadata()?.permissions();
    std::fs::remove_file(&probe)?;
    std::fs::set_permissions(path, permissions)?;
    // Windows syncs only files that are open for writing.
    std::fs::OpenOptions::new().append(true).open(path)?.sync_all()
}
