//! What the agent says about its machine. Facts grant nothing.

use std::{env, fs, thread};

use opslink::pb;

/// Collects the facts; `capabilities` are the executor kinds that work here.
pub fn collect(capabilities: Vec<String>) -> pb::Facts {
    pb::Facts {
        hostname: hostname(),
        os: env::consts::OS.to_owned(),
        arch: env::consts::ARCH.to_owned(),
        kernel: line_of("/proc/sys/kernel/osrelease"),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu_count: thread::available_parallelism().map_or(0, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_bytes: memory_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        capabilities,
    }
}

/// The machine's own name; empty when it has none.
pub fn hostname() -> String {
    line_of("/proc/sys/kernel/hostname")
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_machine_are_filled_in() {
        let facts = collect(vec!["shell".into()]);
        assert!(!facts.hostname.is_empty() && !facts.kernel.is_empty());
        assert!(facts.cpu_count > 0 && facts.memory_bytes > 1024 * 1024);
    }

    #[test]
    fn memory_is_read_from_its_line_only() {
        assert_eq!(memory_bytes("MemFree: 1 kB\nMemTotal:   16 kB\n"), 16 * 1024);
        assert_eq!(memory_bytes("nonsense"), 0);
    }
}
