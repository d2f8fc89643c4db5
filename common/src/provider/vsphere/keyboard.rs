//! Keys as `PutUsbScanCodes` wants them (vSphere API reference, `UsbScanCodeSpec`): usages of the page
//! of keyboards (USB HID Usage Tables, page 7), as they lie on a US keyboard.

use super::soap::Body;
use crate::error::{Error, Result};

/// The page of keyboards.
const PAGE: u32 = 7;

/// Modifiers: number of the key in RFB, usage, and name in the API, in the API's order.
const MODIFIERS: [(u32, u32, &str); 10] = [
    (0xffe3, 0xe0, "leftControl"),
    (0xffe1, 0xe1, "leftShift"),
    (0xffe9, 0xe2, "leftAlt"),
    (0xffe7, 0xe3, "leftGui"),
    (0xffeb, 0xe3, "leftGui"),
    (0xffe4, 0xe4, "rightControl"),
    (0xffe2, 0xe5, "rightShift"),
    (0xffea, 0xe6, "rightAlt"),
    (0xfe03, 0xe6, "rightAlt"),
    (0xffec, 0xe7, "rightGui"),
];

/// Signs from the usage 0x2d on, without and with shift.
const SIGNS: [(u8, u8); 12] = [
    (b'-', b'_'),
    (b'=', b'+'),
    (b'[', b'{'),
    (b']', b'}'),
    (b'\\', b'|'),
    // Not on US keyboards.
    (0, 0),
    (b';', b':'),
    (b'\'', b'"'),
    (b'`', b'~'),
    (b',', b'<'),
    (b'.', b'>'),
    (b'/', b'?'),
];

/// The signs over the digits 1 to 9 and 0.
const OVER: &[u8; 10] = b"!@#$%^&*()";

/// Keys without a sign: number in RFB, and usage.
const NAMED: [(u32, u32); 22] = [
    (0xff0d, 0x28),
    (0xff1b, 0x29),
    (0xff08, 0x2a),
    (0xff09, 0x2b),
    (0x20, 0x2c),
    (0xffe5, 0x39),
    (0xff61, 0x46),
    (0xff15, 0x46),
    (0xff14, 0x47),
    (0xff13, 0x48),
    (0xff63, 0x49),
    (0xff50, 0x4a),
    (0xff55, 0x4b),
    (0xffff, 0x4c),
    (0xff57, 0x4d),
    (0xff56, 0x4e),
    (0xff53, 0x4f),
    (0xff51, 0x50),
    (0xff54, 0x51),
    (0xff52, 0x52),
    (0xff7f, 0x53),
    (0xff67, 0x65),
];

/// The usage of a key, and whether shift goes with it.
fn usage(symbol: u32) -> Option<(u32, bool)> {
    if let Some((_, usage)) = NAMED.iter().find(|(known, _)| *known == symbol) {
        return Some((*usage, false));
    }
    match symbol {
        // F1 to F12, and F13 to F24.
        0xffbe..=0xffc9 => return Some((0x3a + symbol - 0xffbe, false)),
        0xffca..=0xffd5 => return Some((0x68 + symbol - 0xffca, false)),
        _ => {}
    }
    let sign = u8::try_from(symbol).ok().filter(u8::is_ascii_graphic)?;
    let at = |place: usize| u32::try_from(place).unwrap_or(0);
    match sign {
        b'a'..=b'z' => return Some((u32::from(sign - b'a') + 0x04, false)),
        b'A'..=b'Z' => return Some((u32::from(sign - b'A') + 0x04, true)),
        b'0' => return Some((0x27, false)),
        b'1'..=b'9' => return Some((u32::from(sign - b'1') + 0x1e, false)),
        _ => {}
    }
    if let Some(place) = OVER.iter().position(|over| *over == sign) {
        return Some((0x1e + at(place), true));
    }
    let place = SIGNS.iter().position(|(plain, shifted)| sign == *plain || sign == *shifted)?;
    Some((0x2d + at(place), sign == SIGNS[place].1))
}

/// Adds a chord to a call: an event for each key that is no modifier, with the modifiers.
///
/// # Errors
/// `Unsupported` for a key that a US keyboard does not have.
pub(super) fn events(mut body: Body, chord: &[u32]) -> Result<(Body, u32)> {
    let modifier = |symbol: &u32| MODIFIERS.iter().find(|(known, _, _)| known == symbol);
    let held: Vec<&str> = chord.iter().filter_map(modifier).map(|(_, _, name)| *name).collect();
    let mut keys = Vec::new();
    for symbol in chord.iter().filter(|symbol| modifier(symbol).is_none()) {
        keys.push(usage(*symbol).ok_or_else(|| {
            let sign = char::from_u32(*symbol & 0x00ff_ffff).unwrap_or('?');
            Error::unsupported(format!(
                "a US keyboard, as vSphere has one, has no key for {sign:?}"
            ))
        })?);
    }
    if keys.is_empty() {
        // Modifiers alone are keys as others.
        let last = chord.last().and_then(modifier).map(|(_, usage, _)| (*usage, false));
        keys.extend(last);
    }
    for (usage, shift) in &keys {
        let code = usage << 16 | PAGE;
        body = body.open("keyEvents", None).text("usbHidCode", code).open("modifiers", None);
        let mut written = "";
        for (_, own, name) in MODIFIERS {
            let on = held.contains(&name) || (*shift && name == "leftShift");
            if on && own != *usage && name != written {
                body = body.text(name, true);
                written = name;
            }
        }
        body = body.close("modifiers").close("keyEvents");
    }
    Ok((body, u32::try_from(keys.len()).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_a_us_keyboard_has_them() {
        for (symbol, expected) in [
            (0x61, Some((0x04, false))),
            (0x5a, Some((0x1d, true))),
            (0x30, Some((0x27, false))),
            (0x29, Some((0x27, true))),
            (0x5f, Some((0x2d, true))),
            (0x2f, Some((0x38, false))),
            (0x7e, Some((0x35, true))),
            (0xffbe, Some((0x3a, false))),
            (0xffd5, Some((0x73, false))),
            (0xffff, Some((0x4c, false))),
            (0xe4, None),
            (0x0100_20ac, None),
        ] {
            assert_eq!(usage(symbol), expected, "{symbol:x}");
        }
    }

    #[test]
    fn a_chord_is_a_key_with_modifiers() {
        let whole = |chord: &[u32]| {
            let (body, count) = events(Body::new(), chord).unwrap();
            let this = super::super::soap::MoRef::new("VirtualMachine", "vm-1");
            (body.envelope("X", &this), count)
        };
        let (text, count) = whole(&[0xffe3, 0xffe9, 0xffff]);
        let event = format!("<keyEvents><usbHidCode>{}</usbHidCode><modifiers>", 0x4c << 16 | 7);
        let held = "<leftControl>true</leftControl><leftAlt>true</leftAlt></modifiers></keyEvents>";
        assert!(text.contains(&format!("{event}{held}")) && count == 1, "{text}");
        let (text, _) = whole(&[0x41]);
        assert!(text.contains("<leftShift>true</leftShift>"), "{text}");
        let (text, count) = whole(&[0xffeb]);
        assert!(text.contains(&format!("{}", 0xe3 << 16 | 7)) && count == 1, "{text}");
        assert!(!text.contains("leftGui"), "{text}");
    }
}
