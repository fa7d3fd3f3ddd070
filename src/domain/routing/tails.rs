//! What may follow a registered name without making another, longer name of it.

use crate::domain::phrase::is_han;

/// Characters that begin grammar, a verb or an adverb, or close a list. Any other Chinese character that
/// follows a name directly may be more of a longer name: "…间助手", "…带货".
const GOES_ON: &str = "的上里中内面这那是在和与及跟或把对给有吗么用账帐注也都还就不没能会可同由被向为了呢吧前时后收录\
    保存使采处开登我你您他她它让未已将曾从去来说写叫等什哪今昨天每根其以之若因但而所则并请想要需删撤冒骚拒听看玩\
    做买充付发打进出下关通官本该此到提共泄擅存储留仍又再才只居竟真怎多何如";

/// Words that speak of the app's people, accounts and places.
const WORDS: &[&str] = &[
    "app",
    "软件",
    "平台",
    "应用",
    "小程序",
    "客服",
    "客户",
    "学员",
    "学生",
    "学号",
    "用户",
    "会员",
    "听众",
    "主播",
    "老师",
    "教师",
    "家长，",
    "房间",
    "频道",
    "公众号",
    "个人",
    "数据",
    "信息",
    "资料",
    "隐私",
    "版本",
    "网页",
    "手机",
    "安卓",
    "苹果",
    "连麦",
    "绑定",
    "订单",
    "编号",
    "号",
    "两",
    "三个",
    "三款",
    "二者",
    "系统",
    "算法",
    "直播课",
    "数学课",
    "语文课",
    "英语课",
    "课程",
    "推送",
    "运营",
    "公司",
    "类似",
    "相似",
    "差不多",
    "很",
    "像",
    "无关",
    "除外",
    "产生",
    "查询",
    "更正",
    "查阅",
    "复制",
    "帮",
    "已",
    "首页",
    "界面",
    "服务",
    "停",
    "违",
    "强",
    "自动",
    "突然",
    "最近",
    "居然",
    "当",
    "于",
    "则",
    "平时",
    "定",
    "超",
    "永",
    "封",
    "误",
    "侵",
    "滥",
    "未经",
    "偷",
    "私",
    "申请",
    "行使",
    "要求",
    "限制",
    "转移",
    "导出",
    "退",
];

/// Words after a Latin name, with a capital in a title, that are no part of a longer name.
const LATIN: &[&str] = &[
    "app",
    "apps",
    "account",
    "accounts",
    "id",
    "ids",
    "user",
    "users",
    "username",
    "data",
    "deletion",
    "delete",
    "request",
    "profile",
    "privacy",
    "support",
    "team",
    "room",
    "rooms",
    "log",
    "logs",
    "recording",
    "recordings",
    "customer",
    "member",
    "on",
    "in",
    "and",
    "for",
    "please",
    "my",
    "i",
    "is",
    "was",
    "sdk",
    "ios",
    "android",
    "web",
    "pc",
    "vip",
    "h5",
    "version",
    "under",
    "listener",
    "student",
    "personal",
    "information",
    "removal",
    "erasure",
    "access",
    "copy",
    "by",
    "with",
    "from",
    "or",
    "question",
    "complaint",
    "channel",
    "to",
    "has",
    "dsar",
    "gdpr",
    "login",
    "export",
    "number",
    "the",
    "thank",
    "thanks",
    "regards",
    "uid",
    "server",
    "or",
    "at",
];

/// Whether the name goes on into a longer one.
pub(super) fn goes_on(written: &[char], text: &[char], start: usize, end: usize) -> bool {
    let Some(next) = text.get(end) else { return false };
    if is_han(*next) {
        if !text[start..end].iter().any(|c| is_han(*c)) {
            return false;
        }
        let rest: String = text[end..].iter().take(4).collect();
        // "…学拼音" is what one learns there; "…学院" another name.
        let learns = *next == '学' && !text.get(end + 1).is_none_or(|c| "院堂苑园社会校".contains(*c));
        return !GOES_ON.contains(*next) && !learns && !WORDS.iter().any(|w| rest.starts_with(w));
    }
    let spaced = *next == ' ';
    let at = if spaced { end + 1 } else { end };
    let word: String = written[at..].iter().take(24).take_while(|c| c.is_ascii_alphabetic()).collect();
    if word.is_empty() || LATIN.contains(&word.to_ascii_lowercase().as_str()) {
        return false;
    }
    // "星语直播Wallpaper"; and "StarTalk Wallpapers", which a capital makes a name.
    let capital = word.starts_with(|c: char| c.is_ascii_uppercase()) && word.len() > 1;
    let latin_name = text[start..end].iter().any(char::is_ascii_alphabetic);
    !spaced && !latin_name && is_han(text[end - 1]) || spaced && capital && latin_name
}
