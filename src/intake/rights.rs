//! Which rights a person asks for, each with the clause it stands in.
//!
//! Read clause by clause; a clause that says *not* to do it asks for nothing,
//! and is remembered, so that a subject line cannot ask for what the letter declines.

use super::negation;
use crate::domain::Right;
use crate::domain::phrase::{clauses, find, fold, says, says_any, sentences};

/// Something found and the words it was found in. Personal data.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found<T> {
    pub what: T,
    /// The clause as the person wrote it.
    pub words: String,
}

impl<T: std::fmt::Debug> std::fmt::Debug for Found<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found({:?})", self.what)
    }
}

/// A clause as it is shown as evidence.
pub fn quote(clause: &str) -> String {
    clause.trim().trim_end_matches(['，', ',', '。', ';', '；', '\n']).chars().take(160).collect()
}

struct Rule {
    right: Right,
    phrases: &'static [&'static str],
    /// With one of these in the clause the rule is silent.
    unless: &'static [&'static str],
    /// The whole sentence is read, not the clause.
    sentence: bool,
}

const DATA: &str = "信息|数据|资料|记录|日志|录音|录像|录屏|视频|音频|语音|历史|隐私|照片|头像|人脸|聊天|内容|痕迹|一切|全部|所有|东西|档案|data|information|info|records|details|everything|recording*|log|logs|history|traces|profile|footage|content|files|audio|video|it all|all of it";

macro_rules! with_data {
    ($verbs:literal) => {
        concat!($verbs, "…{data}")
    };
}

