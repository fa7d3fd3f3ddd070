//! Another name that the writer binds to an identifier, an account or his using: "the user id of
//! Vocalia", "i use vocalia", "我在麦浪的账号". Then the registered app beside it may not be the one meant.
//!
//! The rule is closed: what stands where an app's name would, and is neither registered nor made of
//! ordinary words (`vocabulary`), is a stranger. A rare word costs a person's look.

mod words;

use words::{CLOSES, LABELS, LATIN_USES, NICKS, PAPERS, PLACES, SAID, TAKES, USES};

use super::vocabulary::{is_grammar, is_ordinary, residue};
use super::{Facts, matching};
use crate::domain::phrase::{fold, fold_char, is_han, says};

/// Whether the words bind an identifier, an account or the using to a name that is not registered.
pub(super) fn is_bound(text: &str, facts: &Facts) -> bool {
    let written: Vec<char> = text.chars().collect();
    let folded: Vec<char> = written.iter().map(|c| fold_char(*c)).collect();
    let known: Vec<(usize, usize)> =
        matching::sightings(text, facts).into_iter().map(|s| (s.start, s.end)).collect();
    let brands: Vec<String> = facts.house.brands.iter().map(|b| fold(b)).collect();
    let page = Page { written: &written, folded: &folded, known, brands };
    page.before_a_label()
        || page.after_using()
        || page.listed()
        || page.quoted_label()
        || page.latin_label()
        || page.latin_use()
}

struct Page<'t> {
    written: &'t [char],
    folded: &'t [char],
    known: Vec<(usize, usize)>,
    brands: Vec<String>,
}

/// Grammar that begins a name behind it.
const OPENS: &str = "在用的是把对从到和与及跟请将于过了系叫给为由向玩听看、";
/// Of these, those that say whose it is, or what is used.
const OWNS: &str = "在用的是把对从跟系叫玩听看";

