//! The identifiers a person gives: user ids, channels, addresses, each with the line it stands in.
//!
//! A value counts where a label says what it is. A wrong identifier is as bad
//! as a missing one: another person's data would be touched. So numbers
//! without a label, values of a correction ("please change it to …"), other
//! people's ids and addresses that only receive the answer are left alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::addresses::{self, is_house, is_with_house};
use super::labels::{Label, labels};
use super::letter::is_address;
use super::mime::{Mailbox, tidy_address};
use super::scan::Line;
use super::whose::{FOR_KIN, OTHERS, is_accused, of_another};
use crate::domain::phrase::{fold, says, says_any};

/// What kind of identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentifierKind {
    AppUserId,
    ChannelId,
    PpioAccount,
    DeviceId,
    Phone,
    /// A phone number with its middle masked, as people quote it.
    PhoneMasked,
    Nickname,
    Name,
    Email,
}

impl IdentifierKind {
    pub fn as_str(self) -> &'static str {
        match self {
            IdentifierKind::AppUserId => "app_user_id",
            IdentifierKind::ChannelId => "channel_id",
            IdentifierKind::PpioAccount => "ppio_account",
            IdentifierKind::DeviceId => "device_id",
            IdentifierKind::Phone => "phone",
            IdentifierKind::PhoneMasked => "phone_masked",
            IdentifierKind::Nickname => "nickname",
            IdentifierKind::Name => "name",
            IdentifierKind::Email => "email",
        }
    }
}

/// Of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    #[serde(rename = "self")]
    Requester,
    Minor,
    Guardian,
}

/// An identifier as the person gave it. Personal data; `Debug` shows its kind alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    #[serde(rename = "type")]
    pub kind: IdentifierKind,
    pub value: String,
    pub of: Of,
    /// The line it stands in; for the sender's own address, nothing.
    pub words: String,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({}, {:?})", self.kind.as_str(), self.of)
    }
}

/// What the rest of the mail says, which decides what a value is.
pub struct Context<'c> {
    pub requester: &'c Mailbox,
    /// The mail is about PPIO's own account.
    pub house: bool,
    pub guardian: bool,
    /// Addresses that are PPIO's or only receive mail.
    pub house_domains: &'c [String],
    /// How people call PPIO.
    pub brands: &'c [String],
    pub recipients: &'c [Mailbox],
}

#[rustfmt::skip]
const NICK: &[&str] = &[
    "账号昵称", "用户昵称", "微信昵称", "昵称", "网名", "艺名", "nickname", "nick name", "nick",
    "display name", "screen name", "显示名", "显示名称", "账号名", "账号名称", "用户名", "用户名称", "账号",
    "账户", "帐号", "帐户",
];

pub(super) const CORRECTION: &[&str] = &[
    "更正|改正|纠正|改为|改成|换成|变更为|更新为|修改为|更改为|订正",
    "correct|change|update|amend|fix|replace…to|with|from|as",
];
/// Reads the letter's own words and the sender.
pub fn read(text: &str, context: &Context<'_>) -> Vec<Given> {
    let mut out = read_of(text, context, false);
    let for_kin = || says_any(&fold(text), FOR_KIN);
    if !context.guardian && !out.iter().any(|g| g.kind == IdentifierKind::AppUserId) && for_kin() {
        out = read_of(text, context, true);
    }
    out
}

/// `kin`: the person asks for a relative, whose ids are then the ones that are meant.
fn read_of(text: &str, context: &Context<'_>, kin: bool) -> Vec<Given> {
    let mut out = Vec::new();
    for line in joined_lines(text) {
        let line = Line::new(&line);
        labelled(&line, context, kin, &mut out);
        loose_channels(&line, &mut out);
        used_as(&line, context, &mut out);
        names(&line, context, &mut out);
        phones(&line, context, &mut out);
        addresses::read(&line, context, &mut out);
    }
    if !context.requester.address.is_empty() {
        let of = if context.guardian { Of::Guardian } else { Of::Requester };
        add(&mut out, IdentifierKind::Email, context.requester.address.clone(), of, String::new());
    }
    out.sort_by_key(|g| g.kind);
    out
}

/// The lines, and a value that stands alone on the line after its label with that label.
fn joined_lines(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for line in text.lines() {
        let waits = out.last().is_some_and(|l| {
            let l = l.trim_end();
            l.ends_with([':', '：', '=', '是', '为']) && l.chars().count() <= 60 || l.ends_with(" is")
        });
        let line = line.trim();
        let value = !line.is_empty()
            && line.len() <= 80
            && line.chars().any(|c| c.is_ascii_digit() || matches!(c, '_' | '@'))
            && line.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@+*,，、 /#".contains(c));
        match out.last_mut().filter(|_| waits && (value || line.is_empty())) {
            Some(_) if line.is_empty() => {}
            Some(label) => {
                label.push(' ');
                label.push_str(line);
            }
            None => out.push(line.to_owned()),
        }
    }
    out
}

