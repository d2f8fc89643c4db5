//! Reading and building objects of the API.

use jiff::Timestamp;
use serde_json::{Value, json};

/// A text at a place such as `/metadata/name`; empty where there is none.
pub fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

/// Whether there is anything at a place.
pub fn has(value: &Value, place: &str) -> bool {
    value.pointer(place).is_some_and(|it| !it.is_null())
}

/// Whether there is `true` at a place.
pub fn is_true(value: &Value, place: &str) -> bool {
    value.pointer(place).and_then(Value::as_bool).unwrap_or_default()
}

/// The elements of a list at a place.
pub fn list<'a>(value: &'a Value, place: &str) -> &'a [Value] {
    value.pointer(place).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The name.
pub fn name(value: &Value) -> &str {
    text(value, "/metadata/name")
}

/// The namespace.
pub fn namespace(value: &Value) -> &str {
    text(value, "/metadata/namespace")
}

/// The unique id.
pub fn uid(value: &Value) -> &str {
    text(value, "/metadata/uid")
}

/// Whether it is being deleted.
pub fn deleting(value: &Value) -> bool {
    has(value, "/metadata/deletionTimestamp")
}

/// Now, to the second, as the API writes it.
pub fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Puts a value at a path of keys, making objects on the way.
pub fn set(value: &mut Value, path: &[&str], new: Value) {
    let mut place = value;
    for key in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*key];
    }
    *place = new;
}

/// Takes a key out of an object at a path of keys.
pub fn unset(value: &mut Value, path: &[&str]) {
    let Some((last, path)) = path.split_last() else { return };
    let mut place = value;
    for key in path {
        match place.get_mut(*key) {
            Some(next) => place = next,
            None => return,
        }
    }
    if let Some(map) = place.as_object_mut() {
        map.remove(*last);
    }
}

/// The condition of a type in `/status/conditions`.
pub fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    list(value, "/status/conditions").iter().find(|it| text(it, "/type") == kind)
}

/// Whether a condition is `True`.
pub fn is_condition(value: &Value, kind: &str) -> bool {
    condition(value, kind).is_some_and(|it| text(it, "/status") == "True")
}

/// Sets a condition of an object; its time changes only with its status.
pub fn set_condition(value: &mut Value, kind: &str, status: bool, reason: &str, message: &str) {
    let status = if status { "True" } else { "False" };
    let old = condition(value, kind).cloned();
    let same = old.as_ref().filter(|old| text(old, "/status") == status);
    let since = same.map(|old| text(old, "/lastTransitionTime").to_owned());
    let mut new = json!({
        "type": kind,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": since.unwrap_or_else(now),
    });
    if !reason.is_empty() {
        new["reason"] = reason.into();
    }
    if !message.is_empty() {
        new["message"] = message.into();
    }
    drop_condition(value, kind);
    let mut all = list(value, "/status/conditions").to_vec();
    all.push(new);
    // Their order says nothing; a fixed one keeps an unchanged status unchanged.
    all.sort_by(|a, b| text(a, "/type").cmp(text(b, "/type")));
    set(value, &["status", "conditions"], Value::Array(all));
}

/// Takes a condition away.
pub fn drop_condition(value: &mut Value, kind: &str) {
    if let Some(all) = value.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        all.retain(|it| text(it, "/type") != kind);
    }
}

/// A reference to an object that owns another.
pub fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether `object` is owned by the object with this id.
pub fn is_owned(object: &Value, by: &str) -> bool {
    list(object, "/metadata/ownerReferences").iter().any(|it| text(it, "/uid") == by)
}

/// Bytes of a quantity such as `2Gi`, `512M` or `1e9`; `None` for what is none.
pub fn quantity(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: f64 = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1048576.0,
        "Gi" => 1073741824.0,
        "Ti" => 1099511627776.0,
        _ => return text.parse::<f64>().ok().map(|number| number as u64),
    };
    number.parse::<f64>().ok().map(|number| (number * factor) as u64)
}

/// A number that belongs to a text, the same each time.
pub fn hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ hash >> 29
}

/// Five letters that belong to a text, as generated names end with.
pub fn suffix(text: &str) -> String {
    let mut number = hash(text);
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |_| {
        let letter = letters[(number % letters.len() as u64) as usize];
        number /= letters.len() as u64;
        char::from(letter)
    };
    (0..5).map(letter).collect()
}

/// A UUID that belongs to a text.
pub fn uuid(text: &str) -> String {
    let (a, b) = (hash(text), hash(&format!("{text}/")));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0xfff,
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_counted() {
        for (text, bytes) in [("2Gi", 2 << 30), ("512M", 512_000_000), ("1.5Ki", 1536), ("7", 7)] {
            assert_eq!(quantity(text), Some(bytes));
        }
        assert_eq!(quantity("lots"), None);
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let mut object = json!({});
        set_condition(&mut object, "Ready", false, "", "no");
        set(&mut object["status"]["conditions"][0], &["lastTransitionTime"], "then".into());
        set_condition(&mut object, "Ready", false, "Why", "not yet");
        assert_eq!(text(&object, "/status/conditions/0/lastTransitionTime"), "then");
        set_condition(&mut object, "Ready", true, "", "");
        assert_ne!(text(&object, "/status/conditions/0/lastTransitionTime"), "then");
        assert_eq!(list(&object, "/status/conditions").len(), 1);
    }
}
