//! The gateway's own user: an agent that shares it reads its keys and edits its rules.

use super::{Findings, Verdict};
use crate::show::escape;
use std::path::Path;

/// Programs that are agents, or that agents run in.
const AGENTS: [&str; 7] = ["claude", "codex", "cursor", "kiro", "copilot", "gemini", "node"];

/// Looks at the user that owns the state directory, and at what else runs as it.
pub(super) fn examine(found: &mut Findings, owner: u32, agent: Option<u32>) {
    match agent {
        Some(agent) if agent == owner || agent == 0 => {
            let words = format!(
                "the agent's user {agent} is {}: it reads the gateway's keys and secrets and edits its \
                 rules; run the gateway as a user of its own (see docs/operating.md)",
                if agent == 0 { "root" } else { "the gateway's" }
            );
            found.add(Verdict::Bad, "user", words);
        }
        Some(agent) => {
            found.add(Verdict::Good, "user", format!("{owner}; the agent's is {agent}"));
        }
        None => {}
    }
    let running = running_as(Path::new("/proc"), owner);
    if let Some((first, pid)) = running.first() {
        let words = format!(
            "`{}` (process {pid}) and {} more like it run as the gateway's user {owner}: what runs as \
             it reads its keys and edits its rules; run the gateway as a user of its own",
            escape::line(first),
            running.len() - 1
        );
        found.add(Verdict::Warning, "user", words);
    }
}

/// Processes of this user that look like agents: name and number.
fn running_as(processes: &Path, user: u32) -> Vec<(String, u32)> {
    let Ok(entries) = std::fs::read_dir(processes) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let is_users = |uids: &str| {
            uids.split_whitespace().any(|uid| uid.parse::<u32>().is_ok_and(|uid| uid == user))
        };
        if uids.is_some_and(is_users)
            && let Some(name) = agent_in(&read("cmdline"))
        {
            found.push((name, pid));
        }
    }
    found.sort_by_key(|(_, pid)| *pid);
    found
}

/// The agent's name in a command line, as program or as the script that an interpreter runs.
fn agent_in(command_line: &[u8]) -> Option<String> {
    let words = command_line.split(|byte| *byte == 0).take(2);
    words.into_iter().find_map(|word| {
        let word = String::from_utf8_lossy(word);
        let name = Path::new(word.as_ref()).file_name()?.to_str()?.to_lowercase();
        let stem = name.split(['.', '-']).next()?;
        AGENTS.contains(&stem).then(|| name.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_by_program_or_script_and_user() {
        assert_eq!(agent_in(b"/usr/bin/claude\0--x\0").as_deref(), Some("claude"));
        assert_eq!(agent_in(b"python3\0/opt/codex.py\0").as_deref(), Some("codex.py"));
        assert_eq!(agent_in(b"/bin/bash\0-c\0claude\0"), None);
        assert_eq!(agent_in(b"nodemon\0"), None);
        let proc = tempfile::tempdir().unwrap();
        for (pid, uid) in [("11", 7), ("12", 8), ("self", 7)] {
            let folder = proc.path().join(pid);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("cmdline"), b"/usr/bin/kiro\0").unwrap();
            std::fs::write(folder.join("status"), format!("Name:\tkiro\nUid:\t{uid}\t{uid}\n"))
                .unwrap();
        }
        assert_eq!(running_as(proc.path(), 7), [("kiro".to_owned(), 11)]);
    }
}
