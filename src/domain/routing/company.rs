//! Companies that the requester's own words name as those behind the app.
//!
//! Who the app's company is, is registered. Where the words say another, the app
//! they mean is perhaps another one of the same name: a person looks. A company
//! in a signature, an employer or a recipient of data says nothing.

use super::{FactKind, Facts, Registered};
use crate::domain::phrase::{clauses, fold, is_han, says, says_any, sentences};

const FORMS_HAN: &[&str] =
    &["股份有限公司", "有限责任公司", "有限公司", "集团公司", "股份公司", "科技公司", "网络公司"];
const FORMS_LATIN: &[&str] =
    &["ltd", "limited", "inc", "llc", "gmbh", "corporation", "corp", "plc", "pte", "co", "b.v", "s.a"];

/// Directly after a Chinese company: it is the one behind the app, unless what a person does there follows.
const DOES: &[&str] = &[
    "所运营",
    "运营",
    "开发",
    "出品",
    "旗下",
    "发行",
    "经营",
    "研发",
    "制作",
    "推出",
    "的app",
    "的应用",
    "的软件",
    "的产品",
    "的平台",
    "的那个",
    "那个",
];
const TITLES: &[&str] =
    &["总监", "经理", "部", "专员", "主管", "工程师", "负责人", "中心", "助理", "总裁", "人员", "岗"];
/// Shortly before a Chinese company.
const ROLES: &[&str] = &[
    "运营方",
    "运营者",
    "运营商",
    "运营主体",
    "运营公司",
    "开发者",
    "开发商",
    "开发方",
    "主体",
    "所属",
    "发行商",
    "公司是",
    "公司为",
    "公司叫",
    "属于",
    "出品方",
    "经营者",
    "运营单位",
];
/// Says it of an English one.
const BEHIND: &[&str] = &[
    "operated|operator|run by|developed|developer|owned|owner|published|publisher|made by|built by|belongs to|company behind|product of|app of|app by|offered by",
];
/// The company is something else to the person, or it is PPIO.
const ELSE: &[&str] = &[
    "我在|我于|我任职|就职|我司|我公司|本公司|本司|我们公司|贵司|贵公司|你司|sdk|技术支持|音视频|代理人|律师",
    "分享|共享|提供给|披露|泄露|卖给|转移|迁移|转给|给过",
    "i work|my employer|my company|our company|shared|share with|sold|transfer*|disclos*|sdk|on behalf of",
];

/// Whether these words name a company behind the app that is not the registered one.
///
/// Registered names that cannot be compared (none, or of another script) contradict nothing.
pub(super) fn contradicts(text: &str, registered: &Registered, facts: &Facts) -> bool {
    let known: Vec<Known> = registered
        .facts
        .iter()
        .filter(|f| f.kind == FactKind::Company)
        .map(|f| Known::of(&fold(&f.text)))
        .filter(|k| !k.core.is_empty())
        .collect();
    if known.is_empty() {
        return false;
    }
    let folded = fold(text);
    sentences(&folded).into_iter().any(|sentence| {
        named(sentence).into_iter().any(|(at, name)| {
            let core = core(&name);
            let script = |k: &&Known| k.core.chars().any(is_han) == core.chars().any(is_han);
            let mut comparable = known.iter().filter(script).peekable();
            let own = comparable.peek().is_none() || comparable.any(|k| k.is(&core));
            let house = facts.house.brands.iter().any(|b| core.contains(&fold(b)));
            !own && !house && core.chars().count() >= 2 && behind(sentence, at, &name, registered)
        })
    })
}

/// A registered company.
struct Known {
    core: String,
    /// It has no company's form ("星河互动"): the short form of one that has.
    short: bool,
}

impl Known {
    fn of(folded: &str) -> Known {
        let han = FORMS_HAN.iter().any(|f| folded.ends_with(f));
        let latin = folded
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
            .any(|w| FORMS_LATIN.contains(&w.trim_matches('.')));
        Known { core: core(folded), short: !han && !latin }
    }

    fn is(&self, named: &str) -> bool {
        self.core == named || self.short && self.core.chars().count() >= 2 && named.contains(&self.core)
    }
}

/// Spaces, brackets and points do not tell companies apart, nor does what form they have.
fn core(name: &str) -> String {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect();
    if plain.chars().any(is_han) {
        return plain.replace(' ', "");
    }
    let words = plain.split_whitespace().filter(|w| !FORMS_LATIN.contains(w));
    words.collect::<Vec<_>>().concat()
}

/// How many companies of one sentence are looked at.
const MOST_NAMED: usize = 8;

/// The companies of a sentence, each with its byte place.
fn named(sentence: &str) -> Vec<(usize, String)> {
    const MOST: usize = 30;
    let mut out = Vec::new();
    for form in FORMS_HAN {
        for (at, _) in sentence.match_indices(form).take(MOST_NAMED) {
            let cuts = |c: &char| {
                !(is_han(*c) || c.is_ascii_alphanumeric() || matches!(c, '(' | ')'))
                    || "由是系为的在了与和叫向给即".contains(*c)
            };
            let mut head: Vec<char> =
                sentence[..at].chars().rev().take(MOST).take_while(|c| !cuts(c)).collect();
            head.reverse();
            // A bracket that the name does not close is not its own: "星语直播(某某有限公司".
            let mut depth = 0i32;
            let open = head.iter().rposition(|c| {
                depth += i32::from(*c == ')') - i32::from(*c == '(');
                depth < 0
            });
            head.drain(..open.map_or(0, |at| at + 1));
            let head: String = head.into_iter().collect();
            let tail = if head.chars().any(is_han) { *form } else { continue };
            out.push((at - head.len(), format!("{head}{tail}")));
        }
    }
    for form in FORMS_LATIN {
        let words = sentence.match_indices(form).filter(|(at, _)| {
            let edge = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric());
            edge(sentence[..*at].chars().next_back()) && edge(sentence[at + form.len()..].chars().next())
        });
        for (at, _) in words.take(MOST_NAMED) {
            const STOP: &[&str] =
                &["by", "of", "is", "the", "company", "a", "called", "from", "to", "and", "was", "named"];
            let near: String =
                sentence[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
            let mut name: Vec<&str> = near
                .rsplit([' ', ','])
                .filter(|w| !w.is_empty())
                .take_while(|w| !STOP.contains(w) && !w.contains(['(', ':', ';', '"']))
                .take(5)
                .collect();
            name.reverse();
            let name = name.join(" ");
            if name.chars().any(char::is_alphanumeric) {
                out.push((at.saturating_sub(name.len() + 1), name));
            }
        }
    }
    out
}

