//! Who could put something else in a file's place: its owner, whoever may write it, and whoever may
//! rename a folder above it.

use super::{Findings, Verdict};
use crate::config::Config;
use countermand_doors::secret::SecretRef;
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;

/// Looks at everything that decides what the gateway does, and at every folder above it.
pub(super) fn examine(found: &mut Findings, config: &Config, owner: u32) {
    let mut seen = BTreeSet::new();
    let mut holes = 0;
    for (what, path) in paths(config) {
        // The way as it is written, and the way that it really takes: a link can be replaced too.
        let written = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        let real = path.canonicalize().unwrap_or_else(|_| written.clone());
        for place in written.ancestors().chain(real.ancestors()) {
            if !seen.insert(place.to_owned()) {
                continue;
            }
            let Ok(data) = place.symlink_metadata() else { continue };
            if let Some(hole) = hole(place, &data, owner) {
                holes += 1;
                found.add(Verdict::Bad, &what, hole);
            }
        }
    }
    if holes == 0 {
        let words = "nobody but root and its user can replace what it reads";
        found.add(Verdict::Good, "folders", words);
    }
}

fn paths(config: &Config) -> Vec<(String, PathBuf)> {
    let mut paths = vec![
        ("configuration".to_owned(), config.file.clone()),
        ("state directory".to_owned(), config.state.join("keys/ledger.key")),
        ("state directory".to_owned(), config.state.join("keys/texts.key")),
        ("state directory".to_owned(), config.state.join("store.sqlite")),
        ("restore points".to_owned(), config.installation.restore_points.clone()),
    ];
    if let Some(policies) = &config.policies {
        paths.push(("policies".to_owned(), policies.clone()));
        let files = std::fs::read_dir(policies).into_iter().flatten().flatten();
        paths.extend(files.map(|file| ("policies".to_owned(), file.path())));
    }
    if let Some((certificate, key)) = &config.door.tls {
        paths.push(("door certificate".to_owned(), certificate.clone()));
        paths.push(("door key".to_owned(), key.clone()));
    }
    // It runs as the gateway's user.
    for (name, placement) in &config.installation.targets {
        let program = placement.notify.iter().flat_map(|command| command.first());
        paths.extend(program.map(|program| (format!("{name} notify"), PathBuf::from(program))));
    }
    for (name, target) in &config.targets {
        for (role, login) in [("session", &target.session), ("executor", &target.executor)] {
            if let SecretRef::File(path) = &login.secret {
                paths.push((format!("{name} {role} secret"), path.clone()));
            }
        }
    }
    paths
}

/// What is wrong with one place, if anything.
fn hole(place: &Path, data: &Metadata, owner: u32) -> Option<String> {
    let shown = place.display();
    if data.uid() != ROOT && data.uid() != owner {
        return Some(format!(
            "`{shown}` belongs to user {}, who can replace what is there; give it to the gateway's \
             user: chown {owner} {shown}",
            data.uid()
        ));
    }
    // Of a link only the folder that it lies in counts; in a sticky folder nobody renames what is
    // another's.
    if data.is_symlink() || (data.is_dir() && data.mode() & STICKY != 0) {
        return None;
    }
    let act = if data.is_dir() { "put other files into" } else { "write" };
    if data.mode() & 0o002 != 0 {
        return Some(format!("everybody can {act} `{shown}`; run: chmod o-w {shown}"));
    }
    let others = data.mode() & 0o020 != 0 && data.gid() != ROOT && !is_alone(data.gid(), owner);
    others.then(|| format!("group {} can {act} `{shown}`; run: chmod g-w {shown}", data.gid()))
}

/// Whether nobody but this user is in the group, as far as this machine's files say.
fn is_alone(group: u32, owner: u32) -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    alone(&read("/etc/passwd"), &read("/etc/group"), group, owner)
}

fn alone(users: &str, groups: &str, group: u32, owner: u32) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let mut name = None;
    for line in users.lines() {
        let mut fields = line.split(':');
        let user = fields.next();
        let (uid, gid) = (number(fields.nth(1)), number(fields.next()));
        if uid == Some(owner) {
            name = user;
        } else if gid == Some(group) && uid != Some(ROOT) {
            return false;
        }
    }
    let line = groups.lines().find(|line| number(line.split(':').nth(2)) == Some(group));
    let members = line.and_then(|line| line.split(':').nth(3));
    // A group that the files do not know may hold anybody.
    members.is_some_and(|members| {
        members
            .split(',')
            .all(|member| member.is_empty() || member == "root" || Some(member) == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn looked(path: &Path) -> Option<String> {
        let data = path.symlink_metadata().unwrap();
        hole(path, &data, data.uid())
    }

    #[test]
    fn a_folder_that_others_may_rename_is_a_hole_and_a_sticky_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let chmod = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), mode).unwrap();
        };
        for (mode, is_hole) in [(0o700, false), (0o755, false), (0o777, true), (0o1777, false)] {
            chmod(mode);
            assert_eq!(looked(folder.path()).is_some(), is_hole, "{mode:o}");
        }
    }

    #[test]
    fn what_belongs_to_somebody_else_is_a_hole() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().metadata().unwrap();
        let other = data.uid() + 1;
        // Root's is nobody's hole.
        assert_eq!(hole(folder.path(), &data, other).is_some(), data.uid() != ROOT);
    }

    #[test]
    fn a_group_is_shared_unless_the_files_say_that_nobody_else_is_in_it() {
        let users = "root:x:0:0::/:\ngate:x:7:7::/:\nagent:x:8:8::/:\n";
        let groups = "gate:x:7:gate,root\nagent:x:8:\nops:x:9:gate,agent\n";
        for (group, is_alone) in [(7, true), (8, false), (9, false), (10, false)] {
            assert_eq!(alone(users, groups, group, 7), is_alone, "{group}");
        }
    }
}
