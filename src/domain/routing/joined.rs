//! A name joined to a registered one without marks: "小鹿课堂和悦读星球这两个App", "MoonChat and StarTalk".

use super::another::GIVEN_TO;
use super::{FactKind, Facts, Sighting, Weight, matching};
use crate::domain::phrase::{fold, fold_char, is_han, says};

/// Whether another name is joined to a registered one.
pub(super) fn is_joined(text: &str, facts: &Facts) -> bool {
    let written: Vec<char> = text.chars().collect();
    let chars: Vec<char> = written.iter().map(|c| fold_char(*c)).collect();
    let sightings = matching::sightings(text, facts);
    let names = sightings
        .iter()
        .filter(|s| s.weight == Weight::Exact && matches!(s.kind, FactKind::Name | FactKind::Alias));
    names.into_iter().any(|s| {
        let clause: String = clause_at(&chars, s.start).iter().collect();
        !says(&clause, GIVEN_TO)
            && (joined_han(&chars, s, &sightings)
                || joined_han_before(&chars, s, &sightings)
                || joined_latin(&written, s, facts)
                || joined_latin_before(&written, s, facts))
    })
}

/// Says that the joined words are apps too.
const APPS: &[&str] = &[
    "app",
    "应用",
    "软件",
    "平台",
    "都有",
    "都注册",
    "都用",
    "两个",
    "两款",
    "两边",
    "上都",
    "里都",
    "的账号",
    "账号",
];
/// Begins something that is no app's name.
const NO_NAME: &[&str] = &[
    "我",
    "你",
    "您",
    "贵",
    "本",
    "他",
    "她",
    "它",
    "其",
    "该",
    "这",
    "那",
    "第三方",
    "别的",
    "所有",
    "相关",
    "删除",
    "注销",
    "请",
    "要求",
    "撤回",
    "ppio",
    "sdk",
    "个人",
    "用户",
    "关联",
    "派欧",
    "手机",
    "微信",
    "支付宝",
];

fn joined_han(chars: &[char], s: &Sighting, sightings: &[Sighting]) -> bool {
    let mut at = s.end;
    let skip = |at: usize| {
        let rest: String = chars[at..].iter().take(4).collect();
        ["app", " ", "”", "」", "》", "】"].iter().find(|w| rest.starts_with(**w)).map(|w| w.chars().count())
    };
    while let Some(more) = skip(at) {
        at += more;
    }
    let rest: String = chars[at..].iter().take(2).collect();
    let Some(conj) = ["以及", "还有", "和", "与", "跟", "及", "、"].iter().find(|c| rest.starts_with(**c))
    else {
        return false;
    };
    at += conj.chars().count();
    while chars.get(at).is_some_and(|c| matches!(c, ' ' | '“' | '「' | '《' | '【')) {
        at += 1;
    }
    if sightings.iter().any(|o| o.start == at) {
        return false;
    }
    let tail: String = chars[at..]
        .iter()
        .take(20)
        .take_while(|c| !matches!(c, '，' | ',' | '。' | '\n' | '；' | ';' | '('))
        .collect();
    let marker = APPS.iter().filter_map(|m| tail.find(m)).min();
    let first = tail.split(['、', '和', '与']).next().unwrap_or_default();
    marker.is_some_and(|m| m > 0 && tail[..m].chars().count() <= 12)
        && !NO_NAME.iter().any(|w| first.starts_with(w))
        && !["sdk", "信息", "数据", "录音", "记录", "资料"].iter().any(|w| first.contains(w))
}

