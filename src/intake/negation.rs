//! Whether a clause says not to do it, or that it was done.
//!
//! A negation reaches a verb only over words that carry it on ("do not want
//! you to …", "不要求你们…"); any other word between them has its own meaning.

use crate::domain::phrase::{is_han, says, says_any};

const NOT_HAN: &[&str] = &[
    "不要",
    "不需要",
    "不需",
    "无需",
    "不必",
    "不用",
    "不想",
    "不希望",
    "不是要",
    "不是",
    "不要求",
    "请勿",
    "切勿",
    "别",
    "并非",
    "不打算",
    "暂不",
    "先不",
    "没有要求",
    "没有要",
    "不申请",
    "而非",
    "不愿",
    "不可",
    "不得",
    "不能",
    "没要",
    "无意",
    "不同意",
    "不许",
    "不应",
    "勿",
    "没想",
    "没有想",
    "并不",
];
/// Between a Chinese "not" and its verb these begin something new.
const RESET_HAN: &[&str] = &[
    "请", "再用", "使用", "用了", "所以", "因此", "而是", "但", "并", "只", "就", "联系", "发", "给我",
    "打扰", "保留", "然后",
];

const NOT_LATIN: &[&str] = &[
    "do not",
    "don't",
    "dont",
    "does not",
    "did not",
    "not",
    "no need to",
    "no need for",
    "without",
    "rather than",
    "instead of",
    "never",
    "no reason to",
    "need not",
    "needn't",
    "refrain from",
    "shouldn't",
    "should not",
    "must not",
    "won't",
    "not be",
];
const CARRIES: &[&str] = &[
    "want",
    "need",
    "you",
    "to",
    "ask",
    "asking",
    "asked",
    "request",
    "requesting",
    "wish",
    "wishing",
    "for",
    "ppio",
    "intend",
    "intending",
    "like",
    "would",
    "me",
    "us",
    "yet",
    "be",
    "any",
    "the",
    "actually",
    "have",
    "trying",
    "going",
    "please",
    "looking",
    "require",
    "a",
    "my",
    "of",
    "data",
    "account",
    "so",
    "just",
    "anything",
    "everything",
];

/// Whether what begins at `verb` (a byte place in folded text) is declined.
pub fn declines(clause: &str, verb: usize) -> bool {
    let before = &clause[..verb];
    if conditional(clause) || complains(before) {
        return false;
    }
    han_not(before) || latin_not(before)
}

/// "删除先不用": declined behind the verb.
pub fn is_put_off(after: &str) -> bool {
    let after = after.trim_start_matches([' ', '的', '就', '暂', '时']);
    ["先不用", "不用", "先不", "不必", "先别", "不需要", "免了", "不是我要"]
        .iter()
        .any(|w| after.starts_with(w))
}

/// For phrases that hold a "not" of their own: declined only by a "not" before the whole phrase.
pub fn declines_verb(clause: &str, start: usize, end: usize) -> bool {
    let phrase = &clause[start..end];
    if opens_with_not(phrase) {
        return false;
    }
    declines(clause, start)
}

/// Whether the phrase itself begins by saying not.
pub fn opens_with_not(phrase: &str) -> bool {
    [
        "不", "别", "勿", "请勿", "停止", "拒绝", "禁止", "stop", "not", "no ", "don't", "do not", "never",
        "cease", "quit",
    ]
    .iter()
    .any(|w| phrase.starts_with(w))
}

fn han_not(before: &str) -> bool {
    const REACH: usize = 8;
    NOT_HAN.iter().any(|not| {
        before.rmatch_indices(not).any(|(at, _)| {
            let between = &before[at + not.len()..];
            // 别 also ends words (识别, 性别, 特别, 区别).
            let cut = *not == "别"
                && before[..at].ends_with(['识', '性', '特', '区', '级', '个', '类', '告', '分']);
            // "能不能", "要不要": a question.
            let asks = not
                .strip_prefix('不')
                .and_then(|rest| rest.chars().next())
                .is_some_and(|c| before[..at].ends_with(c));
            !cut && !asks
                && between.chars().count() <= REACH
                && between.chars().all(|c| is_han(c) || c == ' ' || c == '、')
                && !RESET_HAN.iter().any(|r| between.contains(r))
        })
    })
}

