//! Whether a mail is a request at all: not bulk, not written by a machine, not an advertisement.
//!
//! When in doubt it is one: a person then looks. A mail that says nothing of
//! rights or personal data is none.

use super::mime::{MachineSign, Mail};
use super::rights::Asked;
use crate::domain::phrase::{fold, says, says_any};

/// What a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    Request,
    /// Sent to many, or selling something.
    Bulk,
    AutoReply,
    Bounce,
    /// From a person, but about something else.
    Other,
}

const SELLING: &[&str] = &[
    "低价|特惠|优惠|促销|折扣|限时|秒杀|包邮|免费试听",
    "代办|代理记账|代开|代写|代理注册|加急出证|出证",
    "出售|批发|供应|报价单|名录|数据库…条",
    "加微信|加qq|扫码|咨询热线|业务合作|商务合作|招商",
    "发票|开票|税票",
    "培训班|公开课|讲座|展会|峰会|邀请函|研讨会",
    "若不想收到|如不想收到|如您不想|不想再收到此类",
    "退订请|回复“退订|回复退订|回复td",
    "我们是|本公司是…专业|领先|机构|服务商|团队|平台",
    "协助贵司|助力贵司|为贵司提供|帮助企业|为企业提供|解决方案|一站式",
    "报价|从优|洽谈|合作共赢",
    "we help|helps companies|companies like|businesses like|our clients|our platform",
    "reaching out|quick call|partnership opportunity|we specialise|we specialize",
    "尊敬的客户|尊敬的用户|亲爱的客户|亲爱的用户",
    "we offer|we provide|we handle|our services|our solution|our product|our team of experts",
    "discount|special offer|limited time|free trial|best price|buy now|order now|promo code",
    "seo|backlinks|lead generation|email list for sale|guest post|cold outreach",
    "click here|view in browser|unsubscribe here|to unsubscribe|manage preferences|update your preferences",
    "webinar|newsletter|this week's|register now|sign up today|book a demo",
    "dear customer|dear valued|dear sir or madam we",
];

/// How the subject of an answer begins that no person wrote.
const AUTOMATIC: &[&str] = &[
    "自动回复",
    "自动答复",
    "[自动回复]",
    "【自动回复】",
    "automatic reply",
    "auto-reply",
    "autoreply",
    "auto reply",
    "out of office",
    "out-of-office",
];
const MACHINE_BODY: &[&str] = &[
    "本邮件|此邮件|这是…系统自动|自动发送|自动回复",
    "我正在|我在|本人正在…休假|年假|出差|度假…返回|期间|回来|恢复",
    "i am|i'm…leave|holiday|vacation…until|back|return",
    "this is an automated|this is an automatic|i am out of office|i am out of the office|currently out of the office",
];

/// Says it so plainly that no right in it is asked for, where nobody speaks of himself.
const MACHINE_PLAIN: &[&str] = &[
    "系统自动发送|系统自动发出|系统自动生成|系统邮件|自动发送|请勿回复|请勿直接回复|无需回复",
    "do not reply to this|please do not reply|this is an automated|this is an automatic|automatically generated|no-reply|noreply",
];

/// The person speaks of own data.
const MINE: &str = "我的|本人|我在|我要|我想|我是|我方|我撤|我请|给我|把我|关于我|孩子|女儿|儿子|将我|我将|我希望|我已|my|mine|me|i want|i would|i'd like|i request|i withdraw|i am|i was|our child";