const RULES: &[Rule] = &[
    Rule {
        right: Right::Delete,
        phrases: &[
            "删除|删掉|删去|删光|删干净|抹掉|抹除|抹去|擦除|清除|遗忘权|被遗忘|忘记我",
            "删…掉|了吧|一下",
            "{kind}…删除|delete|erasure",
            with_data!("清空|清掉|清理|移除|消除|去除|去掉|销毁|作废|撤掉|剔除|抹"),
            "信息|数据|资料|记录|录音|录像|日志…清空|清掉|清理|移除|消除|去除|去掉|销毁|剔除|抹|删了",
            "不要|别|不得|不许|停止|不希望|不想|不应…保留|留存|保存|存储|存着|留着",
            "delete|deletes|deleted|deleting|deletion|erase|erased|erasing|erasure|wipe|wiped|purge|purged|expunge",
            with_data!(
                "remove|removed|removal of|removing|destroy|destroyed|scrub|clear|get rid of|take down|discard|drop"
            ),
            "remove|removing…them|these|those|it all|all of it",
            "remove me from…records|system|systems|database|databases|files|servers",
            "forget me|forget about me|right to be forgotten|be forgotten",
            "stop|not|no longer…storing|keeping|keep|store|retain|hold…{data}",
        ],
        unless: &[
            "删除了…app|软件|应用|程序|好友|群",
            "卸载",
            "本邮件|此邮件|该邮件|这封邮件|this e-mail|this email|this message|the message|this mail|this communication",
            "不良信息|负面信息|负面|差评",
            "remove|delete|take me off…mailing list|email list|distribution list|marketing list|newsletter|mailing",
            "mailing list",
            "名单|邮件列表|订阅列表|邮件组…移除|移出|删除|删掉|去掉|剔除",
            "移除|移出|删除…名单|邮件列表|订阅列表|邮件组",
            "密码",
            "how…handle|handles|handling|process|processes…deletion|erasure|requests",
        ],
        sentence: false,
    },
    Rule {
        right: Right::CloseAccount,
        phrases: &[
            "注销",
            "销号|销户|号销了|号销掉|号给销|号注销",
            "关闭|停用|取消|关停|删除|删掉…账号|账户|帐号|帐户|会员",
            "账号|账户|帐号|帐户…注销|关闭|停用|删除|删掉|删了",
            "close|closed|closing|closure of|deactivate|deactivated|terminate|terminated|cancel|delete|deleted|remove|shut down…account|accounts|acount|accout|membership|profile",
            "account…closed|closure|deactivated|terminated|deleted|deletion|cancelled",
        ],
        unless: &[
            "注销后|注销之后|注销以后|注销按钮|注销公司|税务|未注销",
            "账号|账户|帐号|帐户…里的|中的|下的|内的|的信息|的数据|的资料|关联的|相关的…删除|删掉|清除",
            "账号信息|账号数据|账号资料|账户信息|账户数据|帐号信息…删除|删掉|清除",
            "删除|删掉|清除…账号|账户|帐号|帐户…里的|中的|下的|内的|的信息|的数据|的资料|的记录|关联的|相关的|对应的",
            "删除|删掉|清除…账号信息|账号数据|账号资料|账户信息|账户数据|账户资料|帐号信息",
            "delete|deleted|remove|erase…account data|account information|account's data|account details|account records",
            "delete|deleted|remove|erase…data|information|everything|records|recording*…from my account|in my account|of my account|under my account|with my account|for my account|to my account|on my account|from the account|in the account",
        ],
        sentence: false,
    },
    Rule {
        right: Right::WithdrawConsent,
        phrases: &[
            "撤回|撤销|收回|取消|终止|解除|不再给予|撤掉…同意|授权|许可",
            "同意|授权…撤回|撤销|收回|取消|作废",
            "不再同意|不再授权|拒绝授权|不同意…处理|使用|用于|用来|拿去|收集|推荐|画像|继续|录|识别|分析|分享|共享",
            "停止|终止|不要再|别再|不得再|禁止|拒绝|不希望|不想…处理|使用|收集|采集|利用|分析|录制|识别…信息|数据|资料|声音|画面|人脸|录音|我",
            "请|要求|希望|立即|马上|即刻|现在|并|也|就|都|，|:|、…停止使用|停止处理|停止收集|停止采集|停止录制|停止共享|停止分享|停止提供",
            "停止|终止|不要再|别再|不得再|不得|禁止|拒绝|请勿|不要|不允许|反对…共享|分享|提供给|转让|对外提供|向第三方|给第三方|给其他公司|给别的公司",
            "do not|don't|stop|cease|never|not to|no longer…sell|selling|share|sharing|disclose|disclosing|passing…data|information|it|them|my|third",
            "不许再|不准再|不要再|别再|不得再|不能再|禁止再|不允许再…录|收集|采集|使用|处理|监听|识别|分析",
            "withdraw*|revoke*|revoking|rescind*|retract*|take back|cancel…consent|permission|permissions|authoris*|authoriz*|agreement",
            "take|taking|want…my consent|my permission|consent…back",
            "consent|permission…withdrawn|revoked|withdrawal|is hereby withdrawn",
            "no longer consent|no longer agree|do not consent|don't consent|not consent|no longer give…",
            "stop|cease|quit…processing|collecting|using|tracking|recording|analysing|analyzing|profiling…data|information|me|my|voice|recording*|his|her|their|them",
            "opt out|opt-out|opting out…sale|sharing|selling|processing|tracking|collection",
        ],
        unless: &[
            "账号|账户|帐号…取消",
            "取消…订单|订阅|会员|关注",
            "使用该app|使用你们的app|使用app|使用这个app",
            "我已|我于|本人已|本人于|我早已|我不再…停止使用",
            "不知道|不清楚|don't know|do not know|never know|not sure|wonder",
        ],
        sentence: false,
    },
    Rule {
        right: Right::Restrict,
        phrases: &[
            "限制|冻结|暂停|封存|中止…处理|使用|信息|数据|资料",
            "restrict*|limit|freeze|suspend…processing|use of my|my data|my information",
            "object|objecting|objection to…processing|profiling|use of my",
        ],
        unless: &["被限制|被冻结|账号|账户", "限制不了"],
        sentence: false,
    },
    Rule {
        right: Right::Access,
        phrases: &[
            "存|收集|保存|掌握|持有|保留|记录|留存|存储|采集|获取|拿到|拥有|处理|有…了|着|过|我|孩子|关于|的…哪些|什么|多少|啥",
            "哪些|什么|多少|啥…信息|数据|资料|记录|录音|东西…在你们|被|你们|存|收集|保存|掌握",
            "查询|查阅|查看|查一下|查查|查下|访问|调阅|调取|获取|看看|看一下|获知|了解|知晓|查…信息|数据|资料|记录|日志|录音|隐私",
            "提供|列出|告知|告诉|发给|出示|披露|说明|给我|公开|知道|了解…保存|持有|收集|存储|掌握|拥有|处理|存|采集|留存…信息|数据|资料|记录|录音|内容",
            "是否|有没有|有无|是不是…保存|收集|持有|存储|掌握|处理|存|留存|采集|录…我|孩子|信息|数据|资料|记录|录音",
            "有没有|是不是有|是否有|有无|是否还有…我的|我|孩子…信息|数据|资料|记录|录音",
            "从哪里|从哪儿|哪里|怎么|如何|从何…得到|获得|拿到|获取|弄到|得知|知道…我的|我…信息|数据|资料|手机|号码|邮箱",
            "信息来源|数据来源",
            "how|where…did you|have you|do you|you…get|got|obtain*|receive*|find…my|data|information|number|email|address",
            "source of|origin of…data|information|my",
            "知情权|查阅权|访问权",
            "查一下|查查|查下|看看|看下|告诉我|说说…你们|贵司|贵公司|那边…有什么|有啥|存了什么|有哪些|还有什么",
            "你们那里|你们那儿|你们那边|你们那|你们这里|你们这边|贵司那边…有没有|是否|是不是|还…存|保存|保留|留着|录着",
            "{kind}…查阅|查询|访问|access",
            "whether|if you…process|processing|hold|holding|have|store|keep|collect*…my|me",
            "在你们那里吗|在你们那儿吗|在不在你们|是不是在你们",
            "tell|let|inform|show|know|list|find out|disclose|confirm|see|learn|ask|explain|send…what…have|had|hold|held|store|stored|keep|kept|collect*|data|information|know",
            "what|which…data|information|records|details…do you|you have|you hold|you store|you keep|you collect*|have you|did you|is held|are held|is stored",
            "what do you|what you|what did you|what have you…have|hold|know|store|keep|collect*|stored|had|held|got…me|my|data|us|child|son|daughter",
            "access to|access…my|our|his|her|the|personal…data|information|records|recordings",
            "see|view|inspect|review…my|all my|the personal|all the…data|information|records",
            "subject access|access request|right of access|dsar|right to access|right to know",
            "whether|do you|if you|does ppio…hold|have|process|store|keep|collect…data|information|records|recording*|anything…me|my",
        ],
        unless: &[
            "副本|拷贝|复制件|导出|copy of|copies of|export",
            "无法访问|不能访问|cannot access|can't access|could not access|couldn't access",
            "不知道|不清楚|不记得|忘了|don't know|do not know|not sure|don't remember|forgot",
            "提供|发送|准备|给你们|需要我…什么材料|哪些材料|什么信息给|什么证明|哪些证明",
            "what|which…do you need|you need|should i|information do i|documents",
            "解释|申诉|人工",
            "提供…服务|sdk|技术支持",
            "有没有|是否|是不是|有无…给过|给了|提供给|提供过|共享|分享|转给|泄露|卖给|披露",
            "有没有|是否|是不是|有无…把…给",
            "什么时候|什么意思|为什么|有什么用",
            "怎么|如何…查看|查询",
        ],
        sentence: false,
    },
    Rule {
        right: Right::ExplainUseAndSharing,
        phrases: &[
            "给过|给了|提供给|提供过|分享给|分享过|共享给|共享过|披露给|披露过|转给|传给|卖给|卖过|交给|泄露给|透露给|流向…谁|哪些|哪家|哪个|什么人|第三方|何人|别人|他人|其他公司|了谁",
            "向谁|向哪些|向何人|跟谁|和谁|与谁|同谁|与哪些|和哪些|对谁|向什么…分享|共享|提供|披露|透露|转让|转移|公开",
            "哪些|什么|是否|有没有…第三方|公司|机构|人|接收方|合作方…分享|共享|提供|披露|拿到|接触|获得|接收|给",
            "分享|共享|提供|披露|给…第三方|其他公司|别人|谁|哪些公司|他人…吗|没有|没|哪|了谁|过谁|情况|名单",
            "怎样|如何|怎么|拿来|用来|用于|为何…使用|处理|利用|用我|用孩子|用这些|用它|做什么|干什么|干嘛",
            "会不会|是否会|是不是|有没有|是否|会…拿去|拿来|用来|用于|用去…训练|推荐|广告|分析|别的|其他|商业|ai",
            "使用目的|处理目的|使用方式|处理方式|用途|共享情况|共享名单|接收方|分享情况|共享的第三方",
            "用在|用到…哪|什么",
            "被谁|谁|哪些人|什么人…听过|看过|访问过|查看过|拿到过|能看到|能听到|接触过",
            "who|whom|which companies|which parties|which third|what third|anyone…shared|share|sold|sell|gave|give|given|disclos*|passed|pass|received|receive|got|has access|have access|transfer*",
            "shared|share|sold|sell|gave|given|disclos*|passed|transferred|sharing…with whom|to whom|who|with which|which companies|which third|with anyone|to anyone|third parties|any third|other companies",
            "know|knowing|told|learn…recipients|the recipients",
            "third parties|recipients|third-party…list|name|names|who|received|shared|which",
            "list of|identity of|names of|all…recipients|third parties",
            "how|why|for what|what for…you|is|was|it's|are|being|do you|did you|ppio…use|used|using|process|processed|processing|handle|need",
            "purpose|purposes…processing|use|collect*|process*|data",
            "what|used…use it for|using it for|used for|use my data for|do with my|doing with my|do with it|done with my",
        ],
        unless: &[
            "sdk…怎么用|如何使用|怎么接入|如何集成",
            "怎么用|如何使用|如何接入|怎么接入…sdk|api|接口|功能",
            "how…to use|do i use|can i use",
            "怎样|如何|怎么…删除|注销|申请|办理|行使|更正|撤回|投诉",
            "how|why…delet*|decision|decided|banned|automat*|suspend*",
            "发给谁|交给谁|应当发|应该发|材料|证明|提交给谁|联系谁|找谁",
            "我应|我该|who should i|who do i|whom should|who can i",
            "自动|算法|封禁|封号|判定",
        ],
        sentence: false,
    },
    Rule {
        right: Right::Correct,
        phrases: &[
            "更正|改正|纠正|订正|勘误|修正…{field}",
            "{field}…更正|改正|纠正|订正|修正|改为|改成|换成|更新为|变更为|修改为|改一下|改过来",
            "更正|改正|纠正|订正",
            "请|要求|希望|申请|帮|麻烦|需要|想|把|将|要…修改|更改|更新|变更|补充|完善|补全|改…{field}",
            "修改|更改|变更|补充|完善|补全|更新…我的|个人…{field}",
            "{field}…写错|有误|错误|不对|不准确|不完整|错了|过时|不正确…",
            "改一下|改过来|更新一下|换一下",
            "rectif*",
            "correct|fix|amend|update|change|complete|edit|revise…my|our|the|his|her|this|that…{field}",
            "correct|amend|fix…{field}",
            "{field}…is wrong|are wrong|is incorrect|are incorrect|is inaccurate|inaccurate|out of date|outdated|misspelled|misspelt|is spelled wrong|needs correcting|need correcting|be corrected|should be|should read|to be updated|be updated",
            "correction|rectification…of|to",
        ],
        unless: &[
            "密码|password",
            "版本|sdk|app更新",
            "隐私政策|privacy policy",
            "is it correct|is that correct|is this correct|if i am correct|correct me|correctly",
            "手续费|价格",
        ],
        sentence: false,
    },
    Rule {
        right: Right::ExplainAutomatedDecision,
        phrases: &[
            "自动|算法|机器|系统|人工智能|模型|非人工|ai|机审…决策|判定|识别|判断|审核|封禁|封号|评分|打分|推荐|拒绝|处罚|违规|禁言|限流|画像|定价",
            "人工复核|人工复审|人工审核|人工重新审核",
            "automat*|algorithm*|machine|ai|system|bot…decision|decisions|decid*|profil*|moderat*|bann*|ban|flag*|reject*|suspend*|block*|scor*|classif*|detect*|judg*",
            "封禁|封号|禁言|限流|判定|判为|拒绝…自动|算法|机器|人工智能|ai",
            "bann*|suspend*|block*|reject*|flag*|terminat*|denied|declined…automat*|algorithm*|bot|ai|machine",
            "human review|reviewed by a human|human intervention|review by a person|reviewed by a person",
        ],
        unless: &[],
        sentence: true,
    },
    Rule {
        right: Right::Copy,
        phrases: &[
            "副本|拷贝|复制件|备份…一份|给我|发我|我的|信息|数据|资料|提供|获取|索取|要",
            "提供|获取|索取|要|给我|发我|发给|得到|复制|拷贝…副本|拷贝|复制件|一份…",
            "导出|下载|打包|复制…信息|数据|资料|记录|录音|给我|发我",
            "信息|数据|资料|记录|录音…导出|打包|拷贝|复制|拷一份",
            "copy|copies of|duplicate of|export|extract of|download…一份|数据|信息|资料|记录|录音|data|information|records|everything|recording*|logs|what you|all|it|details|file",
            "data…copy|export|download|exported",
            "send|give|provide|get|receive|want|need|have|email|obtain|request*…a copy|copies",
            "send me|give me|email me|forward me|mail me…everything|all of it|all my data|all the data|my data|the data",
            "{kind}…复制|副本|拷贝|copy",
            "portable|machine-readable|machine readable|structured format",
        ],
        unless: &[
            "身份证|户口|护照|证件|营业执照|出生证|关系证明|passport|id card|identity|birth certificate|licence|license|driver's|my id",
            "copy of this|cc|carbon copy|抄送",
            "下载了|下载安装|下载过|i downloaded",
        ],
        sentence: false,
    },
    Rule {
        right: Right::Transfer,
        phrases: &[
            "转移|迁移|转给|转到|转至|移交|传输|携带|转存|迁到|导入到|转入…第三方|平台|公司|到|给|至|应用|服务商|账号",
            "信息|数据|资料|记录…转移|迁移|转给|转到|转至|移交|传输|迁到|转存",
            "可携带权|可携带|数据携带|转移权",
            "transfer|transferred|port|move|migrate|transmit|hand over|forward…data|information|records|recordings…to|over",
            "data portability|portability|portable to",
            "send|transfer|give…my data|my information|my records|all my data|it…directly to|straight to|to another|to a different|to my new",
        ],
        unless: &[
            "转告|转达|我的请求|此请求|本邮件|这封|request|email|complaint",
            "是否|有没有|向谁|给过|谁|whether|who|whom|did you|have you",
            "出境|境外",
        ],
        sentence: false,
    },
    Rule {
        right: Right::MarketingOptOut,
        phrases: &[
            "退订|取消订阅|拒收",
            "别再发了|不要再发了|别再发啦|请勿再发|不要发了|别发了|不要再打扰|别再打扰",
            "从…名单|列表|邮件组|通讯录|收件人…移除|移出|删除|删掉|去掉|拿掉|剔除|划掉",
            "移除|移出|退出…名单|邮件列表|订阅列表|邮件组",
            "不要再|别再|停止|请勿再|不再|勿再|别|不要|禁止|请勿|拒绝…给我发|发送|推送|打电话|发短信|发邮件|联系我|骚扰|推销|推广|营销|来电|发广告|群发",
            "不想|不希望|不愿|不要|拒绝|停止|不再|无需…收到|接到|接收|接受|再收|收你们…邮件|短信|广告|推广|营销|推送|电话|信息|资讯|商业",
            "拒绝|关闭|停止|取消|退出|终止…营销|推广|广告|商业|促销|个性化推荐|推送",
            "营销|推广|广告|商业…退出|停止|拒绝|取消|不要",
            "unsubscrib*|opt out|opt-out|opting out|opted out",
            "stop|cancel|end|no…newsletter|newsletters|mailings|promotions|promotional|marketing|announcements|invitations",
            "take me off|remove me from|get me off|remove my…list|lists|newsletter|newsletters|mailings|mailing",
            "stop|quit|cease…sending|emailing|e-mailing|calling|contacting|texting|spamming|marketing|mailing|promotional|newsletters|ads",
            "no more|don't want|do not want|no longer want|not want|don't wish|not wish|no longer wish|not like|don't send|do not send|never send…email|emails|e-mails|newsletter|newsletters|marketing|promotional|promotions|advertising|ads|calls|messages from you",
            "do not|don't|never|please don't…contact me|email me|call me|spam me|market to me",
        ],
        unless: &[
            "若|如果|如不|如您|if you|should you|点击|click|回复“退订|回复\"退订|回复退订|reply",
            "opt out|opt-out|opting out…sale|sharing|selling|processing|tracking|collection",
            "信息给|把我的信息",
        ],
        sentence: false,
    },
];

