//! An installation in a scratch folder, and the real binary run against it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// What a command said, and how it ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary, with nothing of this process' environment that it would use.
pub(crate) fn countermand() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countermand"));
    for name in ["COUNTERMAND_CONFIG", "COUNTERMAND_CREDENTIAL", "COUNTERMAND_DOOR", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs it with these arguments.
pub(crate) fn run(words: &[&str]) -> Ended {
    run_with(countermand().args(words), "")
}

/// Runs a command with this on its standard input.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Two people, alice who sponsors and bob who reviews, and one target in staging.
pub(crate) struct Installation {
    folder: tempfile::TempDir,
}

impl Installation {
    pub(crate) fn new() -> Installation {
        let installation = Installation { folder: tempfile::tempdir().unwrap() };
        for name in ["alice", "bob", "mallory"] {
            let key = installation.key(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(key)
                .status();
            assert!(made.unwrap().success());
        }
        let made = installation.init(&["--staging"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let bob = installation.public("bob");
        installation.edit(|text| {
            let text = text.replace("127.0.0.1:6432", "127.0.0.1:0");
            format!("{text}\n[people.bob]\nkeys = [{bob:?}]\n[reviewers.bob]\n")
        });
        installation
    }

    pub(crate) fn init(&self, more: &[&str]) -> Ended {
        let key = self.key("alice").with_extension("pub");
        let mut command = countermand();
        command.arg("init").arg(self.folder()).arg("--key").arg(key);
        command.args(["--name", "acme", "--human", "alice", "--target", "shop"]);
        command.args(["--host", "127.0.0.1", "--port", "1", "--database", "shop"]).args(more);
        run_with(&mut command, "")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("installation")
    }

    /// The file of a private key; its public one is beside.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder().join("countermand.toml")
    }

    /// The line of a public key.
    pub(crate) fn public(&self, name: &str) -> String {
        let line = std::fs::read_to_string(self.key(name).with_extension("pub")).unwrap();
        line.trim().to_owned()
    }

    /// Puts a secret where the configuration says that it is.
    pub(crate) fn secret(&self, path: &str, secret: &str) {
        let path = self.folder().join(path);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Rewrites the configuration.
    pub(crate) fn edit(&self, edit: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), edit(text)).unwrap();
    }

    /// The binary with this installation's configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = countermand();
        command.arg("--config").arg(self.config()).args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        run_with(&mut self.command(words), "")
    }

    /// Runs a command that somebody signs.
    pub(crate) fn sign(&self, who: &str, words: &[&str]) -> Ended {
        let mut command = self.command(words);
        run_with(command.arg("--key").arg(self.key(who)), "")
    }

    /// Starts the gateway and waits until it says that it serves.
    pub(crate) fn serve(&self) -> Serving {
        let mut child = self.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("serving") {
            assert!(log.read_line(&mut said).unwrap() > 0, "the gateway ended");
        }
        // Read on, so that the gateway never waits for somebody to read its log.
        let said = Arc::new(Mutex::new(said));
        let told = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                *told.lock().unwrap() += &format!("{line}\n");
            }
        });
        Serving { child: Some(child), said }
    }
}

/// A running gateway; killed with the test that forgot it.
pub(crate) struct Serving {
    child: Option<Child>,
    said: Arc<Mutex<String>>,
}

impl Serving {
    /// Waits until its log has a line with all of these, and gives it.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let has = |line: &&str| words.iter().all(|word| line.contains(word));
        let began = std::time::Instant::now();
        while began.elapsed().as_secs() < 30 {
            let said = self.said.lock().unwrap().clone();
            if let Some(line) = said.lines().find(has) {
                return line.to_owned();
            }
            std::thread::yield_now();
        }
        panic!("{words:?} is not in {}", self.said.lock().unwrap());
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Asks it to stop, and gives its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let told = Command::new("kill").arg(child.id().to_string()).status();
        assert!(told.unwrap().success());
        child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A copy of a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