/// Whether the sentence says that this company stands behind an app.
fn behind(sentence: &str, at: usize, name: &str, registered: &Registered) -> bool {
    if clauses(sentence).iter().any(|c| c.contains(name) && says_any(c, ELSE)) {
        return false;
    }
    let names = registered.facts.iter().filter(|f| matches!(f.kind, FactKind::Name | FactKind::Alias));
    // "星语直播(某某有限公司)" and "某某有限公司的星语直播".
    let beside = names.map(|f| fold(&f.text)).any(|app| {
        let before = sentence.get(..at).unwrap_or_default().trim_end();
        let before = before.trim_end_matches(['(', ' ', '"', '“', '”', '」', '》', '】', ':', ',']);
        let before =
            ["app", "软件", "应用", "平台"].iter().fold(before, |b, w| b.trim_end_matches(w).trim_end());
        let after = sentence.get(at..).and_then(|s| s.split_once(name)).map_or("", |(_, rest)| rest);
        let after = after.trim_start_matches(['的', ' ', '"', '“', '「', '《', '【', ')', '\'']);
        before.trim_end_matches(['”', '"', '」', '》', '】']).ends_with(&app)
            || after.starts_with(&app)
            || after.starts_with("s ") && says(after, &app)
    });
    if !name.chars().any(is_han) {
        return beside || says_any(sentence, BEHIND);
    }
    let (before, after) = sentence.split_at(sentence.find(name).unwrap_or(0));
    let after = after.strip_prefix(name).unwrap_or_default().trim_start();
    let does = DOES.iter().find_map(|w| after.strip_prefix(w));
    let role: String = before.chars().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect();
    beside
        || does.is_some_and(|rest| !TITLES.iter().any(|t| rest.starts_with(t)))
        || ROLES.iter().any(|r| role.contains(r))
}

#[cfg(test)]
mod tests {
    use super::super::{Fact, House};
    use super::*;

    fn against(company: &[&str], text: &str) -> bool {
        let mut registered = Registered {
            app: "xingyu".parse().unwrap(),
            controller: "xinghe".parse().unwrap(),
            facts: vec![Fact::new(FactKind::Name, "星语直播"), Fact::new(FactKind::Alias, "StarTalk")],
        };
        registered.facts.extend(company.iter().map(|c| Fact::new(FactKind::Company, *c)));
        let house = House {
            app: "ppio".parse().unwrap(),
            controller: "ppio".parse().unwrap(),
            brands: vec!["PPIO".into()],
            domains: vec![],
        };
        contradicts(text, &registered, &Facts { house, apps: vec![] })
    }

    #[test]
    fn another_company_behind_the_app_is_seen() {
        let known = &["星河互动科技（北京）有限公司", "Star Forge Pte. Ltd."];
        for text in [
            "“星语直播”App（北京云上时光网络科技有限公司运营）",
            "星语直播（杭州某某科技有限公司）",
            "我用星语直播，开发者是广州蓝鲸信息技术有限公司",
            "上海飞鱼网络有限公司的星语直播",
            "星河互动科技（上海）有限公司运营的星语直播",
            "StarTalk, operated by Blue Harbour Media Ltd.",
            "the developer of StarTalk is Blue Harbour Inc.",
        ] {
            assert!(against(known, text), "{text}");
        }
    }

    #[test]
    fn its_own_company_and_companies_of_another_kind_say_nothing() {
        let known = &["星河互动科技（北京）有限公司", "Star Forge Pte. Ltd."];
        for text in [
            "“星语直播”App（星河互动科技(北京)有限公司运营）",
            "StarTalk, operated by Star Forge Pte Ltd.",
            "我在广州蓝鲸信息技术有限公司工作，是星语直播用户",
            "赵磊\n云帆数据（上海）有限公司 运维经理",
            "星语直播用户 刘洋\n杭州远山文化传媒有限公司 运营总监",
            "星语直播的SDK由贵司派欧云计算有限公司提供并开发",
            "是否把星语直播的数据提供给广告公司北京某某有限公司旗下平台",
            "请把星语直播的数据转移给杭州某某科技有限公司运营的平台",
        ] {
            assert!(!against(known, text), "{text}");
        }
        for text in ["星语直播（星河互动科技有限公司运营）", "StarTalk, operated by Other Ltd."]
        {
            assert!(!against(&[], text), "{text}");
        }
        assert!(!against(&["星河互动"], "星语直播（星河互动科技有限公司运营）"));
        assert!(!against(&["Xinghe Interactive"], "星语直播（星河互动科技有限公司运营）"));
        assert!(against(&["星河互动"], "星语直播（云上时光科技有限公司运营）"));
    }
}
