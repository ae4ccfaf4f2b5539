//! The machine that computed a run, as far as the system describes it.

use std::fs;
use std::thread;

/// A description of a machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The processor's name, or its architecture if the system does not give the name.
    pub cpu: String,
    /// Threads that run in parallel.
    pub cpus: usize,
    /// The system's name.
    pub os: String,
}

impl Machine {
    /// Describes this machine.
    pub fn this() -> Self {
        // Only Linux has this in files. Elsewhere it takes system calls, which are not worth their `unsafe`.
        let cpu =
            field("/proc/cpuinfo", "model name", ':').or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok());
        let os = field("/etc/os-release", "PRETTY_NAME", '=');
        Self {
            cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.into()),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            os: match os {
                Some(name) => format!("{name} ({}, {})", std::env::consts::OS, std::env::consts::ARCH),
                None => format!("{} ({})", std::env::consts::OS, std::env::consts::ARCH),
            },
        }
    }
}

/// Returns the value of the first line whose key is `name`, unless it is empty.
fn field(path: &str, name: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })?;
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_and_goes_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("os-release");
        fs::write(&path, "ID=x\nPRETTY_NAME=\"An OS 12\"\nEMPTY=\"\"\n").unwrap();
        let value = |name| field(path.to_str().unwrap(), name, '=');
        assert_eq!(value("PRETTY_NAME").as_deref(), Some("An OS 12"));
        assert_eq!((value("EMPTY"), value("NAME"), field("/nowhere", "x", '=')), (None, None, None));
        let machine = Machine::this();
        assert!(machine.cpus >= 1 && !machine.cpu.is_empty() && machine.os.contains(std::env::consts::ARCH));
    }
}
