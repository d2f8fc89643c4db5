//! Records on standard output, in the format that `-o` names.
//!
//! In: what a record is ([`Record`], [`Column`], [`Cell`]), the formats, and the [`Printer`].
//! Not in: progress and remarks for people, which go to standard error.
//!
//! The shapes, the same for every tool:
//!
//! | | one record ([`Printer::one`]) | a list ([`Printer::list`]) | as they happen ([`Printer::next`]) |
//! |---|---|---|---|
//! | table, wide | header and row | header and rows | header once, fixed widths |
//! | json | the object | `{"schema":"hyper.list/v1","items":[…]}` | one object to a line |
//! | ndjson | one object in a line | one object to a line | one object to a line |
//! | yaml | the document | `schema`, `items` | documents parted by `---` |
//! | csv | header and row | header and rows | header once, rows |
//! | name | the name | one name to a line | one name to a line |
//! | jsonpath | over the object | over the list document | over each object |
//! | prometheus | its values | the values of all, by family | its values |
//!
//! Every object has a `schema`, those within `items` too, so `jq -c '.items[]'` gives what
//! ndjson gives. When the reader of a pipe goes away, printing ends quietly: all later calls
//! succeed and do nothing ([`Printer::is_closed`]).

mod facts;
mod fields;
mod format;
mod human;
mod jsonpath;
mod list;
mod live;
mod matching;
mod outcome;
mod printer;
mod prometheus;
mod record;
mod table;
mod terminal;
mod vm;

pub use self::facts::Fact;
pub use self::fields::cells_by_name;
pub use self::format::OutputFormat;
pub use self::human::{bytes as human_bytes, span as human_span, time as human_time};
pub use self::jsonpath::Template;
pub use self::list::List;
pub use self::live::Live;
pub use self::matching::Matching;
pub use self::outcome::{Outcome, seconds};
pub use self::printer::{Printer, Target};
pub use self::prometheus::Gauge;
pub use self::record::{Align, Cell, Column, Record, printable};
pub use self::terminal::{colours, width as terminal_width};

#[cfg(test)]
mod tests;
