//! Ordinary words that may stand where an app's name would: people, devices, time, grammar, the things
//! of an account. Whatever is not among them may be a name. The files hold folded words.

use std::sync::LazyLock;

/// Chinese, and the Latin words used in it; the longest first.
pub(super) static HAN: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut words = read(include_str!("vocabulary/han.txt"));
    words.sort_by_key(|w| std::cmp::Reverse(w.chars().count()));
    words
});

/// Words that may stand between "my" and a label, or after "I use"; in order.
static LATIN: LazyLock<Vec<&str>> = LazyLock::new(|| sorted(include_str!("vocabulary/latin.txt")));

/// Words of grammar; in order.
static GRAMMAR: LazyLock<Vec<&str>> = LazyLock::new(|| sorted(include_str!("vocabulary/grammar.txt")));

/// Whether the (folded) word is an ordinary one.
pub(super) fn is_ordinary(word: &str) -> bool {
    LATIN.binary_search(&word).is_ok() || is_grammar(word)
}

/// Whether the (folded) word is one of grammar, which begins or ends a name.
pub(super) fn is_grammar(word: &str) -> bool {
    GRAMMAR.binary_search(&word).is_ok()
}

/// What is left of a Chinese word when the ordinary words are taken out, the longest first.
pub(super) fn residue(word: &str) -> String {
    HAN.iter().filter(|w| word.contains(**w)).fold(word.to_owned(), |rest, w| rest.replace(w, " "))
}

fn read(text: &'static str) -> Vec<&'static str> {
    text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect()
}

fn sorted(text: &'static str) -> Vec<&'static str> {
    let mut words = read(text);
    words.sort_unstable();
    words
}

/// Whether the run of Chinese ends in an ordinary word, or in grammar that stands before a name.
pub(super) fn ends_a_word(run: &str) -> bool {
    // An adjective of one character makes a longer name of what follows.
    const ONE: &str = "大小新老全超真好最更快多主副子电网高";
    HAN.iter().any(|w| run.ends_with(w) && !(w.chars().count() == 1 && ONE.contains(*w)))
}
