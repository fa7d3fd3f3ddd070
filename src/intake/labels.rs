//! The words that say what a value is: "用户ID", "room number", and those that say it is nobody's id.

use super::scan::Line;
use crate::domain::phrase::is_han;

/// Labels that can only mean a user's id.
#[rustfmt::skip]
const USER: &[&str] = &[
    "用户id", "用户 id", "用户编号", "用户号", "用户号码", "用户uid", "用户标识", "用户代码", "会员id",
    "会员 id", "会员号", "会员编号", "会员卡号", "学员编号", "学员id", "学员 id", "学员号", "学号",
    "学生编号", "学生id", "学生号", "学籍号", "主播id", "主播号", "主播编号", "玩家id", "玩家编号", "角色id",
    "账号id", "账号 id", "账户id", "帐号id", "账号编号", "帐号编号", "客户编号", "客户id", "听众id", "听众号",
    "观众id", "成员id", "成员编号", "登录id", "登录号", "注册id", "注册编号", "个人id", "个人编号", "uid",
    "userid", "user id", "user-id", "user_id", "user no", "user no.", "user number", "user identifier",
    "user code", "member id", "memberid", "member number", "membership number", "membership id", "member no",
    "member no.", "student id", "student number", "student no", "student no.", "learner no", "learner no.", "tutor no", "tutor no.", "tutor id", "tutor number",
    "tutor ref", "tutor ref.", "teacher id", "host number", "member ref", "user ref", "learner id", "learner number", "account id",
    "account number", "account no", "account no.", "player id", "profile id", "customer id",
    "customer number", "host id", "streamer id", "subscriber id", "listener id", "username", "user name",
    "user-name", "login name", "login id", "用户名", "登录名", "id号", "id 号", "id number", "openid",
    "open id", "unionid", "user ids", "userids", "member ids", "account ids", "student ids", "usernames",
    "account numbers", "user numbers", "客户号", "用户账号id", "账号名id",
];

/// Labels that mean it if the value looks like an id.
#[rustfmt::skip]
const PERHAPS_USER: &[&str] = &[
    "账号", "账户", "帐号", "帐户", "account", "login", "handle", "id", "ids", "用户", "user", "编号", "会员",
    "学员", "accounts", "mine", "我自己的",
];

#[rustfmt::skip]
const CHANNEL: &[&str] = &[
    "频道号", "频道号码", "频道id", "频道 id", "频道编号", "频道名", "频道", "房间号", "房间号码", "房间id",
    "房间 id", "房间编号", "房间", "房号", "直播间号", "直播间id", "直播间 id", "直播间编号", "直播间",
    "聊天室id", "聊天室号", "聊天室", "语音房", "语音房号", "连麦房", "连麦房间", "会议号", "会议id",
    "会议室", "会议室号", "教室号", "教室id", "channel id", "channel ids", "channel number", "channel name",
    "channel no", "channel no.", "channel", "channels", "channelid", "channel_id", "room id", "room ids",
    "room number", "room numbers", "room no", "room no.", "room name", "roomid", "room_id", "room", "rooms",
    "meeting id", "meeting number",
];

#[rustfmt::skip]
const DEVICE: &[&str] = &[
    "设备id", "设备 id", "装置id", "装置 id", "装置编号", "装置识别码", "设备号", "设备标识", "设备识别码", "设备编号", "设备序列号", "序列号", "imei",
    "idfa", "idfv", "oaid", "android id", "androidid", "device id", "device_id", "deviceid", "device number",
    "serial number", "mac地址",
];

