//! Whether the words come from a person whose data it is: he speaks of himself (or of the one he cares
//! for) or gives an identifier; and he does not write as the press, a lawyer, a researcher or a company.
//!
//! A name that a journalist asks about, or a company's engineer writes of, brings no enterprise a mail.

use super::{FactKind, Facts, matching};
use crate::domain::phrase::{clauses, fold, says, says_any};

/// "I" as the one who asks, has heard or writes: no word about one's own data.
const FRAMES: &[&str] = &[
    "我们公司",
    "我们",
    "我司",
    "我方",
    "我公司",
    "我单位",
    "我校",
    "我所",
    "我想问",
    "我想请问",
    "我想请教",
    "我想咨询",
    "我想了解",
    "我想知道",
    "我希望了解",
    "我希望知道",
    "我要问",
    "我要咨询",
    "我请问",
    "告诉我",
    "答复我",
    "回复我",
    "联系我",
    "我正在写",
    "我在写",
    "我在做",
    "我正在做",
    "我写",
    "我听说",
    "我听",
    "我看到",
    "我看了",
    "我看见",
    "我看",
    "我读",
    "我刷到",
    "我发现",
    "我注意到",
    "我觉得",
    "我认为",
    "我知道",
    "我记得",
    "我朋友",
    "我的朋友",
    "我同事",
    "我的同事",
    "我同学",
    "我的同学",
    "我室友",
    "我的室友",
    "我老板",
    "我的老板",
    "我邻居",
    "我的邻居",
    "我的客户",
    "我的当事人",
    "我的文章",
    "我的论文",
    "我代表",
    "我也是听",
    "据我所知",
    "跟我说",
    "和我说",
    "对我说",
    "推荐给我",
    "给我推荐",
    "推荐我",
    "介绍给我",
    "介绍我",
    "i would like to know",
    "i'd like to know",
    "i want to know",
    "i would like to ask",
    "i wonder",
    "i was wondering",
    "i am wondering",
    "i am asking",
    "could you tell me",
    "can you tell me",
    "please tell me",
    "tell me",
    "told me",
    "let me know",
    "i am writing",
    "i'm writing",
    "i write",
    "i read",
    "i heard",
    "i hear",
    "i saw",
    "i see",
    "i found",
    "i know",
    "i understand",
    "i believe",
    "i think",
    "i guess",
    "i represent",
    "i hope",
    "i mean",
    "my client",
    "my clients",
    "my article",
    "my paper",
    "my thesis",
    "my research",
    "my company",
    "my employer",
    "my team",
    "my students",
    "my question",
    "contact me",
    "reply to me",
    "answer me",
    "answered me",
    "showed me",
    "sent me here",
    "recommended to me",
];

/// The writer, or the child or parent he writes for.
const SELF: &str = "我|本人|孩子|女儿|儿子|孙子|孙女|外孙|侄子|外甥|母亲|父亲|妈妈|爸爸|老人|她|他|学员|i|me|my|mine|myself|i'm|i've|i'd|our daughter|our son|our child|her|his|he|she";

/// Whether the (folded) words speak of the writer himself or of the one he writes for.
pub(super) fn speaks_of_self(words: &str) -> bool {
    let bare = FRAMES.iter().fold(words.to_owned(), |w, frame| without(&w, frame));
    says(&bare, SELF)
}

/// `words` without the frame, where it is whole words.
fn without(words: &str, frame: &str) -> String {
    let mut rest = words.to_owned();
    for _ in 0..8 {
        let Some((start, end)) = crate::domain::phrase::find(&rest, frame) else { break };
        rest.replace_range(start..end, " / ");
    }
    rest
}

/// What stands before the value of an identifier.
const LABELS: &str = "用户id|用户号|用户编号|用户名|用户|会员号|会员id|会员编号|会员|账号|帐号|账户|帐户|学号|学员号|学员编号|学员|听众号|听众|主播id|主播|编号|号码|uid|id|user id|userid|user|username|user name|user number|account|account number|login|member number|member|student number|student|listener|handle|nickname|profile";

