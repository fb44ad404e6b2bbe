//! Where PostgreSQL's programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ScratchError;

/// A directory counts only if it has all of these: a stray `initdb` elsewhere is no server.
const NEEDED: [&str; 4] = ["initdb", "postgres", "psql", "pg_dump"];

/// One installation of PostgreSQL's programs, all of one version.
#[derive(Clone, Debug)]
pub struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Finds them: `COUNTERMAND_PG_BIN` if set, and then nowhere else; `PATH`; the newest of the
    /// places where packages put them; what `pg_config` says.
    pub fn find() -> Result<Tools, ScratchError> {
        if let Some(named) = std::env::var_os("COUNTERMAND_PG_BIN") {
            return Tools::first_complete([PathBuf::from(named)]);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).collect();
        candidates.extend(versions("/usr/lib/postgresql", "", "bin"));
        candidates.extend(versions("/usr", "pgsql-", "bin"));
        candidates.extend(versions("/opt/homebrew/opt", "postgresql@", "bin"));
        candidates.extend(pg_config_directory());
        Tools::first_complete(candidates)
    }

    fn first_complete(
        candidates: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Tools, ScratchError> {
        let mut looked = Vec::new();
        for directory in candidates {
            if NEEDED.iter().all(|tool| directory.join(tool).is_file()) {
                return Ok(Tools { directory });
            }
            looked.push(directory.display().to_string());
        }
        Err(ScratchError::ToolsMissing { looked: looked.join(", ") })
    }

    /// The directory they are all in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one of them, such as `pg_dump`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A `psql` that reads no start-up file, takes nothing from our environment, stops at the
    /// first error and prints bare rows.
    pub(super) fn psql(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.program("psql"));
        command.args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]);
        command.env_clear().env("LC_ALL", "C").env("PGCLIENTENCODING", "UTF8");
        command.env("PGCONNECT_TIMEOUT", "20").kill_on_drop(true);
        command
    }
}

/// `BASE/<prefix><version>/<below>` for every version there is, the newest first.
fn versions(base: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(below)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

fn pg_config_directory() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(directory.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_counts_only_with_every_program_in_it() {
        let part = tempfile::tempdir().unwrap();
        let whole = tempfile::tempdir().unwrap();
        for tool in NEEDED {
            std::fs::write(whole.path().join(tool), "").unwrap();
        }
        std::fs::write(part.path().join("initdb"), "").unwrap();
        let both = [part.path().to_owned(), whole.path().to_owned()];
        assert_eq!(Tools::first_complete(both).unwrap().directory(), whole.path());

        let error = Tools::first_complete([part.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains(&part.path().display().to_string()), "{error}");
        assert!(error.contains("COUNTERMAND_PG_BIN"), "{error}");
    }

    #[test]
    fn the_newest_version_comes_first_by_number() {
        let base = tempfile::tempdir().unwrap();
        for version in ["9", "18", "15", "stray"] {
            std::fs::create_dir(base.path().join(version)).unwrap();
        }
        let expected = ["18", "15", "9"].map(|v| base.path().join(v).join("bin"));
        assert_eq!(versions(base.path().to_str().unwrap(), "", "bin"), expected);
    }
}
