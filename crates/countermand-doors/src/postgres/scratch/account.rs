//! Who the server runs as: PostgreSQL refuses root.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ScratchError, io};

const PREFIX: &str = "countermand-scratch-";
const ROOT: u32 = 0;

/// The operating system's account that runs a scratch server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The one we run as ourselves.
    Own,
    /// Another, because we are root.
    Other {
        /// Its number.
        uid: u32,
        /// Its group's.
        gid: u32,
    },
}

impl Account {
    pub(super) fn for_server() -> Result<Account, ScratchError> {
        // A file of ours tells who we are without a call into libc.
        let probe = tempfile::tempfile().and_then(|file| file.metadata());
        if probe.map_err(io("create a temporary file"))?.uid() != ROOT {
            return Ok(Account::Own);
        }
        let users = std::fs::read_to_string("/etc/passwd").map_err(io("read /etc/passwd"))?;
        let found = ["postgres", "nobody"].iter().find_map(|name| account_of(&users, name));
        found.ok_or(ScratchError::NoAccount)
    }

    /// A new directory of this account, which no other but root can enter.
    pub(super) fn scratch_directory(self) -> Result<tempfile::TempDir, ScratchError> {
        let usual = std::env::temp_dir();
        let base = [usual.clone(), PathBuf::from("/tmp")]
            .into_iter()
            .find(|base| self == Account::Own || open_to_all(base))
            .ok_or(ScratchError::NoRoom { directory: usual })?;
        let scratch = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base);
        let scratch = scratch.map_err(io("create a scratch directory"))?;
        self.own(scratch.path())?;
        Ok(scratch)
    }

    /// Gives a file of ours to the account.
    pub(super) fn own(self, path: &Path) -> Result<(), ScratchError> {
        match self {
            Account::Own => Ok(()),
            Account::Other { uid, gid } => chown(path, Some(uid), Some(gid))
                .map_err(io("give the scratch directory to the server's account")),
        }
    }

    /// Makes a command run as the account, in a process group of its own: a Ctrl-C is for us, and
    /// the server goes after we did.
    pub(super) fn run_as(self, command: &mut Command) {
        if let Account::Other { uid, gid } = self {
            // std drops the supplementary groups when root changes the user.
            command.gid(gid).uid(uid);
        }
        command.process_group(0);
    }
}

/// Whether any account can make a directory here, and remove it again.
fn open_to_all(base: &Path) -> bool {
    const SEARCH: u32 = 0o001;
    const WRITE: u32 = 0o002;
    let allows = |path: &Path, bits: u32| {
        path.metadata().is_ok_and(|meta| meta.permissions().mode() & bits == bits)
    };
    base.is_absolute()
        && allows(base, SEARCH | WRITE)
        && base.ancestors().all(|parent| allows(parent, SEARCH))
}

fn account_of(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != ROOT).then_some(Account::Other { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name_and_is_never_root() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:\npostgres:x:101:104::/:\n\
                      nobody:x:0:0::/:\n";
        assert_eq!(account_of(passwd, "postgres"), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(account_of(passwd, "nobody"), None);
        assert_eq!(account_of(passwd, "absent"), None);
    }

    #[test]
    fn a_directory_below_a_private_one_is_not_open_to_all() {
        let private = tempfile::tempdir().unwrap();
        let open = private.path().join("open");
        std::fs::create_dir(&open).unwrap();
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        chmod(&open, 0o777);
        chmod(private.path(), 0o700);
        assert!(!open_to_all(&open));
        chmod(private.path(), 0o755);
        assert!(open_to_all(&open));
        assert!(!open_to_all(private.path()));
    }
}
