//! A pseudo-terminal with the real binary at it, answered as a human would.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a human looks at a screen on which nothing appears.
const PATIENCE: Duration = Duration::from_secs(120);
const CTRL_C: &[u8] = b"\x03";

/// A terminal at which one command runs. `script` of util-linux makes it, and becomes the
/// session whose foreground the command is: what is typed here reaches it through the kernel's
/// own line discipline, Ctrl-C as a signal.
pub(crate) struct Terminal {
    script: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    looked_at: usize,
}

impl Terminal {
    /// Runs this command at a terminal of 100 columns.
    pub(crate) fn start(command: &Command) -> Terminal {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| quoted(word.to_str().unwrap())).collect();
        // Whoever runs the tests in the background may have Ctrl-C ignored, and that is inherited.
        let line =
            format!("stty cols 100 rows 40; exec env --default-signal=INT {}", words.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.env("SHELL", "/bin/sh").env("TERM", "xterm").env_remove("NO_COLOR");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut script = script.spawn().unwrap();
        let keyboard = script.stdin.take();
        let mut output = script.stdout.take().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { script, keyboard, screen, seen: Vec::new(), looked_at: 0 }
    }

    /// Looks until these words are on the screen; gives what is new up to them, as it was drawn.
    pub(crate) fn until(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = &self.seen[self.looked_at..];
            if let Some(at) = new.windows(words.len()).position(|part| part == words.as_bytes()) {
                let drawn = &new[..at + words.len()];
                let text = String::from_utf8(drawn.to_vec()).unwrap();
                self.looked_at += drawn.len();
                return text;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(why) => panic!("`{words}` does not appear ({why}) in\n{}", self.drawn()),
            }
        }
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.press(format!("{line}\n").as_bytes());
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupts(&mut self) {
        self.press(CTRL_C);
    }

    fn press(&mut self, keys: &[u8]) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys).and_then(|()| keyboard.flush()).unwrap();
    }

    /// Waits until the command has ended; gives its code, as a shell has it, and what else it
    /// drew.
    pub(crate) fn end(mut self) -> (i32, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on:\n{}", self.drawn()),
            }
        }
        let code = self.script.wait().unwrap().code().unwrap();
        let rest = String::from_utf8(self.seen[self.looked_at..].to_vec()).unwrap();
        (code, rest)
    }

    fn drawn(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

impl Drop for Terminal {
    /// A terminal that goes away hangs up on what runs at it.
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What was drawn, as letters. Nothing but colours may draw: whatever moves the cursor, hides or
/// turns text round would let an agent write into a human's screen.
pub(crate) fn letters(drawn: &str) -> String {
    let mut letters = String::new();
    let mut rest = drawn;
    while let Some((before, escape)) = rest.split_once('\u{1b}') {
        letters.push_str(before);
        let colour = escape.strip_prefix('[').and_then(|colour| colour.split_once('m'));
        let digits = |text: &&str| text.chars().all(|c| c.is_ascii_digit() || c == ';');
        let colour = colour.filter(|(colour, _)| digits(colour));
        rest = colour.unwrap_or_else(|| panic!("more than a colour: {escape:?}")).1;
    }
    letters.push_str(rest);
    let letters = letters.replace("\r\n", "\n");
    let hidden = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!letters.contains(hidden), "{letters:?}");
    letters
}
