//! Every format, for one record, for lists and for records as they happen.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::*;

#[derive(Serialize)]
struct Disk {
    id: &'static str,
    capacity_bytes: u64,
    note: Option<&'static str>,
}

impl Record for Disk {
    const SCHEMA: &'static str = "hyper.disk/v1";
    const COLUMNS: &'static [Column] = &[
        Column::text("id", "ID").width(6),
        Column::number("capacity_bytes", "CAPACITY"),
        Column::text("note", "NOTE").wide(),
    ];
    fn cells(&self) -> Vec<Cell> {
        vec![self.id.into(), Cell::Bytes(self.capacity_bytes), self.note.into()]
    }
    fn name(&self) -> String {
        format!("local:{}", self.id)
    }
}

const DISKS: [Disk; 2] = [
    Disk { id: "d0", capacity_bytes: 1 << 30, note: Some("a, \"b\"\nc") },
    Disk { id: "d1", capacity_bytes: 512, note: None },
];

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn printed(format: &str, print: impl FnOnce(&mut Printer)) -> String {
    let out = Shared::default();
    let mut printer = Printer::to(format.parse().unwrap(), out.clone(), None);
    print(&mut printer);
    drop(printer);
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn one(format: &str) -> String {
    printed(format, |printer| printer.one(&DISKS[0]).unwrap())
}

fn list(format: &str) -> String {
    printed(format, |printer| printer.all(&DISKS).unwrap())
}

fn stream(format: &str) -> String {
    printed(format, |printer| DISKS.iter().for_each(|disk| printer.next(disk).unwrap()))
}

#[test]
fn tables() {
    assert_eq!(list("table"), "ID   CAPACITY\nd0      1 GiB\nd1      512 B\n");
    assert_eq!(
        list("wide"),
        "ID   CAPACITY   NOTE\nd0      1 GiB   a, \"b\"\\nc\nd1      512 B   -\n"
    );
    assert_eq!(stream("table"), "ID       CAPACITY\nd0          1 GiB\nd1          512 B\n");
    assert_eq!(one("table"), "ID   CAPACITY\nd0      1 GiB\n");
}

#[test]
fn json_documents_hold_the_same_objects() {
    let single: serde_json::Value = serde_json::from_str(&one("json")).unwrap();
    assert_eq!(single["schema"], "hyper.disk/v1");
    assert_eq!(single["capacity_bytes"], 1u64 << 30);
    let document: serde_json::Value = serde_json::from_str(&list("json")).unwrap();
    assert_eq!(document["schema"], "hyper.list/v1");
    assert_eq!(document["items"][0], single);
    let lines: Vec<serde_json::Value> =
        list("ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(serde_json::Value::from(lines), document["items"]);
    assert_eq!(stream("json"), list("ndjson"));
    assert!(
        list("json").starts_with("{\n  \"schema\": \"hyper.list/v1\",\n  \"items\": [\n    {\n")
    );
}

#[test]
fn yaml_says_what_json_says() {
    let read = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(read(&one("yaml")), json(&one("json")));
    assert_eq!(read(&list("yaml")), json(&list("json")));
    let streamed = stream("yaml");
    let documents: Vec<_> = streamed.split("---\n").map(read).collect();
    assert_eq!(serde_json::Value::from(documents), json(&list("json"))["items"]);
}

#[test]
fn csv_and_names() {
    let csv = "id,capacity_bytes,note\nd0,1073741824,\"a, \"\"b\"\"\\nc\"\nd1,512,\n";
    assert_eq!(list("csv"), csv);
    assert_eq!(stream("csv"), csv);
    assert_eq!(list("name"), "local:d0\nlocal:d1\n");
}

#[test]
fn templates_see_the_document_in_lists_and_the_object_in_streams() {
    assert_eq!(list("jsonpath={.items[*].id}"), "d0 d1\n");
    assert_eq!(stream("jsonpath={.id}"), "d0\nd1\n");
    assert_eq!(one("jsonpath=$.capacity_bytes"), "1073741824\n");
}

#[test]
fn an_empty_list_is_a_whole_document() {
    let empty = |format| printed(format, |printer| printer.all::<Disk>([]).unwrap());
    assert_eq!(empty("table"), "ID   CAPACITY\n");
    assert_eq!(empty("csv"), "id,capacity_bytes,note\n");
    assert_eq!(empty("ndjson"), "");
    let document: serde_json::Value = serde_json::from_str(&empty("json")).unwrap();
    assert_eq!(document, serde_saphyr::from_str::<serde_json::Value>(&empty("yaml")).unwrap());
    assert_eq!(document["items"], serde_json::json!([]));
}

#[test]
fn a_long_table_keeps_its_columns() {
    let text = printed("table", |printer| {
        let mut list = printer.list();
        for _ in 0..1500 {
            list.push(&DISKS[0]).unwrap();
        }
        list.finish().unwrap();
    });
    assert_eq!(text.lines().count(), 1501);
    assert!(text.lines().skip(1).all(|line| line == "d0      1 GiB"));
}

struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
    let mut printer = Printer::to(OutputFormat::Ndjson, Gone, None);
    assert!(printer.next(&DISKS[0]).is_ok() && printer.is_closed());
    assert!(printer.all(&DISKS).is_ok());
    let mut printer = Printer::to(OutputFormat::Ndjson, Full, None);
    let error = printer.next(&DISKS[0]).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Io);
}
