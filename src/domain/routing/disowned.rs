//! Names that stand in the requester's own words and are not the app that is meant:
//! "I am not a user of …", "similar to …", "do not forward this to …".
//!
//! Such words never route. When in doubt a person looks.

use crate::domain::phrase::{fold, says_any};

const OPEN: &[char] = &[' ', '“', '"', '「', '『', '《', '【', '\'', '('];
const CLOSE: &[char] = &[' ', '”', '"', '」', '』', '》', '】', '\'', ')'];

/// Directly before the name.
const BEFORE: &[&str] = &[
    "不是",
    "并非",
    "不是在",
    "不是用",
    "不是用的",
    "不是说",
    "不是指",
    "唔系",
    "唔係",
    "没用过",
    "没有",
    "没有注册",
    "从没用过",
    "没有用过",
    "从未用过",
    "没使用过",
    "没有使用过",
    "未使用过",
    "没注册过",
    "没有注册过",
    "未注册过",
    "没下载过",
    "没有下载过",
    "没听说过",
    "除了",
    "不同于",
    "区别于",
    "类似",
    "类似于",
    "好像",
    "就像",
    "山寨",
    "冒充",
    "以前叫",
    "原来叫",
    "原名",
    "曾用名",
    "前身是",
    "旧名",
    "改名前叫",
    "不像",
    "之前就",
    "上次就",
];
const BEFORE_LATIN: &[&str] = &[
    "not",
    "not in",
    "not on",
    "not from",
    "not about",
    "not of",
    "not a user of",
    "not a customer of",
    "not a member of",
    "not using",
    "never used",
    "haven't used",
    "have not used",
    "did not use",
    "didn't use",
    "don't use",
    "do not use",
    "not registered with",
    "not registered on",
    "never registered with",
    "never registered on",
    "no account with",
    "no account on",
    "formerly",
    "formerly called",
    "formerly known as",
    "previously called",
    "used to be called",
    "similar to",
    "unlike",
    "comparable to",
    "compared to",
    "compared with",
    "different from",
    "other than",
    "instead of",
    "rather than",
    "except",
    "except for",
    "app like",
    "apps like",
    "is like",
    "something like",
    "looks like",
    "clone of",
    "competitor of",
    "competitor to",
    "nothing to do with",
    "unrelated to",
    "confused with",
];
/// Directly after the name.
const AFTER: &[&str] = &[
    "对面",
    "隔壁",
    "旁边",
    "附近",
    "楼下",
    "门口",
    "那边不要动",
    "那边不用",
    "那边别",
    "那边不动",
    "不要动",
    "类似",
    "相似",
    "差不多",
    "很像",
    "无关",
    "没关系",
    "没有关系",
    "以外",
    "除外",
    "那样的",
    "不一样",
    "的竞品",
    "的广告",
    "的推广",
    "的宣传",
    "的山寨",
];

/// Asks that the controller not be told.
const NOT_TOLD: &[&str] = &[
    "不要|别|请勿|切勿|勿|不想|不希望|不得|不能|do not|don't|never|not|without…转|发|提供|告|通知|联系|forward*|pass*|send*|tell*|share|inform*|contact*|notify*|hand|disclose",
];
const TOLD: &[&str] = &[
    "给",
    "到",
    "通知",
    "告诉",
    "告知",
    "联系",
    " to",
    " with",
    " tell",
    " inform",
    " contact",
    " notify",
    "telling",
    "informing",
    "contacting",
];

/// Whether the name at this place (in characters of `text`) is not the app that is meant.
pub(super) fn is_disowned(text: &[char], start: usize, end: usize) -> bool {
    const NEAR: usize = 80;
    let cuts = |c: &char| matches!(c, '，' | ',' | '。' | '\n' | '；' | ';' | '！' | '!' | '？' | '?');
    let from = text[..start].iter().rposition(cuts).map_or(0, |at| at + 1).max(start.saturating_sub(NEAR));
    let lead: String = text[from..start].iter().collect();
    let tail: String = text[end..].iter().take(40).take_while(|c| !cuts(c)).collect();
    let (lead, tail) = (fold(&lead), fold(&tail));
    let lead = lead.trim_end_matches(OPEN);
    let lead = [" the", " a", " an", " app", " called"]
        .iter()
        .fold(lead, |l, w| l.strip_suffix(w).unwrap_or(l))
        .trim_end();
    let tail = tail.trim_start_matches(CLOSE);
    // "No longer" is said of an app that was used.
    let once = says_any(tail, &["了|any more|anymore|any longer"]);
    let word = |w: &&&str| {
        lead.strip_suffix(**w).is_some_and(|head| {
            !head.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '是' || c == '图' || c == '录')
        })
    };
    BEFORE.iter().find(word).is_some()
        || BEFORE_LATIN.iter().find(word).is_some() && !once
        || AFTER.iter().any(|w| tail.starts_with(w))
        || TOLD.iter().any(|w| lead.ends_with(w)) && says_any(lead, NOT_TOLD)
}
