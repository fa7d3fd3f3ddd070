//! Which rights a person asks for, each with the clause it stands in.
//!
//! Read clause by clause; a clause that says *not* to do it asks for nothing,
//! and is remembered, so that a subject line cannot ask for what the letter declines.

use std::sync::LazyLock;

use super::negation;
use super::rules::{DATA, FIELD, KIND, RULES, Rule};
use crate::domain::Right;
use crate::domain::phrase::{clauses, find, fold, says, says_any, sentences};

/// Something found and the words it was found in. Personal data.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found<T> {
    pub what: T,
    /// The clause as the person wrote it.
    pub words: String,
}

impl<T: std::fmt::Debug> std::fmt::Debug for Found<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found({:?})", self.what)
    }
}

/// A clause as it is shown as evidence.
pub fn quote(clause: &str) -> String {
    clause.trim().trim_end_matches(['，', ',', '。', ';', '；', '\n']).chars().take(160).collect()
}

/// The object of closing is the account alone: then nothing else was asked to be deleted.
const ACCOUNT_ONLY: &[&str] = &[
    "删除|删掉…账号|账户|帐号|帐户|会员",
    "账号|账户|帐号|帐户…删除|删掉|删了",
    "delete|deleted|deletion of|remove|erase…account|accounts|membership",
    "account…deleted|deletion",
];
const PERSONAL: &str = "信息|数据|资料|记录|日志|录音|录像|视频|全部内容|一切|所有|data|information|info|records|recording*|logs|history|everything|details|files";

/// What was asked for, and what was said not to be done.
#[derive(Default)]
pub struct Asked {
    pub rights: Vec<Found<Right>>,
    pub declined: Vec<Right>,
}

/// The rules with their words put in.
static WORDED: LazyLock<Vec<(&Rule, Vec<String>)>> = LazyLock::new(|| {
    let put = |p: &&str| p.replace("{data}", DATA).replace("{field}", FIELD).replace("{kind}", KIND);
    RULES.iter().map(|rule| (rule, rule.phrases.iter().map(put).collect())).collect()
});

/// Reads a text.
pub fn read(text: &str) -> Asked {
    let text = &unticked(text);
    let mut out = Asked::default();
    // A decision may be told in one sentence and questioned in the next.
    let questioned = sentences(text).into_iter().find(|s| questions_decision(&fold(s)));
    let explanation = sentences(text).into_iter().find(|s| says_any(&fold(s), EXPLAIN));
    for sentence in sentences(text) {
        let whole = fold(sentence);
        for (rule, phrases) in WORDED.iter().filter(|(r, _)| r.sentence) {
            if phrases.iter().any(|p| says(&whole, p)) {
                if explained(&whole) {
                    add(&mut out.rights, rule.right, sentence);
                } else if let Some(question) = questioned {
                    add(&mut out.rights, rule.right, question);
                } else if let Some(question) = explanation.filter(|_| says_any(&whole, DECIDED)) {
                    add(&mut out.rights, rule.right, question);
                }
            }
        }
        for clause in clauses(sentence) {
            let folded = fold(clause);
            if let Some(right) = bare(&folded) {
                add(&mut out.rights, right, clause);
            }
            for (rule, phrases) in WORDED.iter().filter(|(r, _)| !r.sentence) {
                judge(rule, phrases, clause, &folded, &mut out);
            }
        }
    }
    // "I asked you to close it. No longer needed": what was told is not asked again.
    let Asked { rights, declined } = &mut out;
    rights.retain(|found| !(declined.contains(&found.what) && negation::tells(&fold(&found.words))));
    out
}

/// A form without the boxes that were left empty: "☑撤回同意 ☐查询".
fn unticked(text: &str) -> String {
    const TICKED: &[char] = &['☑', '☒', '✔', '✓', '√', '■'];
    const EMPTY: &[char] = &['☐', '□'];
    if !text.contains(TICKED) {
        return text.to_owned();
    }
    let mut skip = false;
    text.chars()
        .filter(|c| {
            skip = EMPTY.contains(c) || skip && !(TICKED.contains(c) || *c == '\n');
            !skip
        })
        .collect()
}

/// A clause that is nothing but the name of a right, as in a numbered list.
fn bare(folded: &str) -> Option<Right> {
    const MARKS: &str = "0123456789().、:-*•①②③④⑤⑥⑦⑧⑨⑩一二三四五六七八九十";
    let word =
        folded.trim_matches(|c: char| c.is_whitespace() || MARKS.contains(c) || ",;，；。".contains(c));
    let word =
        word.strip_prefix("and ").unwrap_or(word).trim_matches(|c: char| c == ' ' || MARKS.contains(c));
    Some(match word {
        "查阅" | "查询" | "访问" | "access" | "right of access" => Right::Access,
        "复制" | "副本" | "copy" | "a copy" | "查阅、复制" => Right::Copy,
        "转移" | "可携带" | "portability" => Right::Transfer,
        "更正" | "补充" | "correction" => Right::Correct,
        "解释说明" => Right::ExplainUseAndSharing,
        _ => return None,
    })
}