impl Page<'_> {
    /// "蓝鲸电台的用户ID", "我的麦浪账号": a name nobody registered, directly before a label.
    fn before_a_label(&self) -> bool {
        LABELS.split('|').any(|label| {
            self.places(label).any(|(start, end)| {
                let latin = label.is_ascii();
                let cut = latin && start > 0 && self.folded[start - 1].is_ascii_alphanumeric();
                let runs_on = latin && self.folded.get(end).is_some_and(char::is_ascii_alphanumeric);
                !cut && !runs_on && self.stranger_before(start, self.has_value(end))
            })
        })
    }

    /// Whether what stands directly before this place ends in a name nobody registered: behind a word of
    /// using or owning, or at the head of its clause before an identifier's value.
    fn stranger_before(&self, at: usize, valued: bool) -> bool {
        let mut end = at;
        while end > 0 && " 的上里中内面那边\"”」》".contains(self.folded[end - 1]) {
            end -= 1;
        }
        let open = (0..end).rev().take(16).take_while(|i| is_word(self.folded[*i])).last();
        let Some(open) = open else { return false };
        // The last word of grammar begins the name.
        let opens = |i: &usize| {
            OPENS.contains(self.folded[*i])
                && !(self.folded[*i] == '系' && self.folded.get(*i + 1).is_some_and(|c| "统列".contains(*c)))
        };
        let start = (open..end).rev().find(opens).map_or(open, |i| i + 1);
        let opened = start > 0 && OWNS.contains(self.folded[start - 1]);
        let head = valued && start == open;
        opened && self.is_stranger(start, end) || head && self.is_unknown(start, end, 1)
    }

    /// Whether an identifier's value follows.
    fn has_value(&self, end: usize) -> bool {
        let mut rest = self.folded[end..].iter().take(6).skip_while(|c| " 是为:=(（「“\"叫".contains(**c));
        rest.next().is_some_and(|c| c.is_ascii_alphanumeric())
    }

    /// "我用的是麦浪", "我在麦浪上课", "App：麦浪".
    fn after_using(&self) -> bool {
        let closed = |to: usize| {
            let next: String = self.folded[to..].iter().take(3).collect();
            CLOSES.split('|').any(|w| next.trim_start_matches(['”', '」', '》', '"']).starts_with(w))
        };
        let follows = |uses: &str, close: bool| {
            self.places(uses).any(|(_, end)| {
                let skip = self.folded[end..].iter().take_while(|c| " “「《\"了过".contains(**c)).count();
                let from = end + skip;
                let run = self.folded[from..].iter().take(12).take_while(|c| is_word(**c)).count();
                let stop = |i: &usize| OPENS.contains(self.folded[*i]) || "上里中".contains(self.folded[*i]);
                let to = (from..from + run).find(stop).unwrap_or(from + run);
                let quoted = from > 0 && "“「《\"".contains(self.folded[from - 1]);
                let lead: String = self.folded[from.saturating_sub(7)..from].iter().collect();
                let lead = lead.trim_end_matches(['“', '「', '《', '"', ':', '是', ' ', '为', '了']);
                if quoted && SAID.split('|').any(|w| lead.ends_with(w)) {
                    return false;
                }
                (!close || quoted || closed(to)) && self.is_unknown(from, to, if close { 2 } else { 1 })
            })
        };
        USES.split('|').any(|uses| follows(uses, false)) || PLACES.split('|').any(|uses| follows(uses, true))
    }

    /// “麦浪”，号 m-1: a name in quotation marks and then an identifier.
    fn quoted_label(&self) -> bool {
        let mut open = None;
        self.folded.iter().enumerate().any(|(at, c)| {
            match c {
                '“' | '「' | '《' | '【' => open = Some(at + 1),
                '”' | '」' | '》' | '】' => {
                    let Some(from) = open.take() else { return false };
                    let lead: String = self.folded[from.saturating_sub(6)..from - 1].iter().collect();
                    if TAKES.split('|').any(|w| lead.ends_with(w)) && at - from <= 14 && !self.knows(from, at)
                    {
                        return true;
                    }
                    let next: String = self.folded[at + 1..].iter().take(12).collect();
                    let next = next.trim_start_matches(|c: char| "，,、(（ 里上中的app".contains(c));
                    let labelled = LABELS.split('|').chain(["号"]).find(|l| next.starts_with(l));
                    let valued = labelled.is_some_and(|l| {
                        next[l.len()..]
                            .trim_start_matches([' ', ':', '是', '为'])
                            .starts_with(|c: char| c.is_ascii_alphanumeric())
                    });
                    // "我对“语音风格分析”的同意": what is agreed to.
                    if ["的同意", "的授权", "的许可"]
                        .iter()
                        .any(|w| self.folded[at + 1..].iter().take(3).collect::<String>() == **w)
                    {
                        return false;
                    }
                    let nick = lead.trim_end_matches([':', '是', ' ', '为', '了']);
                    let room = ["房间", "频道", "节目", "群", "直播间"].iter().any(|w| next.starts_with(w));
                    let inside: String = self.folded[from..at].iter().collect();
                    let heading = self.folded[from - 1] == '【';
                    return (valued || !room && !heading)
                        && !NICKS.split('|').chain(SAID.split('|')).any(|w| nick.ends_with(w))
                        && !says(&inside, PAPERS)
                        && self.is_unknown(from, at, if valued { 1 } else { 2 });
                }
                '\n' => open = None,
                _ => {}
            }
            false
        })
    }

    /// "小鹿课堂、悦读星球": a name in one list with a registered one.
    fn listed(&self) -> bool {
        let marks = |c: char| " “”「」《》\"".contains(c);
        self.known.iter().any(|(start, end)| {
            let mut at = *end;
            while at < self.folded.len() && marks(self.folded[at]) {
                at += 1;
            }
            // "星语直播(u_1)和花火语音(hh_2)": what stands in brackets is passed over.
            if self.folded.get(at).is_some_and(|c| matches!(c, '(' | '（')) {
                let close = self.folded[at..].iter().take(32).position(|c| matches!(c, ')' | '）'));
                at += close.map_or(0, |more| more + 1);
            }
            let joins = |c: &char| *c == '、' || at > *end && "和与跟及".contains(*c);
            let next = self.folded.get(at).is_some_and(joins) && {
                let from = at + 1 + self.folded[at + 1..].iter().take_while(|c| marks(**c)).count();
                let stop = |i: &usize| !is_word(self.folded[*i]) || OPENS.contains(self.folded[*i]);
                let to = (from..self.folded.len().min(from + 10)).find(stop);
                self.is_stranger(from, to.unwrap_or(self.folded.len().min(from + 10)))
            };
            let lead = (0..*start).rev().find(|i| !marks(self.folded[*i]));
            let before = lead.is_some_and(|i| self.folded[i] == '、' && self.stranger_before(i, true));
            next || before
        })
    }

    /// Characters that are a name of their own: not registered, and not made of ordinary words.
    fn is_stranger(&self, start: usize, end: usize) -> bool {
        self.is_unknown(start, end, 2)
    }

    /// The same, with so many characters that ordinary words do not explain.
    fn is_unknown(&self, start: usize, end: usize, least: usize) -> bool {
        let word: String = self.folded[start.min(end)..end].iter().collect();
        let length = word.chars().count();
        (2..=12).contains(&length)
            && word.chars().any(is_han)
            && !self.knows(start, end)
            && residue(&word).chars().filter(|c| is_han(*c) || c.is_ascii_alphabetic()).count() >= least
    }

    fn knows(&self, start: usize, end: usize) -> bool {
        self.known.iter().any(|(s, e)| *s < end && start < *e)
            || self.brands.iter().any(|b| self.folded[start..end].iter().collect::<String>().contains(b))
    }

    /// "my vocalia user id", "the Vocalia account", "Vocalia ID: v-1".
    fn latin_label(&self) -> bool {
        const LABELS: &[&str] = &[
            "user",
            "account",
            "accounts",
            "id",
            "username",
            "userid",
            "profile",
            "login",
            "member",
            "app",
            "data",
            "recordings",
            "student",
        ];
        let words = self.words();
        let labels = words.iter().enumerate().filter(|(_, (_, _, w))| LABELS.contains(&w.as_str()));
        labels.into_iter().any(|(at, (start, end, label))| {
            let named =
                ["user", "account", "id", "username", "userid", "login", "member"].contains(&label.as_str());
            let valued = named && self.has_value(*end) && self.value_has_a_digit(*end);
            self.stranger_left_of(&words[..at], *start, valued)
        })
    }

    /// From a label leftwards, without a break, to the next word of grammar: is a name on the way? It
    /// counts behind "my" or "the", or where the label has a value.
    fn stranger_left_of(&self, words: &[(usize, usize, String)], label: usize, valued: bool) -> bool {
        const OWN: &[&str] = &["my", "our", "the", "his", "her", "their", "an", "a"];
        let mut right = label;
        let mut found = false;
        for (start, end, word) in words.iter().rev().take(4) {
            let gap: String = self.folded[*end..right].iter().collect();
            if !matches!(gap.as_str(), " " | "'" | "-" | "" | " \"" | "\" " | " '" | "' ") {
                return found && valued;
            }
            if is_grammar(word) {
                return found && (valued || OWN.contains(&word.as_str()));
            }
            found |= self.is_latin_stranger(*start, *end, word);
            right = *start;
        }
        found && valued
    }

    fn value_has_a_digit(&self, end: usize) -> bool {
        let near = self.folded[end..].iter().take(24).skip_while(|c| !c.is_ascii_alphanumeric());
        near.take_while(|c| !c.is_whitespace()).any(char::is_ascii_digit)
    }

    /// "i use vocalia", "registered with Vocalia", "my data from Vocalia".
    fn latin_use(&self) -> bool {
        const SKIP: &[&str] = &["the ", "an ", "a ", "app ", "called ", "named ", "\"", "“", "'"];
        const KEPT: &str = "in|on|at|from|with|inside";
        let kept = KEPT.split('|').map(|w| (w, true));
        LATIN_USES.split('|').map(|w| (w, false)).chain(kept).any(|(uses, kept)| {
            self.places(&format!("{uses} ")).any(|(start, end)| {
                let cut = start > 0 && self.folded[start - 1].is_ascii_alphanumeric();
                if cut || kept && !self.is_kept_before(start) && !self.is_asked_of(start, end) {
                    return false;
                }
                let mut from = end;
                for skip in SKIP {
                    let w: Vec<char> = skip.chars().collect();
                    from += if self.folded[from..].starts_with(&w) { w.len() } else { 0 };
                }
                let word: String =
                    self.folded[from..].iter().take(24).take_while(|c| c.is_ascii_alphanumeric()).collect();
                self.is_latin_stranger(from, from + word.chars().count(), &word)
            })
        })
    }

    /// "delete my number +1 555 from Tangle": something is asked, and a name in capitals follows.
    fn is_asked_of(&self, at: usize, end: usize) -> bool {
        const ASKED: &str = "delete|erase|remove|close|wipe|export|copy|correct|withdraw|deleted|erased|removed|closed|cleaned";
        let near: String = self.folded[at.saturating_sub(80)..at].iter().collect();
        let sentence = near.rsplit(['.', '\n', '?', '!', ';']).next().unwrap_or_default();
        self.written.get(end).is_some_and(char::is_ascii_uppercase) && says(sentence, ASKED)
    }

    /// Whether "my …" and what an app keeps stand directly before this place.
    fn is_kept_before(&self, at: usize) -> bool {
        const NOUNS: &str = "data|account|accounts|profile|recording|recordings|video|videos|voice|face|photo|photos|picture|pictures|lesson|lessons|room|rooms|messages|chats|history|id|number|name|email|information|records|calls|phone|details";
        let near: String = self.folded[at.saturating_sub(48)..at].iter().collect();
        let clause = near.rsplit([',', '.', ';', ':', '\n', '，', '。', '?', '!']).next().unwrap_or_default();
        let last = clause.trim_end().rsplit(' ').next().unwrap_or_default();
        NOUNS.split('|').any(|noun| noun == last) && says(clause, "my|our|his|her|their|the|any|all")
    }

    /// A word of Latin letters that is neither registered nor ordinary.
    fn is_latin_stranger(&self, start: usize, end: usize, word: &str) -> bool {
        word.len() >= 3
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && !is_ordinary(word)
            && !self.knows(start, end)
    }

    /// Latin words: where they start and end, and the word.
    fn words(&self) -> Vec<(usize, usize, String)> {
        let mut out: Vec<(usize, usize, String)> = Vec::new();
        let mut open = false;
        for (at, c) in self.folded.iter().enumerate() {
            let inside = c.is_ascii_alphanumeric();
            if inside && !open {
                out.push((at, at, String::new()));
            }
            if let Some(last) = out.last_mut().filter(|_| inside) {
                last.1 = at + 1;
                last.2.push(*c);
            }
            open = inside;
        }
        out
    }

    fn places<'p>(&'p self, phrase: &str) -> impl Iterator<Item = (usize, usize)> + use<'p> {
        let phrase: Vec<char> = phrase.chars().collect();
        (0..(self.folded.len() + 1).saturating_sub(phrase.len())).filter_map(move |at| {
            let end = at + phrase.len();
            (self.folded[at..end] == phrase[..]).then_some((at, end))
        })
    }
}

fn is_word(c: char) -> bool {
    is_han(c) || c.is_ascii_alphanumeric()
}
