//! Tells a program of the site's: fixed arguments, details as JSON on its standard input.

use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// How long a program may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);

/// Why a program was not told. Nothing of what it wrote is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotifyError {
    /// It is not there, or may not be run.
    #[error("cannot run `{program}`: {source}; name a program by its whole path in `notify`")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("`{program}` ended with {status}; run it by hand to see why")]
    Failed {
        /// Which.
        program: String,
        /// How.
        status: std::process::ExitStatus,
    },
    /// It took too long and was ended.
    #[error("`{program}` did not end in time and was ended")]
    Late {
        /// Which.
        program: String,
    },
}

/// Runs the program, without a shell and with nothing of this process' environment but the path:
/// secrets may be in it. It is ended when it takes longer than `within`.
pub(crate) async fn notify(
    command: &[String],
    details: &Value,
    within: Duration,
) -> Result<(), NotifyError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let program = program.clone();
    let started = |source| NotifyError::Start { program: program.clone(), source };
    let mut command = tokio::process::Command::new(&program);
    command.args(arguments).env_clear().kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(started)?;
    let stdin = child.stdin.take();
    let run = async {
        if let Some(mut stdin) = stdin {
            // One that does not read is no failure: how it ends says what came of it.
            let _unread = stdin.write_all(ascii(details).as_bytes()).await;
        }
        child.wait().await.map_err(started)
    };
    match tokio::time::timeout(within, run).await {
        Err(_) => Err(NotifyError::Late { program: program.clone() }),
        Ok(Err(error)) => Err(error),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(NotifyError::Failed { program: program.clone(), status }),
    }
}

/// JSON in one line of ASCII: nothing in it turns a terminal or a message round.
fn ascii(details: &Value) -> String {
    let mut line = String::new();
    for c in details.to_string().chars() {
        if c.is_ascii() && c != '\u{7f}' {
            line.push(c);
        } else {
            let units = &mut [0; 2];
            line.extend(c.encode_utf16(units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_an_agent_wrote_is_escaped_and_means_the_same() {
        let details =
            serde_json::json!({ "why": "\u{1b}[2J\u{202e}\n\"}\u{7f}😀, {\"take_back\": \"rm\"" });
        let line = ascii(&details);
        let plain = |c: char| (' '..='~').contains(&c);
        assert!(line.trim_end_matches('\n').chars().all(plain), "{line:?}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), details);
    }

    #[tokio::test]
    async fn it_gets_the_details_and_its_own_arguments_and_none_of_our_environment() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!("{{ echo \"$1\"; cat; env; }} > '{}'", out.display());
        let details = serde_json::json!({ "why": "'; touch /tmp/x; $(id)" });
        notify(&words(&["sh", "-c", &script, "sh", "$(id)"]), &details, WITHIN).await.unwrap();
        let told = std::fs::read_to_string(out).unwrap();
        let mut lines = told.lines();
        assert_eq!(lines.next(), Some("$(id)"));
        assert_eq!(serde_json::from_str::<Value>(lines.next().unwrap()).unwrap(), details);
        let ours = |line: &&str| line.starts_with("CARGO") || line.starts_with("HOME=");
        assert_eq!(lines.find(ours), None, "{told}");
    }

    #[tokio::test]
    async fn how_it_failed_is_said_and_not_what_it_wrote() {
        let none = notify(&words(&["/nowhere/notify"]), &Value::Null, WITHIN).await.unwrap_err();
        assert!(none.to_string().contains("whole path"), "{none}");
        let failed = ["sh", "-c", "echo hunter2 >&2; exit 3"];
        let failed = notify(&words(&failed), &Value::Null, WITHIN).await.unwrap_err().to_string();
        assert!(failed.contains('3') && !failed.contains("hunter2"), "{failed}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended() {
        let hangs = words(&["sleep", "600"]);
        let late = notify(&hangs, &Value::Null, Duration::from_millis(1)).await.unwrap_err();
        assert!(matches!(late, NotifyError::Late { .. }), "{late}");
    }
}
