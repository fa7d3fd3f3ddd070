//! `tests/vectors/ways.md` against the vectors: each way to get it wrong that the design names has one, or a reason why
//! not, with a test that is there; and each vector that is refused stands for one of those ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::vectors::named;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const WAYS: &str = include_str!("../../../tests/vectors/ways.md");
/// Begins a cell that has no vector.
const NONE: &str = "none: ";

/// One way: what is wrong, and the cell that shows it.
struct Way<'a> {
    wrong: &'a str,
    shown: &'a str,
}

impl<'a> Way<'a> {
    /// What stands between back quotes.
    fn quoted(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.shown.split('`').skip(1).step_by(2)
    }
}

/// The rows of all tables; none of them begins one, and the sentence of each is its own or that of a row before.
fn ways() -> Vec<Way<'static>> {
    let rows = WAYS.lines().filter(|line| line.starts_with("| ") && *line != "| says | wrong | vectors |");
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, wrong, shown] = cells[..] else { panic!("not three cells: {row}") };
        Way { wrong, shown }
    })
    .collect()
}

/// `<file>::<function>`: whether the file has it.
fn is_test(name: &str) -> bool {
    let Some((file, function)) = name.split_once("::") else { return false };
    let text = std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
    text.contains(&format!("fn {function}("))
}

#[test]
fn every_way_to_get_it_wrong_has_a_vector_or_says_why_none_can() {
    let vectors: BTreeMap<String, String> = named(&Path::new(ROOT).join("tests/vectors")).unwrap();
    let (mut wrong, mut shown) = (Vec::new(), BTreeSet::new());
    for way in ways() {
        let of_a_vector: Vec<&str> = way.quoted().filter(|name| vectors.contains_key(*name)).collect();
        let excused = way.shown.starts_with(NONE);
        if of_a_vector.is_empty() && !excused {
            wrong.push(format!("no vector, and no reason why not: {}", way.wrong));
        }
        for name in way.quoted().filter(|name| !vectors.contains_key(*name)) {
            // A cell of vectors names nothing else; a reason may also quote a code.
            let is_code = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            let is_there = excused && (is_code || is_test(name));
            if !is_there {
                wrong.push(format!("there is no {name}: {}", way.wrong));
            }
        }
        if !excused {
            shown.extend(of_a_vector);
        }
    }
    for (name, _) in vectors.iter().filter(|(name, answer)| *answer != "OK" && !shown.contains(name.as_str()))
    {
        wrong.push(format!("{name} stands for no way: give it a row"));
    }
    assert!(wrong.is_empty(), "tests/vectors/ways.md:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_is_read_whole() {
    let ways = ways();
    assert_eq!(ways.len(), WAYS.lines().filter(|line| line.starts_with('|')).count() - 2 * 2);
    assert!(ways.iter().all(|way| !way.wrong.is_empty() && way.shown.len() > NONE.len()));
}
