//! What a command tells whoever runs it: on stdout what it did or found, on stderr what it has to say beside that.
//!
//! A reader that has gone away (`| head -1`) ends what is told and nothing else: the command does all that it was
//! asked to do, and exits as if everything had been read. `println!` would end it with a panic in the middle of
//! that. Where stdout takes no more for another reason (a full disk), [`lost`] says so at the end: nobody must
//! take half a result for the whole.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The first error of stdout that was not a reader's leaving.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// A line on stdout, written as `println!` is.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::say::out(format_args!("{}\n", format_args!($($text)*))) };
}

/// A line on stderr, written as `eprintln!` is.
#[macro_export]
macro_rules! aside {
    ($($text:tt)*) => { $crate::say::err(format_args!("{}\n", format_args!($($text)*))) };
}

/// On stdout, as it is.
pub fn out(text: Arguments<'_>) {
    note(io::stdout().lock().write_fmt(text));
}

/// On stderr, as it is, in one piece: others write there, too. What it does not take is nobody's loss.
pub fn err(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// Why not all of what was told on stdout arrived, if anybody still was there to read it. Asked last, and once.
pub fn lost() -> Option<io::Error> {
    note(io::stdout().lock().flush());
    first_error().take()
}

fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        first_error().get_or_insert(error);
    }
}

fn first_error() -> MutexGuard<'static, Option<io::Error>> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner)
}
