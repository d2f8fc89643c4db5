//! Counting what a body allocates. libFuzzer's own limit for single allocations needs a
//! sanitizer's allocator, which stable Rust has not, so the limit stands here.
#![expect(unsafe_code, reason = "a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Most bytes that a body may hold at once, and so the largest single allocation. What the
/// decoders keep is some MiB; the rest is the input's own buffer and what was unpacked of it.
const MOST_HELD: isize = 64 << 20;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator with a count for each thread.
pub struct Ledger;

impl Ledger {
    fn add(change: isize) {
        // A thread that ends has no count any more, and nothing to be counted.
        let _ = HELD.try_with(|held| {
            held.set(held.get().wrapping_add(change));
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        });
    }
}

// SAFETY: every call goes on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size() as isize);
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Self::add(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::add(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Runs `body` on `input`.
///
/// # Panics
/// Where the body does, and where it held more than its share of memory at once.
pub fn bounded(body: fn(&[u8]), input: &[u8]) {
    let before = HELD.get();
    PEAK.set(before);
    body(input);
    let most = PEAK.get().wrapping_sub(before);
    assert!(most <= MOST_HELD, "{most} bytes were held at once");
}
