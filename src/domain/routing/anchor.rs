//! Whether a registered name is anchored: the writer says that he uses the app, belongs to it, or asks
//! something about his data there.
//!
//! A name in a signature, in an advertisement, in news, of an employer or of what a friend uses is a
//! word in a letter. It never routes.

mod words;

use words::{
    APART, ASKED, AT_LEAD, AT_TAIL, BEGINS, BELOW, BOUND, BY_MEANS, CLOSES, DOING, DONE, FRAME, LABELS, LEFT,
    MOVED, OWN_USE, PAST, TELLS, TITLED, USED,
};

use super::writer;
use crate::domain::phrase::{fold, says, says_any};

const OPENING: &[char] = &[' ', '“', '「', '《', '【', '"', '\'', ':', '：'];

/// How a name stands in the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is another's affair, or stands below the letter.
    Apart,
    /// A word in the letter.
    Loose,
    /// A place or a means of using, of which nothing says whose it is.
    Used,
    /// The writer's own app.
    Anchored,
    /// The same, and his identifier stands beside it.
    Firm,
}

/// Whether the writer says that he went on to something else.
pub(super) fn went_on(text: &str) -> bool {
    says_any(&fold(text), MOVED)
}

/// How the name at this place (characters of `text`) stands there. `subject`: the line of a subject; `went_on`:
/// what [`went_on`] says of the whole text.
pub(super) fn hold(text: &[char], start: usize, end: usize, subject: bool, went_on: bool) -> Hold {
    let spot = Spot::at(text, start, end);
    if spot.is_of_another() {
        return Hold::Apart;
    }
    if went_on && (says_any(&spot.clause, PAST) || says_any(&spot.clause, LEFT)) {
        return Hold::Loose;
    }
    if spot.is_called_so() {
        return Hold::Apart;
    }
    if !subject && below_the_letter(text, start) {
        return if writer::gives_identifier(&spot.clause) { Hold::Anchored } else { Hold::Apart };
    }
    let anchored = if spot.near { Hold::Firm } else { Hold::Anchored };
    match () {
        () if subject && spot.is_titled() => anchored,
        () if spot.is_used_by_writer() => anchored,
        () if spot.goes_with_identifier() => Hold::Firm,
        () if spot.stands_alone(subject) => anchored,
        () if !spot.tells && !went_on && is_used(&spot.lead) => Hold::Used,
        () => Hold::Loose,
    }
}

/// The name's place: what is written around it, folded.
struct Spot {
    /// To the next comma or end of a sentence; of it, what is before the name, behind it, and both.
    clause: String,
    lead: String,
    tail: String,
    rest: String,
    /// The whole sentence.
    sentence: String,
    /// An identifier is in the sentence.
    given: bool,
    /// Or in the ones beside it.
    near: bool,
    /// The next clause begins with an identifier.
    labelled: bool,
    /// Nothing follows the clause.
    last: bool,
    /// It tells of something, or of what was.
    tells: bool,
    name: String,
}

impl Spot {
    fn at(text: &[char], start: usize, end: usize) -> Self {
        let (from, to) = clause(text, start, end);
        let folded = |from: usize, to: usize| fold(&text[from..to].iter().collect::<String>());
        let rest = without_name(text, from, start, end, to);
        let sentence = around(text, start, end, 0);
        let given = writer::gives_identifier(&sentence);
        Self {
            clause: folded(from, to),
            lead: folded(from, start),
            tail: folded(end, to),
            name: folded(start, end),
            given,
            near: given || writer::gives_identifier(&around(text, start, end, 1)),
            labelled: labelled_next(text, to),
            last: text[(to + 1).min(text.len())..].iter().all(|c| c.is_whitespace()),
            tells: says_any(&rest, TELLS) || says_any(&rest, PAST),
            rest,
            sentence,
        }
    }

    /// Another's affair; or only the way one signs in.
    fn is_of_another(&self) -> bool {
        let own_use = says_any(&self.clause, OWN_USE);
        let apart = |p: &&str| match own_use {
            true => says(&self.lead, p) && !says_any(&self.lead, OWN_USE),
            false => says(&self.clause, p),
        };
        let by_means = BY_MEANS.iter().any(|w| self.lead.trim_end().ends_with(w));
        APART.iter().any(apart) || by_means && says(&self.clause, "sign*|log|logged|login")
    }

    /// A room, a list or a person bears the name.
    fn is_called_so(&self) -> bool {
        let before = |words: &[&str]| words.iter().any(|w| self.bare_lead().ends_with(w));
        let room = before(&["房间", "频道", "聊天室", "群", "节目", "room", "channel"]);
        let called = before(&["名字叫", "名叫", "名为", "取名", "起名", "叫做"]);
        room && self.lead.ends_with(OPENING) || called && !says(&self.sentence, "app|软件|应用|平台|小程序")
    }

    /// "乐听FM用户申请删除": a subject says who writes.
    fn is_titled(&self) -> bool {
        TITLED.iter().any(|p| says(&self.tail, p)) && says(&self.rest, ASKED)
    }

