//! Which texts the ledger itself says were erased.

use crate::leaf::Leaf;

/// The kind of the entry that says so:
/// `{"because": …, "texts": [{"entry": 7, "names": ["payload"]}, …]}`.
pub const ERASED: &str = "texts.erased";

/// The texts that an entry says were erased, each as its entry and its name. None for an entry of
/// another kind; members that are not as they should be name no text.
pub fn names(leaf: &Leaf) -> impl Iterator<Item = (u64, &str)> {
    let texts = leaf.body().get("texts").filter(|_| leaf.kind() == ERASED);
    texts.and_then(|texts| texts.as_array()).into_iter().flatten().flat_map(|text| {
        let entry = text.get("entry").and_then(|entry| entry.as_u64());
        let names = text.get("names").and_then(|names| names.as_array()).into_iter().flatten();
        names.filter_map(move |name| Some((entry?, name.as_str()?)))
    })
}
