//! Configurations, in words.

use super::{Page, Tone, escape};
use countermand_engine::control::ConfigurationView;

/// One configuration: who wrote and signed it, and what it waits for or since when it is in force.
pub(crate) fn view(page: &mut Page, view: &ConfigurationView) {
    page.heading(&format!("Configuration {}", view.number));
    page.field("digest", &view.digest.to_string());
    let editor = view
        .editor
        .as_ref()
        .map_or("the file, before any agent".to_owned(), |editor| escape::line(editor.as_str()));
    page.field("written by", &editor);
    if let Some((human, at)) = &view.approved {
        page.field("signed by", &format!("{human} at {at:.0}"));
    }
    match (&view.applied, &view.waits) {
        (Some(at), _) => page.field("in force", &format!("since {at:.0}")),
        (None, Some(waits)) => {
            let words = page.paint(Tone::Warning, waits);
            page.field("waits", &words);
            differences(page, &view.differences);
        }
        (None, None) => {}
    }
}

/// Where nothing would be held, and for how long that was so before.
pub(crate) fn observed(page: &mut Page, observed: &[String]) {
    if observed.is_empty() {
        return;
    }
    page.heading("Where nothing is held for up to 14 days");
    for words in observed {
        let words = page.paint(Tone::Danger, &escape::line(words));
        page.item("  ", &words);
    }
}

/// How a configuration differs from the one in force.
pub(crate) fn differences(page: &mut Page, differences: &[String]) {
    if differences.is_empty() {
        page.line("nothing differs from what is in force");
        return;
    }
    page.heading("What differs from what is in force");
    for difference in differences {
        let line = escape::line(difference);
        let (mark, words) = match line.split_once(": ") {
            Some(("loosens", words)) => (page.paint(Tone::Danger, "loosens "), words),
            Some(("tightens", words)) => (page.paint(Tone::Good, "tightens"), words),
            _ => (String::new(), line.as_str()),
        };
        page.item(&format!("{mark}  "), words);
    }
}
