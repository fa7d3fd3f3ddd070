//! Whether the words are about what PPIO itself decides over: its console
//! account, its site's forms, its commercial mail (R1, R24).
//!
//! To be addressed is no evidence: every mail says "you" or "PPIO". To have
//! read the policy or found the address on PPIO's site is none either.

use super::{Evidence, FactKind, Facts, Passage, Voice, Weight};
use crate::domain::phrase::{clauses, fold, says_any, sentences};

pub(super) struct Look {
    /// An account, a form, an enquiry of one's own with PPIO.
    pub strong: bool,
    /// PPIO's site or mail, without more.
    pub weak: bool,
    pub evidence: Vec<Evidence>,
}

/// Whose: `{us}` in a phrase below stands for these and the registered brands.
const US: &str = "贵司|贵公司|贵方|你们|你司|您们|你方|贵平台|your|your company's";

/// What only a person who deals with PPIO itself has.
const STRONG: &[&str] = &[
    "控制台…账号|账户|帐号|帐户",
    "账号|账户|帐号|帐户…控制台",
    "{us}…控制台",
    "console account|console login",
    "{us}…console|dashboard",
    "{brand}账号|{brand} 账号|{brand}的账号|{brand}账户|{brand} 账户|{brand}的账户|{brand}帐号|{brand}的注册用户|{brand}注册用户|{brand}的客户|{brand}客户|{brand} 客户|{brand}平台|{brand} 平台|{brand}用户",
    "{brand} account|{brand} console|{brand} login|{brand}'s console|{brand} dashboard",
    "account with {brand}|account at {brand}|account on {brand}|registered with {brand}|registered at {brand}|signed up with {brand}|customer of {brand}|user of {brand}|users of {brand}",
    "{us}…官网|网站|主页|网页|website|web site|homepage…注册|提交|登录|登陆|填写|填过|填了|留过|留了|咨询|账号|账户|帐号|试用|购买|充值|预约|registered|register|signed up|sign up|submitted|filled|account|log in|contact form|enquiry|inquiry|demo",
    "注册|提交|填写|填过|留下|留过|咨询|registered|signed up|submitted|filled…{us}…官网|网站|网页|website|web site|homepage",
    "{us}…销售|商务|售前|客户经理|市场部|sales team|sales rep*|sales people…联系|咨询|沟通|留|加过|发|contact*|spoke*|talk*|called|emailed",
    "{us}…提交|提过|发起…工单|咨询|试用申请",
    "向|给…{us}…提交|咨询…过|了",
    "{us}…发票|账单|invoice|billing",
    "应聘|求职|面试|投过简历|applied for|job application|my application…{us}",
    "{us}…岗位|职位申请|招聘|vacancy|job",
    "{us}…云服务器|算力|云主机|云产品|gpu",
];

/// PPIO's site or commercial mail.
const WEAK: &[&str] = &[
    "控制台",
    "{us}…官网|网站|website|web site",
    "{us}…营销|推广|广告|商业|促销|newsletter|marketing|mailing list|promotion*|产品资讯|活动邀请",
    "marketing|promotional|newsletter*|advertis*|announcements|invitations|营销|推广|广告|促销…{us}",
    "退订|取消订阅|unsubscribe|opt out|opt-out",
    "不要再|别再|停止|不想再|stop…给我发|发送|推送|sending|emailing…邮件|短信|广告|推广|信息|email*|newsletter*|marketing",
];

/// Where the site is only where the person read something.
const READ_ONLY: &[&str] = &[
    "官网|网站|website|web site|homepage|site…看到|看见|找到|查到|得知|公布|公示|列出|写的|上的隐私|的隐私|隐私政策|found|says|listed|published|privacy policy|privacy notice",
    "看到|看见|找到|查到|得知|found|saw|read…官网|网站|website|web site|homepage|site",
    "隐私政策|privacy policy|privacy notice…官网|网站|website|site",
];

/// A product of PPIO's that stands inside other companies' apps is no account with PPIO.
const ENTRUSTED: &[&str] = &["sdk", "音视频|rtc|连麦|录音|录像"];

/// Leaving another app's membership, or objecting to a sale, is no answer to PPIO's mail.
const ELSEWHERE: &[&str] = &["app|应用|小程序|会员", "sale of|selling of|sharing of"];

pub(super) fn look(passages: &[Passage], facts: &Facts) -> Look {
    let brands: Vec<String> = facts.house.brands.iter().map(|b| fold(b)).collect();
    let us = brands.iter().fold(US.to_owned(), |us, brand| format!("{us}|{brand}"));
    let domains: Vec<String> = facts.house.domains.iter().map(|d| fold(d)).collect();
    let fill = |phrase: &&str| -> Vec<String> {
        let phrase = phrase.replace("{us}", &us);
        if !phrase.contains("{brand}") {
            return vec![phrase];
        }
        brands.iter().map(|brand| phrase.replace("{brand}", brand)).collect()
    };
    let strong: Vec<String> = STRONG.iter().flat_map(fill).collect();
    let weak: Vec<String> = WEAK.iter().flat_map(fill).collect();
    let among = |text: &str, phrases: &[String]| phrases.iter().any(|p| super::super::phrase::says(text, p));

    let mut out = Look { strong: false, weak: false, evidence: Vec::new() };
    for passage in passages.iter().filter(|p| p.voice == Voice::Own) {
        for sentence in sentences(&passage.text) {
            for clause in clauses(sentence) {
                let folded = without_addresses(&fold(clause));
                let is_domain = names_domain(&folded, &facts.house.domains);
                let as_site = domains.iter().fold(folded.clone(), |t, d| t.replace(d.as_str(), " website "));
                if says_any(&as_site, READ_ONLY) {
                    continue;
                }
                let is_strong = among(&folded, &strong) && !says_any(&folded, ENTRUSTED)
                    || is_domain
                        && says_any(&folded, &["注册|提交|登录|填写|账号|账户|account|registered|submitted"]);
                let is_weak = is_domain || among(&folded, &weak) && !says_any(&folded, ELSEWHERE);
                if is_strong || is_weak {
                    out.strong |= is_strong;
                    out.weak |= is_weak;
                    out.evidence.push(Evidence {
                        app: facts.house.app.clone(),
                        kind: FactKind::House,
                        fact: "house".to_owned(),
                        weight: if is_strong { Weight::Exact } else { Weight::Suggests },
                        voice: passage.voice,
                        place: passage.place,
                        words: clause.trim().chars().take(80).collect(),
                    });
                }
            }
        }
    }
    out
}

/// Mail addresses say nothing about the role of the data: PPIO's own stands in every reply.
fn without_addresses(text: &str) -> String {
    text.split_inclusive(|c: char| c.is_whitespace() || !c.is_ascii())
        .map(|word| if word.contains('@') { " " } else { word })
        .collect()
}

fn names_domain(text: &str, domains: &[String]) -> bool {
    domains.iter().map(|d| fold(d)).any(|domain| {
        text.match_indices(domain.as_str()).any(|(at, found)| {
            let left = text[..at].chars().next_back();
            let right = text[at + found.len()..].chars().next();
            !left.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '@'))
                && !right.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-')
        })
    })
}