pub(super) fn add(out: &mut Vec<Given>, kind: IdentifierKind, value: String, of: Of, words: String) {
    let same = |g: &Given| {
        g.kind == kind && g.value == value
            || kind == IdentifierKind::Email && g.kind == kind && g.value.eq_ignore_ascii_case(&value)
    };
    if !out.iter().any(same) {
        out.push(Given { kind, value, of, words });
    }
}

fn labelled(line: &Line, context: &Context<'_>, kin: bool, out: &mut Vec<Given>) {
    let labels = labels(line);
    for (at, (start, end, label)) in labels.iter().enumerate() {
        if line.left_is(*start, '-') || line.left_is(*start, '_') {
            continue;
        }
        let own_word = ["mine", "我自己的"].contains(&line.folded(*start, *end).as_str());
        if !context.guardian && !own_word && of_another(line, *start, kin) {
            continue;
        }
        let next = labels.get(at + 1).map_or(usize::MAX, |(start, ..)| *start);
        let (mut values, explicit) = line.values_after(*end, next);
        if values.is_empty() {
            values.extend(line.value_before(*start, *end));
        }
        let who = matches!(label, Label::User | Label::PerhapsUser);
        values.retain(|value| !(who && is_accused(line, *start, value)));
        for value in values {
            take(line, *label, &value, explicit, context, out);
        }
    }
}

fn take(line: &Line, label: Label, value: &str, explicit: bool, context: &Context<'_>, out: &mut Vec<Given>) {
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let letters = value.chars().any(|c| c.is_ascii_alphabetic());
    let id_like = digits > 0 && value.len() >= 3 && (letters || digits >= if explicit { 3 } else { 4 });
    let of = if context.guardian { Of::Minor } else { Of::Requester };
    let kind = match label {
        Label::Alien => return,
        Label::User | Label::PerhapsUser if value.contains('@') => {
            if !is_address(value) {
                return;
            }
            let value = tidy_address(value);
            // In an app the address is how the person signs in; with PPIO it is the account.
            if context.house || is_with_house(&line.before(&value), "", context) {
                return add(out, IdentifierKind::PpioAccount, value, Of::Requester, line.quote());
            }
            let of = if context.guardian { Of::Guardian } else { Of::Requester };
            if !is_house(&value, context) {
                add(out, IdentifierKind::Email, value, of, line.quote());
            }
            return;
        }
        Label::User => {
            let word = digits == 0 && explicit && value.len() >= 3 && !is_ordinary(value);
            let joined = digits == 0 && value.contains(['_', '-']) && value.len() >= 4;
            if !(id_like || word || joined || digits > 0 && explicit) {
                return;
            }
            IdentifierKind::AppUserId
        }
        Label::PerhapsUser if id_like || value.contains('_') && value.len() >= 4 => IdentifierKind::AppUserId,
        Label::Channel if digits > 0 && (explicit || letters || digits >= 3) && !value.contains('@') => {
            IdentifierKind::ChannelId
        }
        Label::Device if value.len() >= 6 && !value.contains('@') => IdentifierKind::DeviceId,
        _ => return,
    };
    let kind =
        if kind == IdentifierKind::AppUserId && context.house { IdentifierKind::PpioAccount } else { kind };
    add(out, kind, value.to_owned(), of, line.quote());
}

/// Words that follow a label and are no id.
fn is_ordinary(value: &str) -> bool {
    const WORDS: &[&str] = &[
        "the",
        "not",
        "unknown",
        "lost",
        "forgotten",
        "attached",
        "below",
        "above",
        "and",
        "none",
        "n/a",
        "null",
        "yes",
        "app",
        "here",
        "this",
        "that",
        "banned",
        "blocked",
        "closed",
        "deleted",
        "with",
        "please",
        "also",
        "now",
        "mine",
        "wrong",
        "correct",
        "registered",
        "linked",
        "different",
        "same",
        "still",
        "gone",
        "suspended",
        "disabled",
        "user",
        "data",
        "for",
        "was",
        "has",
        "been",
        "from",
        "you",
        "your",
        "our",
        "they",
        "what",
        "which",
        "android",
        "iphone",
        "ios",
        "pppio",
        "sdk",
    ];
    WORDS.contains(&value.to_ascii_lowercase().as_str())
}