const FIELD: &str = "信息|数据|资料|手机号|手机|电话|邮箱|姓名|名字|昵称|生日|出生|地址|公司|职位|性别|身份证|头像|号码|联系方式|档案|记录|name|phone|number|email|e-mail|address|birth|birthday|data|information|details|record|records|profile|spelling|surname|gender|job title|company|age";

/// What a form writes before the right that is asked for.
const KIND: &str = "申请类型|请求类型|请求事项|申请事项|诉求|请求内容|申请内容|权利类型|行使的权利|行使权利|事项|request type|type of request|rights requested|right requested";

/// The object of closing is the account alone: then nothing else was asked to be deleted.
const ACCOUNT_ONLY: &[&str] = &[
    "删除|删掉…账号|账户|帐号|帐户|会员",
    "账号|账户|帐号|帐户…删除|删掉|删了",
    "delete|deleted|deletion of|remove|erase…account|accounts|membership",
    "account…deleted|deletion",
];
const PERSONAL: &str = "信息|数据|资料|记录|日志|录音|录像|视频|全部内容|一切|所有|data|information|info|records|recording*|logs|history|everything|details|files";

/// What was asked for, and what was said not to be done.
#[derive(Default)]
pub struct Asked {
    pub rights: Vec<Found<Right>>,
    pub declined: Vec<Right>,
}

