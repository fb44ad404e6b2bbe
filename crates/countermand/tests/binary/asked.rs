//! What is asked at a terminal: `init`, `approve`, `reject` and the demonstration.

use crate::gateway::{Installation, countermand};
use crate::life::{DROP, Life};
use crate::terminal::{Terminal, letters};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const NUMBERS: &str = "the largest number of rows that was measured: ";
/// How a shell names the end by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// `init`, at the home of somebody whose only key is a plain one.
fn init(installation: &Installation, home: &Path, folder: &Path) -> Command {
    let keys = home.join(".ssh");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("id_ed25519.pub"), installation.public("alice")).unwrap();
    let mut command = countermand();
    command.arg("init").arg(folder).env("HOME", home).env("USER", "alice");
    command
}

#[test]
fn init_asks_for_what_it_needs_and_writes_a_configuration_that_loads() {
    let installation = Installation::new();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("gate");
    let mut terminal = Terminal::start(&init(&installation, home.path(), &folder));
    terminal.until("installation called? [gate] ");
    terminal.types("acme");
    terminal.until("Who are you? [alice] ");
    terminal.types("");
    terminal.until("public SSH key? ");
    terminal.until("/.ssh/id_ed25519.pub] ");
    terminal.types("");
    terminal.until("Is the database production? [no] ");
    terminal.types("yes");
    terminal.until("ssh-keygen -t ed25519-sk -O verify-required");
    terminal.until("Guard a staging database first instead? [yes] ");
    terminal.types("");
    terminal.until("called here? [staging] ");
    terminal.types("shop");
    terminal.until("Its host? [127.0.0.1] ");
    terminal.types("db.internal");
    terminal.until("Its database? [postgres] ");
    assert!(!folder.exists(), "nothing is made before all is answered");
    terminal.types("shop");
    let (code, rest) = terminal.end();
    assert_eq!(code, 0, "{rest}");
    assert!(letters(&rest).contains("init postgres"), "{rest}");

    let file = folder.join("countermand.toml");
    let config = countermand::config::Config::load(&file).unwrap();
    assert_eq!(config.installation.name.as_str(), "acme");
    let target = &config.targets[&"shop".parse().unwrap()];
    assert_eq!((target.address.database.as_str(), target.address.port), ("shop", 5432));
    assert!(!config.installation.targets[&"shop".parse().unwrap()].is_production());
}

#[test]
fn init_that_is_interrupted_or_not_answered_makes_nothing() {
    let installation = Installation::new();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("gate");
    let mut terminal = Terminal::start(&init(&installation, home.path(), &folder));
    terminal.until("installation called? [gate] ");
    terminal.types("acme");
    terminal.until("Who are you? [alice] ");
    terminal.interrupts();
    assert_eq!(terminal.end().0, INTERRUPTED);
    let mut command = init(&installation, home.path(), &folder);
    command.args(["--name", "acme", "--human", "alice"]);
    let mut terminal = Terminal::start(&command);
    terminal.until("/.ssh/id_ed25519.pub] ");
    terminal.types("");
    terminal.until("Is the database production? [no] ");
    terminal.types("yes");
    terminal.until("Guard a staging database first instead? [yes] ");
    terminal.types("no");
    let (code, rest) = terminal.end();
    assert!(code == 2 && letters(&rest).contains("nothing was made"), "{code} {rest}");
    assert!(!folder.exists());
}

impl Life {
    fn terminal(&self, who: &str, words: &[&str]) -> Terminal {
        let mut command = self.installation.command(words);
        Terminal::start(command.arg("--key").arg(self.installation.key(who)))
    }

    async fn approvals(&self) -> usize {
        self.shown().await["approvals"].as_array().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reviewer_sees_what_they_sign_types_its_numbers_back_and_unlocks_their_key() {
    let life = Life::begin().await;
    life.admit_bot().await;
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    life.prepared().await;
    let mut protect = Command::new("ssh-keygen");
    protect.args(["-q", "-p", "-P", "", "-N", "a long secret", "-f"]);
    assert!(protect.arg(life.installation.key("bob")).status().unwrap().success());

    let mut terminal = life.terminal("bob", &["approve", "1"]);
    let drawn = terminal.until(NUMBERS);
    assert!(drawn.contains("\u{1b}["), "a terminal has colours");
    let seen = letters(&drawn);
    for words in
        ["untrusted", "\\u{202e}\\u{1b}[1A", "signed for", "1100", "What you sign", "nonce"]
    {
        assert!(seen.contains(words), "`{words}` is not in\n{seen}");
    }
    terminal.types("1 1100");
    let (code, rest) = terminal.end();
    assert!(code == 1 && rest.contains("nothing was signed"), "{code} {rest}");

    let mut terminal = life.terminal("bob", &["approve", "1"]);
    terminal.until(NUMBERS);
    terminal.interrupts();
    assert_eq!(terminal.end().0, INTERRUPTED);

    let mut terminal = life.terminal("bob", &["approve", "1"]);
    terminal.until(NUMBERS);
    terminal.types("1 1000");
    terminal.until("passphrase");
    terminal.interrupts();
    assert_eq!(terminal.end().0, INTERRUPTED);
    assert_eq!(life.approvals().await, 0);

    let mut terminal = life.terminal("bob", &["approve", "1"]);
    terminal.until(NUMBERS);
    terminal.types("1 1000");
    terminal.until("passphrase");
    terminal.types("a long secret");
    let (code, rest) = terminal.end();
    assert!(code == 0 && rest.contains("change 1 is approved by bob"), "{code} {rest}");
    assert!(!rest.contains("a long secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_typed_back_too() {
    let life = Life::begin().await;
    life.admit_bot().await;
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    let words = ["reject", "1", "--reason", "friday"];
    let mut terminal = life.terminal("bob", &words);
    // What does not fit goes on behind a bar of its own.
    let seen = letters(&terminal.until(NUMBERS)).replace("\n  ┊ ", "");
    assert!(seen.contains("\"reason\":\"friday\""), "{seen}");
    terminal.types("2 1000");
    assert_eq!(terminal.end().0, 1);
    assert_eq!(life.shown().await["state"], "held");
    let mut terminal = life.terminal("bob", &words);
    terminal.until(NUMBERS);
    terminal.types("1 1000");
    let (code, rest) = terminal.end();
    assert!(code == 0 && rest.contains("change 1 is rejected by bob"), "{code} {rest}");
    assert_eq!(life.shown().await["state"], "rejected");
}

/// The demonstration goes on at Enter, and at Ctrl-C takes its servers and folders with it.
#[test]
fn the_demonstration_waits_for_its_viewer_and_leaves_nothing_behind() {
    let room = tempfile::tempdir().unwrap();
    std::fs::set_permissions(room.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = countermand();
    let mut terminal = Terminal::start(command.arg("demo").env("TMPDIR", room.path()));
    terminal.until("only [Enter] for here ");
    terminal.types("");
    terminal.until("let the agent try [Enter] ");
    assert!(room.path().read_dir().unwrap().next().is_some(), "it works somewhere else");
    terminal.types("");
    terminal.until("held as change 1");
    terminal.until("tries to approve it herself [Enter] ");
    terminal.interrupts();
    let (code, rest) = terminal.end();
    assert!(code == 1 && rest.contains("nothing is left behind"), "{code} {rest}");
    let left: Vec<_> = room.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
