//! Who may import whom, held against the code: the table of `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const PURE: [&str; 4] = ["domain", "token", "trail", "authority"];

/// What each module may name with `crate::`.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let with = |more: &[&'static str]| PURE.iter().chain(more).copied().collect::<BTreeSet<_>>();
    BTreeMap::from([
        ("domain", BTreeSet::from(["domain"])),
        ("token", BTreeSet::from(["domain", "token"])),
        ("trail", BTreeSet::from(["domain", "trail"])),
        ("authority", with(&[])),
        ("sql", BTreeSet::from(["sql"])),
        ("vault", with(&["vault", "sql", "fault"])),
        ("identity", with(&["identity"])),
        ("intake", with(&["intake"])),
        ("execution", with(&["execution"])),
        ("store", with(&["store", "vault", "sql", "fault"])),
        ("app", with(&["app", "store", "vault", "intake", "execution", "fault"])),
        ("doctor", with(&["doctor", "app", "store", "vault"])),
        ("grpc", with(&["grpc", "app", "store", "vault", "intake", "identity"])),
        ("https", with(&["https", "identity"])),
        ("witness", with(&["witness", "https", "identity", "fault"])),
        ("publish", with(&["publish", "https", "app", "store", "identity", "fault"])),
        // Its client's stubs are generated beside the server's; it calls nothing else of `grpc`.
        ("agent", with(&["agent", "vault", "identity", "grpc", "fault"])),
    ])
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out
}

/// The file's code without its tests: they may look anywhere.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a source file");
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    ["_tests", "tests", "fixtures", "wild", "staging", "naive", "test_store", "mails", "samples"]
        .iter()
        .any(|word| name.ends_with(word))
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn a_module_imports_only_what_stands_below_it() {
    let mut wrong = Vec::new();
    for (module, allowed) in allowed() {
        for path in sources(&src().join(module)).into_iter().filter(|p| !is_test(p)) {
            for line in code(&path).lines().filter(|l| !l.trim_start().starts_with("//")) {
                for after in line.split("crate::").skip(1) {
                    let named: String =
                        after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if !named.is_empty() && !allowed.contains(named.as_str()) {
                        wrong.push(format!("{}: {}", path.display(), line.trim()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that run upwards:\n{}", wrong.join("\n"));
}

#[test]
fn sql_stands_in_the_stores_alone() {
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        let place = path.strip_prefix(src()).expect("below src").to_string_lossy().into_owned();
        let may = ["sql/", "store/", "vault/", "agent/", "cli/sample_store.rs", "cli/sample_rows.rs"];
        if may.iter().any(|prefix| place.starts_with(prefix)) {
            continue;
        }
        if code(&path).contains("sqlx::query") || code(&path).contains("sql::{") {
            wrong.push(place);
        }
    }
    assert!(wrong.is_empty(), "SQL outside the stores: {wrong:?}");
}
