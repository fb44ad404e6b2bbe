//! Asks what the site wants to know: the target, a web server, or a folder.

use crate::engine::Engine;
use crate::web::{self, Web};
use countermand_core::name::TargetName;
use countermand_core::watch::{Question, shown};
use std::path::Path;
use std::time::Duration;

/// One question takes no longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// The answer, or none where the target has no value; why there is none otherwise, in words
    /// without control characters.
    pub(crate) async fn answer_to(
        &self,
        target: &TargetName,
        question: &Question,
    ) -> Result<Option<String>, String> {
        let answer = tokio::time::timeout(PATIENCE, self.ask_whom(target, question)).await;
        answer.unwrap_or_else(|_| Err(late()))
    }

    /// The same, however long a folder takes.
    pub(crate) async fn ask_whom(
        &self,
        target: &TargetName,
        question: &Question,
    ) -> Result<Option<String>, String> {
        let answer = match question {
            Question::Target(text) => self.answer_of_target(target, text).await,
            Question::Http(url) => self.answer_of_web(url).await,
            Question::Newest(folder) => newest(folder.clone()).await,
        };
        answer.map_err(|why| format!("no answer: {}", shown(&why)))
    }

    async fn answer_of_target(
        &self,
        name: &TargetName,
        question: &str,
    ) -> Result<Option<String>, String> {
        let target = self.0.targets.get(name).ok_or_else(|| format!("there is no `{name}` now"))?;
        target.probe(question, PATIENCE).await.map_err(|error| error.to_string())
    }

    async fn answer_of_web(&self, url: &str) -> Result<Option<String>, String> {
        let web = self.0.web.get_or_try_init(async || Web::new()).await;
        let answer = web.map_err(|error| error.to_string())?.get(url, PATIENCE).await;
        answer.map(Some).map_err(|error: web::WebError| error.to_string())
    }
}

/// Why there was no answer in time.
pub(crate) fn late() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

/// When the newest file of a folder was written, as RFC 3339. Folders in it, links and empty
/// files are no backups.
async fn newest(folder: String) -> Result<Option<String>, String> {
    let look =
        move || newest_in(Path::new(&folder)).map_err(|error| format!("`{folder}`: {error}"));
    let written = tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())??;
    let Some(written) = written else { return Ok(None) };
    let written = jiff::Timestamp::try_from(written).map_err(|error| error.to_string())?;
    Ok(Some(written.to_string()))
}

fn newest_in(folder: &Path) -> std::io::Result<Option<std::time::SystemTime>> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_file() && about.len() > 0 {
            newest = newest.max(Some(about.modified()?));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_file_counts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        assert_eq!(newest(path.clone()).await, Ok(None));
        let at = |name: &str, seconds: u64, content: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, content).unwrap();
            let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
            std::fs::File::options().append(true).open(file).unwrap().set_modified(time).unwrap();
        };
        at("older", 1_000, "x");
        at("newer", 2_000, "x");
        at("empty", 3_000, "");
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert_eq!(newest(path).await, Ok(Some("1970-01-01T00:33:20Z".into())));
        newest("/there/is/none".into()).await.unwrap_err();
    }
}
