//! The words in which a name is anchored, or is not. Each list is read on folded words (`domain::phrase`).

/// Using, belonging, what an app keeps of a person, and what is asked of it.
pub(super) const BOUND: &[&str] = &[
    "用户|账号|账户|帐号|帐户|账|注册|使用|用的|我用|在用|用过|学员|学生|会员|听众|主播|老师|学号|编号|号码|id|uid",
    "的号|不想用|用了|不用了|数据|信息|资料|录音|录像|语音|声纹|记录|个人|隐私|头像|日志|档案|推荐|授权|同意",
    "app|软件|应用|平台|小程序|上课|课|开播|房间|频道|连麦|登录|网课|收听|听节目|玩|聊天|学",
    "注销|删除|删掉|撤回|查阅|查询|复制|更正|转移|限制|停止|导出|退订|清除|看看|想知道|骚扰|冒充|判定|违规|订单",
    "我在|本人在|他在|她在|孩子在|女儿在|儿子在|我是|本人系|本人是|我从|有没有|给我",
    "i host|i stream|i spoke|host a|host the|不再使用|不用|use|used|uses|using|user|users|username|account|accounts|id|registered|signed up|sign up|signed in|joined|member|listener|student",
    "data|information|profile|recording*|recorded|log|logs|messages|history|app|room|rooms|channel|consent|permission|stream*|held|hold|processing|process|record|advert*|promotional",
    "delete*|deletion|erase*|erasure|remove*|close|access|copy|transfer|correct|rectify|restrict|withdraw|unsubscribe|banned|harassed|been on|what you have|have on me|portability|complaint|ban",
    "出生日期|生日|昵称|我的|录|号销|销号|帮我把|客服让我|客服叫我|update my|change my|my phone|my surname|my right",
    "it was|it is|it's|have been|i was|i'm on|my name|question|lesson*|course*|follows|classes|attend*|learn*|studies|study|studying|sings|listens|plays|learner|tutor|ran on|runs on|broadcast|stream on|sell",
];

/// What an app did to the writer, or keeps of him.
pub(super) const DONE: &str = "判定|打了|评了|评成|封|禁|骚扰|冒充|泄露|收集|保存|存|录|拿|提供|共享|分享|给过|推送|推荐|限制|拒绝|识别|打分|block*|bann*|collect*|record*|share*|sharing|sold|sell*|leak*|keep*|kept|hold|holds|held|store*|do you have|did you get|has my|have my|have on me|you have|you hold|send*|know*|gave|harass*|suspend*|lock*|consent*|wrong|incorrect|misspel*|写成|写错|有误|不对";

/// What may stand beside a name that a form asks for: "App名称：…". Taken out one after the other.
pub(super) const FRAME: &[&str] = &[
    "就是",
    "用的是",
    "应用名称",
    "app名称",
    "产品名称",
    "软件名称",
    "应用",
    "软件",
    "平台",
    "产品",
    "名称",
    "名",
    "涉及",
    "所用",
    "使用",
    "关于",
    "有关",
    "用户",
    "小程序",
    "一、",
    "二、",
    "三、",
    "app name",
    "application",
    "app",
    "platform",
    "service",
    "product",
    "name",
    "regarding",
    "about",
    "the",
    "it is",
    "it's",
    "re",
    "fwd",
    "是",
    "的",
    "1",
    "2",
    "3",
    "4",
];

/// Directly before the name: the writer, or the one he cares for, uses it.
pub(super) const AT_LEAD: &str = "我在|本人在|孩子在|女儿在|儿子在|孙子在|孙女在|她在|他在|家在|都在|一直在|平时在|目前在|也在|曾在|我是|我系|本人是|本人系|本人为|用的是|使用的是|使用的app是|使用的|用的app是|用的app叫|用的应用是|应用是|软件是|平台是|app是|是我用的|注册了|下载了|装的是|我从|本人从|在用|在使用|不再使用|使用|我的|本人的|应用|i use|we use|i am using|i'm using|i have used|i've used|i have been using|i've been using|no longer use|not use|user of|users of|member of|listener of|student of|student at|student on|host on|host of|account on|account with|account at|account in|account for|accounts on|i am on|i'm on|is on|was on|i have been on|been on|uses|used|using|registered with|registered on|registered at|registered in|signed up for|signed up to|signed up with|signed up on|signed in to|joined|my|our|his|her|app is|app:|room on|rooms on|room in|channel on|lessons on|lessons in|lesson on|classes on|class on|course on|courses on|stream on|listen on|learn on|learning on|studies on|play on|data in|data on|from|name in|name on|number in|number on|account of|service at|site at|app at|website|id in|id on|id at|id for|username on|username in|user id in";

