use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressDrawTarget, TermLike};

use super::bar::Bars;
use super::board::Board;
use super::json::Json;
use super::lines::{Lines, Pace};
use super::show::{Progress, Renderer};
use super::view::News;
use super::{DiskEnd, Phase};

/// What was written to a stream or drawn on a terminal.
#[derive(Debug, Clone, Default)]
struct Screen(Arc<Mutex<String>>);

impl Screen {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn put(&self, text: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.put(std::str::from_utf8(bytes).unwrap())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        160
    }

    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> std::io::Result<()> {
        self.put(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> std::io::Result<()> {
        self.put(text)
    }

    fn clear_line(&self) -> std::io::Result<()> {
        self.put("<clear>")
    }

    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}

const MIB: u64 = 1 << 20;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_share_counts_positions_on_all_disks_and_passes() {
    let mut board = Board::new();
    board.expect(300);
    let a = board.add("a", 100, seconds(0));
    let b = board.add("b", 100, seconds(0));
    a.advance(50, 7, 3);
    a.advance(40, 1, 0);
    b.advance(1000, 0, 0);
    let view = board.view(seconds(1));
    assert_eq!(view.disks[0].amount.position, 50, "a late report does not move it back");
    assert_eq!(view.disks[1].amount.position, 100, "never beyond the capacity");
    assert_eq!((view.total.position, view.total.capacity), (150, 300));
    assert_eq!((view.total.read, view.total.written), (8, 3));

    a.advance(100, 0, 0);
    a.enter(Phase::Verify);
    a.advance(10, 0, 0);
    b.enter(Phase::Finish);
    let view = board.view(seconds(2));
    assert_eq!(view.disks[0].amount.position, 10, "a second pass starts anew");
    assert_eq!(view.disks[1].amount.position, 100, "finishing is no pass");
    assert_eq!((view.total.position, view.total.capacity), (210, 300));

    assert!(b.end(DiskEnd::Done) && !b.end(DiskEnd::Failed));
    board.remove(&b);
    b.advance(5, 5, 5);
    let view = board.view(seconds(3));
    assert_eq!((view.disks.len(), view.ended), (1, 1));
    assert_eq!((view.total.position, view.total.capacity), (210, 300));
    let c = board.add("c", 500, seconds(3));
    assert_eq!(board.view(seconds(4)).total.capacity, 800, "what was not announced is added");
    c.end(DiskEnd::Reused);
    assert_eq!(c.view(seconds(4)).amount.position, 500);
}

#[test]
fn words_give_share_pace_and_time_left() {
    let mut board = Board::new();
    let disk = board.add("a", 400 * MIB, seconds(0));
    board.view(seconds(0));
    disk.advance(100 * MIB, 60 * MIB, 20 * MIB);
    disk.retried();
    let view = board.view(seconds(2));
    let words = " 25% 100 MiB of 400 MiB, read 30 MiB/s, 6s left, 1 retried";
    assert_eq!(view.disks[0].amount.words(), words);
    disk.advance(400 * MIB - 1, 0, 0);
    assert_eq!(board.view(seconds(3)).disks[0].amount.percent(), 99, "100 means all of it");
    let empty = board.add("empty", 0, seconds(3));
    assert_eq!(empty.view(seconds(3)).amount.percent(), 100);
}

#[test]
fn lines_come_at_changes_and_at_their_pace() {
    let screen = Screen::default();
    let mut lines = Lines::new(Box::new(screen.clone()), Pace::ASKED);
    let mut board = Board::new();
    let disk = board.add("web01-disk0", 4 * MIB, seconds(0));
    lines.news(News::DiskStarted(&disk.view(seconds(0))), &board.view(seconds(0)));
    for second in 1..=12 {
        disk.advance(second * MIB / 4, MIB / 4, 0);
        lines.tick(&board.view(seconds(second)));
    }
    disk.enter(Phase::Verify);
    lines.news(News::DiskPhase(&disk.view(seconds(12))), &board.view(seconds(12)));
    disk.end(DiskEnd::Done);
    board.remove(&disk);
    let ended = disk.view(seconds(13));
    lines.news(News::DiskEnded(&ended, DiskEnd::Done), &board.view(seconds(13)));
    lines.news(News::Warning("bad\x1b[2Jname"), &board.view(seconds(13)));
    assert_eq!(
        screen.text(),
        "copy web01-disk0: 4 MiB\n\
         copy web01-disk0: 31% 1.3 MiB of 4 MiB, read 256 KiB/s, 11s left\n\
         copy web01-disk0: 62% 2.5 MiB of 4 MiB, read 256 KiB/s, 6s left\n\
         verify web01-disk0: 4 MiB\n\
         web01-disk0: done, 4 MiB in 13s, read 3 MiB, wrote 0 B\n\
         warning: bad\\u{1b}[2Jname\n"
    );
}

#[test]
fn unasked_lines_wait_and_never_means_never() {
    for (pace, expected) in [(Pace::UNASKED, [12, 42]), (Pace::NEVER, [0, 0])] {
        let screen = Screen::default();
        let mut lines = Lines::new(Box::new(screen.clone()), pace);
        let mut board = Board::new();
        board.add("a", 100, seconds(0));
        let mut came = Vec::new();
        for second in [2, 4, 6, 8, 12, 20, 40, 42, 44] {
            let before = screen.text().len();
            lines.tick(&board.view(seconds(second)));
            if screen.text().len() > before {
                came.push(second);
            }
        }
        let expected: Vec<u64> = expected.into_iter().filter(|second| *second > 0).collect();
        assert_eq!(came, expected, "{pace:?}");
        lines.news(News::Note("said"), &board.view(seconds(1)));
        assert!(screen.text().ends_with("note: said\n"));
    }
}

#[test]
fn json_lines_hold_what_a_program_needs() {
    let screen = Screen::default();
    let mut json = Json::new(Box::new(screen.clone()));
    let mut board = Board::new();
    let disk = board.add("a", 4 * MIB, seconds(0));
    board.view(seconds(0));
    disk.advance(MIB, 2048, 1024);
    json.tick(&board.view(seconds(1)));
    json.news(News::Retry(&disk.view(seconds(1)), "503"), &board.view(seconds(1)));
    json.news(News::Warning("line\nbreak"), &board.view(seconds(1)));
    json.close(&board.view(seconds(2)));
    let text = screen.text();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["progress", "retry", "warning", "end"]);
    assert!(lines.iter().all(|line| line["schema"] == "hyper.progress/v1"));
    let first = &lines[0]["disks"][0];
    assert_eq!(first["position_bytes"], MIB);
    assert_eq!(first["read_rate"], 2048);
    assert_eq!(first["left_seconds"], 3.0);
    assert_eq!(lines[0]["total"]["capacity_bytes"], 4 * MIB);
    assert_eq!(lines[1]["message"], "503");
    assert_eq!(lines[2]["message"], "line\nbreak");
    assert!(lines[2].get("total").is_none());
}

#[test]
fn bars_are_drawn_and_cleared_and_warnings_stand_above() {
    let screen = Screen::default();
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 250);
    let mut bars = Bars::on(target, Box::new(screen.clone()), || 160);
    let mut board = Board::new();
    let first = board.add("a-very-long-name-of-a-virtual-machine-disk0", 100, seconds(0));
    board.add("b-disk1", 100, seconds(0));
    first.advance(50, 10, 0);
    bars.tick(&board.view(seconds(1)));
    std::thread::sleep(Duration::from_millis(20));
    bars.tick(&board.view(seconds(2)));
    let drawn = screen.text();
    assert!(drawn.contains("copy …a-virtual-machine-disk0"), "{drawn}");
    assert!(drawn.contains("[==========>"), "{drawn}");
    assert!(drawn.contains(" 50% 50 B of 100 B"), "{drawn}");
    assert!(drawn.contains("all: plan") && drawn.contains(" 25% 50 B of 200 B"), "{drawn}");
    bars.news(News::Warning("careful\r"), &board.view(seconds(2)));
    assert!(screen.text().contains("warning: careful\\r\n"), "{}", screen.text());
    bars.close(&board.view(seconds(3)));
    let shown = screen.text().len();
    bars.suspend(&mut || screen.put("record\n").unwrap());
    assert!(screen.text()[shown..].ends_with("record\n"));
    assert!(!screen.text()[shown..].contains("disk0"), "nothing is drawn after the end");
}

