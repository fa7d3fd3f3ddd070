//! Where a registered fact stands in a text, and whether it stands there by itself.

use super::{Fact, FactKind, Facts, Weight, tails, vocabulary};
use crate::domain::phrase::{fold_char, is_han};

/// A registered fact found in a text.
#[derive(Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Index into `Facts::apps`.
    pub app: usize,
    pub kind: FactKind,
    pub fact: String,
    pub weight: Weight,
    /// Character range.
    pub start: usize,
    pub end: usize,
    /// The words around it, as written.
    pub words: String,
}

/// Words that people use without meaning an app of that name, flagged or not.
const COMMON: &[&str] = &[
    "meet",
    "meeting",
    "talk",
    "live",
    "chat",
    "voice",
    "video",
    "class",
    "connect",
    "music",
    "radio",
    "call",
    "room",
    "app",
    "sdk",
    "hello",
    "star",
    "party",
    "微课",
    "直播",
    "课堂",
    "会议",
    "语音",
    "视频",
    "连麦",
    "音乐",
    "学习",
    "聊天",
    "网课",
    "电台",
    "通话",
    "房间",
    "云课堂",
    "直播间",
    "小程序",
];

/// What makes a longer, other name of the one before it.
const LONGER_HAN: &[&str] = &[
    "助手",
    "极速版",
    "国际版",
    "海外版",
    "专业版",
    "企业版",
    "青春版",
    "青少年版",
    "儿童版",
    "少儿版",
    "家长版",
    "教师版",
    "老师版",
    "学生版",
    "极光版",
    "旗舰版",
    "概念版",
    "大师",
    "精灵",
    "商城",
    "商店",
    "网校",
    "学院",
    "盒子",
    "管家",
    "伴侣",
    "乐园",
    "大学",
    "之家",
    "联盟",
    "俱乐部",
    "编程",
    "英语",
    "数学",
    "阅读",
    "绘本",
    "电台",
    "音乐",
    "短剧",
    "小说",
    "钱包",
    "金融",
    "贷款",
    "外卖",
    "打车",
    "地图",
    "浏览器",
    "输入法",
];
const LONGER_LATIN: &[&str] = &[
    "pro",
    "lite",
    "plus",
    "max",
    "hd",
    "kids",
    "mini",
    "go",
    "assistant",
    "helper",
    "studio",
    "business",
    "premium",
    "international",
    "global",
    "tv",
    "messenger",
    "academy",
    "music",
    "live",
    "meet",
    "meeting",
    "chat",
];

/// What may follow a name inside quotation marks without making it another name.
const GENERIC: &[&str] = &[
    "app",
    "软件",
    "平台",
    "应用",
    "小程序",
    "客户端",
    "手机版",
    "网页版",
    "安卓版",
    "官方",
    "公众号",
    "产品",
];

const OPENING: &[char] = &['“', '"', '「', '『', '《', '〈', '【'];
const CLOSING: &[char] = &['”', '"', '」', '』', '》', '〉', '】'];

/// Before and after a name of one or two Chinese characters: what can only be grammar.
const BEFORE_SHORT: &str = "在用是的叫过从给把对于和与及为被由玩上下了看跟同到入开关有载装名";
const AFTER_SHORT: &str =
    "的上里中这那是在和与及把对给有吗么平软用账帐注都也还就不没能会可跟同由被向为了呢吧后前时";

