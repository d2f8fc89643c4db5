//! Names of keys, and the numbers by which RFB knows them (RFC 6143 section 7.5.4: X11's keysyms).

use serde::Serialize;

/// Keys that are pressed together, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chord {
    /// As it was typed.
    pub name: String,
    /// The keys' numbers.
    #[serde(skip)]
    pub symbols: Vec<u32>,
}

const NAMES: &[(&str, u32)] = &[
    ("ctrl", 0xffe3),
    ("control", 0xffe3),
    ("shift", 0xffe1),
    ("alt", 0xffe9),
    ("altgr", 0xfe03),
    ("meta", 0xffe7),
    ("super", 0xffeb),
    ("win", 0xffeb),
    ("enter", 0xff0d),
    ("return", 0xff0d),
    ("tab", 0xff09),
    ("space", 0x20),
    ("minus", 0x2d),
    ("plus", 0x2b),
    ("esc", 0xff1b),
    ("escape", 0xff1b),
    ("backspace", 0xff08),
    ("delete", 0xffff),
    ("del", 0xffff),
    ("insert", 0xff63),
    ("home", 0xff50),
    ("end", 0xff57),
    ("pageup", 0xff55),
    ("pagedown", 0xff56),
    ("left", 0xff51),
    ("up", 0xff52),
    ("right", 0xff53),
    ("down", 0xff54),
    ("print", 0xff61),
    ("sysrq", 0xff15),
    ("pause", 0xff13),
    ("menu", 0xff67),
    ("capslock", 0xffe5),
    ("numlock", 0xff7f),
];

impl std::str::FromStr for Chord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A sign by itself is the key of that sign.
        let one = |part: &str| symbol(part).ok_or_else(|| format!("{part:?} is no key"));
        let symbols = match text.chars().count() {
            1 => vec![one(text)?],
            _ => text.split(['-', '+']).map(one).collect::<Result<_, _>>()?,
        };
        Ok(Self { name: text.to_owned(), symbols })
    }
}

fn symbol(name: &str) -> Option<u32> {
    let mut letters = name.chars();
    if let (Some(letter), None) = (letters.next(), letters.next()) {
        let code = u32::from(letter);
        // Latin-1 stands for itself; all else is Unicode with a mark.
        return Some(if code < 0x100 { code } else { 0x0100_0000 | code });
    }
    let lower = name.to_ascii_lowercase();
    if let Some(number) = lower.strip_prefix('f').and_then(|it| it.parse::<u32>().ok()) {
        return (1..=24).contains(&number).then(|| 0xffbd + number);
    }
    NAMES.iter().find(|(known, _)| *known == lower).map(|(_, symbol)| *symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_numbers() {
        let symbols = |text: &str| text.parse::<Chord>().unwrap().symbols;
        assert_eq!(symbols("ctrl-alt-delete"), [0xffe3, 0xffe9, 0xffff]);
        assert_eq!(symbols("Shift+F12"), [0xffe1, 0xffc9]);
        assert_eq!(symbols("-"), [0x2d]);
        assert_eq!(symbols("\u{20ac}"), [0x0100_20ac]);
        for wrong in ["", "ctrl-", "f25", "nokey"] {
            wrong.parse::<Chord>().unwrap_err();
        }
    }
}
