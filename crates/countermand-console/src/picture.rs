//! The blast radius as a picture: what the request names, and under it what goes with it.
//!
//! A line for each thing, so that it stays legible at any width: its disc grows with its bytes, its
//! bar with its rows, and what becomes of it is said in colour, in shape and in a word. Beyond
//! [`SINGLE`] objects those that matter most stand alone and the others together, by kind.

mod things;

use crate::radius::word;
use crate::text::{Markup, Text, count, digits};
use countermand_core::radius::{BlastRadius, Fate, human_bytes};
use things::{Thing, things};

/// So many objects are drawn each by itself.
pub(crate) const SINGLE: usize = 40;
/// The height of a line, in pixels.
const LINE: usize = 46;
/// How much further right what goes with another stands.
const STEP: usize = 22;
/// Deeper than this it goes no further right.
const DEEPEST: usize = 5;
/// The radius of the largest and of the smallest disc.
const DISC: (f64, f64) = (15.0, 4.0);
/// Characters of a name. The table has it whole.
const NAME: usize = 32;

/// Draws it. An empty radius is an empty picture.
pub(crate) fn draw(radius: &BlastRadius) -> Markup {
    let things = things(radius);
    let mut svg = Markup::default();
    if things.is_empty() {
        return svg;
    }
    let height = things.len() * LINE + 8;
    svg.put(format_args!(
        "<svg class=\"radius\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" \
         aria-label=\"The blast radius, as in the table below\" width=\"100%\" height=\"{height}\">"
    ));
    for (row, thing) in things.iter().enumerate() {
        if let Some(parent) = thing.under {
            link(&mut svg, (things[parent].depth, parent), (thing.depth, row));
        }
    }
    let most = Scale {
        rows: things.iter().map(|thing| thing.rows).max().unwrap_or(0),
        bytes: things.iter().map(|thing| thing.bytes).max().unwrap_or(0),
    };
    for (row, thing) in things.iter().enumerate() {
        put(&mut svg, row, thing, &most);
    }
    svg.put("</svg>");
    svg
}

struct Scale {
    rows: u64,
    bytes: u64,
}

fn centre(depth: usize, row: usize) -> (usize, usize) {
    (20 + depth.min(DEEPEST) * STEP, row * LINE + LINE / 2)
}

fn link(svg: &mut Markup, from: (usize, usize), to: (usize, usize)) {
    let ((x1, y1), (x2, y2)) = (centre(from.0, from.1), centre(to.0, to.1));
    let bend = y2.saturating_sub(12);
    svg.put(format_args!("<path class=\"tie\" d=\"M{x1} {y1}V{bend}Q{x1} {y2} {x2} {y2}\"/>"));
}

fn put(svg: &mut Markup, row: usize, thing: &Thing, most: &Scale) {
    let (x, y) = centre(thing.depth, row);
    let radius = share(thing.bytes, most.bytes).sqrt() * (DISC.0 - DISC.1) + DISC.1;
    let fate = word(thing.fate);
    svg.put(format_args!("<g class=\"{fate}\"><title>"));
    svg.text(&thing.name.to_string());
    svg.put(format_args!("</title><circle cx=\"{x}\" cy=\"{y}\" r=\"{radius:.1}\"/>"));
    if thing.fate == Fate::Lost {
        let arm = radius * 0.5;
        let (x, y) = (x as f64, y as f64);
        let (left, right, top, bottom) = (x - arm, x + arm, y - arm, y + arm);
        svg.put(format_args!(
            "<path class=\"cross\" d=\"M{left:.1} {top:.1}L{right:.1} {bottom:.1}M{right:.1} \
             {top:.1}L{left:.1} {bottom:.1}\"/>"
        ));
    }
    let from = x + 24;
    svg.put(format_args!("<text x=\"{from}\" y=\"{}\">", y - 3));
    // Before the name, which may be cut off where there is little room.
    if thing.critical {
        svg.put("<tspan class=\"critical\">⚑ critical </tspan>");
    }
    svg.put("<tspan class=\"name\">");
    svg.text(&thing.name.cut(NAME));
    svg.put("</tspan>");
    svg.put(format_args!("</text><text x=\"{from}\" y=\"{}\" class=\"more\">", y + 14));
    svg.text(&words(thing));
    svg.put("</text>");
    bar(svg, y, thing.rows, most.rows);
    svg.put("</g>");
}

/// Its rows beside the others', on the right half, where there is one.
fn bar(svg: &mut Markup, y: usize, rows: u64, most: u64) {
    if rows == 0 {
        return;
    }
    let width = share(rows, most) * 100.0;
    let top = y - 5;
    svg.put(format_args!(
        "<svg class=\"bar\" x=\"66%\" width=\"33%\" y=\"{top}\" height=\"10\">\
         <rect class=\"all\" width=\"100%\" height=\"10\" rx=\"2\"/>\
         <rect width=\"{width:.2}%\" height=\"10\" rx=\"2\"/></svg>"
    ));
}

/// `lost · 1,204,331 rows · 412 MB · foreign key`
fn words(thing: &Thing) -> String {
    let mut words = vec![match thing.fate {
        Fate::Unavailable => "blocked for a while".to_owned(),
        Fate::Dangling => "left dangling".to_owned(),
        fate => word(fate).to_owned(),
    }];
    if thing.rows > 0 {
        words.push(count(thing.rows, "row"));
    }
    if thing.bytes > 0 {
        words.push(human_bytes(thing.bytes));
    }
    if let Some(lock) = &thing.lock {
        words.push(format!("{} wait {} ms", Text::of(&lock.blocks).cut(20), digits(lock.millis)));
    }
    if let Some(why) = &thing.why {
        words.push(why.cut(26));
    }
    words.join(" · ")
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests;
