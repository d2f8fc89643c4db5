//! The files of a machine inside a package: its members, and nothing else.

use std::sync::Arc;

use crate::fs::FileBytes;
use crate::image::{ImageError, Sibling, Siblings, Window};
use crate::package::ova::Member;

/// The members of a package.
#[derive(Debug, Clone)]
pub(super) struct PackageFiles {
    /// The package as plain tar.
    pub file: Arc<FileBytes>,
    pub members: Arc<[Member]>,
    /// Where relative names start: the folder of the envelope within the package, `` or `x/`.
    pub at: String,
}

impl PackageFiles {
    /// The bytes of a member, as the envelope names it.
    pub(super) fn member(&self, name: &str) -> Option<(&Member, Window)> {
        let full = format!("{}{}", self.at, name.strip_prefix("./").unwrap_or(name));
        let member = self.members.iter().find(|member| member.name == full)?;
        Some((member, Window::new(self.file.clone(), member.range.clone())?))
    }
}

impl Siblings for PackageFiles {
    fn open(&self, name: &str) -> Result<Sibling, ImageError> {
        let (member, window) = self.member(name).ok_or_else(|| {
            ImageError::Missing(format!("it names {name:?}, which is not in the package"))
        })?;
        let name = format!("{}#{}", self.file.path().display(), member.name);
        Ok(Sibling { file: Arc::new(window), folder: Arc::new(self.clone()), name })
    }
}