/// Reads a text.
pub fn read(text: &str) -> Asked {
    let mut out = Asked::default();
    let fold_rules: Vec<(&Rule, Vec<String>)> = RULES
        .iter()
        .map(|rule| {
            (
                rule,
                rule.phrases
                    .iter()
                    .map(|p| p.replace("{data}", DATA).replace("{field}", FIELD).replace("{kind}", KIND))
                    .collect(),
            )
        })
        .collect();
    // A decision may be told in one sentence and questioned in the next.
    let questioned = sentences(text).into_iter().find(|s| questions_decision(&fold(s)));
    for sentence in sentences(text) {
        let whole = fold(sentence);
        for (rule, phrases) in fold_rules.iter().filter(|(r, _)| r.sentence) {
            if phrases.iter().any(|p| says(&whole, p)) {
                if explained(&whole) {
                    add(&mut out.rights, rule.right, sentence);
                } else if let Some(question) = questioned {
                    add(&mut out.rights, rule.right, question);
                }
            }
        }
        for clause in clauses(sentence) {
            let folded = fold(clause);
            if let Some(right) = bare(&folded) {
                add(&mut out.rights, right, clause);
            }
            for (rule, phrases) in fold_rules.iter().filter(|(r, _)| !r.sentence) {
                judge(rule, phrases, clause, &folded, &mut out);
            }
        }
    }
    // "I asked you to close it. No longer needed": what was told is not asked again.
    let Asked { rights, declined } = &mut out;
    rights.retain(|found| !(declined.contains(&found.what) && negation::tells(&fold(&found.words))));
    out
}

