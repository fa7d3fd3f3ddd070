//! The language a letter is written in: what the answer should be in.

use serde::{Deserialize, Serialize};

use crate::domain::phrase::{fold, is_han};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Zh,
    En,
    Other,
}

impl Language {
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Zh => "zh",
            Language::En => "en",
            Language::Other => "other",
        }
    }
}

/// Words of which every English letter holds some.
const ENGLISH: &[&str] = &[
    "the",
    "my",
    "you",
    "your",
    "to",
    "and",
    "is",
    "of",
    "i",
    "me",
    "please",
    "have",
    "data",
    "in",
    "that",
    "for",
    "it",
    "delete",
    "account",
    "on",
    "app",
    "hello",
    "hi",
    "thanks",
    "with",
    "what",
    "remove",
    "about",
    "stop",
    "unsubscribe",
];

/// By script first; Latin script is English if it holds English's commonest words.
pub fn of(text: &str) -> Language {
    let folded = fold(text);
    let han = folded.chars().filter(|c| is_han(*c)).count();
    let kana = folded.chars().filter(|c| matches!(*c as u32, 0x3041..=0x30FF)).count();
    let foreign = folded
        .chars()
        .filter(|c| c.is_alphabetic() && !c.is_ascii() && !is_han(*c) && (*c as u32) > 0x24F)
        .count();
    // An address or an id is no word of a language.
    let words: Vec<&str> = folded
        .split(|c: char| c.is_whitespace() || is_han(c) || "，。,;:!?()（）“”\"".contains(c))
        .map(|w| w.trim_matches('.'))
        .filter(|w| !w.is_empty() && w.chars().all(|c| c.is_alphabetic() || c == '\''))
        .collect();
    let latin = words.len();
    if kana * 10 > han.max(1) || foreign * 2 > han + latin * 4 {
        return Language::Other;
    }
    // A Chinese word is about two characters.
    if han > 0 && han >= latin * 2 {
        return Language::Zh;
    }
    let english = words.iter().filter(|w| ENGLISH.contains(w)).count();
    let accented = folded.chars().any(|c| matches!(c as u32, 0xC0..=0x24F));
    if english * 8 >= latin && latin > 0 && !(accented && english * 4 < latin) {
        Language::En
    } else if han > latin {
        Language::Zh
    } else {
        Language::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_that_of_the_sentences() {
        for (text, expected) in [
            ("请删除我在StarTalk App里的信息，user id: u_1", Language::Zh),
            ("Please delete my data from 星语直播", Language::En),
            ("please remove my data", Language::En),
            ("Bitte löschen Sie meine Daten", Language::Other),
            ("Veuillez supprimer mes données personnelles", Language::Other),
            ("私のデータを削除してください", Language::Other),
            ("удалите мои данные", Language::Other),
            ("", Language::Other),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }
}
