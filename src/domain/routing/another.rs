//! A second app that is not registered, beside the one that is: named in quotation marks, called the
//! app, or joined to the registered name. Then a person looks.

use super::joined::{self, clause_at, names_another};
use super::{Facts, matching};
use crate::domain::phrase::{clauses, fold, fold_char, is_han, says, says_any};

/// Whom data went to, or should go to, is not the app that is meant.
pub(super) const GIVEN_TO: &str = "分享|共享|提供|泄露|卖给|转移|迁移|转到|转给|导入|给过|给了|transfer*|move*|port|switch*|share*|sharing|disclos*|third part*|sold|leak*|export*|another provider";

/// Whether the person's own words speak of another app that is not registered.
pub(super) fn is_named(text: &str, facts: &Facts) -> bool {
    let folded = fold(text);
    clauses(&folded).iter().any(|clause| {
        says_any(
            clause,
            &[
                "另一个app|另一款app|另外一个app|另外一款app|别的app|另一个应用|另一款应用|别的应用|另一个软件|别的软件|另一个平台",
                "another app|a different app|the other app|other app|the other one",
                "是不是一家|是否一家|是不是同一|是不是一个公司|是一家吗|是不是一个app|有没有关系|有什么关系",
            ],
        ) && !says(clause, GIVEN_TO)
    }) || quoted_beside(text, facts)
        || called(text, facts)
        || joined::is_joined(text, facts)
}

/// “乐听FM”和“咕噜星球”: the second name in quotation marks, joined to a registered one.
fn quoted_beside(text: &str, facts: &Facts) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let mut names: Vec<(usize, usize)> = Vec::new();
    let mut open = None;
    for (at, c) in chars.iter().enumerate() {
        match c {
            '“' | '「' | '『' | '《' | '【' => open = Some(at),
            '"' if open.is_none() => open = Some(at),
            '”' | '」' | '』' | '》' | '】' | '"' => {
                if let Some(from) = open.take().filter(|from| (2..=24).contains(&(at - from - 1))) {
                    names.push((from, at));
                }
            }
            '\n' => open = None,
            _ => {}
        }
    }
    let registered = |(from, to): (usize, usize)| {
        let inside: String = chars[from + 1..to].iter().collect();
        !matching::sightings(&inside, facts).is_empty()
    };
    names.windows(2).any(|pair| {
        let between: String = chars[pair[0].1 + 1..pair[1].0].iter().collect();
        let joined = matches!(
            fold(&between).trim(),
            "和" | "与"
                | "跟"
                | "及"
                | "以及"
                | "还有"
                | "或"
                | "、"
                | "and"
                | "or"
                | "&"
                | "app和"
                | ""
                | "和app"
        );
        let paper = |(from, to): (usize, usize)| {
            let inside: String = chars[from + 1..to].iter().collect();
            says(
                &fold(&inside),
                "政策|协议|法|条例|规定|说明|公约|须知|policy|agreement|terms|notice|act|law",
            )
        };
        joined && registered(pair[0]) != registered(pair[1]) && !paper(pair[0]) && !paper(pair[1])
    })
}

/// "The app is called …", "App叫…", “麦浪”App: an app by its name, and no registered one.
fn called(text: &str, facts: &Facts) -> bool {
    const CALLED: &[&str] = &[
        "app叫做",
        "app叫",
        "app名叫",
        "app名为",
        "app名称是",
        "app名称:",
        "app名称为",
        "app名:",
        "app是",
        "软件叫做",
        "软件叫",
        "软件名叫",
        "软件名为",
        "软件名称:",
        "软件名称是",
        "应用叫做",
        "应用叫",
        "应用名叫",
        "应用名为",
        "应用名称:",
        "应用名称是",
        "平台叫做",
        "平台叫",
        "平台名称:",
        "小程序叫",
        "产品名称:",
        "应用:",
        "app:",
        "app name:",
        "application:",
        "app is called",
        "app was called",
        "app called",
        "app named",
        "app's name is",
        "application called",
        "app is named",
    ];
    let chars: Vec<char> = text.chars().map(fold_char).collect();
    let sightings = matching::sightings(text, facts);
    let known = |at: usize| sightings.iter().any(|s| s.start >= at && s.start <= at + 1);
    let names_one = |at: usize| {
        let word: String = chars[at..].iter().take(24).collect();
        let none = [
            "什么", "啥", "忘", "不", "哪", "那个", "这个", "你", "贵", "我", "http", "com.", "what", "i ",
            "not", "由", "一", "在", "the ", "your", "unknown", "无", "n/a", "ios", "android", "安卓",
            "苹果",
        ];
        !none.iter().any(|w| word.starts_with(w))
            && word.starts_with(|c: char| is_han(c) || c.is_ascii_alphanumeric())
    };
    let by_word = CALLED.iter().any(|phrase| {
        places(&chars, phrase).any(|(start, end)| {
            let cut = start > 0 && chars[start - 1].is_ascii_alphanumeric() && phrase.is_ascii();
            let at = (end..chars.len().min(end + 3))
                .find(|i| !matches!(chars[*i], ' ' | '“' | '"' | '「' | '《' | '【' | ':' | '\''))
                .unwrap_or(chars.len());
            // Of "app是" only a name in quotation marks: "这个App是我…" says something else.
            let bare = phrase.ends_with('是') && *phrase == "app是" && at == end;
            let quoted = at > end && matches!(chars[at - 1], '“' | '"' | '「' | '《' | '【');
            !cut && !bare && at < chars.len() && (quoted || names_one(at)) && !(end..=at).any(&known)
        })
    });
    by_word || quoted_app(&chars, &known) || named_account(text, facts)
}

