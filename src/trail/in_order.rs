//! Work on all cores, taken in order: what makes a check parallel and its verdict the same.
//!
//! Workers take the numbers `0..count` as they come free; the caller gets every result in order of
//! its number, on its own thread. So the first fault by number is the first the caller sees, however
//! many workers there are. At most [`AHEAD`] results per worker wait: memory does not grow with `count`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many results of each worker may wait to be taken.
const AHEAD: u64 = 8;

/// Runs `work(n)` for each `n` below `count` on `threads` threads and `take(n, …)` here, in order.
/// Ends at the first error of `take`; a panic of `work` is passed on.
pub fn in_order<R: Send, E>(
    threads: NonZeroUsize,
    count: u64,
    work: impl Fn(u64) -> R + Sync,
    mut take: impl FnMut(u64, R) -> Result<(), E>,
) -> Result<(), E> {
    if threads.get() == 1 || count < 2 {
        return (0..count).try_for_each(|number| take(number, work(number)));
    }
    let queue = Queue {
        count,
        // A usize fits u64 on every platform there is.
        ahead: AHEAD * threads.get() as u64,
        state: Mutex::new(State { next: 0, taken: 0, done: BTreeMap::new(), stopped: false }),
        room: Condvar::new(),
        ready: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                let _bell = StopOnDrop { queue: &queue, only_on_panic: true };
                while let Some(number) = queue.next() {
                    queue.done(number, work(number));
                }
            });
        }
        // Also when `take` panics, the workers end.
        let _bell = StopOnDrop { queue: &queue, only_on_panic: false };
        for number in 0..count {
            // None: a worker panicked, and the scope passes that on.
            let Some(result) = queue.take(number) else { return Ok(()) };
            take(number, result)?;
        }
        Ok(())
    })
}

struct State<R> {
    /// The next number that a worker takes.
    next: u64,
    /// How many results were taken.
    taken: u64,
    done: BTreeMap<u64, R>,
    stopped: bool,
}

struct Queue<R> {
    count: u64,
    ahead: u64,
    state: Mutex<State<R>>,
    /// Something was taken.
    room: Condvar,
    /// Something was done.
    ready: Condvar,
}

impl<R> Queue<R> {
    /// No code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<u64> {
        let mut state = self.lock();
        while !state.stopped && state.next < self.count && state.next >= state.taken + self.ahead {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped || state.next == self.count {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn done(&self, number: u64, result: R) {
        self.lock().done.insert(number, result);
        self.ready.notify_one();
    }

    fn take(&self, number: u64) -> Option<R> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.done.remove(&number) {
                state.taken = number + 1;
                self.room.notify_all();
                return Some(result);
            }
            if state.stopped {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct StopOnDrop<'a, R> {
    queue: &'a Queue<R>,
    only_on_panic: bool,
}

impl<R> Drop for StopOnDrop<'_, R> {
    fn drop(&mut self) {
        if !self.only_on_panic || std::thread::panicking() {
            self.queue.lock().stopped = true;
            self.queue.room.notify_all();
            self.queue.ready.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn threads(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    #[test]
    fn results_come_in_order_whoever_makes_them() {
        for n in [1, 2, 5, 9] {
            let mut seen = Vec::new();
            let taken: Result<(), ()> = in_order(
                threads(n),
                1000,
                |number| {
                    // Uneven work, so that later numbers are done before earlier ones.
                    let turns = (0..(number * 7919) % 3000).map(std::hint::black_box).count() as u64;
                    number * 2 + turns.saturating_sub(3000)
                },
                |number, result| {
                    assert_eq!(result, number * 2);
                    seen.push(number);
                    Ok(())
                },
            );
            assert_eq!(taken, Ok(()));
            assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_by_number_ends_it_and_little_more_is_worked_on() {
        for n in [1, 2, 5] {
            let worked = AtomicU64::new(0);
            let work = |number| {
                worked.fetch_add(1, Ordering::Relaxed);
                number % 100 == 37
            };
            let taken =
                in_order(threads(n), 1_000_000, work, |number, bad| if bad { Err(number) } else { Ok(()) });
            assert_eq!(taken, Err(37));
            assert!(worked.into_inner() <= 38 + AHEAD * n as u64, "the work went on after the error");
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_a_worker_is_passed_on() {
        let _: Result<(), ()> = in_order(threads(3), 100, |number| assert_ne!(number, 50), |_, ()| Ok(()));
    }
}
