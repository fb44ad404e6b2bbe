//! What a preview says, and that nobody waits for it.

use super::*;
use countermand_core::radius::{Fate, Reversibility};

fn rows(preview: &Preview) -> Vec<(String, u64)> {
    preview.ceiling.rows.iter().map(|(table, row)| (table.clone(), row.measured)).collect()
}

#[tokio::test]
async fn a_preview_of_the_zoo() {
    let site = Site::start(ZOO).await;
    let preview = site.preview("DROP SCHEMA shop CASCADE").await.unwrap();
    for node in &preview.radius.nodes {
        println!("{node:?}");
    }
    for edge in &preview.radius.edges {
        let name = |at: usize| preview.radius.nodes[at].object.to_string();
        println!("{} -{}-> {}", name(edge.from), edge.why, name(edge.to));
    }
    println!("{:?} {:?}", rows(&preview), preview.radius.locks);
    assert_eq!(preview.reversibility, Reversibility::Restorable);
    let dangling: Vec<_> =
        preview.radius.nodes.iter().filter(|node| node.fate == Fate::Dangling).collect();
    assert_eq!(dangling.len(), 1);
}
