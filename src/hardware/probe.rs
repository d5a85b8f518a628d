//! What this machine is: cores, memory, and what its processor can do.

use serde::Serialize;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// What matters of a machine when a model is to run on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// `linux`, and so on.
    pub system: String,
    /// `x86_64`, and so on.
    pub architecture: String,
    /// Threads that can run at once.
    pub num_cores: usize,
    /// All memory, in bytes; the limit of the control group where that is smaller.
    pub ram_bytes: u64,
    /// Memory that a new process could have now, in bytes.
    pub available_bytes: u64,
    /// The processor's extensions that speed up models, for example `avx2`.
    pub cpu_features: Vec<String>,
}

/// Looks at this machine.
pub fn probe() -> Machine {
    let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    // A system that cannot be asked is treated as one without memory: nothing is promised to fit it.
    let system = System::new_with_specifics(kind).ok();
    let limits = system.as_ref().and_then(|system| system.cgroup_limits());
    let limit_bytes = limits.map_or(u64::MAX, |limits| limits.total_memory);
    Machine {
        system: std::env::consts::OS.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        num_cores: std::thread::available_parallelism().map_or(1, usize::from),
        ram_bytes: system.as_ref().map_or(0, System::total_memory).min(limit_bytes),
        available_bytes: system.as_ref().map_or(0, System::available_memory).min(limit_bytes),
        cpu_features: cpu_features().into_iter().map(ToOwned::to_owned).collect(),
    }
}

/// The platform that this program was built for, as a target triple.
pub fn target_triple() -> String {
    let architecture = std::env::consts::ARCH;
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    match std::env::consts::OS {
        "linux" => format!("{architecture}-unknown-linux-{libc}"),
        "macos" => format!("{architecture}-apple-darwin"),
        "windows" => format!("{architecture}-pc-windows-msvc"),
        other => format!("{architecture}-unknown-{other}"),
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let mut features = Vec::new();
    macro_rules! look {
        ($($name:tt),*) => { $( if std::arch::is_x86_feature_detected!($name) { features.push($name); } )* };
    }
    look!("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512vnni", "sha");
    features
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<&'static str> {
    let mut features = Vec::new();
    macro_rules! look {
        ($($name:tt),*) => { $( if std::arch::is_aarch64_feature_detected!($name) { features.push($name); } )* };
    }
    look!("neon", "dotprod", "i8mm", "sve", "sha2");
    features
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_a_core_and_memory() {
        let machine = probe();
        assert!(machine.num_cores >= 1 && machine.ram_bytes > 0);
        assert!(machine.available_bytes <= machine.ram_bytes);
    }
}