/// `room-55120` and `channel_12` say by themselves what they are.
fn loose_channels(line: &Line, out: &mut Vec<Given>) {
    for (value, before) in line.tokens() {
        let lower = value.to_ascii_lowercase();
        let named = ["room-", "room_", "channel-", "channel_"].iter().find_map(|p| lower.strip_prefix(p));
        let taken = out.iter().any(|g| g.value == value);
        let labelled =
            says_any(&before, &["id|uid|账号|账户|用户|学号|user|account"]) && before.chars().count() < 8;
        if named.is_some_and(|rest| rest.chars().any(|c| c.is_ascii_digit())) && !taken && !labelled {
            add(out, IdentifierKind::ChannelId, value, Of::Requester, line.quote());
        }
    }
}

/// "uses StarTalk as comet_12".
fn used_as(line: &Line, context: &Context<'_>, out: &mut Vec<Given>) {
    const AS: &[&str] = &[" as ", "under the name ", "by the name ", "under the id "];
    let using = || {
        says(
            &line.all_folded(),
            "i use|i used|i am using|he uses|she uses|uses|registered|signed up|i play|plays|i am on|i'm on|known|log in|logged in|joined",
        )
    };
    for (value, before) in line.tokens() {
        let id_like =
            value.chars().any(|c| c.is_ascii_digit()) && value.chars().any(|c| c.is_ascii_alphabetic());
        let known = out.iter().any(|g| g.value == value);
        if id_like
            && !known
            && !value.contains('@')
            && AS.iter().any(|w| before.ends_with(w))
            && using()
            && !context.house
        {
            let of = if context.guardian { Of::Minor } else { Of::Requester };
            add(out, IdentifierKind::AppUserId, value, of, line.quote());
        }
    }
}

/// Nicknames, and an account that is the person's own name.
fn names(line: &Line, context: &Context<'_>, out: &mut Vec<Given>) {
    if says_any(&line.all_folded(), CORRECTION) {
        return;
    }
    for label in NICK {
        for (_, end) in line.words(label) {
            let account = matches!(
                *label,
                "账号" | "账户" | "帐号" | "帐户" | "用户名" | "用户名称" | "账号名" | "账号名称"
            );
            let Some(value) = line.name_after(end) else { continue };
            let foreign = !value.is_ascii();
            if account && !foreign || value.contains('@') {
                continue;
            }
            let own = context.requester.name.as_deref() == Some(value.as_str());
            let kind = if account && own { IdentifierKind::Name } else { IdentifierKind::Nickname };
            let of = if context.guardian { Of::Minor } else { Of::Requester };
            add(out, kind, value, of, line.quote());
        }
    }
}

