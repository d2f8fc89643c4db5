//! What servers say: answers of the vSphere API, addresses.

use hyper_common::config::split_url;
use hyper_common::provider::vsphere::{Value, parse, parse_url};

pub fn soap(input: &[u8]) {
    if let Ok(answer) = parse(input) {
        assert!(depth(&answer) <= 64, "nested deeper than allowed");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let address = split_url(text);
    if let Ok(url) = parse_url(&address.url) {
        assert!(url.password().is_none() && url.username().is_empty(), "a password stays");
    }
}

fn depth(value: &Value) -> usize {
    1 + value.children.iter().map(depth).max().unwrap_or(0)
}
