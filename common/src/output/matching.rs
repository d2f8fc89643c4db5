//! `--match` on records of any kind: the columns are the fields.

use std::marker::PhantomData;

use super::record::{Cell, Record};
use crate::error::Result;
use crate::vm::{Pattern, unknown_field};

/// Patterns on the fields of records of one kind, all of which must match. A pattern that names no
/// field looks at `name`. A field that a record does not tell never matches; what it tells is
/// matched as CSV has it.
pub struct Matching<R> {
    patterns: Vec<(usize, Pattern)>,
    record: PhantomData<fn(&R)>,
}

impl<R: Record> Matching<R> {
    /// Reads `--match` values: `GLOB`, `/REGEX/`, `FIELD=GLOB`, `FIELD=/REGEX/` or `FIELD~REGEX`.
    ///
    /// # Errors
    /// `Usage` for a broken pattern, or a field that these records have not, with the nearest name.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let patterns = texts.iter().map(|text| {
            let (word, pattern) = Pattern::parse(text)?;
            let word = word.unwrap_or("name");
            let at = R::COLUMNS.iter().position(|it| it.name.eq_ignore_ascii_case(word));
            let known = || R::COLUMNS.iter().map(|it| it.name).collect::<Vec<_>>();
            at.map(|at| (at, pattern)).ok_or_else(|| unknown_field(word, &known()))
        });
        Ok(Self { patterns: patterns.collect::<Result<_>>()?, record: PhantomData })
    }

    /// Whether a record passes.
    pub fn accepts(&self, record: &R) -> bool {
        if self.patterns.is_empty() {
            return true;
        }
        let cells = record.cells();
        self.patterns.iter().all(|(at, pattern)| match cells.get(*at) {
            None | Some(Cell::Empty) => false,
            Some(cell) => pattern.is_match(&cell.exact()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Column;
    use super::*;

    #[derive(serde::Serialize)]
    struct Shelf(&'static str, u64, Option<u32>);

    impl Record for Shelf {
        const SCHEMA: &'static str = "test.shelf/v1";
        const COLUMNS: &'static [Column] = &[
            Column::text("name", "NAME"),
            Column::number("room_bytes", "ROOM"),
            Column::number("books", "BOOKS"),
        ];

        fn cells(&self) -> Vec<Cell> {
            vec![self.0.into(), Cell::Bytes(self.1), self.2.into()]
        }

        fn name(&self) -> String {
            self.0.to_owned()
        }
    }

    fn hits(texts: &[&str]) -> bool {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        Matching::<Shelf>::parse(&texts).unwrap().accepts(&Shelf("Oak", 1024, None))
    }

    #[test]
    fn patterns_look_at_what_records_tell_exactly() {
        assert!(hits(&[]) && hits(&["oa*"]) && hits(&["room_bytes=1024", "/k$/"]));
        assert!(!hits(&["ash"]) && !hits(&["oak", "room_bytes=1*5"]) && !hits(&["books=*"]));
        let error = Matching::<Shelf>::parse(&["bookz=1".to_owned()]).err().unwrap();
        assert_eq!(
            (error.kind().exit_status(), error.hints()[0].as_str()),
            (2, "did you mean books?")
        );
        assert_eq!(
            Matching::<Shelf>::parse(&["/(/".to_owned()]).err().unwrap().kind().exit_status(),
            2
        );
    }
}