/// An explanation, a reason or a second look is asked for.
fn explained(sentence: &str) -> bool {
    says_any(
        sentence,
        &[
            "解释|说明|申诉|为什么|为何|原因|理由|依据|复核|复审|异议|不服|救济|凭什么|怎么判",
            "explain*|explanation|why|reason|reasons|appeal|human|logic|contest|review|challenge|object|a person|real person",
            "how…decid*",
        ],
    )
}

/// What was decided about the person, plainly.
const DECIDED: &[&str] = &[
    "自动|算法|系统|机器|ai…判|封|评|打分|禁|拒|限",
    "automat*|algorithm*|system|bot|ai…bann*|block*|suspend*|flag*|scor*|mark*|grad*|reject*|label*|lock*",
    "bann*|block*|suspend*|flag*|scor*|mark*|grad*|reject*|label*|lock*…automat*|algorithm*|bot|ai",
];
/// An explanation is asked for, wherever the decision is told.
const EXPLAIN: &[&str] = &[
    "解释|给个说法|判定的依据|判断的依据|评分的依据|依据拿出来|怎么判的|怎么评的|人工重新看|人工再看",
    "explain how|explain why|an explanation|explain it|explain this|explain that|please explain|how it works|how this works",
];

/// A decision told elsewhere is questioned here.
fn questions_decision(sentence: &str) -> bool {
    explained(sentence)
        && says_any(
            sentence,
            &[
                "决定|决策|判定|封禁|封号|处罚|违规|复核|复审|申诉|异议|不服|救济",
                "decision|logic|ban|banned|suspension|suspended|appeal|contest|human|challenge|a person|real person",
            ],
        )
}

fn judge(rule: &Rule, phrases: &[String], clause: &str, folded: &str, out: &mut Asked) {
    let hit = phrases.iter().find_map(|phrase| find(folded, phrase));
    let Some((start, end)) = hit else { return };
    if says_any(folded, rule.unless) || negation::is_past(folded, start, end) || negation::offers(folded) {
        return;
    }
    if rule.right == Right::Delete && says_any(folded, ACCOUNT_ONLY) && !says(folded, PERSONAL) {
        return;
    }
    // These phrases carry their own "not".
    let own_not = matches!(rule.right, Right::MarketingOptOut | Right::WithdrawConsent)
        || rule.right == Right::Delete && negation::opens_with_not(&folded[start..end]);
    let declined = match rule.right {
        Right::MarketingOptOut | Right::WithdrawConsent => negation::declines_verb(folded, start, end),
        _ => !own_not && (negation::declines(folded, start) || negation::is_put_off(&folded[end..])),
    };
    if declined {
        if !out.declined.contains(&rule.right) {
            out.declined.push(rule.right);
        }
        return;
    }
    add(&mut out.rights, rule.right, clause);
}

