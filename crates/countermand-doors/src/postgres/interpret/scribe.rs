//! The syntax tree written down, with every value in it.

use pg_query::NodeRef;
use pg_query::protobuf::a_const;

/// Writes down a tree. A field is followed by its value; lists have items, and one of length 0,
/// like any other empty value, says nothing that its absence does not.
pub(super) trait Scribe {
    /// Before the fields of a node.
    fn enter(&mut self, kind: &'static str, node: NodeRef<'_>);
    /// Before the value of a field.
    fn field(&mut self, name: &'static str);
    /// Before the items of a list.
    fn list(&mut self, length: usize);
    /// Before an item.
    fn item(&mut self);
    /// A whole number, a truth, or one of an enumeration.
    fn number(&mut self, value: i64);
    /// A number as its bits.
    fn bits(&mut self, value: u64);
    /// A text.
    fn text(&mut self, value: &str);
    /// After the fields of a node.
    fn leave(&mut self);
}

/// What can be written down: all of [`Walk`](super::tree::Walk), with its values.
pub(super) trait Spell {
    /// Writes down this and all below it.
    fn spell(&self, scribe: &mut dyn Scribe);
}

impl<T: Spell> Spell for Option<T> {
    fn spell(&self, scribe: &mut dyn Scribe) {
        if let Some(inner) = self {
            inner.spell(scribe);
        }
    }
}

impl<T: Spell> Spell for Box<T> {
    fn spell(&self, scribe: &mut dyn Scribe) {
        self.as_ref().spell(scribe);
    }
}

impl<T: Spell> Spell for Vec<T> {
    fn spell(&self, scribe: &mut dyn Scribe) {
        scribe.list(self.len());
        for inner in self {
            scribe.item();
            inner.spell(scribe);
        }
    }
}

macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl Spell for $type {
            fn spell(&self, scribe: &mut dyn Scribe) {
                scribe.number(i64::from(*self));
            }
        }
    )+};
}
numbers! { bool i32 i64 u32 }

impl Spell for u64 {
    fn spell(&self, scribe: &mut dyn Scribe) {
        scribe.bits(*self);
    }
}

impl Spell for f64 {
    fn spell(&self, scribe: &mut dyn Scribe) {
        scribe.bits(self.to_bits());
    }
}

impl Spell for String {
    fn spell(&self, scribe: &mut dyn Scribe) {
        scribe.text(self);
    }
}

impl Spell for a_const::Val {
    fn spell(&self, scribe: &mut dyn Scribe) {
        match self {
            a_const::Val::Ival(value) => value.spell(scribe),
            a_const::Val::Fval(value) => value.spell(scribe),
            a_const::Val::Boolval(value) => value.spell(scribe),
            a_const::Val::Sval(value) => value.spell(scribe),
            a_const::Val::Bsval(value) => value.spell(scribe),
        }
    }
}

/// Whether a field of this name says what is meant, and not only where in the text it stands.
pub(super) const fn is_meant(field: &str) -> bool {
    let places = [
        "location",
        "stmt_location",
        "stmt_len",
        "list_start",
        "list_end",
        "rexpr_list_start",
        "rexpr_list_end",
        "name_location",
        "payload_location",
        "conninfo_location",
        "arg_location",
    ];
    let mut at = 0;
    while at < places.len() {
        if is_same(places[at].as_bytes(), field.as_bytes()) {
            return false;
        }
        at += 1;
    }
    true
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
