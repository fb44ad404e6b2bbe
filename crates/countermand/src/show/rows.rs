//! Some of the rows that a change would delete or change, for a terminal.

use super::{Page, Tone, escape};
use countermand_core::radius::human_bytes;
use countermand_engine::target::{Cell, Sample, Which};

/// A table after the other, a row as a block: a terminal is narrower than most tables.
pub(crate) fn draw(page: &mut Page, samples: &[Sample]) {
    if samples.is_empty() {
        page.words("no row would be deleted or changed");
    }
    for sample in samples {
        page.heading(&escape::line(&sample.table));
        page.words(match sample.which {
            Which::All => "all of its rows are meant; these are some",
            Which::Found => "rows that its condition finds now",
            Which::Any => "any rows of it: which are meant cannot be told without running it",
        });
        for row in &sample.rows {
            page.line("");
            for (column, cell) in sample.columns.iter().zip(row) {
                let value = value(page, cell);
                page.field(&escape::line(column), &value);
            }
        }
    }
}

fn value(page: &Page, cell: &Cell) -> String {
    match cell {
        Cell::Null => page.paint(Tone::Dim, "null"),
        Cell::Masked => page.paint(Tone::Dim, "masked, not read"),
        Cell::Text(text) if text.is_empty() => page.paint(Tone::Dim, "empty"),
        Cell::Text(text) => escape::line(text),
        Cell::Cut(text) => format!("{} …", escape::line(text)),
        Cell::Large(bytes) => page.paint(Tone::Dim, &human_bytes(*bytes)),
    }
}