fn add(rights: &mut Vec<Found<Right>>, right: Right, words: &str) {
    if !rights.iter().any(|r| r.what == right) {
        rights.push(Found { what: right, words: quote(words) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Right::*;

    fn asked(text: &str) -> Vec<Right> {
        let mut rights: Vec<Right> = read(text).rights.into_iter().map(|f| f.what).collect();
        rights.sort();
        rights
    }

    #[test]
    fn the_many_ways_to_ask_in_chinese() {
        for (text, expected) in [
            ("请删除我的全部个人信息", vec![Delete]),
            ("请把我的录音都清除", vec![Delete]),
            ("请将我的数据全部抹掉", vec![Delete]),
            ("我的资料请销毁", vec![Delete]),
            ("请不要再保留我的任何数据", vec![Delete]),
            ("请注销我的账号", vec![CloseAccount]),
            ("帮我把账号删了", vec![CloseAccount]),
            ("请注销账号并删除全部数据", vec![Delete, CloseAccount]),
            ("我要撤回同意", vec![WithdrawConsent]),
            ("现撤销此前给予你们的授权", vec![WithdrawConsent]),
            ("请停止处理我的个人信息", vec![WithdrawConsent]),
            ("请限制处理我的个人信息", vec![Restrict]),
            ("你们存了我哪些信息？", vec![Access]),
            ("我想查询我的个人信息", vec![Access]),
            ("请告知你们是否保存了我的录音", vec![Access]),
            ("我的信息给过谁？", vec![ExplainUseAndSharing]),
            ("请说明把我的数据共享给了哪些第三方", vec![ExplainUseAndSharing]),
            ("你们拿我的数据做什么用途？", vec![ExplainUseAndSharing]),
            ("请更正我的手机号", vec![Correct]),
            ("我的姓名写错了，请修改姓名", vec![Correct]),
            ("请提供一份我的个人信息副本", vec![Copy]),
            ("请把我的数据导出来发给我", vec![Copy]),
            ("请将我的数据转移到另一家平台", vec![Transfer]),
            ("退订", vec![MarketingOptOut]),
            ("不要再给我发广告邮件了", vec![MarketingOptOut]),
            ("我不想再收到你们的推广短信", vec![MarketingOptOut]),
            ("系统自动判定我违规并封号，请解释原因", vec![ExplainAutomatedDecision]),
            ("我对算法推荐的结果有异议，要求人工复核", vec![ExplainAutomatedDecision]),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn the_many_ways_to_ask_in_english() {
        for (text, expected) in [
            ("Please erase my personal data.", vec![Delete]),
            ("I want my data deleted.", vec![Delete]),
            ("Kindly remove all my information from your servers", vec![Delete]),
            ("I invoke my right to be forgotten", vec![Delete]),
            ("please close my account", vec![CloseAccount]),
            ("Please delete my account.", vec![CloseAccount]),
            ("Delete my account and all my data", vec![Delete, CloseAccount]),
            ("I withdraw my consent", vec![WithdrawConsent]),
            ("Stop processing my personal data", vec![WithdrawConsent]),
            ("Please restrict the processing of my data", vec![Restrict]),
            ("What data do you have about me?", vec![Access]),
            ("This is a subject access request.", vec![Access]),
            ("Who have you shared it with?", vec![ExplainUseAndSharing]),
            ("With whom was my data shared?", vec![ExplainUseAndSharing]),
            ("Tell me how you use my data", vec![ExplainUseAndSharing]),
            ("Please correct my phone number", vec![Correct]),
            ("My name is misspelled, please fix my name", vec![Correct]),
            ("Send me a copy of my data", vec![Copy]),
            ("Please transfer my data to Foo Ltd", vec![Transfer]),
            ("unsubscribe me", vec![MarketingOptOut]),
            ("Please stop sending me marketing emails", vec![MarketingOptOut]),
            (
                "I was banned by an automated decision. Please explain the automated decision",
                vec![ExplainAutomatedDecision],
            ),
            (
                "My account was flagged by an algorithm and I want a human review",
                vec![ExplainAutomatedDecision],
            ),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_declined_is_not_asked_for() {
        for (text, expected) in [
            ("请不要注销我的账号", vec![]),
            ("不需要删除我的数据，只想更正手机号", vec![Correct]),
            ("无需删除", vec![]),
            ("我不是要求删除，而是要更正姓名", vec![Correct]),
            ("I do not want you to delete my data", vec![]),
            ("Please don't close my account, just delete my data", vec![Delete]),
            ("No need to delete anything. I only want a copy of my data.", vec![Copy]),
            ("I am not asking you to erase it", vec![]),
            ("我没有要撤回同意", vec![]),
            ("我不想退订", vec![]),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn a_not_that_belongs_elsewhere_declines_nothing() {
        for (text, expected) in [
            ("我不想再用了请删除我的信息", vec![Delete]),
            ("I do not use it any more so please delete my data", vec![Delete]),
            ("如果你们不删除我的数据，我将投诉", vec![Delete]),
            ("If you do not delete my data I will complain", vec![Delete]),
            ("不要再联系我并删除我的数据", vec![Delete, MarketingOptOut]),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_person_did_already_is_not_asked_for() {
        for text in [
            "我已经删除了App",
            "我已注销账号",
            "I deleted the app last year",
            "I have already closed my account",
            "我已卸载",
            "如误收本邮件请立即删除本邮件",
            "If you are not the recipient please delete this email",
            "若不想收到本邮件，请回复“退订”",
            "我可以提供户口本复印件，请告诉我应当发给谁",
            "SDK 怎么接入？",
            "How do I use your API?",
        ] {
            assert_eq!(asked(text), vec![], "{text}");
        }
    }

    #[test]
    fn each_right_carries_its_clause() {
        let got = read("你好，请删除我的信息。谢谢");
        assert_eq!(got.rights[0].words, "请删除我的信息");
        assert!(!format!("{:?}", got.rights).contains("信息"));
    }
}
