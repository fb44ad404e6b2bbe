//! The files of the repository, in memory, so that rules are functions of them.

use std::path::Path;
use std::process::Command;

use crate::rust::Code;

/// One text file.
pub(crate) struct File {
    /// Its path from the top of the repository.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

impl File {
    /// The file name without directories and without its ending.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.split('.').next().unwrap_or_default()
    }

    /// The crate whose product code this is a part of: `crates/<it>/src/…`.
    pub(crate) fn product_of(&self) -> Option<&str> {
        let (name, inside) = self.path.strip_prefix("crates/")?.split_once('/')?;
        let only_tests = self.stem() == "tests" || inside.contains("/tests/");
        (inside.starts_with("src/") && self.is_rust() && !only_tests).then_some(name)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The Rust in it, without comments, literals and what is compiled for tests only.
    pub(crate) fn product_code(&self) -> Code {
        Code::of(&self.text).without_tests()
    }
}

/// All text files that are tracked, or would be after `git add`.
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    pub(crate) fn of_repository() -> Result<Tree, String> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask has no parent")?;
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let output = Command::new("git").current_dir(top).args(list).output();
        let output = output.map_err(|error| format!("cannot run git: {error}"))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("git does not list the files: {words}"));
        }
        let paths = String::from_utf8_lossy(&output.stdout).into_owned();
        // Neither a file deleted since, nor one that is not text, has anything to check.
        let files = paths.split_terminator('\0').filter_map(|path| {
            let text = std::fs::read_to_string(top.join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        });
        Ok(Tree { files: files.collect() })
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// A tree for a test.
    #[cfg(test)]
    pub(crate) fn sample(files: &[(&str, &str)]) -> Tree {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Tree { files: files.iter().map(file).collect() }
    }
}