/// A clause that is nothing but the name of a right, as in a numbered list.
fn bare(folded: &str) -> Option<Right> {
    const MARKS: &str = "0123456789().、:-*•①②③④⑤⑥⑦⑧⑨⑩一二三四五六七八九十";
    let word =
        folded.trim_matches(|c: char| c.is_whitespace() || MARKS.contains(c) || ",;，；。".contains(c));
    let word =
        word.strip_prefix("and ").unwrap_or(word).trim_matches(|c: char| c == ' ' || MARKS.contains(c));
    Some(match word {
        "查阅" | "查询" | "访问" | "access" | "right of access" => Right::Access,
        "复制" | "副本" | "copy" | "a copy" | "查阅、复制" => Right::Copy,
        "转移" | "可携带" | "portability" => Right::Transfer,
        "更正" | "补充" | "correction" => Right::Correct,
        "解释说明" => Right::ExplainUseAndSharing,
        _ => return None,
    })
}

/// An explanation, a reason or a second look is asked for.
fn explained(sentence: &str) -> bool {
    says_any(
        sentence,
        &[
            "解释|说明|申诉|为什么|为何|原因|理由|依据|复核|复审|异议|不服|救济|凭什么|怎么判",
            "explain*|explanation|why|reason|reasons|appeal|human|logic|contest|review|challenge|object|a person|real person",
            "how…decid*",
        ],
    )
}

