//! Another name that the writer binds to an identifier or to his using: "the user id of Vocalia",
//! "I use Vocalia", "我在麦浪的账号". Then the registered app beside it is not the one that is meant.

use super::{Facts, matching};
use crate::domain::phrase::{fold, fold_char, is_han};

/// Whether the words bind an identifier, an account or the using to a name that is not registered.
pub(super) fn binds_another(text: &str, facts: &Facts) -> bool {
    let written: Vec<char> = text.chars().collect();
    let folded: Vec<char> = written.iter().map(|c| fold_char(*c)).collect();
    let known: Vec<(usize, usize)> =
        matching::sightings(text, facts).into_iter().map(|s| (s.start, s.end)).collect();
    let brands: Vec<String> = facts.house.brands.iter().map(|b| fold(b)).collect();
    let page = Page { written: &written, folded: &folded, known, brands };
    page.label_of_another() || page.uses_another() || page.latin_label() || page.latin_use()
}

struct Page<'t> {
    written: &'t [char],
    folded: &'t [char],
    known: Vec<(usize, usize)>,
    brands: Vec<String>,
}

/// Labels of an identifier.
const LABELS: &[&str] = &[
    "用户id",
    "用户号",
    "用户编号",
    "用户名",
    "会员号",
    "会员id",
    "会员编号",
    "账号",
    "帐号",
    "账户",
    "账号id",
    "学号",
    "学员号",
    "学员编号",
    "听众号",
    "主播id",
    "uid",
    "id",
];

/// No app's name, standing before a label.
const NO_APP: &[&str] = &[
    "账",
    "帐",
    "号",
    "编",
    "标识",
    "我",
    "你",
    "您",
    "他",
    "她",
    "它",
    "其",
    "贵",
    "本",
    "该",
    "此",
    "这",
    "那",
    "哪",
    "谁",
    "自己",
    "朋友",
    "同学",
    "同事",
    "老公",
    "老婆",
    "妻子",
    "丈夫",
    "妈",
    "爸",
    "母亲",
    "父亲",
    "儿子",
    "女儿",
    "孩子",
    "学生",
    "学员",
    "学习",
    "老师",
    "教师",
    "主播",
    "家长",
    "听众",
    "对方",
    "好友",
    "客户",
    "用户",
    "会员",
    "注册",
    "绑定",
    "登录",
    "登陆",
    "控制台",
    "手机",
    "微信",
    "qq",
    "微博",
    "支付宝",
    "抖音",
    "苹果",
    "华为",
    "小米",
    "安卓",
    "android",
    "ios",
    "iphone",
    "邮箱",
    "邮件",
    "以前",
    "原",
    "旧",
    "新",
    "个人",
    "当前",
    "以下",
    "对应",
    "相关",
    "平台",
    "系统",
    "应用",
    "软件",
    "app",
    "小程序",
    "游客",
    "第三方",
    "关闭",
    "骚扰",
    "注销",
    "删除",
    "一个",
    "两个",
    "有个",
    "全部",
    "所有",
    "另",
    "课",
    "群",
    "设备",
    "广告",
    "频道",
    "房间",
    "直播间",
    "数据",
    "信息",
    "处理",
    "电脑",
    "网",
    "设置",
    "页面",
    "隐私",
    "服务",
    "sdk",
    "昨",
    "今",
    "去年",
    "前年",
    "年",
    "月",
    "日",
    "家",
    "公司",
    "学校",
    "某",
    "使用",
    "开播",
    "连麦",
    "通话",
    "聊天",
    "国",
    "省",
    "市",
    "多个",
    "几个",
    "什么",
    "里面",
    "上面",
    "附件",
    "后台",
    "争议",
    "不",
    "没",
    "想",
    "要",
];