/// Whether the (folded) words give an identifier: a label, and a value with a digit or a mark in it.
pub(super) fn gives_identifier(words: &str) -> bool {
    let mut from = 0;
    while let Some((_, end)) = words.get(from..).and_then(|rest| crate::domain::phrase::find(rest, LABELS)) {
        let rest = &words[from + end..];
        let gap = rest.trim_start_matches(|c: char| " 是为:=(（「“\"'叫的#-\r\n".contains(c) || c == '号');
        let gap = ["is ", "was ", "here ", "id ", "number ", "no. ", "no ", "name "]
            .iter()
            .fold(gap, |g, w| g.strip_prefix(w).unwrap_or(g))
            .trim_start_matches([' ', ':', '"', '#']);
        // "YT 815530": a short head parted from its number.
        let head = gap.chars().take_while(char::is_ascii_alphabetic).count();
        let number = gap[head..].trim_start_matches(' ').chars().take_while(char::is_ascii_digit).count();
        if (1..=4).contains(&head) && gap[head..].starts_with(' ') && number >= 3 {
            return true;
        }
        let value: String =
            gap.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-.@*".contains(*c)).collect();
        let long = value.chars().count() >= 2;
        if long && value.contains(|c: char| c.is_ascii_digit() || "_-@".contains(c)) {
            return true;
        }
        from += end;
    }
    words.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).any(is_like_an_id)
}

/// "u_5512870", "dx-290113": letters, a mark, digits.
pub(super) fn is_like_an_id(token: &str) -> bool {
    let Some((head, tail)) = token.split_once(['_', '-']) else { return false };
    head.starts_with(|c: char| c.is_ascii_alphabetic())
        && head.len() <= 12
        && tail.chars().filter(char::is_ascii_digit).count() >= 3
        && !tail.contains(['_', '-'])
}

/// Words of the press, of the law's and of learning's business, of the trade, of the police: whoever uses
/// them may also be the person himself, but a person shall see that first.
const ROLES: &[&str] = &[
    "记者|采访|报社|电视台|杂志社|编辑部|约稿|撰稿|供稿|媒体朋友|自媒体|专栏|一文|推文|科普|选题",
    "在写|写一篇|写了篇|写篇|写稿|撰写|做一期|做期…文章|稿|公众号|视频|节目|评测|测评",
    "论文|课题|毕业设计|调研|问卷|课程作业|学术|研究项目|做研究|法律研究|研究生|博士生|案例分析|访谈",
    "律师函|律师事务所|本所|本律师|受托代理|法律顾问|法务|当事人",
    "我是|我们是|作为…律师",
    "受当事人|受客户|受公司|受企业|受雇于",
    "代表|我代理|代理的…公司|企业|客户|平台|用户们|多名|数名|多位",
    "数据处理协议|委托处理|处理者协议|服务合同|采购|招标|投标|续签|商务|竞品|尽调|尽职调查|审计|备案|供应商|合作方|渠道商|代理商",
    "协助调查|调取|办案|公安局|派出所|检察院|执法|传票|法院令",
    "所有用户|全部用户|全体用户|批量|用户名单|大量用户|每位用户|一批用户",
    "应聘|求职|简历|面试|岗位|投资人|股东|投资方|融资",
    "只是好奇|随便问问|假如|假设|如果有人|如果一个用户|如果用户|若用户|若某用户|如果我是|要是我是|万一我|如果我以后|如果以后|再注册|先问清楚|打算注册|考虑注册|我打算用|正打算用|也打算用|打算用用|准备用",
    "journalist|reporter|newspaper|magazine|newsroom|press|editor|freelance*|deadline for|comment for|podcast host",
    "writing|write|wrote|working on…article|story|piece|paper|thesis|dissertation|essay|blog|report|review|book|guide",
    "researcher|research|survey|study of|case study|phd|my thesis|dissertation|coursework|university project|class project|student project|questionnaire",
    "lawyer|attorney|counsel|law firm|solicitor|paralegal|barrister|legal team|legal department|we act for|acting for|act on behalf|claimant|litigation|legal hold|defendant|plaintiff|our client*|my client*|dpo of|dpo at|data protection officer of|data protection officer at",
    "processing agreement|service agreement|master agreement|contract|invoice|our vendor|vendor assessment|a supplier of|as a supplier|procurement|partnership|investor*|due diligence|audit|auditor|compliance team|competitor",
    "our app|our product|our platform|our users|our customers|our listeners|our students|our company|our startup|our sdk|our team|our backend|we are building|we build|we operate|we run",
    "police|subpoena|court order|law enforcement|prosecutor|investigator*",
    "as…the operator of|the provider of|the owner of|the developer of|the publisher of",
    "all users|every user|in bulk|bulk|batch of|list of users|inactive accounts|other users|many users|users in general",
    "a candidate|recruit*|her cv|his cv|applying for|job application|my resume|my cv|internship|vacancy|hiring",
    "当例子|举例|范例|范文|模板|照抄|不用真的|某某|【填|课上布置|老师布置|老师让我们写|老师要求写",
    "homework|assignment|template|sample letter|sample request|example letter|lorem",
    "写错了|搞错了|弄错了|说错了|发错了|记错了…应该|不是|其实",
    "代表|代…位|名用户|个人申请|人申请|人的",
    "我不是她|我不是他|不是本人|前女友|前男友|前机主|前妻|前夫|别告诉|他们的用户|她们的用户",
    "not their user|not a user|not their customer|not his|not her data|ex-girlfriend|ex-boyfriend|my ex",
    "测试邮件|这是测试|请勿处理|不要处理这|联调|验收测试|第三方开发|官方没关系|跟官方",
    "our qa|test mail*|this is a test|a test of|do not act on|integrating your|we are integrating",
    "我猜|看着像|估计是|不确定是|maybe it|i guess it|not sure if|not sure which|might be the app",
    "班主任|我班|全班|名学生|学生们|家长都|名单见附件|名单如下|几个人|多个人|几位|四个人|三个人|五个人|群里的人|大家的|我们几个|我们宿舍|代大家",
    "for two|three|four|five|six|several|many|some…people|persons|users|members|friends|colleagues|of us|cousins|siblings|brothers|sisters|relatives|neighbours|neighbors|roommates|classmates",
    "requests for|i collect|collected requests|our club|our group|our class of",
    "just curious|hypothetical*|if someone|if a user|if i were|if i was|suppose|what happens if|does a user|do users|can users|let users|lets users|letting users|how users|how do parents|how can parents|how parents",
];

