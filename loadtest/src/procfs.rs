//! What Linux says about processes: CPU time, memory, limits.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

/// USER_HZ: fixed at 100 for programs on every common Linux.
const TICK_MS: u64 = 10;

/// User and system time of a process so far, from `/proc/<pid>/stat`, to 10 ms.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    parse_cpu(&stat).with_context(|| format!("/proc/{pid}/stat can't be read"))
}

/// Whether a process lives: not ended, and not waiting to be buried.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// CPU time of this process.
pub fn own_cpu() -> anyhow::Result<Duration> {
    cpu(std::process::id())
}

fn parse_cpu(stat: &str) -> Option<Duration> {
    // The second field is the command's name in brackets and may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * TICK_MS))
}

/// CPU time spent by the whole machine so far, idle left out.
pub fn machine_cpu() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat can't be read")?;
    parse_machine(&stat).context("/proc/stat has an unknown form")
}

fn parse_machine(stat: &str) -> Option<Duration> {
    let ticks: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let busy = ticks.get(..8)?.iter().enumerate().filter(|(index, _)| ![3, 4].contains(index));
    Some(Duration::from_millis(busy.map(|(_, ticks)| ticks * TICK_MS).sum()))
}

/// Resident memory of a process in bytes, from `/proc/<pid>/statm`.
pub fn memory(pid: u32) -> anyhow::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).with_context(|| format!("process {pid} is gone"))?;
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.context("/proc/<pid>/statm has an unknown form")? * page_size())
}

/// Bytes of a page, from the kernel's word to this process (AT_PAGESZ).
fn page_size() -> u64 {
    const AT_PAGESZ: u64 = 6;
    let auxv = fs::read("/proc/self/auxv").unwrap_or_default();
    let words: Vec<u64> =
        auxv.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default())).collect();
    words.chunks_exact(2).find(|pair| pair[0] == AT_PAGESZ).map_or(4096, |pair| pair[1])
}

/// How many files a process has open.
pub fn files(pid: u32) -> anyhow::Result<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| format!("process {pid} is gone"))?;
    Ok(open.count() as u64)
}

/// How many files this process, and those that it starts, may have open.
pub fn file_limit() -> anyhow::Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits").context("/proc/self/limits can't be read")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some("unlimited") => Ok(u64::MAX),
        Some(limit) => limit.parse().context("the limit of open files is no number"),
        None => bail!("/proc/self/limits names no limit of open files"),
    }
}

/// Lets the kernel make the table of this process's files large enough for `count` at once. It doubles otherwise while
/// phones connect, and each time a process with threads waits some 20 ms.
pub fn make_room_for_files(count: u64) -> anyhow::Result<()> {
    let open = |_| fs::File::open("/dev/null");
    let files: Result<Vec<fs::File>, _> = (0..count).map(open).collect();
    drop(files.with_context(|| format!("{count} files can't be open at once"))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_user_and_system_time() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_machine_is_busy_when_it_is_not_idle() {
        assert_eq!(parse_machine("cpu  1 2 3 1000 1000 4 5 6 7 8\ncpu0 1"), Some(Duration::from_millis(210)));
    }

    #[test]
    fn this_process_has_figures() {
        let pid = std::process::id();
        assert!(is_running(pid) && !is_running(u32::MAX));
        assert!(memory(pid).expect("memory") > 100_000);
        assert!(cpu(pid).is_ok() && machine_cpu().is_ok());
        assert!(file_limit().expect("a limit") > 100);
        assert!(page_size().is_power_of_two());
    }
}
