//! The server's own grammar, on threads whose stacks are deep enough for any text it accepts.
//!
//! The tree of a text is as deep as its nesting. It is decoded, walked and dropped by recursion,
//! so all three happen here, where there is room; no tree leaves this module.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use countermand_core::action::Action;
use countermand_core::verb::postgres as verb;
use pg_query::ParserOptions;
use pg_query::protobuf::RawStmt;

use super::{Interpretation, MAX_SQL, Role, Settings, Spelling, Statement, name, survey};

/// Address space of one thread's stack, in bytes; touched only as deep as texts nest.
const STACK: usize = 512 * 1024 * 1024;
/// Texts that are read at the same time. A text of [`MAX_SQL`] can take some hundred MB.
const THREADS: usize = 4;

/// A text as short as this, in bytes, cannot nest deeper than any thread has room for.
const SHORT: usize = 256;

struct Job {
    sql: String,
    settings: Settings,
    reply: SyncSender<Interpretation>,
}

/// Interprets `sql` where there is room for its tree: here if it is short, else on one of the
/// threads, and waits for it.
pub(super) fn on_deep_stack(sql: &str, settings: Settings) -> Interpretation {
    if sql.len() > MAX_SQL {
        return not_understood(sql, format!("the text is longer than {MAX_SQL} bytes"));
    }
    if sql.len() <= SHORT {
        return caught(sql, settings).unwrap_or_else(|| failed(sql));
    }
    let (reply, answer) = sync_channel(1);
    let job = Job { sql: sql.to_owned(), settings, reply };
    let sent = queue().is_some_and(|queue| queue.send(job).is_ok());
    match answer.recv() {
        Ok(interpretation) if sent => interpretation,
        _ => failed(sql),
    }
}

/// None where it panicked.
fn caught(sql: &str, settings: Settings) -> Option<Interpretation> {
    catch_unwind(AssertUnwindSafe(|| read(sql, settings))).ok()
}

fn failed(sql: &str) -> Interpretation {
    not_understood(sql, "the parser failed on this text".to_owned())
}

fn queue() -> Option<&'static Sender<Job>> {
    static QUEUE: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    QUEUE
        .get_or_init(|| {
            let (sender, receiver) = channel();
            let receiver = Arc::new(Mutex::new(receiver));
            let threads = (0..THREADS).filter_map(|_| spawn(Arc::clone(&receiver)).ok()).count();
            (threads > 0).then_some(sender)
        })
        .as_ref()
}

fn spawn(jobs: Arc<Mutex<Receiver<Job>>>) -> std::io::Result<()> {
    let work = move || {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { sql, settings, reply }) = job else { return };
            // A panic drops `reply`, which the waiting side takes for not understood.
            if let Some(interpretation) = caught(&sql, settings) {
                let _ = reply.send(interpretation);
            }
        }
    };
    std::thread::Builder::new()
        .name("interpret-sql".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map(drop)
}

fn read(sql: &str, settings: Settings) -> Interpretation {
    let options = match settings.standard_conforming_strings {
        true => ParserOptions::DEFAULT,
        false => ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS,
    };
    match pg_query::parse(sql, options) {
        Ok(parsed) => {
            let statements = parsed.protobuf.stmts.iter().map(|raw| statement(sql, raw)).collect();
            Interpretation { statements, syntax_error: None }
        }
        Err(pg_query::Error::Parse(message)) => {
            let mut interpretation = not_understood(sql, name::printable(&message));
            interpretation.syntax_error = Some(name::printable(&message));
            interpretation
        }
        Err(error) => not_understood(sql, name::printable(&error.to_string())),
    }
}

fn statement(sql: &str, raw: &RawStmt) -> Statement {
    let Some(own) = slice(sql, raw) else {
        return opaque(sql, "the parser gave no place in the text".to_owned());
    };
    match &raw.stmt {
        Some(node) => survey::statement(own, node),
        None => opaque(own, "the parser gave no tree".to_owned()),
    }
}

/// The part of the text that is this statement; a length of 0 means to the end.
fn slice<'a>(sql: &'a str, raw: &RawStmt) -> Option<&'a str> {
    let start = usize::try_from(raw.stmt_location).ok()?;
    let end = match usize::try_from(raw.stmt_len).ok()? {
        0 => sql.len(),
        length => start.checked_add(length)?,
    };
    sql.get(start..end).map(str::trim)
}

fn not_understood(sql: &str, why: String) -> Interpretation {
    Interpretation { statements: vec![opaque(sql, why)], syntax_error: None }
}

fn opaque(sql: &str, why: String) -> Statement {
    Statement {
        sql: sql.to_owned(),
        role: Role::Plain,
        actions: vec![Action::new(verb::NOT_UNDERSTOOD, name::this_database())],
        reads: BTreeSet::new(),
        copy: None,
        before: None,
        hides_changes: true,
        creates: None,
        bulk: false,
        undone_by_rollback: false,
        transactional: true,
        spelling: Spelling::of_text(sql),
        why: vec![why],
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::{SHORT, on_deep_stack};

    /// Half the room that a thread of the runtime has.
    const ROOM: usize = 1024 * 1024;

    #[test]
    fn a_short_text_finds_room_on_any_thread() {
        let deep = |first: &str, step: &str, middle: &str, back: &str| {
            let steps = (SHORT - first.len() - middle.len()) / (step.len() + back.len());
            [first, &step.repeat(steps), middle, &back.repeat(steps)].concat()
        };
        let texts = [
            deep("SELECT ", "(", "1", ")"),
            deep("SELECT ", "- ", "a", ""),
            deep("SELECT ", "~ ", "a", ""),
            deep("SELECT ", "not ", "a", ""),
            deep("SELECT ", "f(", "1", ")"),
            deep("SELECT ", "a[", "1", "]"),
            deep("SELECT ", "(a).b[", "1", "]"),
            deep("SELECT a", "::b", "", ""),
            deep("SELECT a", "||b", "", ""),
            deep("SELECT ", "array[", "1", "]"),
            deep("SELECT ", "row(", "1", ")"),
            deep("SELECT 1 ", "from(select 1 ", "", ")"),
            deep("SELECT 1 ", "union select 1 ", "", ""),
            deep("SELECT 1 WHERE ", "a in(select b where ", "c", ")"),
            deep("", "explain ", "select 1", ""),
            deep("", "with a as(", "select 1", ")select 1"),
            deep("SELECT ", "case when ", "a", " then 1 end"),
            deep("DELETE FROM t WHERE ", "a=(select ", "1", ")"),
        ];
        let read = move || {
            for text in &texts {
                assert!(text.len() <= SHORT, "{text}");
                assert!(!on_deep_stack(text, Settings::default()).statements.is_empty());
            }
        };
        std::thread::Builder::new().stack_size(ROOM).spawn(read).unwrap().join().unwrap();
    }
}
