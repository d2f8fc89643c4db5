//! The variables of govc, which make a context without any configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::{PasswordSource, Secret, Server};

/// The context that `GOVC_URL` makes.
pub const GOVC: &str = "govc";

/// The server that govc's variables name, as govc understands them; `None` without `GOVC_URL`.
/// `variable` looks up an environment variable. The user name and the password of the other
/// variables win over those in the URL.
pub fn server(variable: impl Fn(&str) -> Option<OsString>) -> Option<Server> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
    let paths = |name: &str| -> Vec<PathBuf> {
        let list = set(name).unwrap_or_default();
        std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
    };
    let Address { url, user, password } = split(&text("GOVC_URL")?);
    let own = text("GOVC_USERNAME");
    let insecure = text("GOVC_INSECURE").map(|word| word.to_ascii_lowercase());
    let passwords = [
        text("GOVC_PASSWORD").map(|text| PasswordSource::GivenOrFile(Secret::new(text))),
        password.map(PasswordSource::Given),
        Some(PasswordSource::Ask),
    ];
    Some(Server {
        url,
        user_may_be_file: own.is_some(),
        user: own.or(user),
        datacenter: text("GOVC_DATACENTER"),
        ca_files: paths("GOVC_TLS_CA_CERTS"),
        thumbprint: None,
        known_hosts: paths("GOVC_TLS_KNOWN_HOSTS"),
        insecure: matches!(insecure.as_deref(), Some("1" | "true")),
        passwords: passwords.into_iter().flatten().collect(),
    })
}

/// A URL taken apart.
pub struct Address {
    /// Without user and password.
    pub url: String,
    /// The user in it.
    pub user: Option<String>,
    /// The password in it.
    pub password: Option<Secret>,
}

/// Takes user and password out of a URL, so that what is left can be shown. The last `@` before
/// the path ends them: a password may hold others.
pub fn split(url: &str) -> Address {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((person, host)) = authority.rsplit_once('@') else {
        return Address { url: url.to_owned(), user: None, password: None };
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = match person.split_once(':') {
        Some((user, password)) => (user, Some(Secret::new(decode(password)))),
        None => (person, None),
    };
    Address {
        url: format!("{scheme}{host}{path}"),
        user: (!user.is_empty()).then(|| decode(user)),
        password: password.filter(|password| !password.expose().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> Option<Server> {
        server(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn user_and_password_leave_the_url() {
        let found =
            of(&[("GOVC_URL", "https://root:p%40ss@w:rd@esx.example.com:8443/sdk")]).unwrap();
        assert_eq!(found.url, "https://esx.example.com:8443/sdk");
        assert_eq!(found.user.as_deref(), Some("root"));
        let given = PasswordSource::Given(Secret::new("p@ss@w:rd"));
        assert_eq!(found.passwords, [given, PasswordSource::Ask]);
        assert!(!found.insecure);
        let plain = of(&[("GOVC_URL", "esx"), ("GOVC_INSECURE", "TRUE")]).unwrap();
        assert_eq!((plain.url.as_str(), plain.user, plain.insecure), ("esx", None, true));
        assert!(
            of(&[("GOVC_URL", "esx"), ("GOVC_INSECURE", "yes")]).is_some_and(|it| !it.insecure)
        );
        assert_eq!(of(&[("GOVC_URL", "")]), None);
    }

    #[test]
    fn other_variables_win_over_the_url() {
        let found = of(&[
            ("GOVC_URL", "a:b@vc"),
            ("GOVC_USERNAME", "svc@vsphere.local"),
            ("GOVC_PASSWORD", "/run/secret"),
            ("GOVC_DATACENTER", "DC0"),
            ("GOVC_TLS_CA_CERTS", "/a.pem:/b.pem"),
            ("GOVC_TLS_KNOWN_HOSTS", "/known"),
        ])
        .unwrap();
        assert_eq!(found.user.as_deref(), Some("svc@vsphere.local"));
        assert!(found.user_may_be_file);
        let first = PasswordSource::GivenOrFile(Secret::new("/run/secret"));
        assert_eq!(found.passwords.first(), Some(&first));
        assert_eq!(found.ca_files.len(), 2);
        assert_eq!(found.known_hosts, [PathBuf::from("/known")]);
        assert_eq!(found.datacenter.as_deref(), Some("DC0"));
    }
}
