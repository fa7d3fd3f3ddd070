//! How far it is, on standard error: one line that is written over on a terminal, and else a line at
//! each tenth.

use std::cell::Cell;

use mandate::authority::published::Stage;
use mandate::say;

pub struct Progress {
    terminal: bool,
    shown: bool,
    /// What was told last: the stage and its hundredths.
    last: Cell<Option<(Stage, u64)>>,
}

impl Progress {
    pub fn new(terminal: bool, shown: bool) -> Self {
        Self { terminal, shown, last: Cell::new(None) }
    }

    pub fn tell(&self, stage: Stage, done: u64, all: u64) {
        let step = if self.terminal { 1 } else { 10 };
        // The leaves of a log fit a u128 a hundred times over.
        let percent = if all == 0 { 100 } else { (u128::from(done) * 100 / u128::from(all)) as u64 };
        let now = (stage, percent / step * step);
        if !self.shown || self.last.replace(Some(now)) == Some(now) {
            return;
        }
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        say::err(format_args!("{before}{stage}: {done} of {all} leaves, {percent} %{after}"));
    }

    /// Clears the line.
    pub fn end(&self) {
        if self.terminal && self.last.take().is_some() {
            say::err(format_args!("\r\x1b[K"));
        }
    }
}
