//! The published vectors, good and bad, each held against the code that judges in earnest.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::world::{Circumstances, Taken, World};
use crate::cli::print::print;
use crate::cli::{CliError, files};
use crate::domain::Refusal;
use crate::say;

/// One file. `expect` is `OK`, `WAITS` (for more signers) or a reason code; `change` tells an integrator what to do about it.
#[derive(Deserialize)]
struct Vector {
    form: Form,
    name: String,
    what: String,
    expect: String,
    change: Option<String>,
    input: String,
    #[serde(flatten)]
    under: Circumstances,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Instruction,
    Approval,
    Withdrawal,
    AccessToken,
    KeySet,
}

/// The folders below the vectors' own.
const FOLDERS: [&str; 5] = ["access-token", "approval", "instruction", "key-set", "withdrawal"];

impl Vector {
    /// `OK` or `WAITS`.
    async fn judge(&self, world: &World) -> Result<&'static str, Refusal> {
        let taken = |taken: Taken| if taken.waits { "WAITS" } else { "OK" };
        match self.form {
            Form::Instruction => world.instruction(&self.input, &self.under).map(taken),
            Form::Approval => world.approval(&self.input, &self.under).map(taken),
            Form::Withdrawal => world.withdrawal(&self.input, &self.under).map(|()| "OK"),
            Form::KeySet => world.key_set_of(&self.input, &self.under).map(|()| "OK"),
            Form::AccessToken => {
                world.access_token(&self.input, self.under.call.as_deref()).await.map(|()| "OK")
            }
        }
    }
}

/// What came of the run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub good: usize,
    pub refused: usize,
    pub wrong: usize,
}

/// Judges every vector below the folder and prints each.
pub async fn run(folder: &Path, as_json: bool) -> Result<Count, CliError> {
    let world = World::read(&files::read(&folder.join("world.json"))?)?;
    let mut count = Count::default();
    for path in paths(folder)? {
        let vector: Vector = serde_json::from_slice(&files::read(&path)?)
            .map_err(|error| CliError::Plain(format!("{}: no vector: {error}", path.display())))?;
        let verdict = vector.judge(&world).await;
        let answer = verdict.as_ref().map_or_else(|refusal| refusal.reason.code(), |answer| *answer);
        let right = answer == vector.expect;
        match (right, answer == "OK") {
            (false, _) => count.wrong += 1,
            (true, true) => count.good += 1,
            (true, false) => count.refused += 1,
        }
        let detail = verdict.err().map(|refusal| refusal.to_string());
        if as_json {
            print(
                true,
                &json!({"file": place(folder, &path), "name": vector.name, "what": vector.what,
                "expect": vector.expect, "answer": answer, "detail": detail, "change": vector.change}),
            );
        } else {
            let mark = if right { "ok   " } else { "WRONG" };
            say!("{mark}  {}  {answer}: {}", place(folder, &path), vector.what);
            match (right, &vector.change) {
                (false, _) => say!("       expected {}; {}", vector.expect, detail.unwrap_or_default()),
                (true, Some(change)) => say!("       {change}"),
                (true, None) => {}
            }
        }
    }
    Ok(count)
}

fn place(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).with_extension("").display().to_string()
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::new();
    for form in FOLDERS {
        let folder = folder.join(form);
        for entry in std::fs::read_dir(&folder).map_err(CliError::file(&folder))? {
            let path = entry.map_err(CliError::file(&folder))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// What each vector expects, by `<form>/<name>`.
#[cfg(test)]
pub(super) fn named(folder: &Path) -> Result<std::collections::BTreeMap<String, String>, CliError> {
    let mut named = std::collections::BTreeMap::new();
    for path in paths(folder)? {
        let vector: Vector = serde_json::from_slice(&files::read(&path)?).map_err(CliError::plain)?;
        let form = path.parent().and_then(Path::file_name).unwrap_or_default().display().to_string();
        named.insert(format!("{form}/{}", vector.name), vector.expect);
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_vector_gets_the_answer_it_names() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"));
        let count = run(folder, false).await.unwrap();
        assert_eq!(count.wrong, 0, "see the lines marked WRONG: {count:?}");
        assert!(count.good >= 60 && count.refused >= 490, "vectors are missing: {count:?}");
    }

    #[test]
    fn every_vector_that_is_refused_says_what_to_change() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"));
        for path in paths(folder).unwrap() {
            let vector: Vector = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let name = path.display();
            assert_eq!(vector.change.is_some(), vector.expect != "OK", "{name}");
            assert!(vector.change.is_none_or(|change| change.ends_with('.')), "{name}");
        }
    }
}
