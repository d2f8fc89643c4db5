//! Trying again. Only for requests that change nothing, or the same thing twice.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::error::Result;

/// How often a request is made at the most.
const ATTEMPTS: u32 = 4;

/// Longest wait that a server may ask for.
const LONGEST: Duration = Duration::from_secs(60);

/// Makes a request until it succeeds or fails for good. An error that names a time to wait
/// ([`crate::error::Error::retry_after`]) is passing; no other is. The waits double and vary by
/// a half, so that many clients of one server do not come back at once.
///
/// # Errors
/// The last attempt's.
pub async fn retry<T, F>(mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut made = 1;
    loop {
        let error = match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(wait) = error.retry_after().filter(|_| made < ATTEMPTS) else {
            return Err(error);
        };
        let wait = wait.saturating_mul(1 << (made - 1)).min(LONGEST);
        tracing::info!("{error}; trying again");
        tokio::time::sleep(varied(wait)).await;
        made += 1;
    }
}

/// `wait` or up to a half longer: never shorter than what a server asked for.
pub fn varied(wait: Duration) -> Duration {
    // The seeds of hash maps are random enough to tell clients apart.
    let random = RandomState::new().build_hasher().finish() % 512;
    wait + wait.mul_f64(random as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::{Error, ErrorKind};

    fn run(fails: u32, wait: Option<Duration>) -> (u32, Result<()>) {
        let made = Cell::new(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(retry(|| {
            made.set(made.get() + 1);
            let failed = made.get() <= fails;
            async move {
                let error = Error::new(ErrorKind::Unavailable, "busy");
                match wait {
                    _ if !failed => Ok(()),
                    Some(wait) => Err(error.with_retry_after(wait)),
                    None => Err(error),
                }
            }
        }));
        (made.get(), answer)
    }

    #[test]
    fn only_what_passes_is_tried_again_and_not_for_ever() {
        let short = Some(Duration::from_millis(1));
        assert_eq!(run(2, short).0, 3);
        let (made, answer) = run(9, short);
        assert_eq!(made, ATTEMPTS);
        assert!(answer.is_err());
        assert_eq!(run(9, None).0, 1);
        let wait = Duration::from_millis(100);
        assert!((0..50).all(|_| varied(wait) >= wait && varied(wait) <= wait * 3 / 2));
    }
}
