//! Names of parent disks as Windows writes them.

use super::array;

/// UTF-16 text in the given byte order, up to the first zero.
pub fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| order(array(pair, 0)));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|found| found.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Adds the names to try for `path`: the path as it is (where it is not Windows' own), then the
/// file's name alone, which is where a parent copied along with its child is.
pub fn add_names(path: &str, names: &mut Vec<String>) {
    let path = path.replace('\\', "/");
    let path = path.trim_start_matches("./");
    let last = path.rsplit('/').next().unwrap_or_default();
    let path = if path.as_bytes().get(1) == Some(&b':') { "" } else { path };
    for name in [path, last] {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tried_from_the_relative_path_to_the_bare_name() {
        let mut names = Vec::new();
        add_names(".\\base\\parent.vhd", &mut names);
        add_names("C:\\VMs\\base\\parent.vhd", &mut names);
        add_names("/srv/other.vhd", &mut names);
        assert_eq!(names, ["base/parent.vhd", "parent.vhd", "/srv/other.vhd", "other.vhd"]);
        assert_eq!(utf16(b"a\0b\0\0\0c\0", u16::from_le_bytes), "ab");
    }
}