/// All sightings, longest first where one name holds another.
pub fn sightings(text: &str, facts: &Facts) -> Vec<Sighting> {
    let written: Vec<char> = text.chars().collect();
    let folded: Vec<char> = written.iter().map(|c| fold_char(*c)).collect();
    let mut found = Vec::new();
    for (app, registered) in facts.apps.iter().enumerate() {
        for fact in &registered.facts {
            let needle: Vec<char> = fact.text.trim().chars().map(fold_char).collect();
            let breaks = matches!(fact.kind, FactKind::Name | FactKind::Alias);
            let joints = if breaks { joints(&fact.text) } else { Vec::new() };
            for (start, end) in occurrences(&folded, &needle, &joints, breaks) {
                if let Some(weight) = judge(&written, &folded, start, end, fact) {
                    let words = around(&written, start, end);
                    found.push(Sighting {
                        app,
                        kind: fact.kind,
                        fact: fact.text.clone(),
                        weight,
                        start,
                        end,
                        words,
                    });
                }
            }
        }
    }
    found.sort_by_key(|s| (s.start, s.end));
    keep_longest(found)
}

/// Drops what lies inside a longer sighting. Only neighbours can hold it, so a
/// text that repeats one name a million times costs no more than its length.
fn keep_longest(found: Vec<Sighting>) -> Vec<Sighting> {
    let widest = found.iter().map(|s| s.end - s.start).max().unwrap_or(0);
    let held = |at: usize| {
        let s = &found[at];
        let holds = |o: &Sighting| o.start <= s.start && s.end <= o.end && o.end - o.start > s.end - s.start;
        let before = found[..at].iter().rev().take_while(|o| o.start + widest >= s.end);
        let after = found[at + 1..].iter().take_while(|o| o.start == s.start);
        before.chain(after).any(holds)
    };
    let kept: Vec<bool> = (0..found.len()).map(|at| !held(at)).collect();
    found.into_iter().zip(kept).filter(|(_, keep)| *keep).map(|(s, _)| s).collect()
}

/// Where the needle stands. A mail program may break a name's line: a break counts as its space, and
/// as nothing between two Chinese characters of a name that is long enough to be known by its parts.
fn occurrences(text: &[char], needle: &[char], joints: &[usize], breaks: bool) -> Vec<(usize, usize)> {
    if needle.is_empty() {
        return Vec::new();
    }
    let may_break = breaks && needle.len() >= 4;
    (0..text.len()).filter_map(|at| Some((at, ends_at(text, at, needle, joints, may_break)?))).collect()
}

/// Where people put a space into a name, or leave it out: "Star Talk" for "StarTalk", "乐听 FM".
fn joints(name: &str) -> Vec<usize> {
    let chars: Vec<char> = name.trim().chars().collect();
    let joint = |i: &usize| {
        let (before, c) = (chars[*i - 1], chars[*i]);
        before.is_ascii_lowercase() && c.is_ascii_uppercase()
            || is_han(before) != is_han(c) && before.is_alphanumeric() && c.is_alphanumeric()
            || c == ' ' && chars.len() >= 8
    };
    (1..chars.len()).filter(joint).collect()
}

