//! Whether a registered name is anchored: the writer says that he uses the app, belongs to it, or asks
//! something about his data there.
//!
//! A name in a signature, in an advertisement, in news, of an employer or of what a friend uses is a
//! word in a letter. It never routes.

use crate::domain::phrase::{fold, says, says_any};

/// Using, belonging, what an app keeps of a person, and what is asked of it.
const BOUND: &[&str] = &[
    "用户|账号|账户|帐号|帐户|账|注册|使用|用的|我用|在用|用过|学员|学生|会员|听众|主播|老师|学号|编号|号码|id|uid",
    "数据|信息|资料|录音|录像|语音|声纹|记录|个人|隐私|头像|日志|档案|推荐|授权|同意",
    "app|软件|应用|平台|小程序|上课|开播|房间|频道|连麦|登录|网课|收听|听节目|玩|聊天|学",
    "注销|删除|删掉|撤回|查阅|查询|复制|更正|转移|限制|停止|导出|退订|清除|看看|想知道|骚扰|冒充|判定|违规|订单",
    "我在|本人在|他在|她在|孩子在|女儿在|儿子在|我是|本人系|本人是|我从|有没有|给我",
    "use|used|uses|using|user|users|username|account|accounts|id|registered|signed up|sign up|signed in|joined|member|listener|student",
    "data|information|profile|recording*|recorded|log|logs|messages|history|app|room|rooms|channel|consent|permission|stream*|held|hold|processing|process|record|advert*|promotional",
    "delete*|deletion|erase*|erasure|remove*|close|access|copy|transfer|correct|rectify|restrict|withdraw|unsubscribe|banned|harassed|been on|what you have|have on me|portability|complaint|ban",
    "出生日期|生日|昵称|我的|录|号销|销号|帮我把|客服让我|客服叫我|update my|change my|my phone|my surname|my right",
    "it was|it is|it's|have been|i was|i'm on|question",
];

/// The name is someone else's affair, or the clause is about something else than a person's data.
const APART: &[&str] = &[
    "朋友|同事|同学|室友|邻居|哥哥|弟弟|姐姐|妹妹|兄弟|表哥|表姐|老板|同桌|闺蜜|网友|别人|有人|人家|他们…用|说|在|推荐|玩|听|看",
    "看了|看到|看见|听到|刷到|听说|读了|读到|参考|参照|比照|对比|相比|比起",
    "收购|并购|入股|投资|合并|改名|更名|带货|竞品|竞争对手|合作伙伴|一文|的文章|报道|采访|专访|新闻|这类|这样的|之类|诸如|比如|例如|像是",
    "推荐给我|推荐我|介绍我|上班|任职|就职|工作|打工|求职|应聘|面试|客户是|广告里|的广告|宣传|赞助|冠名",
    "my friend*|a friend|friends|my brother|my sister|my colleague*|a colleague|coworker*|co-worker*|my boss|my neighbour|my neighbor|my roommate|my flatmate|my cousin|my husband|my wife|my partner|everyone|people…",
    "heard|read about|saw|seen|news|an article|your article|podcast about|interview*|sponsor*|acquired|bought|merged|owned by|took over|replaced|replaces|successor|competitor*|alternative|such as|for example|compared|better than|worse than|recommended",
    "works at|work at|works for|work for|working at|working for|employed|employee|engineer|engineers|engineering|our client|my client is|contract|invoice|answered me|replied to me|listen to my|follow me|find me on|check out|subscribe to my|download|available on",
];

/// Whose words the clause is all the same.
const OWN_USE: &[&str] = &[
    "我用的是|我用的app|我使用的|我在用|我一直用|我的用户|我的账号|我的数据|我的信息|我的个人|我的学号",
    "my user id|my account|my data|my personal|my recordings|my profile|my username|i use|i used|i am a user|i'm a user|i want",
];

/// Begins a line that a mail program or a habit puts below the letter.
const BELOW: &[&str] = &[
    "发自",
    "发送自",
    "来自我的",
    "来自",
    "由我的",
    "sent from",
    "sent via",
    "sent with",
    "sent using",
    "sent by",
    "get outlook",
    "get the",
    "download ",
    "ps:",
    "p.s.",
    "广告",
    "ad:",
    "推广",
];

/// Whether the name at this place (characters of `text`) is anchored there. `subject`: the line of a subject.
pub(super) fn is_anchored(text: &[char], start: usize, end: usize, subject: bool) -> bool {
    if !subject && below_the_letter(text, start) {
        return false;
    }
    let (from, to) = clause(text, start, end);
    let words = fold(&text[from..to].iter().collect::<String>());
    let own_use = says_any(&words, OWN_USE);
    let lead = fold(&text[from..start].iter().collect::<String>());
    let apart =
        |p: &&str| if own_use { says(&lead, p) && !says_any(&lead, OWN_USE) } else { says(&words, p) };
    if APART.iter().any(apart) {
        return false;
    }
    if says_any(&without_name(text, from, start, end, to), BOUND) {
        return true;
    }
    let alone = words.chars().filter(|c| c.is_alphanumeric()).count() <= end - start + 6;
    let bare = lead.trim().is_empty() && labelled_next(text, to);
    bare || alone && (subject || labelled_next(text, to)) || subject && relates(&lead)
}

fn without_name(text: &[char], from: usize, start: usize, end: usize, to: usize) -> String {
    let rest = text[from..start].iter().chain([&' ']).chain(&text[end..to]);
    fold(&rest.collect::<String>())
}

/// "关于乐听FM", "re StarTalk".
fn relates(lead: &str) -> bool {
    says_any(lead, &["关于|有关|针对|致|about|regarding|re|concerning"])
}

/// "小鹿课堂，学号 DX-9": what follows the bare name is an identifier.
fn labelled_next(text: &[char], to: usize) -> bool {
    let next: String = text[(to + 1).min(text.len())..].iter().take(40).collect();
    let next = fold(&next);
    says_any(
        &next,
        &[
            "用户|学号|编号|账号|帐号|账户|会员|学员|id|uid|account|username|user|student number|member|number",
        ],
    ) || next.trim().is_empty()
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

/// Below "-- ", or on a line like "Sent from …".
fn below_the_letter(text: &[char], start: usize) -> bool {
    let above: String = text[..start].iter().collect();
    let mut lines = above.split('\n').rev();
    let line = fold(lines.next().unwrap_or_default());
    let line = line.trim_start();
    BELOW.iter().any(|w| line.starts_with(w))
        || lines.take(12).any(|l| {
            let l = l.trim();
            l.chars().count() >= 2 && l.chars().all(|c| "-—–_=*~－".contains(c))
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
        is_anchored(&chars, start, start + name.chars().count(), subject)
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
