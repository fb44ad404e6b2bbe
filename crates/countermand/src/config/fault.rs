//! What is wrong with a configuration, where, and what to do about it.

use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A configuration that cannot be used. Its values are not repeated: one may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}; name the configuration with --config, or make one with `countermand init`", file.display())]
    Unreadable {
        /// The file, or directory.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What it says is not a configuration.
    #[error("{}:{line}: {message}", file.display())]
    Fault {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the remedy.
        message: String,
    },
}

/// A file's text and its places, to say where something is.
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// What the parser found wrong.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start);
        let mut message = error.message().replace('\n', " ");
        if is_secret(&message) {
            message.push_str(
                ": secrets are never written here; name a role with `user` and say where its \
                 password is with `secret = { file = \"…\" }`",
            );
        }
        self.fault(self.line_of(at), message)
    }

    /// What is wrong at this path of keys, or the nearest part of it that is there.
    pub(super) fn at(&self, path: &[&str], message: impl Into<String>) -> ConfigError {
        self.fault(self.line_of(self.place(path)), message.into())
    }

    fn fault(&self, line: usize, message: String) -> ConfigError {
        ConfigError::Fault { file: self.file.to_owned(), line, message }
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count()
    }

    fn place(&self, path: &[&str]) -> usize {
        let Ok(root) = DeTable::parse(self.text) else { return 0 };
        let mut at = 0;
        let mut here: Option<&DeTable<'_>> = Some(root.get_ref());
        for key in path {
            let Some(table) = here else { break };
            let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else {
                break;
            };
            at = name.span().start;
            here = match value.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            };
        }
        at
    }
}

fn is_secret(message: &str) -> bool {
    ["password", "passwd", "pass", "pwd", "token"]
        .iter()
        .any(|word| message.starts_with(&format!("unknown field `{word}`")))
}
