//! Sorting more than memory holds: sorted runs in temporary files, merged at the end.
//!
//! Pure as to where the files are: [`Scratch`] makes them. A run that has been merged is dropped, and
//! its file with it. At most [`FAN_IN`] runs of one generation are kept, so the open files grow with
//! the logarithm of the data.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

/// A temporary file: written once, rewound, read once. Dropping it removes it.
pub trait TemporaryFile: Read + Write + Seek {}

impl<T: Read + Write + Seek> TemporaryFile for T {}

/// Makes temporary files.
pub type Scratch<'a> = &'a dyn Fn() -> io::Result<Box<dyn TemporaryFile>>;

/// Runs that are merged into one of the next generation.
const FAN_IN: usize = 64;
/// Bytes read ahead and written at once for each run.
const BUFFER: usize = 16 * 1024;
/// Bytes of a record's length, which stands before it.
const LENGTH: usize = 4;

/// Takes records in any order and gives them back sorted by their bytes.
pub(super) struct Sorter<'a> {
    scratch: Scratch<'a>,
    /// Bytes held before a run is written.
    bound: usize,
    /// Records, each with its length before it (u32, big-endian).
    held: Vec<u8>,
    starts: Vec<usize>,
    /// By generation.
    runs: Vec<Vec<Box<dyn TemporaryFile>>>,
    spilled: u64,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(bound: usize, scratch: Scratch<'a>) -> Self {
        Self { scratch, bound, held: Vec::new(), starts: Vec::new(), runs: Vec::new(), spilled: 0 }
    }

    /// Takes records as [`put`] wrote them.
    pub(super) fn extend(&mut self, mut records: &[u8]) -> io::Result<()> {
        while let Some((record, rest)) = split(records) {
            self.starts.push(self.held.len());
            self.held.extend_from_slice(&records[..LENGTH + record.len()]);
            records = rest;
            if self.held.len() + self.starts.len() * size_of::<usize>() > self.bound {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// How often the bound was met.
    pub(super) fn spilled(&self) -> u64 {
        self.spilled
    }

    /// Gives every record, in order of its bytes.
    pub(super) fn finish<E: From<io::Error>>(
        mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.sort();
        if self.runs.is_empty() {
            return self
                .starts
                .iter()
                .filter_map(|start| split(&self.held[*start..]))
                .try_for_each(|(record, _)| each(record));
        }
        if !self.starts.is_empty() {
            self.spill()?;
        }
        // All memory is given back before the buffers of the runs are taken.
        (self.held, self.starts) = (Vec::new(), Vec::new());
        merge(self.runs.into_iter().flatten().collect(), each)
    }

    fn sort(&mut self) {
        let held = &self.held;
        // Every start is one of a whole record.
        self.starts.sort_unstable_by_key(|start| split(&held[*start..]).map(|(record, _)| record));
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut file = BufWriter::with_capacity(BUFFER, (self.scratch)()?);
        for (record, _) in self.starts.iter().filter_map(|start| split(&self.held[*start..])) {
            write_record(&mut file, record)?;
        }
        self.held.clear();
        self.starts.clear();
        self.spilled += 1;
        self.keep(0, rewound(file)?)
    }

    fn keep(&mut self, generation: usize, run: Box<dyn TemporaryFile>) -> io::Result<()> {
        if self.runs.len() == generation {
            self.runs.push(Vec::new());
        }
        self.runs[generation].push(run);
        if self.runs[generation].len() < FAN_IN {
            return Ok(());
        }
        let mut file = BufWriter::with_capacity(BUFFER, (self.scratch)()?);
        let full = std::mem::take(&mut self.runs[generation]);
        merge(full, |record| write_record(&mut file, record))?;
        self.keep(generation + 1, rewound(file)?)
    }
}

/// Writes a record behind others. A record is far shorter than 4 GiB: it is made of one leaf.
pub(super) fn put(records: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = records.len();
    records.extend_from_slice(&[0; LENGTH]);
    write(records);
    let length = (records.len() - start - LENGTH) as u32;
    records[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
}

/// The first record and what follows it.
fn split(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = records.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

fn write_record(file: &mut impl Write, record: &[u8]) -> io::Result<()> {
    file.write_all(&(record.len() as u32).to_be_bytes())?;
    file.write_all(record)
}

fn rewound(file: BufWriter<Box<dyn TemporaryFile>>) -> io::Result<Box<dyn TemporaryFile>> {
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn merge<E: From<io::Error>>(
    runs: Vec<Box<dyn TemporaryFile>>,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut readers: Vec<_> = runs.into_iter().map(|run| BufReader::with_capacity(BUFFER, run)).collect();
    let mut heads = BinaryHeap::with_capacity(readers.len());
    for (at, reader) in readers.iter_mut().enumerate() {
        heads.extend(next_record(reader, Vec::new())?.map(|record| Reverse((record, at))));
    }
    while let Some(Reverse((record, at))) = heads.pop() {
        each(&record)?;
        // The record's memory is used again for the next one of its run.
        heads.extend(next_record(&mut readers[at], record)?.map(|record| Reverse((record, at))));
    }
    Ok(())
}

fn next_record(reader: &mut impl Read, mut record: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; LENGTH];
    match reader.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    record.resize(u32::from_be_bytes(length) as usize, 0);
    reader.read_exact(&mut record)?;
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Cursor;

    use super::*;

    fn sorted(bound: usize, records: &[Vec<u8>]) -> (Vec<Vec<u8>>, u64, usize) {
        let files = Cell::new(0);
        let scratch = || {
            files.set(files.get() + 1);
            Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn TemporaryFile>)
        };
        let mut sorter = Sorter::new(bound, &scratch);
        let mut bytes = Vec::new();
        for record in records {
            put(&mut bytes, |out| out.extend_from_slice(record));
        }
        sorter.extend(&bytes).unwrap();
        let spilled = sorter.spilled();
        let mut out = Vec::new();
        sorter
            .finish(|record| {
                out.push(record.to_vec());
                Ok::<(), io::Error>(())
            })
            .unwrap();
        (out, spilled, files.get())
    }

    #[test]
    fn the_order_is_the_same_in_memory_and_through_any_number_of_runs() {
        let records: Vec<Vec<u8>> = (0..10_000u32)
            .map(|n| {
                let mixed = n.wrapping_mul(2_654_435_761) % 7919;
                let mut record = mixed.to_be_bytes().to_vec();
                record.resize(4 + (n % 40) as usize, n as u8);
                record
            })
            .collect();
        let mut expected = records.clone();
        expected.sort();
        for (bound, at_least) in [(usize::MAX, 0), (100_000, 2), (20_000, 10), (400, 700)] {
            let (out, spilled, files) = sorted(bound, &records);
            assert!(out == expected, "another order with a bound of {bound}");
            assert!(spilled >= at_least, "{spilled} runs with a bound of {bound}");
            assert!(bound < usize::MAX || files == 0);
        }
        assert_eq!(sorted(10, &[]).0, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_file_that_cannot_be_made_or_written_is_an_error() {
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        let mut sorter = Sorter::new(1, &full);
        let mut bytes = Vec::new();
        put(&mut bytes, |out| out.push(1));
        assert_eq!(sorter.extend(&bytes).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
