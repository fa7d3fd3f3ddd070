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
    let (from, to) = clause(text, start, end);
    let words = fold(&text[from..to].iter().collect::<String>());
    let own_use = says_any(&words, OWN_USE);
    let lead = fold(&text[from..start].iter().collect::<String>());
    let apart =
        |p: &&str| if own_use { says(&lead, p) && !says_any(&lead, OWN_USE) } else { says(&words, p) };
    let by_means = BY_MEANS.iter().any(|w| lead.trim_end().ends_with(w));
    if APART.iter().any(apart) || by_means && says(&words, "sign*|log|logged|login") {
        return Hold::Apart;
    }
    if went_on && (says_any(&words, PAST) || says_any(&words, LEFT)) {
        return Hold::Loose;
    }
    let sentence = around(text, start, end, 0);
    // A room, a list or a person may bear the name.
    let called = ["名字叫", "名叫", "名为", "取名", "起名", "叫做"];
    let called = called.iter().any(|w| lead.trim_end_matches(OPENING).ends_with(w));
    let room = ["房间", "频道", "聊天室", "群", "节目", "room", "channel"];
    let room = room.iter().any(|w| lead.trim_end_matches(OPENING).ends_with(w)) && lead.ends_with(OPENING);
    if room || called && !says(&sentence, "app|软件|应用|平台|小程序") {
        return Hold::Apart;
    }
    if !subject && below_the_letter(text, start) {
        return if writer::gives_identifier(&words) { Hold::Anchored } else { Hold::Apart };
    }
    let rest = without_name(text, from, start, end, to);
    let asks = says(&rest, ASKED) && BEGINS.iter().any(|w| words.trim_start().starts_with(w));
    let given = writer::gives_identifier(&sentence);
    let used = {
        let lead = lead.trim_end_matches(OPENING);
        ["用", "玩", "听", "装了", "卸载了", "uses", "use", "used"].iter().any(|w| lead.ends_with(w))
    };
    // "用乐听FM三年了": nobody is named, so it is the writer.
    let unsaid = used && lead.trim().trim_end_matches(OPENING).chars().count() <= 2;
    let tail = fold(&text[end..to].iter().collect::<String>());
    let given_up = ["不想用", "不用了", "不玩了", "不听了"].iter().any(|w| tail.trim_start().starts_with(w));
    let unsaid = unsaid || given_up && lead.trim().is_empty();
    let own = writer::speaks_of_self(&sentence) || given || unsaid;
    let near = given || writer::gives_identifier(&around(text, start, end, 1));
    let anchored = if near { Hold::Firm } else { Hold::Anchored };
    let name = fold(&text[start..end].iter().collect::<String>());
    let about = sentence.replace(&name, " ");
    // "乐听FM用户申请删除": a subject says who writes.
    let titled = subject && TITLED.iter().any(|p| says(&tail, p)) && says(&rest, ASKED);
    if titled {
        return anchored;
    }
    if (used || says_any(&rest, BOUND)) && (own || asks || near) {
        // What is asked about it, an identifier in it, what it did to the writer, or plainly that he uses it.
        let asked = says(&about, ASKED) || says(&rest, DONE);
        let asked = asked && (!says_any(&rest, TELLS) || says(&rest, ASKED));
        let past = says_any(&rest, PAST) && !near;
        let plain = (used || uses_it(&lead, &tail)) && !says_any(&rest, TELLS) && !past;
        if given || asked || plain {
            return anchored;
        }
    }
    let labelled = labelled_next(text, to);
    let last = text[(to + 1).min(text.len())..].iter().all(|c| c.is_whitespace());
    // "My 11 year old was on StarTalk, number 88-1": an identifier goes with the name.
    let with_id = writer::gives_identifier(&rest) && (own || asks) || labelled && own;
    if with_id && !says_any(&rest, TELLS) {
        return Hold::Firm;
    }
    let bare = lead.trim().is_empty() && labelled;
    let words: Vec<&str> = rest.split_whitespace().filter(|w| !writer::is_like_an_id(w)).collect();
    let left = FRAME.iter().fold(without_brackets(&words.join(" ")), |left, w| left.replace(w, " "));
    let alone = left.chars().all(|c| !c.is_alphanumeric());
    let held = bare || alone && (subject || labelled || last || near) || subject && relates(&lead);
    let told = says_any(&rest, TELLS) || says_any(&rest, PAST);
    match () {
        () if held => anchored,
        () if !told && !went_on && is_used(&lead) => Hold::Used,
        () => Hold::Loose,
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