fn latin_not(before: &str) -> bool {
    NOT_LATIN.iter().any(|not| {
        before.rmatch_indices(not).any(|(at, _)| {
            let starts =
                before[..at].chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '\'');
            let after = &before[at + not.len()..];
            let ends = after.is_empty() || after.starts_with(' ');
            let mut words = after.split_whitespace();
            starts && ends && words.clone().count() <= 8 && words.all(|w| CARRIES.contains(&w) || joined(w))
        })
    })
}

/// "do not delete or close": the second verb is declined with the first.
fn joined(word: &str) -> bool {
    matches!(word, "or" | "nor" | "delete" | "close" | "erase" | "remove" | "transfer" | "export")
}

/// "If you do not …", "如果不…": a threat, no refusal.
fn conditional(clause: &str) -> bool {
    let text = clause.trim_start();
    [
        "如果",
        "若",
        "如",
        "要是",
        "倘若",
        "再不",
        "if ",
        "unless",
        "should you",
        "为什么不",
        "为何不",
        "why don't",
        "why won't",
        "why do you not",
    ]
    .iter()
    .any(|w| text.starts_with(w))
}

/// "如需注销，请…", "Would you like us to delete …": an offer that somebody made, no request.
pub fn offers(clause: &str) -> bool {
    let text = clause.trim_start_matches(|c: char| c.is_whitespace() || c == '>');
    [
        "如需",
        "若需",
        "如您需",
        "若您需",
        "如果您需",
        "如果需要",
        "是否需要我们",
        "您是否需要",
        "if you want us to",
        "if you would like us to",
        "if you'd like us to",
        "if you wish us to",
        "would you like us to",
        "do you want us to",
        "shall we",
    ]
    .iter()
    .any(|w| text.starts_with(w))
}

/// "之前要求注销", "last week I asked you to close": an earlier request is told.
pub fn tells(clause: &str) -> bool {
    says_any(
        clause,
        &[
            "之前|此前|上次|上周|上个月|曾|曾经|早前|前几天|昨天…要求|申请|请求|提出|说|发",
            "earlier|previously|before|last week|last month|yesterday|had…asked|requested|wrote|request",
            "asked|requested|wrote…earlier|previously|before|last week|last month|yesterday",
        ],
    )
}

/// "You have not deleted": a complaint, no refusal.
fn complains(before: &str) -> bool {
    says_any(
        before,
        &["have not|haven't|has not|hasn't|had not|still not|why…not", "至今|迟迟|一直|仍|还没|尚未…"],
    )
}

/// Whether the clause tells what was done: "I deleted the app", "我已注销".
pub fn is_past(clause: &str, start: usize, end: usize) -> bool {
    let before = &clause[..start];
    if ["did you ", "have you ", "have you already ", "did you already ", "did you really "]
        .iter()
        .any(|w| before.ends_with(w))
    {
        return true;
    }
    let wants = [
        "请", "要求", "希望", "申请", "现", "需要", "麻烦", "要你", "帮", "想", "能否", "可否", "务必", "应",
    ];
    let han_past = ["已经", "我已", "已", "之前", "曾", "被"]
        .iter()
        .any(|w| before.rfind(w).is_some_and(|at| before[at + w.len()..].chars().count() <= 4))
        || clause[start..].starts_with("删除了")
        || clause[start..].starts_with("注销了");
    if han_past && !wants.iter().any(|w| clause.contains(w)) && clause[start..end].chars().any(is_han) {
        return true;
    }
    let verb: String = clause[start..].chars().take_while(char::is_ascii_alphabetic).collect();
    if !verb.ends_with("ed") {
        return false;
    }
    let asks = says(
        clause,
        "want|wants|like|need|needs|wish|request|ask|asking|please|should|must|be|have my|get my|demand|require|having|to have|whom|who|which|what|it|withdrawn",
    );
    // "I have deleted the app" tells; "I want my data deleted" asks.
    let told = says(before, "i|i've|we|already|was|were|been|had");
    !asks
        || told
            && !says(
                clause,
                "want|like|need|wish|request|please|should|must|to be|to have|who|whom|which|what",
            )
}
