//! Tables that are exported: their columns, and a value of them.

use super::formula::harmless;
use crate::domain::time::Timestamp;

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Int,
    Instant,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// A value of a table.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Text(String),
    Int(i64),
    At(Option<Timestamp>),
}

/// A value as a cell of CSV. A number of ours stays a number.
pub(super) fn in_csv(cell: Cell) -> String {
    match cell {
        Cell::Text(text) => harmless(text),
        Cell::Int(number) => number.to_string(),
        Cell::At(at) => at.map_or_else(String::new, Timestamp::to_rfc3339),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_no_formula_any_more() {
        assert_eq!(in_csv(Cell::Text("=1+1".to_owned())), "'=1+1");
        assert_eq!(in_csv(Cell::Int(-1)), "-1");
    }
}