/// A decision told elsewhere is questioned here.
fn questions_decision(sentence: &str) -> bool {
    explained(sentence)
        && says_any(
            sentence,
            &[
                "决定|决策|判定|封禁|封号|处罚|违规|复核|复审|申诉|异议|不服|救济",
                "decision|logic|ban|banned|suspension|suspended|appeal|contest|human|challenge|a person|real person",
            ],
        )
}

fn judge(rule: &Rule, phrases: &[String], clause: &str, folded: &str, out: &mut Asked) {
    let hit = phrases.iter().find_map(|phrase| find(folded, phrase));
    let Some((start, end)) = hit else { return };
    if says_any(folded, rule.unless) || negation::is_past(folded, start, end) || negation::offers(folded) {
        return;
    }
    if rule.right == Right::Delete && says_any(folded, ACCOUNT_ONLY) && !says(folded, PERSONAL) {
        return;
    }
    // These phrases carry their own "not".
    let own_not = matches!(rule.right, Right::MarketingOptOut | Right::WithdrawConsent)
        || rule.right == Right::Delete && negation::opens_with_not(&folded[start..end]);
    let declined = match rule.right {
        Right::MarketingOptOut | Right::WithdrawConsent => negation::declines_verb(folded, start, end),
        _ => !own_not && negation::declines(folded, start),
    };
    if declined {
        if !out.declined.contains(&rule.right) {
            out.declined.push(rule.right);
        }
        return;
    }
    add(&mut out.rights, rule.right, clause);
}

