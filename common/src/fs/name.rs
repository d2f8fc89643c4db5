//! Names that come from outside: from a package, a server, a VM's title.

use crate::error::{Error, ErrorKind, Result};

/// Longest file name in bytes that hyper writes: what Linux allows (255) less what the names
/// beside it add ([`super::Target`]).
pub const MAX_NAME: usize = 240;

/// Longest result of [`sanitise_name`] in bytes: leaves room for what artifacts append, such as
/// `-disk12.machine.json`.
const MAX_STEM: usize = 200;

/// Takes a name from outside (a member of a package, a reference of a descriptor) only if it
/// names a file directly in a folder: not empty, not `.` or `..`, without `/`, NUL or other
/// control characters, and at most [`MAX_NAME`] bytes long.
///
/// # Errors
/// `Integrity`, saying which rule the name breaks.
pub fn safe_name(name: &str) -> Result<&str> {
    let broken = match name {
        "" => "is empty",
        "." | ".." => "means a folder",
        _ if name.contains('/') => "leads into another folder",
        _ if name.chars().any(char::is_control) => "holds control characters",
        _ if name.len() > MAX_NAME => "is too long",
        _ => return Ok(name),
    };
    let shown: String = name.chars().take(80).collect();
    Err(Error::new(ErrorKind::Integrity, format!("the file name {shown:?} {broken}")))
}

/// A file name for something with any title, a VM's for instance. The rule: letters and digits
/// of any script and `.`, `_`, `-`, `+`, `@` are kept; each run of other characters becomes one
/// `_`; a leading `.` or `-` becomes `_` (hidden files, things that look like flags); at most 200
/// bytes are kept, cut between characters; a title with nothing to keep becomes `vm`. Two titles
/// may give one name: the caller handles that.
pub fn sanitise_name(title: &str) -> String {
    let mut name = String::with_capacity(title.len().min(MAX_STEM));
    for c in title.trim().chars() {
        let kept = if c.is_alphanumeric() || "._-+@".contains(c) { c } else { '_' };
        let repeated = kept == '_' && c != '_' && name.ends_with('_');
        let leading = name.is_empty() && matches!(kept, '.' | '-');
        if name.len() + kept.len_utf8() > MAX_STEM {
            break;
        }
        if !repeated {
            name.push(if leading { '_' } else { kept });
        }
    }
    if name.chars().all(|c| c == '_') { "vm".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for bad in ["", ".", "..", "../a", "a/b", "/etc/passwd", "a\0b", "a\nb", &"x".repeat(241)] {
            let error = safe_name(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{bad:?}");
        }
        for good in ["a", "disk 1.vmdk", "..a", "Größe.ova", &"x".repeat(240)] {
            assert_eq!(safe_name(good).unwrap(), good);
        }
    }

    #[test]
    fn titles_become_safe_names() {
        for (title, name) in [
            ("web01", "web01"),
            ("Web Server (old)", "Web_Server_old_"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("-rf", "_rf"),
            (".hidden", "_hidden"),
            ("a__b", "a__b"),
            ("Größe 1", "Größe_1"),
            (" / ", "vm"),
            ("", "vm"),
        ] {
            assert_eq!(sanitise_name(title), name, "{title:?}");
            safe_name(&sanitise_name(title)).unwrap();
        }
        let long = sanitise_name(&"ü".repeat(500));
        assert_eq!(long.len(), 200);
    }
}