fn ends_at(text: &[char], start: usize, needle: &[char], joints: &[usize], may_break: bool) -> Option<usize> {
    let mut at = start;
    let mut broken = false;
    for (i, c) in needle.iter().enumerate() {
        let mut here = *text.get(at)?;
        if joints.contains(&i) && (here == ' ') != (*c == ' ') {
            if *c == ' ' {
                continue;
            }
            at += 1;
            here = *text.get(at)?;
        }
        if here == '\n' && may_break && !broken && i > 0 && here != *c {
            broken = true;
            match (*c, needle[i - 1]) {
                (' ', _) => {
                    at += 1;
                    continue;
                }
                (c, before) if is_han(c) && is_han(before) => at += 1,
                _ => return None,
            }
        }
        if text.get(at) != Some(c) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

fn around(written: &[char], start: usize, end: usize) -> String {
    let from = start.saturating_sub(24);
    let to = (end + 24).min(written.len());
    written[from..to]
        .iter()
        .map(|c| if c.is_control() { ' ' } else { *c })
        .collect::<String>()
        .trim()
        .to_owned()
}

fn judge(written: &[char], text: &[char], start: usize, end: usize, fact: &Fact) -> Option<Weight> {
    let weight = match fact.kind {
        FactKind::Name | FactKind::Alias => name(written, text, start, end, fact)?,
        FactKind::Company | FactKind::House => Weight::Exact,
        FactKind::Domain => domain(text, start, end)?,
        FactKind::BundleId => token(text, start, end)?,
        FactKind::SdkAppId => sdk_app_id(text, start, end)?,
    };
    Some(if fact.common { Weight::Suggests } else { weight })
}

fn word_char(c: Option<&char>) -> bool {
    c.is_some_and(|c| c.is_ascii_alphanumeric())
}

fn before(text: &[char], at: usize) -> Option<&char> {
    at.checked_sub(1).and_then(|i| text.get(i))
}

fn name(written: &[char], text: &[char], start: usize, end: usize, fact: &Fact) -> Option<Weight> {
    let (first, last) = (text[start], text[end - 1]);
    let (prev, next) = (before(text, start), text.get(end));
    if first.is_ascii_alphanumeric() {
        if word_char(prev) || matches!(prev, Some('@' | '_' | '/')) {
            return None;
        }
        if matches!(prev, Some('.' | '-')) && word_char(before(text, start - 1)) {
            return None;
        }
    }
    if last.is_ascii_alphanumeric() {
        if word_char(next) || matches!(next, Some('@' | '_')) {
            return None;
        }
        // A domain, a file or an id made of the name is not the name.
        let app_follows = starts(text, end + 1, "app");
        if matches!(next, Some('.' | '-')) && word_char(text.get(end + 1)) && !app_follows {
            return None;
        }
    }
    let folded: String = text[start..end].iter().collect();
    if COMMON.contains(&folded.as_str()) {
        // Even a common word must not be cut out of a longer one.
        return stands_alone(text, start, end).then_some(Weight::Suggests);
    }
    if let Some(weight) = quoted(text, start, end) {
        return Some(weight);
    }
    // "小鹿课堂数学课" is a lesson in the app, "小鹿课堂数学" another app.
    let other = |tail: &str| starts(text, end, tail) && text.get(end + tail.chars().count()) != Some(&'课');
    if LONGER_HAN.iter().any(|tail| other(tail)) || edition(text, end) {
        return Some(Weight::Suggests);
    }
    if is_han(first)
        && (longer_before(text, start) || end - start > 2 && (han_head(text, start) || runs_in(text, start)))
    {
        return Some(Weight::Suggests);
    }
    let han_only = text[start..end].iter().all(|c| is_han(*c));
    if han_only && end - start <= 2 && !stands_alone(text, start, end) {
        return None;
    }
    if tails::goes_on(written, text, start, end)
        || latin_tail(text, end)
        || numbered(text, end)
        || latin_head(written, start)
    {
        return Some(Weight::Suggests);
    }
    // A short Latin name in another case than registered is more likely the word.
    let as_written: String = written[start..end].iter().collect();
    let latin = folded.chars().all(|c| c.is_ascii_alphanumeric());
    if latin && folded.len() <= 5 && as_written.chars().all(|c| !c.is_uppercase()) && as_written != fact.text
    {
        return Some(Weight::Suggests);
    }
    Some(Weight::Exact)
}

/// "极速版", "车机版": an edition that is another product. Those that say on what it runs are none.
fn edition(text: &[char], end: usize) -> bool {
    const SAME: &[&str] = &[
        "客户端",
        "移动端",
        "网页端",
        "手机端",
        "电脑端",
        "安卓端",
        "苹果端",
        "pc端",
        "web端",
        "手机版",
        "网页版",
        "安卓版",
        "苹果版",
        "电脑版",
        "桌面版",
        "移动版",
        "客户端版",
        "ios版",
        "pc版",
        "h5版",
        "新版",
        "旧版",
        "老版",
        "最新版",
        "正式版",
        "官方版",
        "测试版",
        "的版",
        "上一版",
    ];
    let from = if text.get(end) == Some(&' ') { end + 1 } else { end };
    let Some(rest) = text.get(from..) else { return false };
    let Some(at) = rest.iter().take(5).position(|c| matches!(c, '版' | '端')) else { return false };
    let word: String = rest[..=at].iter().collect();
    let one_word = rest[..at].iter().all(|c| is_han(*c) || c.is_ascii_alphabetic());
    at > 0
        && one_word
        && rest.get(at + 1) != Some(&'本')
        && !SAME.contains(&word.as_str())
        && !word.starts_with('的')
}

fn starts(text: &[char], at: usize, word: &str) -> bool {
    let mut i = at;
    for c in word.chars() {
        if text.get(i) != Some(&c) {
            return false;
        }
        i += 1;
    }
    // A Latin tail is a word of its own.
    !(word.is_ascii() && word_char(text.get(i)))
}

fn longer_before(text: &[char], start: usize) -> bool {
    match before(text, start) {
        Some('新') => !matches!(before(text, start - 1), Some('更' | '最' | '重' | '刷' | '全')),
        Some('级') => before(text, start - 1) == Some(&'超'),
        _ => false,
    }
}

fn latin_tail(text: &[char], end: usize) -> bool {
    let at = if matches!(text.get(end), Some(' ' | '-')) { end + 1 } else { end };
    let joins = at > end || is_han(text[end - 1]);
    // "StarTalk live in the room" is grammar after all: the tail must close the name.
    LONGER_LATIN.iter().any(|tail| {
        let stop = at + tail.chars().count();
        joins
            && starts(text, at, tail)
            && !(matches!(*tail, "live" | "go" | "chat" | "meet" | "music") && text.get(stop) == Some(&' '))
    })
}

/// "星语直播 2", "StarTalk III": another product of the name. What counts or dates something is none.
fn numbered(text: &[char], end: usize) -> bool {
    let at = if text.get(end) == Some(&' ') { end + 1 } else { end };
    let word: String =
        text[at.min(text.len())..].iter().take(6).take_while(|c| c.is_ascii_alphanumeric()).collect();
    let stop = at + word.len();
    let spaced = text.get(stop) == Some(&' ');
    let unit: String = text[(stop + 1).min(text.len())..].iter().take(8).collect();
    let counts = [
        "年", "个", "月", "天", "次", "周", "岁", "year", "month", "day", "week", "time", "hour", "account",
        "people",
    ];
    if spaced && counts.iter().any(|u| unit.starts_with(u)) {
        return false;
    }
    let closes = !text.get(stop).is_some_and(|c| "年月日号点次个小分秒元岁人条天周%-_:/@、)".contains(*c));
    let digits = (1..=2).contains(&word.len()) && word.chars().all(|c| c.is_ascii_digit());
    let roman = matches!(word.as_str(), "ii" | "iii" | "iv" | "vi" | "vii" | "viii");
    let generation = text.get(end..end + 2).is_some_and(|w| matches!(w, ['二' | '三' | '四' | '五', '代']));
    (digits || roman) && closes || generation
}

/// "Super StarTalk": a word with a capital that makes another name.
fn latin_head(written: &[char], start: usize) -> bool {
    let lead: String = written[start.saturating_sub(8)..start].iter().collect();
    let word = lead.trim_end().rsplit([' ', '\n', '"', '“']).next().unwrap_or_default();
    ["Super", "Mega", "Ultra", "Mini", "Neo", "Hyper", "Happy", "Magic"].contains(&word)
}

/// "在天马星语直播": one to three characters between a preposition and the name that are no words of grammar.
fn han_head(text: &[char], start: usize) -> bool {
    const GRAMMAR: &str = "你们您贵司我他的了过是这那个款手机叫做名为官方家公平台里上下中面和与及跟户删除注销登录使听看玩开打进入加下载安装参观收到卸退出通过关于于到对给从向把";
    let run: Vec<char> =
        text[start.saturating_sub(4)..start].iter().rev().copied().take_while(|c| is_han(*c)).collect();
    let Some(at) = run.iter().position(|c| matches!(c, '在' | '用' | '是' | '叫')) else { return false };
    (1..=3).contains(&at) && !run[..at].iter().any(|c| GRAMMAR.contains(*c))
}

/// Chinese directly before the name that is no ordinary word: "快乐听FM" is another name.
fn runs_in(text: &[char], start: usize) -> bool {
    let run: String = text[start.saturating_sub(6)..start].iter().collect();
    let run = run.rsplit(|c: char| !is_han(c)).next().unwrap_or_default();
    !run.is_empty() && !vocabulary::ends_a_word(run)
}

/// Inside quotation marks the whole quoted name counts.
fn quoted(text: &[char], start: usize, end: usize) -> Option<Weight> {
    const NEAR: usize = 14;
    let opens = (start.saturating_sub(NEAR)..start)
        .rev()
        .take_while(|i| !CLOSING.contains(&text[*i]) || OPENING.contains(&text[*i]))
        .find(|i| OPENING.contains(&text[*i]))?;
    // A straight mark opens only where an even number stands before it.
    let before_here = &text[opens.saturating_sub(1_000)..opens];
    if text[opens] == '"' && before_here.iter().filter(|c| **c == '"').count() % 2 == 1 {
        return None;
    }
    let closes = (end..(end + NEAR).min(text.len()))
        .take_while(|i| !matches!(text[*i], '\n' | '。' | '，' | ','))
        .find(|i| CLOSING.contains(&text[*i]))?;
    let head: String = text[opens + 1..start].iter().collect();
    let tail: String = text[end..closes].iter().collect();
    let (head, tail) = (head.trim(), tail.trim());
    if head.is_empty() && (tail.is_empty() || GENERIC.contains(&tail)) {
        return Some(Weight::Exact);
    }
    // A short quotation around it is a longer name; a long one is a sentence.
    (head.chars().count() + tail.chars().count() <= 6).then_some(Weight::Suggests)
}

/// Whether grammar, not more of a word, stands on both sides.
fn stands_alone(text: &[char], start: usize, end: usize) -> bool {
    let (prev, next) = (before(text, start), text.get(end));
    let left = prev.is_none_or(|c| !is_han(*c) || BEFORE_SHORT.contains(*c));
    let right = next.is_none_or(|c| !is_han(*c) || AFTER_SHORT.contains(*c));
    left && right
}

fn domain(text: &[char], start: usize, end: usize) -> Option<Weight> {
    match before(text, start) {
        // A subdomain is the domain's own; an address is the sender's affair.
        Some('.') => {
            let mut i = start - 1;
            while i > 0 && (text[i - 1].is_ascii_alphanumeric() || matches!(text[i - 1], '.' | '-')) {
                i -= 1;
            }
            if before(text, i) == Some(&'@') {
                return None;
            }
        }
        Some(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '@' | '_') => return None,
        _ => {}
    }
    ends_token(text, end).then_some(Weight::Exact)
}

fn token(text: &[char], start: usize, end: usize) -> Option<Weight> {
    let joined =
        matches!(before(text, start), Some(c) if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    (!joined && ends_token(text, end)).then_some(Weight::Exact)
}

fn ends_token(text: &[char], end: usize) -> bool {
    match text.get(end) {
        Some('.') => !word_char(text.get(end + 1)),
        Some(c) => !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@')),
        None => true,
    }
}

/// A bare number may be anything; it counts where the words say that it is an app id.
fn sdk_app_id(text: &[char], start: usize, end: usize) -> Option<Weight> {
    token(text, start, end)?;
    let digits = text[start..end].iter().all(|c| c.is_ascii_digit());
    let lead: String = text[start.saturating_sub(16)..start].iter().collect();
    let labelled = ["appid", "app id", "app_id", "sdk", "应用id", "应用 id"].iter().any(|l| lead.contains(l));
    Some(if digits && !labelled { Weight::Suggests } else { Weight::Exact })
}
