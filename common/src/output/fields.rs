//! The cells of a record that is what its fields are.

use serde::Serialize;
use serde_json::Value;

use super::record::{Cell, Column};

/// The cells of columns that are called like the fields of what is serialised. Fields that end in
/// `_bytes` are amounts, those that end in `_time` are moments; lists are parted by commas.
pub fn cells_by_name(it: &impl Serialize, columns: &[Column]) -> Vec<Cell> {
    let fields = serde_json::to_value(it).unwrap_or(Value::Null);
    columns.iter().map(|column| cell(column.name, fields.get(column.name))).collect()
}

fn cell(name: &str, value: Option<&Value>) -> Cell {
    match value {
        None | Some(Value::Null) => Cell::Empty,
        Some(Value::Bool(flag)) => Cell::Bool(*flag),
        Some(Value::String(text)) => match text.parse() {
            Ok(time) if name.ends_with("_time") => Cell::Time(time),
            _ => Cell::text(text),
        },
        Some(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) if name.ends_with("_bytes") => Cell::Bytes(number),
            (Some(number), _) => Cell::from(number),
            (None, Some(number)) => Cell::Number(number.into()),
            (None, None) => Cell::text(number.to_string()),
        },
        Some(Value::Array(items)) => {
            let item = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
            Cell::text(items.iter().map(item).collect::<Vec<_>>().join(","))
        }
        Some(other) => Cell::text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_find_their_columns() {
        let columns = [
            Column::text("name", "NAME"),
            Column::number("free_bytes", "FREE"),
            Column::text("start_time", "STARTED"),
            Column::text("ids", "IDS"),
            Column::text("none", "NONE"),
            Column::number("depth", "DEPTH"),
        ];
        let time = "2026-11-27T02:05:00Z";
        let it = serde_json::json!({
            "depth": -1, "name": time, "free_bytes": 7, "start_time": time, "ids": ["a", 1],
        });
        let expected = [
            Cell::text(time),
            Cell::Bytes(7),
            Cell::Time(time.parse().unwrap()),
            Cell::text("a,1"),
            Cell::Empty,
            Cell::Number(-1),
        ];
        assert_eq!(cells_by_name(&it, &columns), expected);
    }
}