/// Directly behind the name: what only its users have, or are.
pub(super) const AT_TAIL: &str = "my profile|my name|my account|my id|my number|我听|我用|我玩|我上|不想用|不用了|的用户|用户|的注册用户|注册用户|的会员|会员|的学员|学员|的学生|的听众|听众|的主播|主播|的老师|的家长|家长|的账号|账号|的账户|账户|的帐号|帐号|的注册|上的账号|里的账号|上我的|里我的|上的个人|里的个人|的学号|学号|的编号|的id|user|users|account|accounts|profile|id|username|member|listener|student|host|login|上课|的课|上的课|里的课|连麦|里连麦|上连麦|开播|直播间|的录音|的数据|的个人|房间|里的|上的";

/// The name is a place in a story: another thing follows.
pub(super) const TELLS: &[&str] = &[
    "时候|以后|之后|换了|卸了|后来|结果|然后|换成|改用|叫我|让我|说可以|说要|说的|说用|说你们|跟我说|提到|念|写|推荐我|推荐给|推荐了|下了|下载了一|跳到|跳转|介绍|登录了|用来登录|换到|现在用|如今",
    "where|when|but|then|after|before|until i|until they|until we|until he|until she|until it|until my|mention*|told|said|says|sent me|a link|show|because|in which|from which|switched|moved to|instead|invited|found|laptop|footer|fan",
];

/// It is over: what is asked for may belong to what came after.
pub(super) const PAST: &[&str] = &[
    "以前|之前|曾经|曾|原来|原先|过去|从前|早先",
    "i used|used to|formerly|previously|years ago|in the past|once",
];

/// The name is someone else's affair, or the clause is about something else than a person's data.
pub(super) const APART: &[&str] = &[
    "朋友|同事|同学|室友|邻居|哥哥|弟弟|姐姐|妹妹|兄弟|表哥|表姐|老板|同桌|闺蜜|网友|别人|有人|人家|他们…用|说|在|推荐|玩|听|看|录|拍|传",
    "看了|看到|看见|听到|刷到|听说|读了|读到|参考|参照|比照|对比|相比|比起",
    "收购|并购|入股|投资|合并|改名|更名|带货|竞品|竞争对手|合作伙伴|一文|的文章|报道|采访|专访|新闻|这类|这样的|之类|诸如|比如|例如|像是",
    "推荐给我|推荐我|介绍我|上班|任职|就职|工作|打工|求职|应聘|面试|客户是|广告里|的广告|宣传|赞助|冠名",
    "隐私政策|隐私协议|用户协议|privacy policy|privacy notice|公司的app|who make|who makes|company that|company behind|makers of|people behind|creators of",
    "账号|账户|帐号…登录的|登陆的|一键|授权登录|快捷登录",
    "账号授权|帐号授权|账户授权|账号登录了|账号登陆了|用来登录|登录用的|登录过的邮箱",
    "客服|老师|他们|她们…说|叫我|告诉我|回复我",
    "nothing to do with|my teacher|a teacher|teacher at|work laptop|company laptop|as a fan|fan of|thinking about joining|thinking of joining|considering",
    "不是他们的|问…客服",
    "叫…的房间|的频道|的群|的节目|的歌|的聊天室",
    "别的孩子|别人的孩子|其他孩子|其他家长|班里…用|在",
    "can stay as|may stay|stays as|keep as it is|不用动|不要动|别动|保持不变",
    "same number|same email|same phone|same name|same account as|stay untouched|which i keep|leave alone|untouched",
    "客服怎么|客服如何|的人都|的人说|的人会|的人们|users of|listeners of",
    "文章|帖子|教程…教|写信|介绍|说",
    "一键登录|授权登录|快捷登录|第三方登录|sign in with|log in with|logged in with|signed in with|login with|sign-in",
    "my friend*|a friend|friends|my brother|my sister|my colleague*|a colleague|coworker*|co-worker*|my boss|my neighbour|my neighbor|my roommate|my flatmate|my cousin|my husband|my wife|my partner|everyone|people…",
    "heard|read about|saw|seen|news|an article|your article|podcast about|interview*|sponsor*|acquired|bought|merged|owned by|took over|replaced|replaces|successor|competitor*|alternative|such as|for example|compared|better than|worse than|recommended",
    "works at|work at|works for|work for|working at|working for|employed|employee|engineer|engineers|engineering|our client|my client is|contract|invoice|answered me|replied to me|listen to my|follow me|find me on|check out|subscribe to my|download|available on",
];