const ABOUT_DATA: &str = "个人信息|个人数据|我的数据|我的信息|隐私|个人资料|个保法|数据主体|personal data|personal information|my data|my information|privacy|gdpr|pipl|ccpa|data protection";
/// To have read the policy is no word about one's data.
const POLICY: &[&str] = &[
    "隐私政策",
    "隐私协议",
    "隐私条款",
    "隐私声明",
    "隐私保护政策",
    "privacy policies",
    "privacy policy",
    "privacy notice",
    "privacy statement",
];
/// Press, research, contracts, billing, an enterprise's staff: no word of the writer's own data.
const NO_SUBJECT: &[&str] = &[
    "记者|采访|媒体…提问|采访|报道|一文|文章|稿",
    "法律研究|学术研究|写论文|只是好奇",
    "合同…解除|终止|续签|违约",
    "全部用户|所有用户|全体用户|all users|every user|all our users",
    "我们是|我是|we are|i am…技术团队|研发团队|产品团队|运营团队|产品经理|开发团队|engineering team|product manager|product team",
    "更正|修改|重开|correct|amend|fix…发票|抬头|账单|invoice|billing address",
    "journalist|press inquiry|press enquiry|writing a paper|i teach|just curious",
    "negative reviews|boost your rankings|compliance consulting|gdpr consulting",
];
/// The writer's own data all the same.
const OWN_DATA: &str = "我的|本人|我自己|孩子|女儿|儿子|用户id|学号|my data|my account|my user|my id|my personal|my information|my recording*|about me|tied to me|linked to me|my profile|my son|my daughter|控制台|console account";

/// An answer that only thanks.
const THANKS: &str = "谢谢|感谢|多谢|辛苦|收到|thank you|thanks|got it|received|much appreciated";
const NOT_ONLY_THANKS: &str =
    "请|是的|确认|同意|可以|但|还|没有|不|？|吗|yes|please|confirm|agree|but|still|not|no|my|id|go ahead";

/// Decides.
pub fn of(mail: &Mail, own: &str, asked: &Asked) -> MailKind {
    let signs = &mail.machine_signs;
    let text = fold(&format!("{}\n{own}", mail.subject));
    let sender = mail.from.address.to_ascii_lowercase();
    if signs.contains(&MachineSign::Bounce)
        || sender.starts_with("mailer-daemon@")
        || sender.starts_with("postmaster@")
    {
        return MailKind::Bounce;
    }
    let vacation = says_any(
        &fold(&mail.subject),
        &[
            "自动回复|自动答复|外出|休假",
            "automatic reply|auto-reply|autoreply|out of office|auto reply|away from",
        ],
    );
    // A program's subject stands first; a person's answer to it begins with "Re:".
    let subject = fold(mail.subject.trim());
    let machine_subject = AUTOMATIC.iter().any(|w| subject.starts_with(w));
    let machine_body = asked.rights.is_empty() && says_any(&text, MACHINE_BODY)
        || says_any(&text, MACHINE_PLAIN) && !says(&text, MINE);
    if signs.contains(&MachineSign::AutoReply)
        || machine_subject
        || machine_body
        || vacation && !says(&text, ABOUT_DATA)
    {
        return MailKind::AutoReply;
    }
    let selling = SELLING.iter().filter(|p| says(&text, p)).count();
    let personal = says(&text, MINE) && !asked.rights.is_empty();
    let bulk = signs.contains(&MachineSign::Bulk);
    let offers = selling >= 3 || selling >= 2 && !personal || selling >= 1 && !says(&text, MINE);
    if bulk && !(personal && selling == 0) || offers {
        return MailKind::Bulk;
    }
    if says_any(&text, NO_SUBJECT) && !says(&text, OWN_DATA) {
        return MailKind::Other;
    }
    // An answer to ours may bring the id that was asked for.
    let (_, _, reply) = super::letter::bare_subject(&mail.subject);
    let without_policy = POLICY.iter().fold(text.clone(), |t, p| t.replace(p, " "));
    let answers = reply && !only_thanks(&fold(own));
    if !asked.rights.is_empty() || !asked.declined.is_empty() || says(&without_policy, ABOUT_DATA) || answers
    {
        return MailKind::Request;
    }
    MailKind::Other
}

fn only_thanks(own: &str) -> bool {
    own.chars().count() <= 80
        && says(own, THANKS)
        && !says(own, NOT_ONLY_THANKS)
        && !own.contains(|c: char| c.is_ascii_digit() || c == '?')
}
