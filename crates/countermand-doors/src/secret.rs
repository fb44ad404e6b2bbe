//! Where a secret is, and reading it at the moment it is used.
//!
//! Configuration holds references only. An error names the reference and never what was read.

use secrecy::{SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// No password is longer, in bytes; what is, is the wrong file.
const MAX_SECRET: u64 = 64 * 1024;
const COMMAND_WITHIN: Duration = Duration::from_secs(10);

/// Where a secret is: `{ file = "…" }`, `{ command = ["…"] }` or `{ env = "…" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// The content of a file, without the line end at its end.
    File(PathBuf),
    /// What a program writes to standard output, likewise; run without a shell.
    Command(Vec<String>),
    /// A variable of this process' environment.
    Env(String),
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The operating system refused.
    #[error("cannot read the secret from {from}: {source}")]
    Io {
        /// The reference.
        from: SecretRef,
        /// Its answer.
        source: std::io::Error,
    },
    /// The program failed. What it wrote is not shown: it may hold the secret.
    #[error("cannot read the secret from {from}: the program {how}; run it by hand to see why")]
    Command {
        /// The reference.
        from: SecretRef,
        /// How it ended.
        how: String,
    },
    /// There is no such variable.
    #[error("cannot read the secret from {0}: it is not set; set it where `serve` is started")]
    Unset(SecretRef),
    /// It cannot be a password.
    #[error("the secret from {from} is {what}; write the password alone into it, as UTF-8")]
    Unfit {
        /// The reference.
        from: SecretRef,
        /// `empty`, `too long`, `not UTF-8`.
        what: &'static str,
    },
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "file `{}`", path.display()),
            SecretRef::Command(words) => {
                // Only the program: someone may have put a token among its arguments.
                write!(f, "command `{}`", words.first().map_or("", String::as_str))
            }
            SecretRef::Env(name) => write!(f, "environment variable `{name}`"),
        }
    }
}

impl SecretRef {
    /// Reads the secret, now: a rotated one is found at the next use.
    ///
    /// # Errors
    /// [`SecretError`], which never shows what was read.
    pub async fn read(&self) -> Result<SecretString, SecretError> {
        let bytes = match self {
            SecretRef::File(path) => {
                let file = tokio::fs::File::open(path).await.map_err(|e| self.io(e))?;
                self.limited(file).await?
            }
            SecretRef::Command(words) => self.output(words).await?,
            SecretRef::Env(name) => {
                let value = std::env::var_os(name).ok_or(SecretError::Unset(self.clone()))?;
                Zeroizing::new(value.into_encoded_bytes())
            }
        };
        self.password(&bytes)
    }

    async fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let ended = |how: String| SecretError::Command { from: self.clone(), how };
        let (program, arguments) =
            words.split_first().ok_or_else(|| ended("has no name".to_owned()))?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| self.io(e))?;
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let run = async {
            let bytes = self.limited(stdout).await?;
            let status = child.wait().await.map_err(|e| self.io(e))?;
            if status.success() { Ok(bytes) } else { Err(ended(format!("ended with {status}"))) }
        };
        let late = format!("did not end within {} s", COMMAND_WITHIN.as_secs());
        tokio::time::timeout(COMMAND_WITHIN, run).await.map_err(|_| ended(late))?
    }

    async fn limited(
        &self,
        from: impl tokio::io::AsyncRead + Unpin,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        // Room from the start: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET as usize + 1));
        let mut from = from.take(MAX_SECRET + 1);
        from.read_to_end(&mut bytes).await.map_err(|e| self.io(e))?;
        if bytes.len() as u64 > MAX_SECRET {
            return Err(self.unfit("too long"));
        }
        Ok(bytes)
    }

    fn password(&self, bytes: &[u8]) -> Result<SecretString, SecretError> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.unfit("not UTF-8"))?;
        let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
        if text.is_empty() {
            return Err(self.unfit("empty"));
        }
        Ok(SecretString::from(text))
    }

    fn unfit(&self, what: &'static str) -> SecretError {
        SecretError::Unfit { from: self.clone(), what }
    }

    fn io(&self, source: std::io::Error) -> SecretError {
        SecretError::Io { from: self.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn command(words: &[&str]) -> SecretRef {
        SecretRef::Command(words.iter().map(|w| (*w).to_owned()).collect())
    }

    #[tokio::test]
    async fn a_secret_is_read_where_it_is_and_loses_its_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, " s3cret \r\n").unwrap();
        let secret = SecretRef::File(file).read().await.unwrap();
        assert_eq!(secret.expose_secret(), " s3cret ");
        let secret = command(&["printf", "%s\n", "from a program"]).read().await.unwrap();
        assert_eq!(secret.expose_secret(), "from a program");
    }

    #[tokio::test]
    async fn an_error_names_the_reference_and_shows_nothing_of_the_value() {
        let long = command(&["head", "-c", "70000", "/dev/zero"]).read().await.unwrap_err();
        assert!(long.to_string().contains("too long"), "{long}");
        let failed = command(&["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]);
        let failed = failed.read().await.unwrap_err();
        assert!(failed.to_string().contains("command `sh`"), "{failed}");
        assert!(!failed.to_string().contains("hunter2"), "{failed}");
        let unset = SecretRef::Env("COUNTERMAND_NO_SUCH".to_owned()).read().await.unwrap_err();
        assert!(matches!(unset, SecretError::Unset(_)));
        let empty = command(&["echo"]).read().await.unwrap_err();
        assert!(empty.to_string().contains("empty"), "{empty}");
        let absent = SecretRef::File("/no/such/file".into()).read().await.unwrap_err();
        assert!(absent.to_string().contains("file `/no/such/file`"), "{absent}");
    }

    #[test]
    fn a_reference_reads_as_it_is_written_in_a_configuration() {
        let read = |text: &str| serde_json::from_str::<SecretRef>(text).unwrap();
        assert_eq!(read(r#"{"file": "/run/secret"}"#), SecretRef::File("/run/secret".into()));
        assert_eq!(read(r#"{"command": ["pass", "db"]}"#), command(&["pass", "db"]));
        assert_eq!(read(r#"{"env": "DB"}"#), SecretRef::Env("DB".to_owned()));
    }
}