#[test]
fn a_dropped_disk_and_a_late_warning_are_seen() {
    let screen = Screen::default();
    let lines = Lines::new(Box::new(screen.clone()), Pace::ASKED);
    let progress = Progress::with(Box::new(lines), true);
    let reporter = progress.reporter();
    reporter.phase(Phase::Copy);
    let done = reporter.disk("a", 8);
    done.advance(8, 8, 8);
    done.finish(DiskEnd::Done);
    done.finish(DiskEnd::Failed);
    drop(done);
    let stopped = reporter.disk("b", 8);
    stopped.advance(2, 2, 2);
    drop(stopped);
    reporter.note("not when quiet");
    reporter.warn("always");
    drop(progress);
    reporter.phase(Phase::Finish);
    let text = screen.text();
    let (start, rest) = text.split_once(" in ").unwrap();
    // How long it took is the machine's affair.
    let (_, end) = rest.split_once(", ").unwrap();
    assert_eq!(start, "phase: copy\ncopy a: 8 B\na: done, 8 B");
    assert_eq!(
        end,
        "read 8 B, wrote 8 B\ncopy b: 8 B\nb: stopped at 2 B of 8 B\nwarning: always\n"
    );
}

#[test]
fn many_threads_may_report_at_once() {
    let screen = Screen::default();
    let progress = Progress::with(Box::new(Json::new(Box::new(screen.clone()))), false);
    let reporter = progress.reporter();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let reporter = &reporter;
            scope.spawn(move || {
                let disk = reporter.disk(&format!("disk{thread}"), 1000);
                for step in 1..=1000 {
                    disk.advance(step, 1, 2);
                }
                disk.finish(DiskEnd::Done);
            });
        }
    });
    drop(progress);
    let text = screen.text();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "end");
    assert_eq!(last["total"]["position_bytes"], 8000);
    assert_eq!(last["total"]["read_bytes"], 8000);
    assert_eq!(last["total"]["written_bytes"], 16000);
    assert_eq!(text.lines().filter(|line| line.contains("disk_ended")).count(), 8);
}