fn phones(line: &Line, context: &Context<'_>, out: &mut Vec<Given>) {
    let folded = line.all_folded();
    if says_any(&folded, CORRECTION) || says(&folded, OTHERS) {
        return;
    }
    let said = says(&folded, "手机|手机号|电话|号码|phone|mobile|tel|telephone|cell|number|call me");
    let of = if context.guardian { Of::Guardian } else { Of::Requester };
    for number in line.numbers() {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let taken = out.iter().any(|g| g.value == number || g.value == digits);
        let chinese = digits.len() == 11
            && digits.starts_with('1')
            && !digits.starts_with("10")
            && !digits.starts_with("12");
        if number.contains('*') {
            if number.matches('*').count() >= 3 && (5..=9).contains(&digits.len()) {
                add(out, IdentifierKind::PhoneMasked, number, of, line.quote());
            }
        } else if !taken
            && (chinese && (said || number.len() == 11)
                || said && number.starts_with('+') && digits.len() >= 8)
        {
            let value = if number.starts_with('+') { format!("+{digits}") } else { digits };
            add(out, IdentifierKind::Phone, value, of, line.quote());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_by(text: &str, name: &str, house: bool, guardian: bool) -> Vec<(&'static str, String)> {
        let requester = Mailbox { name: Some(name.into()), address: "me@mail.example".into() };
        let context = Context {
            brands: &["PPIO".to_owned()],
            requester: &requester,
            house,
            guardian,
            house_domains: &["ppio.example".to_owned()],
            recipients: &[],
        };
        read(text, &context)
            .into_iter()
            .filter(|g| g.value != "me@mail.example")
            .map(|g| (g.kind.as_str(), g.value))
            .collect()
    }

    fn given(text: &str) -> Vec<(&'static str, String)> {
        given_by(text, "王小雨", false, false)
    }

    #[test]
    fn a_user_id_stands_behind_many_labels() {
        for (text, value) in [
            ("用户ID为 u_8839201，谢谢", "u_8839201"),
            ("用户ＩＤ：ｕ＿１２３", "u_123"),
            ("（用户ID：u_8839201）", "u_8839201"),
            ("学员编号 DX-204417。", "DX-204417"),
            ("学号 YT-900127）", "YT-900127"),
            ("UID: 10086123", "10086123"),
            ("我的UID是10086123", "10086123"),
            ("会员号：M0001", "M0001"),
            ("我的乐听号：letingfm-660318，", "letingfm-660318"),
            ("我的星语号是 998877", "998877"),
            ("账号 u_771", "u_771"),
            ("我的ID是 abc123", "abc123"),
            ("用户名：wangxiaoyu", "wangxiaoyu"),
            ("u_8839201 是我的用户ID", "u_8839201"),
            ("u_8839201（用户ID）", "u_8839201"),
            ("My user ID is st-4471.", "st-4471"),
            ("user id: st-4471", "st-4471"),
            ("username: wander_girl", "wander_girl"),
            ("member number #55012", "55012"),
            ("account no. 5501234", "5501234"),
            ("my account (st_99)", "st_99"),
            ("用户id=“st_99”", "st_99"),
            ("UserID：st_99", "st_99"),
            ("my StarTalk ID: st_99", "st_99"),
            ("用户编号【st_99】", "st_99"),
        ] {
            assert_eq!(given(text), vec![("app_user_id", value.to_owned())], "{text}");
        }
    }

    #[test]
    fn several_values_follow_one_label() {
        let channels = |text: &str| {
            given(text).into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
        };
        for text in [
            "频道 room-55120、room-55871",
            "房间号：room-55120和room-55871",
            "channels room-55120 and room-55871",
            "rooms room-55120, room-55871",
        ] {
            assert_eq!(channels(text), "channel_id=room-55120 channel_id=room-55871", "{text}");
        }
        assert_eq!(channels("频道号 88123。"), "channel_id=88123");
        assert_eq!(channels("房间：88123，用户ID：u_1"), "app_user_id=u_1 channel_id=88123");
        assert_eq!(channels("In room 88123 on Monday"), "channel_id=88123");
        assert_eq!(channels("直播间ID 7788"), "channel_id=7788");
    }

    #[test]
    fn what_has_no_label_or_another_one_is_no_identifier() {
        for text in [
            "订单号 998877123",
            "身份证号：110101199001011234",
            "工单编号：A-1002",
            "我的微信号：wx_12345",
            "order number 778812",
            "ticket id: 4455",
            "my account is banned since 2024",
            "账号2023年注册",
            "房间里有3个人",
            "2026年11月16日",
            "对方的用户ID：u_9",
            "someone else's user id u_9",
            "I was in the room 2 times",
            "the app id is 1400123456",
            "我的用户ID忘了",
            "I forgot my user id, sorry",
            "版本号 3.2.1",
        ] {
            assert_eq!(given(text), vec![], "{text}");
        }
    }

    #[test]
    fn phones_are_taken_but_not_those_of_a_correction() {
        assert_eq!(given("注册手机号 199****0001。"), vec![("phone_masked", "199****0001".into())]);
        assert_eq!(given("手机：13900001111"), vec![("phone", "13900001111".into())]);
        assert_eq!(given("请把 199****0044 更正为 199****0088"), vec![]);
        assert_eq!(given("用户ID：13900001111"), vec![("app_user_id", "13900001111".into())]);
    }

    #[test]
    fn names_are_told_from_nicknames_by_the_sender() {
        assert_eq!(given("账号昵称“果果爱画画”，"), vec![("nickname", "果果爱画画".into())]);
        assert_eq!(given("（账号：王小雨，"), vec![("name", "王小雨".into())]);
        assert_eq!(given("账号：夜空的星"), vec![("nickname", "夜空的星".into())]);
        assert_eq!(given("账号被封了"), vec![]);
    }

    #[test]
    fn an_address_counts_where_it_is_the_persons_own() {
        assert_eq!(given("我的注册邮箱是 other@mail.example"), vec![("email", "other@mail.example".into())]);
        assert_eq!(
            given("I signed up with other@mail.example"),
            vec![("email", "other@mail.example".into())]
        );
        assert_eq!(given("请回复到 evil@x.example"), vec![]);
        assert_eq!(given("please send it to evil@x.example"), vec![]);
        assert_eq!(given("我写信到邮箱 feedback@ppio.example"), vec![]);
    }

    #[test]
    fn an_account_with_ppio_is_one_there_only() {
        assert_eq!(
            given_by("控制台账号 zhao@yun.example", "x", true, false),
            vec![("ppio_account", "zhao@yun.example".into())]
        );
        assert_eq!(
            given_by("登录账号：zhao@yun.example", "x", false, false),
            vec![("email", "zhao@yun.example".into())]
        );
    }

    #[test]
    fn nothing_given_shows_in_debug() {
        let all = format!("{:?}", given("用户ID为 u_8839201").len());
        let requester = Mailbox { name: None, address: "me@mail.example".into() };
        let context = Context {
            brands: &[],
            requester: &requester,
            house: false,
            guardian: false,
            house_domains: &[],
            recipients: &[],
        };
        let shown = format!("{:?}{all}", read("用户ID为 u_8839201", &context));
        assert!(!shown.contains("8839201") && !shown.contains("mail.example"));
    }
}