/// Whose words the clause is all the same.
pub(super) const OWN_USE: &[&str] = &[
    "我用的是|我用的app|我使用的|我在用|我一直用|我的用户|我的账号|我的数据|我的信息|我的个人|我的学号",
    "my user id|my account|my data|my personal|my recordings|my profile|my username|i use|i used|i am a user|i'm a user|i want",
];

/// Begins a line that a mail program or a habit puts below the letter.
pub(super) const BELOW: &[&str] = &[
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

/// A line that closes a letter.
pub(super) const CLOSES: &[&str] = &[
    "regards",
    "best",
    "kind regards",
    "best regards",
    "warm regards",
    "sincerely",
    "yours",
    "cheers",
    "thanks",
    "thank you",
    "many thanks",
    "all the best",
    "respectfully",
    "谢谢",
    "多谢",
    "感谢",
    "此致",
    "敬礼",
    "祝好",
    "祝商祺",
    "顺颂",
    "敬上",
    "致礼",
    "盼复",
];

/// What is asked for.
pub(super) const ASKED: &str = "删|注销|撤回|撤销|更正|修改|改成|改为|导出|复制|副本|查阅|查询|停止|限制|转移|关闭|清除|清空|销号|销户|退订|delete|erase|remove|close|deactivate|stop|send|export|correct|rectify|update|change|withdraw|revoke|restrict|transfer|give me|provide|forget|copy of|access to";

/// Begins a clause that asks for it, without a word of the person himself.
pub(super) const BEGINS: &[&str] = &[
    "请",
    "麻烦",
    "烦请",
    "帮",
    "希望",
    "要求",
    "申请",
    "想",
    "需要",
    "现",
    "特",
    "要",
    "删",
    "注销",
    "撤回",
    "更正",
    "导出",
    "查阅",
    "查询",
    "停止",
    "关闭",
    "清除",
    "把",
    "将",
    "please",
    "kindly",
    "delete",
    "erase",
    "remove",
    "close",
    "stop",
    "send",
    "export",
    "correct",
    "update",
    "withdraw",
    "forget",
    "could you",
    "can you",
    "would you",
    "request",
    "deletion",
    "erasure",
    "access",
];

/// Directly before a name with which one only signs in elsewhere.
pub(super) const BY_MEANS: &[&str] =
    &["with my", "using my", "via my", "through my", "with a", "with the", "through", "via"];

/// Begins what follows a name with an identifier.
pub(super) const LABELS: &str = "用户|学号|编号|账号|帐号|账户|会员|学员|听众|主播|号|id|uid|account|username|user|student|learner|listener|tutor|host|member|number|no.";

/// Behind the name in a subject: its user writes.
pub(super) const TITLED: &[&str] =
    &["用户|学员|听众|主播|会员|家长…申请|要求|请求|诉求", "user|listener|student|member…request*"];

/// Directly before the name: somebody uses it there.
pub(super) const USED: &str = "在|用|使用|于|搁|装了|卸载了|删了|应用是|软件是|问的是|through|via the app|with the app|on the app|in the app|deleted the|uninstalled|installed|using the app|use the app";

/// The writer went on to something else.
pub(super) const MOVED: &[&str] = &[
    "后来|换到|换成|换了|改用|转到|转去|搬到|跳槽|如今|现在用|现在在",
    "now he|now she|now i|now we|now they|and now|is now on|is now with",
    "switched|moved from|moved to|changed to|change to|instead|now i use|nowadays|since then|employee*|work for me|my streamers",
];

/// What was used, not what is: with [`MOVED`] the writer speaks of what came after.
pub(super) const LEFT: &[&str] = &[
    "去年|前年|上学期|那时|当时|用过|玩过|上过|听过",
    "used|was|were|last year|last spring|last term|last summer|till|until",
];

/// The writer, doing what one does there; before "on", "in" or "at" and the name.
pub(super) const DOING: &str = "i teach|i taught|i host|i sing|i perform|i play|i study|i learn|i listen|i stream|i talk|i speak|i chat|i tutor";