    /// What is asked about it, an identifier in it, what it did to the writer, or plainly that he uses it.
    fn is_used_by_writer(&self) -> bool {
        let used = self.follows_use();
        if !(used || says_any(&self.rest, BOUND)) || !(self.is_own() || self.asks() || self.near) {
            return false;
        }
        let about = self.sentence.replace(&self.name, " ");
        let tells = says_any(&self.rest, TELLS);
        let asked = says(&about, ASKED) || says(&self.rest, DONE);
        let asked = asked && (!tells || says(&self.rest, ASKED));
        let past = says_any(&self.rest, PAST) && !self.near;
        let plain = (used || uses_it(&self.lead, &self.tail)) && !tells && !past;
        self.given || asked || plain
    }

    /// "My 11 year old was on StarTalk, number 88-1": an identifier goes with the name.
    fn goes_with_identifier(&self) -> bool {
        let own = self.is_own();
        let with = writer::gives_identifier(&self.rest) && (own || self.asks()) || self.labelled && own;
        with && !says_any(&self.rest, TELLS)
    }

    /// Hardly anything is said beside the name.
    fn stands_alone(&self, subject: bool) -> bool {
        let words: Vec<&str> = self.rest.split_whitespace().filter(|w| !writer::is_like_an_id(w)).collect();
        let left = FRAME.iter().fold(without_brackets(&words.join(" ")), |left, w| left.replace(w, " "));
        let alone = left.chars().all(|c| !c.is_alphanumeric());
        self.lead.trim().is_empty() && self.labelled
            || alone && (subject || self.labelled || self.last || self.near)
            || subject && relates(&self.lead)
    }

    /// The clause begins as what one asks begins.
    fn asks(&self) -> bool {
        says(&self.rest, ASKED) && BEGINS.iter().any(|w| self.clause.trim_start().starts_with(w))
    }

    /// The writer speaks of himself, or of nobody: "用乐听FM三年了".
    fn is_own(&self) -> bool {
        let unsaid = self.follows_use() && self.bare_lead().trim().chars().count() <= 2;
        let tail = self.tail.trim_start();
        let given_up = ["不想用", "不用了", "不玩了", "不听了"].iter().any(|w| tail.starts_with(w));
        let unsaid = unsaid || given_up && self.lead.trim().is_empty();
        self.given || unsaid || writer::speaks_of_self(&self.sentence)
    }

    fn follows_use(&self) -> bool {
        let words = ["用", "玩", "听", "装了", "卸载了", "uses", "use", "used"];
        words.iter().any(|w| self.bare_lead().ends_with(w))
    }

    /// What is before the name, without the mark that opens it.
    fn bare_lead(&self) -> &str {
        self.lead.trim_end_matches(OPENING)
    }
}

/// "她用我的手机在…", "lessons through …": one uses it there.
fn is_used(lead: &str) -> bool {
    let lead = lead.trim_end_matches(OPENING);
    let there = ["on", "in", "at"].iter().any(|w| lead.ends_with(&format!(" {w}")));
    if there && says(lead, DOING) {
        return true;
    }
    USED.split('|').any(|w| {
        lead.strip_suffix(w)
            .is_some_and(|l| !w.is_ascii() || !l.ends_with(|c: char| c.is_ascii_alphanumeric()))
    })
}

/// "我在…", "a user of …", "…的学员": the using stands directly at the name.
fn uses_it(lead: &str, tail: &str) -> bool {
    let lead = lead.trim_end_matches(OPENING);
    // "at https://help." of a domain.
    let host = lead.rsplit(' ').next().filter(|word| word.contains("://") || word.ends_with('.'));
    let lead = host.and_then(|host| lead.strip_suffix(host)).unwrap_or(lead).trim_end();
    let lead = ["called", "app", "platform", "the", "an", "a"].iter().fold(lead, |l, w| {
        l.strip_suffix(w).filter(|l| l.is_empty() || l.ends_with(' ')).map_or(l, str::trim_end)
    });
    let tail = tail.trim_start_matches([' ', '”', '」', '》', '】', '"', '\'']);
    let tail = ["app", "软件", "平台", "网页版", "手机版", "客户端"]
        .iter()
        .fold(tail, |t, w| t.strip_prefix(w).unwrap_or(t).trim_start());
    let tail = tail.trim_start_matches(['”', '」', '》', '】', '"', '\'', ' ']);
    let ends = |w: &str| {
        lead.strip_suffix(w)
            .is_some_and(|l| !w.is_ascii() || !l.ends_with(|c: char| c.is_ascii_alphanumeric()))
    };
    let starts = |w: &str| {
        tail.strip_prefix(w)
            .is_some_and(|t| !w.is_ascii() || !t.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    AT_LEAD.split('|').any(ends) || AT_TAIL.split('|').any(starts)
}

/// The (folded) sentence around the name, with `more` sentences on either side.
fn around(text: &[char], start: usize, end: usize, more: usize) -> String {
    let ends = |i: &usize| match text[*i] {
        '。' | '\n' | '；' | ';' | '！' | '!' | '？' | '?' => true,
        '.' => text.get(i + 1).is_none_or(|c| c.is_whitespace()),
        _ => false,
    };
    let near = start.saturating_sub(200);
    let from = (near..start).rev().filter(&ends).nth(more).map_or(near, |at| at + 1);
    let far = (end + 200).min(text.len());
    let to = (end..far).filter(&ends).nth(more).unwrap_or(far);
    fold(&text[from..to].iter().collect::<String>())
}

fn without_name(text: &[char], from: usize, start: usize, end: usize, to: usize) -> String {
    let rest = text[from..start].iter().chain([&' ']).chain(&text[end..to]);
    fold(&rest.collect::<String>())
}

/// "小鹿课堂（某某公司）": what stands in brackets says more of the name.
fn without_brackets(words: &str) -> String {
    let mut depth = 0;
    words
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth <= 0 && *c != ')'
        })
        .collect()
}

