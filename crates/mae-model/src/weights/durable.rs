//! Files that last.

use std::path::Path;

/// Makes a file last through a power cut, and as readable as any other that this process makes: safetensors writes
/// through a temporary file, which only its owner may read.
pub(crate) fn settle(path: &Path) -> std::io::Result<()> {
    let mut probe = path.as_os_str().to_owned();
    probe.push(".mode");
    let permissions = std::fs::File::create(&probe)?.metadata()?.permissions();
    std::fs::remove_file(&probe)?;
    std::fs::set_permissions(path, permissions)?;
    // Windows syncs only files that are open for writing.
    std::fs::OpenOptions::new().append(true).open(path)?.sync_all()
}
