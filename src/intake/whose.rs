//! Whose an identifier is: the person's own, or somebody else's that stands beside it.
//!
//! Another person's id is never taken. In doubt nothing is.

use super::scan::Line;
use crate::domain::phrase::says;

/// Says that a value is not the person's.
pub const OTHERS: &str = "对方|别人的|他人的|朋友的|同事的|同学的|室友的|老公的|老婆的|丈夫的|妻子的|骚扰者|被举报|举报的|举报|另一个人|朋友|someone else's|someone else|another user|other user|friend's|friends'|his friend|the other person|colleague's|husband's|wife's|brother's|sister's|roommate's";
/// Relatives: others too, unless the person asks for one of them.
const KIN: &str = "妈妈的|爸爸的|母亲的|父亲的|家人的|儿子的|女儿的|孩子的|姐姐的|哥哥的|弟弟的|妹妹的|爷爷的|奶奶的|mother's|father's|mum's|mom's|dad's|son's|daughter's|parents'|grandmother's|grandfather's";
/// The person asks for a relative.
pub const FOR_KIN: &[&str] =
    &["委托|代为|代我|替|帮", "on behalf of|asked me to|for my|authorised me|authorized me"];
/// Says it only directly before a label.
const OTHERS_NEAR: &str = "他的|她的|客服的|客服|主播的|his|her|their|agent's|operator's|moderator's|host's";
/// Whose: the person's own.
const OWN: &str = "我的|我自己的|本人的|本人|我是|自己的|my|my own|i am|i'm|mine";
const ACCUSED: &str = "骚扰|辱骂|威胁|诈骗|骗|欺负|冒充|侵犯|偷录|泄露了我|harass*|insult*|threaten*|abus*|scam*|stalk*|bull*|impersonat*|recorded me|stole";
/// Whether the label belongs to somebody else: of the words before it, in the same sentence, the nearest say whose.
pub fn of_another(line: &Line, start: usize, kin: bool) -> bool {
    const REACH: usize = 20;
    let near = start.saturating_sub(REACH);
    let before = line.folded(near, start);
    // No word begins in its middle.
    let cut = near > 0 && line.at(near - 1).is_some_and(|c| c.is_ascii_alphanumeric());
    let before = if cut { before.trim_start_matches(|c: char| c.is_ascii_alphanumeric()) } else { &before };
    let before = before.rsplit(['。', ';', '；', '!', '？', '?']).next().unwrap_or_default();
    let before = before.rsplit(". ").next().unwrap_or_default();
    let last = |words: &str| words.split('|').filter_map(|w| last_word(before, w)).max();
    let kin = if kin { None } else { last(KIN) };
    match (last(OTHERS).max(last(OTHERS_NEAR)).max(kin), last(OWN)) {
        (Some(other), Some(own)) => other >= own,
        (other, _) => other.is_some(),
    }
}

/// Where the word ends for the last time, on its own boundaries.
fn last_word(text: &str, word: &str) -> Option<usize> {
    text.rmatch_indices(word).map(|(at, _)| at).find_map(|at| {
        let end = at + word.len();
        let edge = |c: Option<char>| !word.is_ascii() || !c.is_some_and(|c| c.is_ascii_alphanumeric());
        (edge(text[..at].chars().next_back()) && edge(text[end..].chars().next())).then_some(end)
    })
}

/// "User st_1 harassed me": the words after the value say that it is the other one.
pub fn is_accused(line: &Line, start: usize, value: &str) -> bool {
    let rest = line.folded(start, start + 120);
    let Some((_, after)) = rest.split_once(&value.to_ascii_lowercase()) else { return false };
    let clause: String = after.chars().take(24).take_while(|c| !"，,。.;；".contains(*c)).collect();
    says(&clause, ACCUSED)
}
