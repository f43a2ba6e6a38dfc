//! What a pod asks of a node, in whole numbers, and Kubernetes' way to write it.

use scalr_protocol::agent::Presets;

use super::setup::PodSetup;

/// Room on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Room {
    /// In thousandths of a CPU.
    pub cpu_m: u32,
    /// In MiB.
    pub memory_mi: u32,
}

impl Room {
    /// What a task's pod asks for. An error says what can't be read, and where.
    pub(super) fn asked(pod: &PodSetup, presets: &Presets) -> Result<Self, String> {
        let read =
            |field: &str, text: &Option<String>, parse: fn(&str) -> Option<u32>, default: u32| match text {
                None => Ok(default),
                Some(text) => parse(text).ok_or_else(|| format!("{field}: Invalid value: {text:?}")),
            };
        let cpu_m = read("requests.cpu", &presets.cpu, cpu_m, pod.runner_cpu_m)?;
        let memory_mi = read("requests.memory", &presets.memory, memory_mi, pod.runner_memory_mi)?;
        Ok(Self {
            cpu_m: cpu_m.saturating_add(pod.worker_cpu_m),
            memory_mi: memory_mi.saturating_add(pod.worker_memory_mi),
        })
    }

    /// Whether it fits into another.
    pub fn fits(self, free: Self) -> bool {
        self.cpu_m <= free.cpu_m && self.memory_mi <= free.memory_mi
    }

    /// With another.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            cpu_m: self.cpu_m.saturating_add(other.cpu_m),
            memory_mi: self.memory_mi.saturating_add(other.memory_mi),
        }
    }

    /// Without another.
    pub(super) fn less(self, other: Self) -> Self {
        Self {
            cpu_m: self.cpu_m.saturating_sub(other.cpu_m),
            memory_mi: self.memory_mi.saturating_sub(other.memory_mi),
        }
    }

    /// So many thousandths of it.
    pub(super) fn part(self, permille: u32) -> Self {
        let part =
            |whole: u32| u32::try_from(u64::from(whole) * u64::from(permille) / 1_000).unwrap_or(u32::MAX);
        Self { cpu_m: part(self.cpu_m), memory_mi: part(self.memory_mi) }
    }

    /// How often another fits into it.
    pub(super) fn holds(self, each: Self) -> u32 {
        let times = |whole: u32, each: u32| whole.checked_div(each).unwrap_or(u32::MAX);
        times(self.cpu_m, each.cpu_m).min(times(self.memory_mi, each.memory_mi))
    }
}

/// `500m`, `2`, `1.5`.
fn cpu_m(text: &str) -> Option<u32> {
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().ok(),
        None => thousandths(text)?.try_into().ok(),
    }
}

/// `512Mi`, `2Gi`, `1.5Gi`, `2G`, or bytes; rounded up to MiB.
fn memory_mi(text: &str) -> Option<u32> {
    const UNITS: [(&str, u64); 6] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ];
    let (number, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1));
    let bytes = thousandths(number)?.checked_mul(unit)? / 1_000;
    u32::try_from(bytes.div_ceil(1 << 20)).ok()
}

/// A decimal number, times 1000.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::{cpu_m, memory_mi};

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        assert_eq!(["500m", "2", "1.5", "0.25"].map(cpu_m), [Some(500), Some(2_000), Some(1_500), Some(250)]);
        assert_eq!(
            ["512Mi", "2Gi", "1.5Gi", "2G", "1"].map(memory_mi),
            [Some(512), Some(2_048), Some(1_536), Some(1_908), Some(1)]
        );
        assert_eq!(["", "m", "two", "-1", "1.2345"].map(cpu_m), [None; 5]);
        assert_eq!(["", "Mi", "2Zi"].map(memory_mi), [None; 3]);
    }
}