/// "悦读星球和小鹿课堂都有账号": the other name first.
fn joined_han_before(chars: &[char], s: &Sighting, sightings: &[Sighting]) -> bool {
    let tail: String = chars[s.end..].iter().take(16).take_while(|c| !"，,。\n；;".contains(**c)).collect();
    if !APPS.iter().any(|m| tail.contains(m)) {
        return false;
    }
    let near = s.start.saturating_sub(16);
    let lead: String = chars[near..s.start].iter().collect();
    let lead = lead.trim_end_matches(['“', '「', '《', '【', ' ']);
    let Some(lead) = ["以及", "还有", "和", "与", "跟", "及", "、"].iter().find_map(|c| lead.strip_suffix(c))
    else {
        return false;
    };
    let lead = lead.trim_end_matches(['”', '」', '》', '】', ' ']);
    let lead = lead.strip_suffix("app").unwrap_or(lead);
    let Some(cut) = lead.rfind(['在', '用', '对', '从', '把', '玩', '过', '了']) else {
        return false;
    };
    let name: String = lead[cut..].chars().skip(1).collect();
    let known = sightings.iter().any(|o| o.end <= s.start && o.end + 8 >= s.start);
    (2..=10).contains(&name.chars().count())
        && name.chars().all(|c| is_han(c) || c.is_ascii_alphanumeric())
        && !known
        && !NO_NAME.iter().any(|w| name.starts_with(w))
        && !["sdk", "信息", "数据", "录音", "记录", "资料"].iter().any(|w| name.contains(w))
}

/// "MoonChat and StarTalk".
fn joined_latin_before(written: &[char], s: &Sighting, facts: &Facts) -> bool {
    let near = s.start.saturating_sub(40);
    let lead: String = written[near..s.start].iter().collect();
    let Some(lead) = [" and ", " or ", " & ", ", "].iter().find_map(|c| lead.strip_suffix(c)) else {
        return false;
    };
    let word: String = lead
        .chars()
        .rev()
        .take_while(char::is_ascii_alphanumeric)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let head = lead.strip_suffix(word.as_str()).unwrap_or_default().trim_end();
    // A capital that only begins a sentence or a line is none of a name; a comma joins inside a list only.
    let begins = head.is_empty() || head.ends_with(['.', '!', '?', ':', '\n']);
    let comma = written[near..s.start].ends_with(&[',', ' ']);
    !begins && !comma && names_another(&word, facts)
}

/// A capital after "and": another name. PPIO itself is none.
fn joined_latin(written: &[char], s: &Sighting, facts: &Facts) -> bool {
    let rest: String = written[s.end..].iter().take(40).collect();
    let rest = rest.strip_prefix(" app").unwrap_or(&rest);
    let Some(next) =
        [" and ", " or ", " & ", ", and ", " and also "].iter().find_map(|c| rest.strip_prefix(c))
    else {
        return false;
    };
    let word: String = next.chars().take_while(char::is_ascii_alphanumeric).collect();
    names_another(&word, facts)
}

/// A word with a capital that is no registered name's beginning, nor PPIO, nor a common one.
pub(super) fn names_another(word: &str, facts: &Facts) -> bool {
    let folded = fold(word);
    const NO: &[&str] = &[
        "i", "i'm", "gdpr", "pipl", "ccpa", "article", "please", "user", "id", "mr", "ms", "english",
        "chinese",
    ];
    let house = facts.house.brands.iter().any(|b| fold(b) == folded);
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.len() > 1
        && !house
        && !NO.contains(&folded.as_str())
        && !facts.apps.iter().flat_map(|r| &r.facts).any(|f| fold(&f.text).replace(' ', "").contains(&folded))
}

/// The clause around a place.
pub(super) fn clause_at(chars: &[char], at: usize) -> &[char] {
    const NEAR: usize = 60;
    let cuts = |c: &char| matches!(c, '，' | ',' | '。' | '\n' | '；' | ';' | '！' | '!' | '？' | '?');
    let near = at.saturating_sub(NEAR);
    let from = chars[near..at].iter().rposition(cuts).map_or(near, |p| near + p + 1);
    let to = chars[at..].iter().take(NEAR).position(cuts).map_or(chars.len().min(at + NEAR), |p| at + p);
    &chars[from..to]
}
