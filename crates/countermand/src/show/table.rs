//! Columns.

use super::{Page, Tone};

/// On which side a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table whose columns are as wide as what is in them, and whose last one takes the rest of the
/// line, broken over several where it must be.
pub struct Table {
    heads: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(Tone, String)>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(heads: &[(&'static str, Align)]) -> Table {
        Table { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, one cell per column. Text from outside must have been escaped.
    pub fn row(&mut self, cells: Vec<(Tone, String)>) {
        self.rows.push(cells);
    }

    /// Puts it on the page.
    pub fn put(self, page: &mut Page) {
        let widths: Vec<usize> = (0..self.heads.len()).map(|column| self.width(column)).collect();
        let heads = self.heads.iter().map(|(head, _)| (Tone::Dim, (*head).to_owned())).collect();
        for row in std::iter::once(heads).chain(self.rows.iter().cloned()) {
            put_row(page, &self.heads, &widths, row);
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|(_, text)| console::measure_text_width(text));
        cells.chain([self.heads[column].0.len()]).max().unwrap_or(0)
    }
}

fn put_row(
    page: &mut Page,
    heads: &[(&'static str, Align)],
    widths: &[usize],
    mut row: Vec<(Tone, String)>,
) {
    let Some((tone, last)) = row.pop() else { return };
    let mut lead = String::from("  ");
    for (((tone, text), (_, align)), width) in row.into_iter().zip(heads).zip(widths) {
        let pad = " ".repeat(width.saturating_sub(console::measure_text_width(&text)));
        let text = page.paint(tone, &text);
        let cell = match align {
            Align::Left => format!("{text}{pad}  "),
            Align::Right => format!("{pad}{text}  "),
        };
        lead.push_str(&cell);
    }
    let pad = match heads.last() {
        Some((_, Align::Right)) => {
            let width = widths.last().copied().unwrap_or(0);
            " ".repeat(width.saturating_sub(console::measure_text_width(&last)))
        }
        _ => String::new(),
    };
    let last = page.paint(tone, &last);
    page.item(&format!("{lead}{pad}"), &last);
}
