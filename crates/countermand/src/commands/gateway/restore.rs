//! `gateway restore`: from a copy to a gateway that starts, frozen.

use super::{copy_keys, private, read, record};
use crate::cli::Global;
use crate::commands::json;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone};
use countermand_engine::Home;
use countermand_engine::backup::{Contents, Revived, read_back, revive};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Runs `gateway restore`.
pub(super) fn run(
    global: &Global,
    folder: &Path,
    checkpoint: Option<&Path>,
    without: Option<u64>,
) -> Result<Exit, Failure> {
    let manifest = read(folder)?;
    let kept = checkpoint.map(|file| {
        std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", file.display())))
    });
    let kept = kept.transpose()?;
    let copy = Home::at(folder);
    let contents = read_back(&copy, &manifest.checkpoint, kept.as_deref()).map_err(Failure::new)?;
    complete(&contents, without)?;
    let config = configuration(global, folder)?;
    if config.installation.name.as_str() != manifest.installation {
        return Err(Failure::usage(format!(
            "the copy is of `{}`, and `{}` is of `{}`: what was signed for one is nothing to the other",
            manifest.installation,
            config.file.display(),
            config.installation.name
        )));
    }
    let (revived, moved) = bring_back(folder, &config, &contents)?;
    record(&config.state, folder, contents.made)?;
    if global.json {
        json(&serde_json::json!({
            "state": config.state, "contents": contents, "revived": revived, "set_aside": moved,
        }));
        return Ok(Exit::Done);
    }
    tell(&config, &contents, &revived, &moved, kept.is_some());
    Ok(Exit::Done)
}

/// A cut tail is what somebody would make who wants something forgotten.
fn complete(contents: &Contents, without: Option<u64>) -> Result<(), Failure> {
    let Contents { entries, lost, .. } = *contents;
    if without.unwrap_or(0) == lost {
        return Ok(());
    }
    if lost == 0 {
        return Err(Failure::usage("nothing is lost by that checkpoint: leave --without away"));
    }
    Err(Failure::new(format!(
        "the copy ends at entry {entries}, and the checkpoint shows {lost} more: they are lost with it.\n\
         What they recorded is forgotten: executions, which could then run again; rejections; who was \
         put out; how to take back what was written since.\n\
         The ledger will not fit that checkpoint any more, and whoever verifies it will see that.\n\
         Look for a newer copy. If there is none, say --without {lost}"
    )))
}

/// The configuration that is there, or the copy's, put where it was asked for.
fn configuration(global: &Global, folder: &Path) -> Result<Config, Failure> {
    let file = config::find(global.config.as_deref());
    let copied = folder.join("configuration");
    if !file.exists() {
        private(&copied.join(config::FILE_NAME), &file)?;
    }
    let text = std::fs::read_to_string(&file)?;
    let policies = Config::parse(&file, &text)?.policies;
    if let Some(policies) = policies.filter(|policies| !policies.exists())
        && copied.join("policies").exists()
    {
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&policies)?;
        for entry in std::fs::read_dir(copied.join("policies"))? {
            let entry = entry?;
            private(&entry.path(), &policies.join(entry.file_name()))?;
        }
    }
    Ok(Config::load(&file)?)
}

/// Makes all of it beside its place, then moves it there. The keys come last: without them no gateway
/// starts on half of it.
fn bring_back(
    folder: &Path,
    config: &Config,
    contents: &Contents,
) -> Result<(Revived, Vec<PathBuf>), Failure> {
    let state = &config.state;
    let there = std::fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_some());
    if there {
        return Err(Failure::new(format!(
            "`{}` is not empty, and nothing in it is overwritten: move it away first, all of it",
            state.display()
        )));
    }
    let make = |path: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    let beside = state.join("restoring");
    make(&beside)?;
    let (copy, new) = (Home::at(folder), Home::at(&beside));
    private(&copy.store(), &new.store())?;
    copy_keys(&copy, &new)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let revived = runtime.block_on(revive(&new, contents)).map_err(Failure::new)?;
    let moved = set_aside(&config.installation.restore_points, contents)?;
    let home = Home::at(state);
    std::fs::rename(new.store(), home.store())?;
    std::fs::rename(beside.join("keys"), state.join("keys"))?;
    std::fs::remove_dir_all(&beside)?;
    Ok((revived, moved))
}

/// Restore points of changes that the copy does not know: their numbers will be given out again, and
/// they are the only way back that is left for what was executed since.
fn set_aside(restore_points: &Path, contents: &Contents) -> Result<Vec<PathBuf>, Failure> {
    let Ok(entries) = std::fs::read_dir(restore_points) else { return Ok(Vec::new()) };
    let aside = restore_points.join(format!("unknown-after-entry-{}", contents.entries));
    let mut moved = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix("change-")?.parse::<u64>().ok());
        if number.is_some_and(|number| number > contents.last_change) {
            std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&aside)?;
            std::fs::rename(entry.path(), aside.join(&name))?;
            moved.push(aside.join(name));
        }
    }
    Ok(moved)
}

fn tell(config: &Config, contents: &Contents, revived: &Revived, moved: &[PathBuf], kept: bool) {
    let mut page = Page::stdout();
    page.line(format!("restored into {}", config.state.display()));
    page.field("copy", &format!("of {}, {} entries", contents.made, contents.entries));
    let list = |numbers: &[u64]| {
        let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    page.field("withdrawn", &list(&revived.withdrawn));
    page.field("in doubt", &list(&revived.in_doubt));
    page.field("agents ended", &revived.revoked.join(", "));
    page.field("standing approvals ended", &revived.standings.to_string());
    for folder in moved {
        page.field("restore point set aside", &folder.display().to_string());
    }
    let mark = page.paint(Tone::Danger, "! ");
    if contents.lost > 0 {
        let lost = format!("{} entries are lost: what they recorded is forgotten", contents.lost);
        page.item(&mark, &lost);
    } else if !kept {
        page.item(&mark, "nothing shows whether entries are missing: see --checkpoint");
    }
    page.words(
        "Everything is frozen. What was executed after the copy was made is not known here and could be \
         asked for again: compare the targets with what people remember before you thaw. Who was put \
         out since is back: look at `countermand config show` too. Then let the agents in again.",
    );
    page.line("    countermand doctor --consistency    # once it serves");
    page.line("    countermand thaw everything --key KEY");
    page.print();
}
