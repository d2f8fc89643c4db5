//! How far back a deflate stream (RFC 1951) looks. Libraries that read with a window take more
//! than they promise; this counts.

/// Base and extra bits of the lengths 257 to 285, and of the distances (RFC 1951, 3.2.5).
const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The base and the extra bits of a distance code.
fn distance(code: usize) -> (usize, u32) {
    let extra = (code / 2).saturating_sub(1);
    if code < 4 { (code + 1, 0) } else { (((2 + code % 2) << extra) + 1, extra as u32) }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> usize {
        (0..count).fold(0, |value, shift| {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << shift
        })
    }

    /// The next symbol of a canonical code, given the length of each symbol's code.
    fn symbol(&mut self, code: &Code) -> usize {
        let (mut value, mut first, mut index) = (0, 0, 0);
        for count in code.counts {
            value |= self.take(1);
            if value < first + count {
                return code.symbols[index + value - first];
            }
            index += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        panic!("no such code");
    }
}

/// A canonical code: how many symbols have each length from 1 on, and the symbols in order.
struct Code {
    counts: [usize; 15],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 15];
        let mut symbols = Vec::new();
        for len in 1..=15 {
            let before = symbols.len();
            symbols.extend((0..lengths.len()).filter(|symbol| lengths[*symbol] == len));
            counts[len - 1] = symbols.len() - before;
        }
        Self { counts, symbols }
    }
}

/// The codes of a block with codes of its own.
fn dynamic(bits: &mut Bits<'_>) -> (Code, Code) {
    let (plain, far, own) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut lengths = [0; 19];
    for place in &ORDER[..own] {
        lengths[*place] = bits.take(3);
    }
    let code = Code::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < plain + far {
        let (len, times) = match bits.symbol(&code) {
            16 => (lengths[lengths.len() - 1], 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            len => (len, 1),
        };
        lengths.extend(std::iter::repeat_n(len, times));
    }
    (Code::new(&lengths[..plain]), Code::new(&lengths[plain..]))
}

/// The length of the plain bytes of a raw deflate stream, and the farthest that it looks back.
pub fn reach(stream: &[u8]) -> (usize, usize) {
    let mut bits = Bits { bytes: stream, at: 0 };
    let (mut len, mut farthest) = (0, 0);
    loop {
        let last = bits.take(1) == 1;
        let (plain, far) = match bits.take(2) {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let count = bits.take(16);
                bits.at += 16 + 8 * count;
                len += count;
                if last {
                    return (len, farthest);
                }
                continue;
            }
            1 => {
                let lengths: Vec<_> = (0..288)
                    .map(|symbol| match symbol {
                        0..144 => 8,
                        144..256 => 9,
                        256..280 => 7,
                        _ => 8,
                    })
                    .collect();
                (Code::new(&lengths), Code::new(&[5; 30]))
            }
            _ => dynamic(&mut bits),
        };
        loop {
            match bits.symbol(&plain) {
                0..256 => len += 1,
                256 => break,
                symbol => {
                    let (base, extra) = LENGTHS[symbol - 257];
                    len += base + bits.take(extra);
                    let (base, extra) = distance(bits.symbol(&far));
                    farthest = farthest.max(base + bits.take(extra));
                }
            }
        }
        if last {
            return (len, farthest);
        }
    }
}