impl Page<'_> {
    /// "蓝鲸电台的用户ID是 lj-1": a label with a value, and a name that is not registered before it.
    fn label_of_another(&self) -> bool {
        LABELS.iter().any(|label| {
            self.places(label).any(|(start, end)| self.has_value(end) && self.stranger_before(start))
        })
    }

    fn has_value(&self, end: usize) -> bool {
        let mut rest = self.folded[end..].iter().take(6).skip_while(|c| " 是为:=(（「“\"叫".contains(**c));
        rest.next().is_some_and(|c| c.is_ascii_alphanumeric())
    }

    /// Whether what stands directly before this place ends in a name nobody registered.
    fn stranger_before(&self, at: usize) -> bool {
        let mut end = at;
        while end > 0 && " 的上里中面内那边\"”」》".contains(self.folded[end - 1]) {
            end -= 1;
        }
        let name = |c: char| is_han(c) || c.is_ascii_alphanumeric();
        let open = (0..end).rev().take(16).take_while(|i| name(self.folded[*i])).last();
        let Some(open) = open else { return false };
        // The last word of grammar begins the name.
        let grammar = "在用的是把对从到和与及跟请将于过了系叫";
        let start = (open..end).rev().find(|i| grammar.contains(self.folded[*i])).map_or(open, |i| i + 1);
        self.is_stranger(start, end, 10)
    }

    /// Characters that are a name of their own: not registered, no common word.
    fn is_stranger(&self, start: usize, end: usize, most: usize) -> bool {
        let word: String = self.folded[start.min(end)..end].iter().collect();
        let length = word.chars().count();
        (2..=most).contains(&length)
            && word.chars().any(is_han)
            && !self.knows(start, end)
            && !NO_APP.iter().any(|w| word.contains(w))
    }

    fn knows(&self, start: usize, end: usize) -> bool {
        self.known.iter().any(|(s, e)| *s < end && start < *e)
            || self.brands.iter().any(|b| self.folded[start..end].iter().collect::<String>().contains(b))
    }

    /// "我用的是麦浪", "我在麦浪上课".
    fn uses_another(&self) -> bool {
        const USES: &[&str] = &[
            "我用的是",
            "我使用的是",
            "我玩的是",
            "我下载的是",
            "我现在用的是",
            "我用的app是",
            "我在用的是",
            "用的其实是",
            "实际用的是",
            "我在",
            "本人在",
            "我女儿在",
            "我儿子在",
            "我家孩子在",
            "孩子在",
            "删除我在",
            "现在用",
        ];
        // What closes a name of a place: only what an app is used for.
        const CLOSES: &[&str] = &[
            "的账",
            "的帐",
            "的用户",
            "的数据",
            "的信息",
            "的个人",
            "的录",
            "的资料",
            "的id",
            "上课",
            "听",
            "注册",
            "上的",
            "里的",
            "app",
            "平台",
            "开播",
            "软件",
            "上注册",
            "里注册",
            "上面的",
            "上看",
            "里看",
            "的学号",
            "的会员",
        ];
        USES.iter().any(|uses| {
            self.places(uses).any(|(_, end)| {
                let from = end + self.folded[end..].iter().take_while(|c| " “「《\"".contains(**c)).count();
                let name = |c: &&char| is_han(**c) || c.is_ascii_alphanumeric();
                let run = self.folded[from..].iter().take(24).take_while(name).count();
                if uses.ends_with('是') {
                    return self.is_stranger(from, from + run, 12);
                }
                let tail: String = self.folded[from..from + run].iter().collect();
                let quoted = from > end && self.folded[end] != ' ';
                let close = CLOSES.iter().filter_map(|c| tail.find(c)).min();
                let close = close.or((quoted).then_some(tail.len()));
                close.is_some_and(|at| self.is_stranger(from, from + tail[..at].chars().count(), 8))
            })
        })
    }

    /// "My Vocalia user ID", "the Vocalia account".
    fn latin_label(&self) -> bool {
        self.words().windows(3).any(|three| {
            let [(_, my), (at, name), (_, next)] = three else { return false };
            let of = [
                "user", "account", "id", "username", "profile", "data", "app", "login", "member", "listener",
            ];
            ["my", "our", "the", "his", "her"].contains(&fold(my).as_str())
                && of.contains(&fold(next).as_str())
                && self.is_latin_stranger(*at, name)
        })
    }

    /// "I use Vocalia", "registered with Vocalia", "my data from Vocalia".
    fn latin_use(&self) -> bool {
        const USES: &[&str] = &[
            "i use ",
            "i used ",
            "i am using ",
            "i'm using ",
            "i was using ",
            "i have used ",
            "i've used ",
            "i have been using ",
            "i've been using ",
            "i only use ",
            "i only used ",
            "i actually use ",
            "registered with ",
            "registered on ",
            "registered at ",
            "registered in ",
            "signed up for ",
            "signed up to ",
            "signed up on ",
            "signed up with ",
            "i joined ",
            "a user of ",
            "an account with ",
            "an account on ",
            "an account at ",
            "an account in ",
            "my account on ",
            "my account at ",
            "my account with ",
            "my account in ",
            "my data from ",
            "my data in ",
            "my data on ",
            "my data at ",
            "my data with ",
            "information from ",
            "data held by ",
            "user id in ",
            "user id on ",
            "user id at ",
            "user id for ",
            "my id in ",
            "my id on ",
            "my id at ",
            "the app is ",
            "my app is ",
            "app called ",
            "app named ",
        ];
        USES.iter().any(|uses| {
            self.places(uses).any(|(start, end)| {
                let cut = start > 0 && self.folded[start - 1].is_ascii_alphanumeric();
                let mut from = end;
                for skip in ["the ", "an ", "a ", "app ", "called ", "\"", "“"] {
                    let w: Vec<char> = skip.chars().collect();
                    from += if self.folded[from..].starts_with(&w) { w.len() } else { 0 };
                }
                let word: String =
                    self.written[from..].iter().take(24).take_while(|c| c.is_ascii_alphanumeric()).collect();
                !cut && self.is_latin_stranger(from, &word)
            })
        })
    }

    fn is_latin_stranger(&self, at: usize, word: &str) -> bool {
        const NO_NAME: &[&str] = &[
            "i",
            "my",
            "your",
            "our",
            "the",
            "this",
            "that",
            "it",
            "user",
            "account",
            "old",
            "new",
            "personal",
            "android",
            "iphone",
            "ipad",
            "ios",
            "google",
            "apple",
            "facebook",
            "wechat",
            "windows",
            "mac",
            "chrome",
            "safari",
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
            "europe",
            "germany",
            "california",
            "china",
            "eu",
            "uk",
            "us",
            "gdpr",
            "pipl",
            "ccpa",
            "json",
            "csv",
            "sdk",
            "console",
            "privacy",
            "article",
            "whatsapp",
            "email",
        ];
        let capital = word.starts_with(|c: char| c.is_ascii_uppercase()) && word.len() >= 3;
        let shouted = word.chars().all(|c| c.is_ascii_uppercase()) && word.len() <= 4;
        capital
            && !shouted
            && !NO_NAME.contains(&fold(word).as_str())
            && !self.knows(at, at + word.chars().count())
    }

    /// Latin words with their places.
    fn words(&self) -> Vec<(usize, String)> {
        let mut out: Vec<(usize, String)> = Vec::new();
        let mut open = false;
        for (at, c) in self.written.iter().enumerate() {
            match (c.is_ascii_alphanumeric(), open) {
                (true, true) => out.last_mut().expect("a word is open").1.push(*c),
                (true, false) => out.push((at, c.to_string())),
                _ => {}
            }
            open = c.is_ascii_alphanumeric();
        }
        out
    }

    fn places<'p>(&'p self, phrase: &str) -> impl Iterator<Item = (usize, usize)> + use<'p> {
        let phrase: Vec<char> = phrase.chars().collect();
        (0..(self.folded.len() + 1).saturating_sub(phrase.len())).filter_map(move |at| {
            let end = at + phrase.len();
            (self.folded[at..end] == phrase[..]).then_some((at, end))
        })
    }
}
