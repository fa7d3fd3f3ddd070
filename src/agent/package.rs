//! The file an export leaves: a tar, encrypted with `age` to the recipient the
//! controller signed.
//!
//! `index.html`, `manifest.json` (SHA-256 of every other part), and for each
//! collection `data/<collection>.jsonl` and `data/<collection>.csv`. JSON Lines
//! keep each value's type; a BLOB is `{"base64": "…"}`. In CSV a text that a
//! spreadsheet would run (`=`, `+`, `-`, `@`, tab or return first) gets a `'`
//! before it; numbers stay numbers.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use age::x25519::Recipient;
use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::name::Name;
use super::spool::{Spool, Spooled, private_file};
use super::value::{Row, Value};

/// One collection's two files while they grow.
pub struct Sheet {
    columns: Vec<Name>,
    jsonl: Spool,
    csv: Spool,
    rows: u64,
}

/// The same, complete.
pub struct Sheets {
    collection: Name,
    jsonl: Spooled,
    csv: Spooled,
    pub rows: u64,
}

impl Sheet {
    /// `stem` is a path of ours to which file endings are added.
    pub fn create(stem: &Path, columns: Vec<Name>) -> io::Result<Self> {
        let mut sheet = Self {
            jsonl: Spool::create(&stem.with_extension("jsonl.spool"))?,
            csv: Spool::create(&stem.with_extension("csv.spool"))?,
            columns,
            rows: 0,
        };
        let header: Vec<String> = sheet.columns.iter().map(|name| harmless(name.as_str())).collect();
        sheet.csv.write(&csv_record(&header)?)?;
        Ok(sheet)
    }

    pub fn row(&mut self, row: &Row) -> io::Result<()> {
        let mut line = String::from("{");
        for (i, (column, value)) in self.columns.iter().zip(&row.0).enumerate() {
            if i > 0 {
                line.push(',');
            }
            line.push_str(&serde_json::to_string(column.as_str())?);
            line.push(':');
            line.push_str(&json_value(value)?);
        }
        line.push_str("}\n");
        self.jsonl.write(line.as_bytes())?;
        let cells: Vec<String> = row.0.iter().map(csv_cell).collect();
        self.csv.write(&csv_record(&cells)?)?;
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self, collection: Name) -> io::Result<Sheets> {
        Ok(Sheets { collection, jsonl: self.jsonl.finish()?, csv: self.csv.finish()?, rows: self.rows })
    }
}

/// A real number JSON cannot say (infinite) is written as text.
fn json_value(value: &Value) -> io::Result<String> {
    match value {
        Value::Real(x) if !x.is_finite() => Ok(format!("\"{x}\"")),
        value => Ok(serde_json::to_string(value)?),
    }
}

fn csv_cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(n) => n.to_string(),
        Value::Real(x) => x.to_string(),
        Value::Text(text) => harmless(text),
        Value::Blob { base64 } => STANDARD.encode(&base64.0),
    }
}

/// What a spreadsheet would take for a formula becomes text (CWE-1236).
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn csv_record(cells: &[String]) -> io::Result<Vec<u8>> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::with_capacity(128));
    writer.write_record(cells)?;
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// What the package says of itself.
pub struct Cover {
    /// `apps`, stores and such: words of ours, never of the subject.
    pub about: serde_json::Value,
    pub index: Vec<u8>,
    /// Seconds since the epoch; the tar's times.
    pub made_at: u64,
}

/// Writes the package beside its final name, makes it durable, and moves it
/// there in one step: under the final name only a whole package ever lies.
/// Hex SHA-256 and size of the ciphertext.
pub fn assemble(
    target: &Path,
    recipient: &Recipient,
    cover: &Cover,
    sheets: &[Sheets],
) -> io::Result<(String, u64)> {
    let mut part = PathBuf::from(target);
    part.set_extension("part");
    let file = Counted { inner: private_file(&part)?, hash: Context::new(&SHA256), bytes: 0 };
    let encrypted = age::Encryptor::with_recipients(std::iter::once(recipient as &dyn age::Recipient))
        .map_err(io::Error::other)?
        .wrap_output(BufWriter::new(file))?;
    let mut tar = tar::Builder::new(encrypted);
    let mut entry = |path: &str, size: u64, bytes: &mut dyn Read| -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(cover.made_at);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, path, bytes)
    };
    let mut parts = vec![json!({
        "path": "index.html", "bytes": cover.index.len(), "sha256": hex::encode(digest(&SHA256, &cover.index)),
    })];
    entry("index.html", cover.index.len() as u64, &mut cover.index.as_slice())?;
    for sheet in sheets {
        for (ending, spooled) in [("jsonl", &sheet.jsonl), ("csv", &sheet.csv)] {
            let path = format!("data/{}.{ending}", file_stem(&sheet.collection));
            entry(&path, spooled.bytes, &mut spooled.open()?)?;
            parts.push(json!({
                "path": path, "rows": sheet.rows, "bytes": spooled.bytes, "sha256": hex::encode(spooled.sha256),
            }));
        }
    }
    let manifest = json!({ "format": "mandate-export/1", "about": cover.about, "parts": parts });
    let manifest = serde_json::to_vec_pretty(&manifest)?;
    entry("manifest.json", manifest.len() as u64, &mut manifest.as_slice())?;

    let mut buffered = tar.into_inner()?.finish()?;
    buffered.flush()?;
    let Counted { inner, hash, bytes } = buffered.into_inner().map_err(|error| error.into_error())?;
    inner.sync_all()?;
    std::fs::rename(&part, target)?;
    if let Some(folder) = target.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok((hex::encode(hash.finish()), bytes))
}

/// A table's name may hold anything; a path in the package holds only letters, digits, `_` and `-`.
/// A name that had to change gets a piece of its digest, so that two never become one path.
fn file_stem(collection: &Name) -> String {
    let name = collection.as_str();
    let safe: String =
        name.chars().map(|c| if c.is_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect();
    if safe == name {
        return safe;
    }
    format!("{safe}-{}", &hex::encode(digest(&SHA256, name.as_bytes()))[..8])
}

/// Counts and digests what goes through.
struct Counted {
    inner: File,
    hash: Context,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_becomes_text_and_a_number_stays_one() {
        for formula in ["=1+1", "+1", "-1", "@x", "\t=1"] {
            assert_eq!(csv_cell(&Value::text(formula)), format!("'{formula}"));
        }
        assert_eq!(csv_cell(&Value::Integer(-5)), "-5");
    }

    #[test]
    fn a_record_with_quotes_and_breaks_is_one_record() {
        let record = csv_record(&["a\"b".into(), "c\r\nd".into(), String::new()]).unwrap();
        assert_eq!(record, b"\"a\"\"b\",\"c\r\nd\",\r\n");
    }

    #[test]
    fn a_table_name_cannot_leave_the_folder() {
        assert!(file_stem(&Name::new("../../etc/x").unwrap()).starts_with("______etc_x-"));
        assert_ne!(file_stem(&Name::new("a b").unwrap()), file_stem(&Name::new("a_b").unwrap()));
    }
}
