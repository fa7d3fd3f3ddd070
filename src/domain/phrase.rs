//! Reading a person's words: folding, sentences, and phrases with gaps.
//!
//! Folding keeps one character for one character, so a place in folded text is
//! the same place in the text it came from (counted in characters).

/// Full-width ASCII and the ideographic space become their ordinary forms
/// (the part of NFKC that people type by accident). Case stays.
pub fn fold_width(text: &str) -> String {
    text.chars().map(width_of).collect()
}

/// [`fold_width`], then lower case and straight apostrophes: for comparing, not for showing.
pub fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

fn width_of(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
        '\u{3000}' | '\u{00A0}' => ' ',
        _ => c,
    }
}

/// One character to one: a lower case that needs several characters is left alone.
pub fn fold_char(c: char) -> char {
    let c = match width_of(c) {
        '\u{2018}' | '\u{2019}' | '\u{02BC}' => '\'',
        '\u{2010}' | '\u{2011}' | '\u{2013}' => '-',
        other => other,
    };
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Whether the character belongs to Chinese script (all CJK planes).
pub fn is_han(c: char) -> bool {
    matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x323AF)
}

fn ends_sentence(c: char, next: Option<char>) -> bool {
    match c {
        '。' | '！' | '？' | '；' | '!' | '?' | ';' | '\n' | '｡' => true,
        '.' => next.is_none_or(char::is_whitespace),
        _ => false,
    }
}

fn split_where<'t>(text: &'t str, ends: impl Fn(char, Option<char>) -> bool) -> Vec<&'t str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if ends(c, chars.peek().map(|(_, n)| *n)) {
            let end = at + c.len_utf8();
            out.push(&text[start..end]);
            start = end;
        }
    }
    out.push(&text[start..]);
    out.retain(|piece: &&'t str| !piece.trim().is_empty());
    out
}

/// The sentences, each with its closing mark.
pub fn sentences(text: &str) -> Vec<&str> {
    split_where(text, ends_sentence)
}

/// The clauses: sentences cut at commas too. The enumeration comma (、) does not cut.
pub fn clauses(text: &str) -> Vec<&str> {
    split_where(text, |c, next| matches!(c, '，' | ',') || ends_sentence(c, next))
}

/// How many characters may lie between two pieces of one phrase.
const GAP: usize = 40;

/// Finds a phrase in folded text and answers its byte range.
///
/// A phrase is pieces separated by `…`, which stand in this order with at most
/// 40 characters between them; a piece is alternatives separated by `|`. An
/// alternative that begins or ends with a Latin letter or digit stands on a
/// word's boundary there; a trailing `*` takes the boundary away.
pub fn find(text: &str, phrase: &str) -> Option<(usize, usize)> {
    let (first, rest) = match phrase.split_once('…') {
        Some((first, rest)) => (first, Some(rest)),
        None => (phrase, None),
    };
    let mut from = 0;
    while let Some((start, end)) = piece(text, from, first) {
        let tail = match rest {
            None => return Some((start, end)),
            Some(rest) => follow(text, end, rest),
        };
        if let Some(end) = tail {
            return Some((start, end));
        }
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// Whether the phrase is there.
pub fn says(text: &str, phrase: &str) -> bool {
    find(text, phrase).is_some()
}

/// Whether one of the phrases is there.
pub fn says_any(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| says(text, phrase))
}

fn follow(text: &str, from: usize, phrase: &str) -> Option<usize> {
    let mut at = from;
    for alternatives in phrase.split('…') {
        let (start, end) = piece(text, at, alternatives)?;
        if text[at..start].chars().count() > GAP {
            return None;
        }
        at = end;
    }
    Some(at)
}

/// The earliest alternative at or after `from`; of several at one place, the longest.
fn piece(text: &str, from: usize, alternatives: &str) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    for word in alternatives.split('|') {
        let (word, open) = match word.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (word, false),
        };
        if let Some((start, end)) = word_at(text, from, word, open) {
            let better = match best {
                None => true,
                Some((s, e)) => start < s || (start == s && end > e),
            };
            if better {
                best = Some((start, end));
            }
        }
    }
    best
}

fn word_at(text: &str, from: usize, word: &str, open: bool) -> Option<(usize, usize)> {
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut at = from;
    while let Some(found) = text.get(at..)?.find(word) {
        let (start, end) = (at + found, at + found + word.len());
        let cut_in = latin(word.chars().next()) && latin(text[..start].chars().next_back());
        let runs_on = !open && latin(word.chars().next_back()) && latin(text[end..].chars().next());
        if !cut_in && !runs_on {
            return Some((start, end));
        }
        at = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_width_letters_and_digits_are_the_same_words() {
        assert_eq!(fold("用户ＩＤ：Ｕ＿１２３"), "用户id:u_123");
        assert_eq!(fold("I Don’t").chars().count(), "I Don’t".chars().count());
    }

    #[test]
    fn a_phrase_stands_in_order_and_on_word_boundaries() {
        assert!(says("我撤回对录制和自动识别的同意", "撤回|撤销…同意|授权"));
        assert!(!says("同意后撤回", "撤回…同意"));
        assert!(says("please delete my data", "delete…data"));
        assert!(!says("undeleted data", "delete…data"));
        assert!(says("automatically banned", "automat*…bann*"));
        assert!(says("meet and meeting", "meeting"));
    }

    #[test]
    fn a_phrase_may_start_at_a_later_word() {
        let text = format!("delete{} and delete my data", " x".repeat(60));
        assert!(says(&text, "delete…data"));
    }

    #[test]
    fn a_dot_inside_an_address_ends_no_sentence() {
        assert_eq!(sentences("see www.ppio.example now. Then go").len(), 2);
        assert_eq!(clauses("先查，再删。完").len(), 3);
    }
}
