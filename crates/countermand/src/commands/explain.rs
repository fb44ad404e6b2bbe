//! `explain`: what a request would do, read from its text alone.

use super::json;
use crate::cli::{Explain, Global};
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use countermand_core::effect::Effect;
use countermand_doors::postgres::interpret::{Explanation, explain};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};

/// The longest line, in bytes. A longer text is not judged anyway.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;
/// Lines that are read before they are answered, where they are there already.
const BATCH: usize = 1024;

/// Runs `explain`.
pub(super) fn run(global: &Global, arguments: Explain) -> Result<Exit, Failure> {
    let Explain::Postgres { sql, jsonl } = arguments;
    if jsonl {
        let answers = BufWriter::new(io::stdout().lock());
        return match stream(BufReader::with_capacity(1 << 18, io::stdin().lock()), answers) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(Exit::Done),
        };
    }
    let sql = match sql.as_deref() {
        None | Some("-") => io::read_to_string(io::stdin().lock())?,
        Some(sql) => sql.to_owned(),
    };
    let explanation = explain(&sql);
    if global.json {
        json(&explanation);
    } else {
        show(&explanation);
    }
    Ok(Exit::Done)
}

fn show(explanation: &Explanation) {
    let mut page = Page::stdout();
    let tone = match explanation.effect {
        Effect::Read => Tone::Good,
        Effect::Write => Tone::Plain,
        _ => Tone::Danger,
    };
    let effect = page.paint(tone, explanation.effect.as_str());
    page.field("effect", &effect);
    for verb in &explanation.verbs {
        page.field("verb", &format!("{verb}: {} ({})", verb.doc(), verb.effect()));
    }
    for object in &explanation.objects {
        page.field("object", &escape::line(&object.to_string()));
    }
    for why in &explanation.why {
        page.field("why", &escape::line(why));
    }
    page.print();
}

#[derive(Deserialize)]
struct Question {
    id: Value,
    input: String,
}

/// One answer. An error stands where an explanation would.
#[derive(Serialize)]
struct Answer {
    id: Value,
    #[serde(flatten)]
    said: Said,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said {
    Explanation(Explanation),
    Error { error: String },
}

/// Answers line by line, in order: as soon as a line is there, and as many at a time as there are.
fn stream(mut questions: impl BufReadWithBuffer, mut answers: impl Write) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    loop {
        let batch = next_batch(&mut questions)?;
        if batch.is_empty() {
            return answers.flush();
        }
        let share = batch.len().div_ceil(threads);
        let said: Vec<Vec<Answer>> = std::thread::scope(|scope| {
            let parts: Vec<_> = batch
                .chunks(share)
                .map(|lines| scope.spawn(move || lines.iter().map(|line| answer(line)).collect()))
                .collect();
            parts.into_iter().map(|part| part.join().expect("explaining is total")).collect()
        });
        for answer in said.iter().flatten() {
            serde_json::to_writer(&mut answers, answer)?;
            answers.write_all(b"\n")?;
        }
        answers.flush()?;
    }
}

/// A reader that tells what it holds already, so that nobody waits for a full batch.
trait BufReadWithBuffer: BufRead {
    fn has_line(&self) -> bool;
}

impl<R: io::Read> BufReadWithBuffer for BufReader<R> {
    fn has_line(&self) -> bool {
        self.buffer().contains(&b'\n')
    }
}

fn next_batch(questions: &mut impl BufReadWithBuffer) -> io::Result<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    while batch.is_empty() || (batch.len() < BATCH && questions.has_line()) {
        let mut line = Vec::new();
        if questions.take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
            questions.skip_until(b'\n')?;
            line.clear();
        }
        if line != b"\n" {
            batch.push(line);
        }
    }
    Ok(batch)
}

fn answer(line: &[u8]) -> Answer {
    if line.is_empty() {
        let error = format!("the line has more than {LONGEST_LINE} bytes");
        return Answer { id: Value::Null, said: Said::Error { error } };
    }
    match serde_json::from_slice::<Question>(line) {
        Ok(Question { id, input }) => Answer { id, said: Said::Explanation(explain(&input)) },
        Err(error) => {
            let id = serde_json::from_slice::<Value>(line).ok();
            let id = id.and_then(|value| value.get("id").cloned()).unwrap_or(Value::Null);
            let error = format!("not `{{\"id\": …, \"input\": \"…\"}}`: {error}");
            Answer { id, said: Said::Error { error } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(questions: &str) -> Vec<Value> {
        let mut said = Vec::new();
        stream(BufReader::new(questions.as_bytes()), &mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_line_gets_its_answer_in_order() {
        let many: String =
            (0..3000).map(|n| format!("{{\"id\":{n},\"input\":\"select {n}\"}}\n")).collect();
        let said = answers(&many);
        assert_eq!(said.len(), 3000);
        for (n, answer) in said.iter().enumerate() {
            assert_eq!((&answer["id"], &answer["effect"]), (&Value::from(n), &Value::from("read")));
        }
    }

    #[test]
    fn a_bad_line_is_answered_and_the_run_goes_on() {
        let said = answers(
            "{\"id\":\"a\",\"input\":\"drop table t\"}\nnot json\n\n{\"id\":2}\n\
             {\"id\":3,\"input\":\"select 1\"}",
        );
        assert_eq!(said.len(), 4, "{said:?}");
        assert_eq!(said[0]["effect"], "destroy");
        assert_eq!(said[0]["verbs"], serde_json::json!(["postgres:DropTable"]));
        let mut members: Vec<&String> = said[0].as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["effect", "id", "objects", "verbs", "why"]);
        assert!(said[1]["error"].is_string() && said[1]["id"].is_null());
        assert!(said[2]["error"].is_string() && said[2]["id"] == 2);
        assert_eq!(said[3]["effect"], "read");
    }
}
