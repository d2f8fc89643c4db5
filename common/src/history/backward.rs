//! The lines of a file from its end to its start.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::segment::LONGEST_LINE;

const BLOCK: u64 = 64 << 10;

/// Gives the lines of the first `len` bytes of a file, last one first, without their line feeds.
/// Holds one block, or one line where that is longer; lines beyond [`LONGEST_LINE`] are passed
/// over. What stands after the last line feed is given too: a line that is being written, or
/// that a crash tore.
#[derive(Debug)]
pub(super) struct Backward {
    file: File,
    /// Bytes before `held` that were not read yet.
    before: u64,
    /// Bytes from `before` on that were not given yet.
    held: Vec<u8>,
    /// The line whose end was passed is too long, so its start is passed over as well.
    skipping: bool,
}

impl Backward {
    pub fn new(file: File, len: u64) -> Self {
        Self { file, before: len, held: Vec::new(), skipping: false }
    }

    /// Puts another block before what is held; `false` at the start of the file.
    fn fill(&mut self) -> io::Result<bool> {
        // Doubling keeps the copying linear for a long line.
        let size = BLOCK.max(self.held.len() as u64).min(self.before);
        if size == 0 {
            return Ok(false);
        }
        let mut block = vec![0; size as usize];
        self.file.read_exact_at(&mut block, self.before - size)?;
        self.before -= size;
        block.append(&mut self.held);
        self.held = block;
        Ok(true)
    }

    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut seen = 0;
        loop {
            let unseen = self.held.len() - seen;
            if let Some(at) = self.held.iter().take(unseen).rposition(|byte| *byte == b'\n') {
                let line = self.held.split_off(at + 1);
                self.held.pop();
                if !std::mem::take(&mut self.skipping) && line.len() <= LONGEST_LINE {
                    return Ok(Some(line));
                }
                seen = 0;
                continue;
            }
            if self.held.len() > LONGEST_LINE {
                self.held = Vec::new();
                self.skipping = true;
            }
            seen = self.held.len();
            if !self.fill()? {
                let line = std::mem::take(&mut self.held);
                let first = !line.is_empty() && !std::mem::take(&mut self.skipping);
                return Ok(first.then_some(line));
            }
        }
    }
}

impl Iterator for Backward {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, bytes).unwrap();
        let backward = Backward::new(File::open(&path).unwrap(), bytes.len() as u64);
        backward.map(Result::unwrap).filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn lines_come_last_first() {
        assert_eq!(lines(b"one\ntwo\nthree\n"), [&b"three"[..], b"two", b"one"]);
        assert_eq!(lines(b"one\n\ntorn"), [&b"torn"[..], b"one"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn blocks_and_lines_do_not_care_about_each_other() {
        for length in [1usize, 100, 65_535, 65_536, 65_537, 200_000] {
            let mut bytes = Vec::new();
            for n in 0..7u8 {
                bytes.extend(std::iter::repeat_n(b'a' + n, length + usize::from(n)));
                bytes.push(b'\n');
            }
            let found = lines(&bytes);
            assert_eq!(found.len(), 7);
            for (at, line) in found.iter().enumerate() {
                let n = 6 - at as u8;
                assert_eq!(line.len(), length + usize::from(n));
                assert!(line.iter().all(|byte| *byte == b'a' + n));
            }
        }
    }

    #[test]
    fn an_endless_line_is_passed_over() {
        let mut bytes = b"before\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', LONGEST_LINE + 100_000));
        bytes.extend(b"\nafter\n");
        assert_eq!(lines(&bytes), [&b"after"[..], b"before"]);
        assert!(lines(&vec![b'x'; LONGEST_LINE * 2]).is_empty());
    }
}
