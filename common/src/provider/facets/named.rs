//! Objects of a platform's inventory, by what people call them.

use crate::error::{Error, Result};

/// Most names that an error tells.
const SHOWN: usize = 10;

/// Something with a name and a place.
pub trait Named {
    /// What it is: `resource pool`.
    const WORD: &'static str;

    /// What the provider calls it.
    fn id(&self) -> &str;

    /// Its name; several may have it.
    fn name(&self) -> &str;

    /// Its path in the inventory, where it has one.
    fn path(&self) -> Option<&str>;

    /// The path of what it is the one and only of, and can be called by as well.
    fn owner_path(&self) -> Option<&str> {
        None
    }
}

/// The one that `wanted` means: a name, a path or the end of one, or `@` and an id.
///
/// # Errors
/// `NotFound` with those that there are; `Conflict` with the paths of several.
pub fn find<'n, N: Named>(all: &'n [N], wanted: &str) -> Result<&'n N> {
    let fitting: Vec<&N> = all.iter().filter(|it| fits(*it, wanted)).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => {
            let error = Error::not_found(format!("there is no such {}", N::WORD));
            Err(error.with_subject(wanted).with_hint(known(all)))
        }
        several => {
            let words = format!("{} {}s are called so", several.len(), N::WORD);
            let shown = several.iter().take(SHOWN).map(|it| path_or_id(*it));
            let error = Error::conflict(words).with_subject(wanted);
            Err(shown.fold(error, |error, path| error.with_hint(path)))
        }
    }
}

fn fits<N: Named>(one: &N, wanted: &str) -> bool {
    if let Some(id) = wanted.strip_prefix('@') {
        return one.id() == id;
    }
    let ends = |path: &str| match wanted.starts_with('/') {
        true => path.trim_end_matches('/') == wanted.trim_end_matches('/'),
        false => {
            let wanted = wanted.trim_end_matches('/');
            path.strip_suffix(wanted).is_some_and(|front| front.ends_with('/'))
        }
    };
    one.name() == wanted || one.path().is_some_and(ends) || one.owner_path().is_some_and(ends)
}

fn path_or_id<N: Named>(one: &N) -> String {
    one.path().map_or_else(|| format!("@{}", one.id()), str::to_owned)
}

/// What there is, for a hint.
fn known<N: Named>(all: &[N]) -> String {
    if all.is_empty() {
        return "there are none".to_owned();
    }
    let mut names: Vec<_> = all.iter().map(path_or_id).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there are: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shelf(&'static str, &'static str, &'static str, Option<&'static str>);

    impl Named for Shelf {
        const WORD: &'static str = "shelf";

        fn id(&self) -> &str {
            self.0
        }

        fn name(&self) -> &str {
            self.1
        }

        fn path(&self) -> Option<&str> {
            Some(self.2)
        }

        fn owner_path(&self) -> Option<&str> {
            self.3
        }
    }

    #[test]
    fn a_name_a_path_its_end_and_an_id_mean_one() {
        let all = [
            Shelf("s-1", "top", "/a/wall/top", Some("/a/wall")),
            Shelf("s-2", "top", "/b/top", None),
            Shelf("s-3", "low", "/b/top/low", None),
        ];
        for (wanted, id) in [
            ("low", "s-3"),
            ("@s-2", "s-2"),
            ("/a/wall/top", "s-1"),
            ("/b/top/", "s-2"),
            ("wall/top", "s-1"),
            ("wall", "s-1"),
            ("/a/wall", "s-1"),
        ] {
            assert_eq!(find(&all, wanted).map(Named::id).unwrap(), id, "{wanted}");
        }
        let error = find(&all, "top").err().unwrap();
        assert_eq!((error.kind().exit_status(), error.hints().len()), (6, 2), "{error:?}");
        for wanted in ["op", "", "/", "@", "all/top", "/wall"] {
            let error = find(&all, wanted).err().unwrap();
            assert_eq!(error.kind().exit_status(), 5, "{wanted}");
            assert!(error.hints()[0].contains("/b/top/low"), "{error:?}");
        }
    }
}
