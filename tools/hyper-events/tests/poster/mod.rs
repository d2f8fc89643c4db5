//! Somebody who posts events on a vCenter that speaks plain HTTP, one after another.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::vcsim::PASSWORD;

/// A connection, logged in.
pub struct Poster {
    stream: BufReader<TcpStream>,
    place: String,
    cookie: String,
}

impl Poster {
    pub fn new(place: &str) -> Self {
        let stream = TcpStream::connect(place).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = BufReader::new(stream);
        let mut poster = Self { stream, place: place.to_owned(), cookie: String::new() };
        let password = PASSWORD.replace('&', "&amp;").replace('<', "&lt;");
        let login = format!("<userName>user</userName><password>{password}</password>");
        poster.call("Login", "SessionManager", &login);
        assert!(!poster.cookie.is_empty(), "logged in");
        poster
    }

    /// Posts an event of a class, with further fields.
    pub fn post(&mut self, class: &str, fields: &str) {
        let event = format!(
            "<eventToPost xsi:type=\"{class}\"><key>0</key><chainId>0</chainId>\
             <createdTime>2020-01-01T00:00:00Z</createdTime><userName></userName>{fields}</eventToPost>"
        );
        self.call("PostEvent", "EventManager", &event);
    }

    /// Posts what a user has to say.
    pub fn say(&mut self, message: &str) {
        self.post("GeneralUserEvent", &format!("<message>{message}</message>"));
    }

    fn call(&mut self, method: &str, this: &str, inner: &str) {
        let body = format!(
            "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><Body>\
             <{method} xmlns=\"urn:vim25\"><_this type=\"{this}\">{this}</_this>{inner}</{method}>\
             </Body></Envelope>"
        );
        let head = format!(
            "POST /sdk HTTP/1.1\r\nHost: {}\r\nContent-Type: text/xml\r\nSOAPAction: urn:vim25/7.0\r\n\
             Cookie: {}\r\nContent-Length: {}\r\n\r\n",
            self.place,
            self.cookie,
            body.len()
        );
        self.stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
        let (mut length, mut first) = (0, String::new());
        self.stream.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "set-cookie" => self.cookie = value.split(';').next().unwrap().trim().to_owned(),
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).unwrap();
        assert!(first.contains(" 200 "), "{first}{}", String::from_utf8_lossy(&answer));
    }
}