fn add(rights: &mut Vec<Found<Right>>, right: Right, words: &str) {
    if !rights.iter().any(|r| r.what == right) {
        rights.push(Found { what: right, words: quote(words) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Right::*;

    fn asked(text: &str) -> Vec<Right> {
        let mut rights: Vec<Right> = read(text).rights.into_iter().map(|f| f.what).collect();
        rights.sort();
        rights
    }

    #[test]
    fn the_many_ways_to_ask_in_chinese() {
        for (text, expected) in [
            ("请删除我的全部个人信息", vec![Delete]),
            ("请把我的录音都清除", vec![Delete]),
            ("请将我的数据全部抹掉", vec![Delete]),
            ("我的资料请销毁", vec![Delete]),
            ("请不要再保留我的任何数据", vec![Delete]),
            ("请注销我的账号", vec![CloseAccount]),
            ("帮我把账号删了", vec![CloseAccount]),
            ("请注销账号并删除全部数据", vec![Delete, CloseAccount]),
            ("我要撤回同意", vec![WithdrawConsent]),
            ("现撤销此前给予你们的授权", vec![WithdrawConsent]),
            ("请停止处理我的个人信息", vec![WithdrawConsent]),
            ("请限制处理我的个人信息", vec![Restrict]),
            ("你们存了我哪些信息？", vec![Access]),
            ("我想查询我的个人信息", vec![Access]),
            ("请告知你们是否保存了我的录音", vec![Access]),
            ("我的信息给过谁？", vec![ExplainUseAndSharing]),
            ("请说明把我的数据共享给了哪些第三方", vec![ExplainUseAndSharing]),
            ("你们拿我的数据做什么用途？", vec![ExplainUseAndSharing]),
            ("请更正我的手机号", vec![Correct]),
            ("我的姓名写错了，请修改姓名", vec![Correct]),
            ("请提供一份我的个人信息副本", vec![Copy]),
            ("请把我的数据导出来发给我", vec![Copy]),
            ("请将我的数据转移到另一家平台", vec![Transfer]),
            ("退订", vec![MarketingOptOut]),
            ("不要再给我发广告邮件了", vec![MarketingOptOut]),
            ("我不想再收到你们的推广短信", vec![MarketingOptOut]),
            ("系统自动判定我违规并封号，请解释原因", vec![ExplainAutomatedDecision]),
            ("我对算法推荐的结果有异议，要求人工复核", vec![ExplainAutomatedDecision]),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn the_many_ways_to_ask_in_english() {
        for (text, expected) in [
            ("Please erase my personal data.", vec![Delete]),
            ("I want my data deleted.", vec![Delete]),
            ("Kindly remove all my information from your servers", vec![Delete]),
            ("I invoke my right to be forgotten", vec![Delete]),
            ("please close my account", vec![CloseAccount]),
            ("Please delete my account.", vec![CloseAccount]),
            ("Delete my account and all my data", vec![Delete, CloseAccount]),
            ("I withdraw my consent", vec![WithdrawConsent]),
            ("Stop processing my personal data", vec![WithdrawConsent]),
            ("Please restrict the processing of my data", vec![Restrict]),
            ("What data do you have about me?", vec![Access]),
            ("This is a subject access request.", vec![Access]),
            ("Who have you shared it with?", vec![ExplainUseAndSharing]),
            ("With whom was my data shared?", vec![ExplainUseAndSharing]),
            ("Tell me how you use my data", vec![ExplainUseAndSharing]),
            ("Please correct my phone number", vec![Correct]),
            ("My name is misspelled, please fix my name", vec![Correct]),
            ("Send me a copy of my data", vec![Copy]),
            ("Please transfer my data to Foo Ltd", vec![Transfer]),
            ("unsubscribe me", vec![MarketingOptOut]),
            ("Please stop sending me marketing emails", vec![MarketingOptOut]),
            (
                "I was banned by an automated decision. Please explain the automated decision",
                vec![ExplainAutomatedDecision],
            ),
            (
                "My account was flagged by an algorithm and I want a human review",
                vec![ExplainAutomatedDecision],
            ),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_declined_is_not_asked_for() {
        for (text, expected) in [
            ("请不要注销我的账号", vec![]),
            ("不需要删除我的数据，只想更正手机号", vec![Correct]),
            ("无需删除", vec![]),
            ("我不是要求删除，而是要更正姓名", vec![Correct]),
            ("I do not want you to delete my data", vec![]),
            ("Please don't close my account, just delete my data", vec![Delete]),
            ("No need to delete anything. I only want a copy of my data.", vec![Copy]),
            ("I am not asking you to erase it", vec![]),
            ("我没有要撤回同意", vec![]),
            ("我不想退订", vec![]),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn a_not_that_belongs_elsewhere_declines_nothing() {
        for (text, expected) in [
            ("我不想再用了请删除我的信息", vec![Delete]),
            ("I do not use it any more so please delete my data", vec![Delete]),
            ("如果你们不删除我的数据，我将投诉", vec![Delete]),
            ("If you do not delete my data I will complain", vec![Delete]),
            ("不要再联系我并删除我的数据", vec![Delete, MarketingOptOut]),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_person_did_already_is_not_asked_for() {
        for text in [
            "我已经删除了App",
            "我已注销账号",
            "I deleted the app last year",
            "I have already closed my account",
            "我已卸载",
            "如误收本邮件请立即删除本邮件",
            "If you are not the recipient please delete this email",
            "若不想收到本邮件，请回复“退订”",
            "我可以提供户口本复印件，请告诉我应当发给谁",
            "SDK 怎么接入？",
            "How do I use your API?",
        ] {
            assert_eq!(asked(text), vec![], "{text}");
        }
    }

    #[test]
    fn each_right_carries_its_clause() {
        let got = read("你好，请删除我的信息。谢谢");
        assert_eq!(got.rights[0].words, "请删除我的信息");
        assert!(!format!("{:?}", got.rights).contains("信息"));
    }
}