/// "关于乐听FM", "re StarTalk".
fn relates(lead: &str) -> bool {
    says_any(lead, &["关于|有关|针对|致|about|regarding|re|concerning"])
}

/// "小鹿课堂，学号 DX-9": what follows the bare name is an identifier.
fn labelled_next(text: &[char], to: usize) -> bool {
    let next: String = text[(to + 1).min(text.len())..].iter().take(40).collect();
    let next = fold(&next);
    if ["房间", "频道", "订单", "手机", "工单"].iter().any(|w| next.trim_start().starts_with(w)) {
        return false;
    }
    let first = next.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let first = first.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).next();
    if first.is_some_and(writer::is_like_an_id) {
        return true;
    }
    let next = next.trim_start_matches(|c: char| !c.is_alphanumeric());
    let next = ["我的", "我", "注册", "绑定的", "绑定", "my", "the", "with", "其", "in-app"]
        .iter()
        .fold(next, |n, w| n.strip_prefix(w).unwrap_or(n).trim_start());
    LABELS.split('|').any(|label| next.starts_with(label))
}

/// The clause around the name: to the next comma or end of a sentence.
fn clause(text: &[char], start: usize, end: usize) -> (usize, usize) {
    let cuts = |i: usize| match text[i] {
        '，' | ',' | '。' | '\n' | '；' | ';' | '！' | '!' | '？' | '?' => true,
        '.' => text.get(i + 1).is_none_or(|c| c.is_whitespace()),
        _ => false,
    };
    let near = start.saturating_sub(160);
    let from = (near..start).rev().find(|i| cuts(*i)).map_or(near, |at| at + 1);
    let far = (end + 160).min(text.len());
    (from, (end..far).find(|i| cuts(*i)).unwrap_or(far))
}

/// Below "-- " or the words that close a letter, or on a line like "Sent from …".
fn below_the_letter(text: &[char], start: usize) -> bool {
    let above: String = text[..start].iter().collect();
    let mut lines = above.split('\n').rev();
    let line = fold(lines.next().unwrap_or_default());
    let line = line.trim_start();
    BELOW.iter().any(|w| line.starts_with(w))
        || lines.take(12).any(|l| {
            let l = fold(l.trim());
            let short = l.chars().count() <= 16;
            let rule = l.chars().count() >= 2 && l.chars().all(|c| "-—–_=*~－".contains(c));
            let bare = l.trim_end_matches(|c: char| !c.is_alphanumeric());
            rule || short && CLOSES.iter().any(|w| bare == *w || bare.ends_with(w) && !w.is_ascii())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchored(text: &str, subject: bool) -> bool {
        let at =
            text.find("小鹿课堂").map(|b| (b, "小鹿课堂")).or(text.find("StarTalk").map(|b| (b, "StarTalk")));
        let (at, name) = at.unwrap();
        let start = text[..at].chars().count();
        let chars: Vec<char> = text.chars().collect();
        matches!(
            hold(&chars, start, start + name.chars().count(), subject, went_on(text)),
            Hold::Anchored | Hold::Firm
        )
    }

    #[test]
    fn the_app_of_the_writer_is_anchored() {
        for text in [
            "我在小鹿课堂上课",
            "请删除我在小鹿课堂的数据",
            "我用的是小鹿课堂",
            "小鹿课堂，学号 DX-1",
            "My user ID in StarTalk is st_1",
            "I use StarTalk",
            "Please delete my data from StarTalk",
            "Stop sending me promotional messages from StarTalk",
        ] {
            assert!(anchored(text, false), "{text}");
        }
        for text in ["关于小鹿课堂", "小鹿课堂", "Delete my StarTalk account"] {
            assert!(anchored(text, true), "{text}");
        }
    }

    #[test]
    fn a_name_in_passing_is_not() {
        for text in [
            "我朋友用小鹿课堂就没这个问题",
            "我是看了小鹿课堂里的广告才来的",
            "老师让我们参考小鹿课堂的隐私政策",
            "小鹿课堂被它收购了",
            "请问对小鹿课堂这类企业客户怎么处理",
            "删除我的数据\n发自我的小鹿课堂",
            "Delete my data.\n\n--\nBob, user of StarTalk",
            "By the way, StarTalk answered me within a day!",
            "My brother uses StarTalk",
            "I work at StarTalk",
        ] {
            assert!(!anchored(text, false), "{text}");
        }
    }
}
