//! One line of a letter, read by characters: words on their boundaries, and the values beside them.

use crate::domain::phrase::{fold_char, fold_width, is_han};

/// A line, width folded, as written and in lower case, place for place.
pub struct Line {
    written: Vec<char>,
    lower: Vec<char>,
}

const OPENING: &[char] = &['(', '"', '“', '「', '【', '<', '[', '《', '\'', '‘'];
const CLOSING: &[char] = &[')', '"', '”', '」', '】', '>', ']', '》', '\'', '’'];
/// What follows a number that counts or dates something.
const UNITS: &[char] =
    &['年', '月', '日', '点', '次', '个', '小', '分', '秒', '元', '岁', '人', '条', '天', '周', '%', '*'];
/// Words that may stand between a label and its value.
const LINKS: &[&str] = &[
    "分别是",
    "分别为",
    "应该是",
    "应为",
    "就是",
    "是",
    "为",
    "叫",
    "即",
    "号码",
    "号",
    "is",
    "was",
    "are",
    "number",
    "no.",
    "no",
    "named",
    "called",
    "id",
    "'s",
    "should be",
];

fn token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '+')
}

impl Line {
    pub fn new(line: &str) -> Line {
        let written: Vec<char> = fold_width(line).chars().collect();
        let lower = written.iter().map(|c| fold_char(*c)).collect();
        Line { written, lower }
    }

    pub fn at(&self, place: usize) -> Option<char> {
        self.lower.get(place).copied()
    }

    pub fn left_is(&self, place: usize, c: char) -> bool {
        place > 0 && self.lower[place - 1] == c
    }

    pub fn folded(&self, from: usize, to: usize) -> String {
        self.lower[from.min(to)..to.min(self.lower.len())].iter().collect()
    }

    /// The words before a value, at most 30 characters, of the same clause.
    pub fn before(&self, value: &str) -> String {
        let folded = self.all_folded();
        let at = folded.find(&value.to_ascii_lowercase()).unwrap_or(0);
        let near: Vec<char> = folded[..at].chars().rev().take(30).collect();
        let clause = near.into_iter().take_while(|c| !matches!(c, '。' | ';' | '；' | '，' | ','));
        clause.collect::<Vec<_>>().into_iter().rev().collect()
    }

    pub fn all_folded(&self) -> String {
        self.lower.iter().collect()
    }

    /// A character that an app's own name may hold.
    pub fn is_name_char(&self, place: usize) -> bool {
        self.at(place).is_some_and(|c| is_han(c) || c.is_ascii_alphanumeric())
    }

    /// The line as evidence.
    pub fn quote(&self) -> String {
        self.written.iter().collect::<String>().trim().chars().take(160).collect()
    }