/// “麦浪”App.
fn quoted_app(chars: &[char], known: &impl Fn(usize) -> bool) -> bool {
    let mut open = None;
    for (at, c) in chars.iter().enumerate() {
        match c {
            '“' | '「' | '『' | '《' | '【' => open = Some(at),
            '”' | '」' | '』' | '》' | '】' => {
                let Some(from) = open.take() else { continue };
                let after: String = chars[at + 1..].iter().take(5).collect();
                let app = ["app", "软件", "应用", "小程序", "系统", "平台", "会议", "网站"]
                    .iter()
                    .any(|w| after.trim_start().starts_with(w));
                let clause: String = clause_at(chars, from).iter().collect();
                let app = app || has_account(chars, from, &after);
                let given = from > 0 && matches!(chars[from - 1], '给' | '向');
                if app
                    && !given
                    && (1..=16).contains(&(at - from - 1))
                    && !known(from + 1)
                    && !says(&clause, GIVEN_TO)
                {
                    return true;
                }
            }
            '\n' => open = None,
            _ => {}
        }
    }
    false
}

/// 在“麦浪”的账号. What stands in an app's own menus is none.
fn has_account(chars: &[char], open: usize, after: &str) -> bool {
    let lead: String = chars[open.saturating_sub(2)..open].iter().collect();
    let after = after.trim_start_matches(['的', '上', '里', '中', '面', ' ']);
    let inside: String = chars[open + 1..].iter().take(16).collect();
    ["在", "用", "删除", "注销"].iter().any(|w| lead.ends_with(w))
        && ["账号", "账户", "帐号", "用户", "注册", "会员"].iter().any(|w| after.starts_with(w))
        && !["设置", "中心", "我的", "页面", "隐私", "帮助"].iter().any(|w| inside.contains(w))
}

/// "my MoonChat account": a word of two capitals that is no registered name, and no service people sign in with.
fn named_account(text: &str, facts: &Facts) -> bool {
    const SIGN_IN: &[&str] = &[
        "wechat",
        "youtube",
        "github",
        "linkedin",
        "paypal",
        "whatsapp",
        "icloud",
        "facebook",
        "tiktok",
        "iphone",
        "ipad",
        "testflight",
    ];
    let words: Vec<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
        .take(4_000)
        .collect();
    words.windows(2).any(|pair| {
        let [word, next] = pair else { return false };
        let camel = word.len() >= 5
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().filter(char::is_ascii_uppercase).count() == 2
            && word.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase())
            && word.ends_with(|c: char| c.is_ascii_lowercase());
        let of =
            ["account", "id", "app", "user", "username", "profile", "data"].contains(&fold(next).as_str());
        camel && of && !SIGN_IN.contains(&fold(word).as_str()) && names_another(word, facts)
    })
}

fn places<'c>(chars: &'c [char], phrase: &str) -> impl Iterator<Item = (usize, usize)> + use<'c> {
    let phrase: Vec<char> = phrase.chars().collect();
    (0..(chars.len() + 1).saturating_sub(phrase.len())).filter_map(move |at| {
        let end = at + phrase.len();
        (chars[at..end] == phrase[..]).then_some((at, end))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Fact, FactKind, House, Registered};
    use super::*;

    fn another(text: &str) -> bool {
        let app = |app: &str, name: &str| Registered {
            app: app.parse().unwrap(),
            controller: app.parse().unwrap(),
            facts: vec![Fact::new(FactKind::Name, name)],
        };
        let house = House {
            app: "ppio".parse().unwrap(),
            controller: "ppio".parse().unwrap(),
            brands: vec!["PPIO".into()],
            domains: vec![],
        };
        is_named(text, &Facts { house, apps: vec![app("xiaolu", "小鹿课堂"), app("startalk", "StarTalk")] })
    }

    #[test]
    fn a_second_app_is_seen() {
        for text in [
            "我在小鹿课堂和悦读星球这两个App上都有账号",
            "小鹿课堂、悦读星球两个软件",
            "小鹿课堂App和悦读星球App",
            "我用的App叫麦浪，小鹿课堂是另外的",
            "应用名称：“麦浪”，不清楚是否与小鹿课堂有关",
            "“麦浪”App和小鹿课堂不是一家",
            "我在悦读星球和小鹿课堂都有账号",
            "my data in StarTalk and MoonChat",
            "my data from both MoonChat and StarTalk",
            "StarTalk is where I came from, delete my MoonChat account",
            "删除我在“麦浪”的账号，小鹿课堂那边不用管",
            "The app is called Chatterbox, a bit like the room of StarTalk",
        ] {
            assert!(another(text), "{text}");
        }
    }

    #[test]
    fn one_app_stays_one() {
        for text in [
            "我在小鹿课堂和你们的SDK里的账号",
            "请删除小鹿课堂和我的账号",
            "我用的App叫小鹿课堂",
            "App名称：小鹿课堂",
            "应用：“小鹿课堂”",
            "那个App叫什么我忘了，小鹿课堂",
            "请告诉我小鹿课堂和哪些App共享了数据",
            "是否提供给“麦浪”App",
            "the app is called StarTalk",
            "App: StarTalk",
            "StarTalk and I want it deleted",
            "StarTalk and PPIO",
            "Hello and StarTalk users",
            "我在手机和小鹿课堂的账号",
            "transfer my data from StarTalk and Co to another",
            "The app is StarTalk",
            "I signed in to StarTalk with my WeChat account",
            "我在小鹿课堂“设置”里的账号页面",
        ] {
            assert!(!another(text), "{text}");
        }
    }
}