/// Who writes for an enterprise, where its name stands in the same clause.
const STAFF: &str = "工程师|产品经理|运营|技术|开发|研发|法务|合规|市场部|商务|负责人|项目经理|编辑|人事|hr|招聘|实习|员工|同事|团队|engineer*|developer*|product manager|operations|operator of|compliance|marketing|manager|team|staff|employee*|intern|founder|ceo|cto|head of|works at|work at|work for|works for|working at|working for|work in|working in|employed";

/// Of these who says it is a user all the same.
const USER: &str = "用户|学员|学生|会员|听众|主播|家长|user|listener|student|member|customer of";

/// Directly behind an enterprise's name: "…的产品经理".
fn is_of_its_staff(text: &[char], end: usize) -> bool {
    let rest: String = text[end..].iter().take(14).collect();
    let rest = fold(&rest);
    let rest = rest.trim_start_matches(['”', '」', '》', '"', ' ']);
    let rest = ["app", "公司", "平台", "软件", "'s"].iter().fold(rest, |r, w| r.strip_prefix(w).unwrap_or(r));
    let rest = rest.trim_start_matches(['的', ' ']);
    STAFF.split('|').any(|w| {
        !w.is_ascii() && rest.starts_with(w) && !matches!(w, "开发" | "技术" | "运营" | "员工" | "编辑")
    })
}

/// Whether the writer may be no data subject at all: the press, a lawyer, a researcher, an enterprise's staff.
pub(super) fn may_be_no_subject(text: &str, facts: &Facts) -> bool {
    let folded = fold(text);
    if says_any(&folded, ROLES) {
        return true;
    }
    let chars: Vec<char> = text.chars().collect();
    if matching::sightings(text, facts).iter().any(|s| is_of_its_staff(&chars, s.end)) {
        return true;
    }
    clauses(text).iter().any(|clause| {
        let words = fold(clause);
        says(&words, STAFF)
            && !says(&words, USER)
            && says(
                &words,
                "我是|我们是|作为|本人是|本人系|任职|就职|i am|i'm|we are|we're|as|i work|i am with|from",
            )
            && matching::sightings(clause, facts)
                .iter()
                .any(|s| matches!(s.kind, FactKind::Name | FactKind::Alias | FactKind::Company))
    })
}
