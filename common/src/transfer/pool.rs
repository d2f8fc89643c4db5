//! The fixed pool of threads that does all work on bytes: inflating, scanning, compressing,
//! hashing, and writing to seekable targets. tokio's workers only wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::worker::Tools;

type Task = Box<dyn FnOnce(&mut Tools) + Send>;

/// A fixed number of threads with one queue. The queue is bounded by what feeds it: every task
/// holds a share of the engine's memory budget.
#[derive(Debug)]
pub struct Pool {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    closed: bool,
}

impl Pool {
    /// A pool of `threads` threads (at least one).
    ///
    /// # Errors
    /// The operating system's, where not even one thread can be started.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut started = 0;
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("hyper-cpu-{number}"));
            match thread.spawn(move || serve(&queue)) {
                Ok(_) => started += 1,
                Err(error) if started == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(Self { queue })
    }

    /// As many threads as the machine lets this process use.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn of_machine() -> std::io::Result<Self> {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Queues a task. Tasks start in the order they were queued.
    pub fn submit(&self, task: impl FnOnce(&mut Tools) + Send + 'static) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks.push_back(Box::new(task));
        drop(state);
        self.queue.filled.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.queue.filled.notify_all();
    }
}

fn serve(queue: &Queue) {
    let mut tools = Tools::default();
    while let Some(task) = next(queue) {
        task(&mut tools);
    }
}

fn next(queue: &Queue) -> Option<Task> {
    let mut state = queue.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(task) = state.tasks.pop_front() {
            return Some(task);
        }
        if state.closed {
            return None;
        }
        state = queue.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}