    /// Where a word stands. Latin words stand on their boundaries.
    pub fn words<'l>(&'l self, word: &str) -> impl Iterator<Item = (usize, usize)> + use<'l> {
        let word: Vec<char> = word.chars().collect();
        let last = self.lower.len().saturating_sub(word.len());
        (0..=last).filter_map(move |start| {
            let end = start + word.len();
            if self.lower.get(start..end)? != word.as_slice() {
                return None;
            }
            let latin = |c: Option<&char>| c.is_some_and(char::is_ascii_alphanumeric);
            let cut = latin(word.first()) && start > 0 && latin(self.lower.get(start - 1));
            let runs = latin(word.last()) && latin(self.lower.get(end));
            (!cut && !runs).then_some((start, end))
        })
    }

    fn token_at(&self, start: usize) -> Option<(String, usize)> {
        let mut end = start;
        while self.written.get(end).is_some_and(|c| token_char(*c)) {
            end += 1;
        }
        let mut stop = end;
        while stop > start && matches!(self.written[stop - 1], '.' | '-' | '+' | '@') {
            stop -= 1;
        }
        let first_ok = self.written.get(start).is_some_and(char::is_ascii_alphanumeric);
        let counted = self.written[start..stop].iter().all(char::is_ascii_digit)
            && self.written.get(end).is_some_and(|c| UNITS.contains(c))
            || self.written.get(end) == Some(&'*');
        (stop > start && first_ok && !counted && stop - start <= 64)
            .then(|| (self.written[start..stop].iter().collect(), end))
    }

    /// The value or values that follow a label, and whether a colon, an equals sign or a quotation mark says so.
    /// No value stands at or behind `limit`, where the next label begins, by words between.
    pub fn values_after(&self, label_end: usize, limit: usize) -> (Vec<String>, bool) {
        let mut at = label_end;
        let mut explicit = false;
        loop {
            match self.at(at) {
                Some(c) if c == ' ' || c == '\t' => at += 1,
                Some(':' | '=' | '#') => {
                    explicit = true;
                    at += 1;
                }
                // 【用户ID】u_1
                Some('】' | ']') if at == label_end => {
                    explicit = true;
                    at += 1;
                }
                Some(c) if OPENING.contains(&c) && at < label_end + 12 && !self.word_at(at, "'s") => {
                    explicit |= c != '(';
                    at += 1;
                }
                _ => match LINKS.iter().find(|l| self.word_at(at, l)) {
                    Some(link) if at < label_end + 16 => at += link.chars().count(),
                    _ => match self.over_words(at, limit) {
                        Some(next) if at <= label_end + 1 => at = next,
                        _ => break,
                    },
                },
            }
        }
        let mut values = Vec::new();
        let each = self.folded(label_end, at).contains("分别") || self.left_is(label_end, 's');
        let Some((first, mut end)) = self.token_at(at) else { return (values, explicit) };
        values.push(first);
        while values.len() < 16 {
            let Some(next) = self.after_delimiter(end) else { break };
            let Some((value, stop)) = self.token_at(next) else { break };
            // A list goes on with things of one kind only.
            let like = value.chars().any(|c| c.is_ascii_digit())
                && !value.contains('@')
                && (each || shape(&value) == shape(&values[0]));
            if !like {
                break;
            }
            values.push(value);
            end = stop;
        }
        (values, explicit)
    }

    /// "user name *on StarTalk* is …", "ID *there* is …", "账号*在星语直播里*是…": the words between a label
    /// and the link to its value. They hold no mark, no digit, no "not" and no other label.
    fn over_words(&self, at: usize, limit: usize) -> Option<usize> {
        const BETWEEN: usize = 36;
        let end = (at + BETWEEN).min(self.lower.len()).min(limit);
        let mark = |c: char| c.is_ascii_digit() || ",.;(，。、!?".contains(c);
        let stop = (at..end).find(|i| mark(self.lower[*i])).unwrap_or(end);
        let link = (at..stop).find(|i| {
            let here = self.lower[*i];
            here == ':'
                || matches!(here, '是' | '为') && !matches!(self.at(i + 1), Some('什' | '否' | '不'))
                || here == ' ' && ["is", "was"].iter().any(|w| self.word_at(i + 1, w))
        })?;
        let between = self.folded(at, link);
        let says_not = ["不", "没", "忘", "非", "not", "n't", "forg", "lost", "和", "与", "and"];
        (!says_not.iter().any(|w| between.contains(w))).then_some(link)
    }

    fn word_at(&self, at: usize, word: &str) -> bool {
        let length = word.chars().count();
        let same = self.lower.get(at..at + length).is_some_and(|s| s.iter().copied().eq(word.chars()));
        let runs = word.is_ascii()
            && self.at(at + length).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        same && !runs
    }

    /// The place after 、 , / & 和 与 及 and or, with marks and spaces around it.
    fn after_delimiter(&self, from: usize) -> Option<usize> {
        let mut at = from;
        let mut seen = false;
        loop {
            match self.at(at)? {
                ' ' => at += 1,
                c if !seen && CLOSING.contains(&c) => at += 1,
                '、' | ',' | '，' | '/' | '&' | '和' | '与' | '及' => {
                    seen = true;
                    at += 1;
                }
                '以' if self.at(at + 1) == Some('及') => {
                    seen = true;
                    at += 2;
                }
                c if seen && OPENING.contains(&c) => at += 1,
                _ => match ["and", "or"].iter().find(|w| self.word_at(at, w)) {
                    Some(word) => {
                        seen = true;
                        at += word.len();
                    }
                    None => return seen.then_some(at),
                },
            }
        }
    }

    /// `u_1 是我的<label>`, `u_1 is my <label>`, `u_1（<label>）`.
    pub fn value_before(&self, label_start: usize, label_end: usize) -> Option<String> {
        let before: String = self.lower[..label_start].iter().collect();
        let trimmed = before.trim_end();
        let told = ["that's my", "that is my", "which is my", "这是我的", "这就是我的", "就是我的"];
        if let Some(head) = told.iter().find_map(|t| trimmed.strip_suffix(t)) {
            return last_id(head);
        }
        let links = ["是我的", "是我", "为我的", "is my", "was my", "as my", "are my"];
        let link = links.iter().find(|l| trimmed.ends_with(**l));
        let cut = match link {
            Some(link) => trimmed.chars().count() - link.chars().count(),
            None if trimmed.ends_with('(') && self.at(label_end) == Some(')') => trimmed.chars().count() - 1,
            None => return None,
        };
        let mut end = cut;
        while end > 0 && (self.lower[end - 1] == ' ' || CLOSING.contains(&self.lower[end - 1])) {
            end -= 1;
        }
        let mut start = end;
        while start > 0 && token_char(self.lower[start - 1]) {
            start -= 1;
        }
        let value: String = self.written[start..end].iter().collect();
        (value.chars().any(|c| c.is_ascii_digit()) && value.len() >= 3).then_some(value)
    }

    /// A name after a label: quoted, or after a colon or 是/为/叫 up to the next mark.
    pub fn name_after(&self, label_end: usize) -> Option<String> {
        let mut at = label_end;
        let mut told = false;
        while let Some(c) = self.at(at) {
            match c {
                ' ' => at += 1,
                ':' | '=' | '是' | '为' | '叫' => {
                    told = true;
                    at += 1;
                }
                _ if self.word_at(at, "is") => {
                    told = true;
                    at += 2;
                }
                _ => break,
            }
        }
        let open = self.at(at)?;
        let quoted = OPENING.contains(&open) && open != '(';
        if quoted {
            at += 1;
        } else if !told {
            return None;
        }
        let stop = |c: char| {
            if quoted {
                CLOSING.contains(&c) || c == '\n'
            } else {
                c.is_whitespace() || "，。,、;；!！?？)(".contains(c) || CLOSING.contains(&c)
            }
        };
        let value: String = self.written[at..].iter().take_while(|c| !stop(**c)).collect();
        let value = value.trim().to_owned();
        let length = value.chars().count();
        let sentence = !quoted && length > 12;
        (length > 0 && length <= 24 && !sentence && value.chars().any(char::is_alphanumeric)).then_some(value)
    }

    /// All tokens with the text before them.
    pub fn tokens(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < self.written.len() {
            if !token_char(self.written[at]) {
                at += 1;
                continue;
            }
            let start = at;
            while at < self.written.len() && token_char(self.written[at]) {
                at += 1;
            }
            if let Some((value, _)) = self.token_at(start) {
                out.push((value, self.folded(start.saturating_sub(12), start)));
            }
        }
        out
    }

    /// Mail addresses with the words before each, back to the last address or full stop, and the words
    /// after it to the end of its clause.
    pub fn addresses(&self) -> Vec<(String, String, String)> {
        let mut out = Vec::new();
        let mut from = 0;
        let mut at = 0;
        while at < self.written.len() {
            if matches!(self.written[at], '。' | '；' | ';' | '！') {
                from = at + 1;
            }
            if !token_char(self.written[at]) {
                at += 1;
                continue;
            }
            let start = at;
            while at < self.written.len() && token_char(self.written[at]) {
                at += 1;
            }
            let value: String = self.written[start..at].iter().collect();
            let value = value.trim_matches(['.', '-']).to_owned();
            if super::letter::is_address(&value) {
                let stop = |c: &char| matches!(c, '。' | '；' | ';' | '，' | ',' | '@');
                let after: String = self.lower[at..].iter().take(40).take_while(|c| !stop(c)).collect();
                out.push((value, self.folded(from.max(start.saturating_sub(40)), start), after));
                from = at;
            }
        }
        out
    }

    /// Runs of digits with what people put into phone numbers.
    pub fn numbers(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < self.written.len() {
            let begins = self.written[at].is_ascii_digit() || self.written[at] == '+';
            let inside = at > 0 && (token_char(self.written[at - 1]) || self.written[at - 1] == '*');
            if !begins || inside {
                at += 1;
                continue;
            }
            let start = at;
            while at < self.written.len()
                && (self.written[at].is_ascii_digit() || matches!(self.written[at], '+' | '*' | '-' | ' '))
            {
                at += 1;
            }
            let runs_on =
                self.written.get(at).is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '@'))
                    && self.written[at - 1] != ' ';
            let number: String =
                self.written[start..at].iter().collect::<String>().trim_end_matches([' ', '-']).to_owned();
            if !runs_on && number.len() >= 8 {
                out.push(number);
            }
        }
        out
    }
}

/// The last word of the sentence that looks like an id, not far from its end.
fn last_id(head: &str) -> Option<String> {
    let near: Vec<char> = head.chars().rev().take(40).take_while(|c| !"。;；!？?".contains(*c)).collect();
    let near: String = near.into_iter().rev().collect();
    let id = |w: &&str| w.len() >= 4 && w.chars().any(|c| c.is_ascii_digit() || c == '_') && !w.contains('@');
    near.split(|c: char| !token_char(c)).rfind(id).map(str::to_owned)
}

/// Letters or none: `room-1` does not go on with `2026`.
fn shape(value: &str) -> bool {
    value.chars().any(|c| c.is_ascii_alphabetic())
}