/// Labels of something that is nobody's id.
#[rustfmt::skip]
const ALIEN: &[&str] = &[
    "订单号", "订单编号", "订单id", "工单号", "工单编号", "身份证号", "身份证", "身份证号码", "证件号",
    "护照号", "银行卡号", "微信号", "微信id", "qq号", "qq", "手机号", "手机号码", "手机", "电话", "电话号码",
    "联系电话", "座机", "传真", "快递单号", "流水号", "版本号", "发票号", "案件编号", "受理编号", "邮编",
    "邮政编码", "应用id", "应用编号", "app id", "appid", "app_id", "bundle id", "order id", "order number",
    "order no", "ticket id", "ticket number", "ticket no", "case id", "case number", "case no", "message id",
    "message-id", "request id", "reference number", "reference id", "passport number", "id card",
    "id card number", "phone", "phone number", "mobile", "mobile number", "tel", "telephone", "wechat id",
    "apple id", "google id", "facebook id", "trace id", "log id", "version number", "invoice number",
    "tracking number", "tax id", "录音id", "录音编号", "文件编号", "会话id", "session id", "recording id",
    "course id", "课程编号", "课程id", "班级编号",
];

/// What a label says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Label {
    User,
    PerhapsUser,
    Channel,
    Device,
    Alien,
}

/// All labels of a line by place; of those that overlap, the longest.
pub fn labels(line: &Line) -> Vec<(usize, usize, Label)> {
    let mut found = Vec::new();
    for (list, label) in [
        (USER, Label::User),
        (PERHAPS_USER, Label::PerhapsUser),
        (CHANNEL, Label::Channel),
        (DEVICE, Label::Device),
        (ALIEN, Label::Alien),
    ] {
        for word in list {
            found.extend(line.words(word).map(|(start, end)| (start, end, label)));
        }
    }
    found.extend(own_numbers(line));
    let longest = |(start, end, label): &(usize, usize, Label)| {
        !found.iter().any(|(s, e, l)| {
            s < end
                && start < e
                && (e - s > end - start || e - s == end - start && l != label && *l == Label::Alien)
        })
    };
    let mut kept: Vec<_> = found.iter().copied().filter(longest).collect();
    kept.sort_by_key(|(start, end, _)| (*start, *end));
    kept.dedup_by_key(|(start, end, _)| (*start, *end));
    kept
}

/// "我的乐听号：…": a number of the app's own naming, where the words say whose it is or give a colon.
fn own_numbers(line: &Line) -> Vec<(usize, usize, Label)> {
    const NOT: &[&str] = &[
        "手机",
        "电话",
        "频道",
        "房间",
        "直播间",
        "房",
        "会议",
        "订单",
        "工单",
        "身份证",
        "证件",
        "护照",
        "银行卡",
        "卡",
        "微信",
        "型",
        "序列",
        "批",
        "案",
        "单",
        "快递",
        "运单",
        "流水",
        "版本",
        "发票",
        "税",
        "座机",
        "传真",
        "热线",
        "信",
        "称",
        "符",
        "括",
        "引",
        "句",
        "逗",
        "冒",
        "记",
        "设备",
        "教室",
        "班",
        "群",
        "学",
        "会员",
        "用户",
        "学员",
        "主播",
        "账",
        "帐",
        "公众",
        "口",
        "几",
        "多少",
        "月",
        "日",
    ];
    let mut out = Vec::new();
    for (at, end) in line.words("号") {
        let mut start = at;
        while start > 0 && at - start < 6 && line.is_name_char(start - 1) {
            start -= 1;
        }
        let head = line.folded(start, at);
        let (mine, name) = match head.rfind("的") {
            Some(cut) => (true, &head[cut + "的".len()..]),
            None => (false, head.as_str()),
        };
        let name = name.trim_start_matches(['我', '是', '在', '用']);
        let spaced = line.at(end) == Some(' ') && line.at(end + 1).is_some_and(|c| c.is_ascii_alphanumeric());
        let separated = spaced || line.at(end).is_some_and(|c| matches!(c, ':' | '=' | '是' | '为'));
        if name.is_empty() && (mine || head.is_empty()) && separated && !spaced {
            // "号是 u_1": nothing says of what, so the value must look like an id.
            out.push((at, end, Label::PerhapsUser));
            continue;
        }
        let good =
            name.chars().count() >= 1 && name.chars().any(is_han) && !NOT.iter().any(|n| name.ends_with(n));
        let length = name.chars().count();
        let direct = line.at(end).is_some_and(|c| c.is_ascii_alphanumeric());
        if good && (mine || (separated || direct) && length >= 2) {
            out.push((at - length, end, Label::User));
        }
    }
    out
}
