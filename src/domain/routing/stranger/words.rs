//! The words around a name that nobody registered; each list parted by `|`.

/// Labels of an identifier, and what an app keeps.
pub(super) const LABELS: &str = "\
    用户id|用户号|用户编号|用户名|用户|会员|账号|帐号|账户|帐户|学号|学员|听众|主播|uid|id|编号|app|\
    客户端|数据|录音|录像|个人信息|信息|资料|直播间|直播id";

/// An app's name follows.
pub(super) const USES: &str = "\
    就是用|,叫|用的是|使用的是|玩的是|下载的是|用的app是|注册的是|听的是|上的是|用的app叫|软件叫|平台叫|app叫|\
    应用叫|软件是|平台是|软件:|应用:|平台:|app:|软件名称:|应用名称:|产品:|产品名称:|我用|我在用|一直用|\
    一直在用|平时用|现在用|我玩|玩过|用过|听过|装过|注册过|下载过|我下载了|我装了|我使用|要删的是|要注销的是|同意的是|换成了|换成|改用|\
    转用|换到|软件名字叫|软件名叫|名字叫|软件名是|应用名是|应该是|app名字叫|我说的是|指的是|我要删的是|\
    问的是|投诉的是";

/// An app's name follows, where one of `CLOSES` stands behind it.
pub(super) const PLACES: &str = "\
    是|我在|本人在|女儿在|儿子在|孩子在|妈在|爸在|她在|他在|删除|注销|删掉|清除|导出|其实是|我是|本人是|\
    本人系|我要删";

/// Closes a name behind one of `PLACES`.
pub(super) const CLOSES: &str = "\
    的账|的帐|的用|的数|的信|的个|的录|的资|的id|的学|的会|的听|的主|的直|账号|帐号|账户|用户|会员|学员|\
    听众|主播|app|上的|里的|中的|上课|里上|上看|里看|上听|里听|听|注册|上注|里注|平台|软件|开播|直播|\
    上直|里直|上开|里开|录";

/// Directly before a name in quotation marks: it is an app, whatever its words.
pub(super) const TAKES: &str = "\
    用|用过|装的是|装的|下的是|下了|下载|下载了|装了|安装|安装了|我用|在用|用的|用的是|玩|玩的|听的|注册|注册了|app|app叫|app是|\
    软件|平台|应用|小程序|上了|登录了|登陆了|登录|一个叫|在|邮箱在|账号在|推销";

/// Directly before a name in quotation marks: a person's, a room's.
pub(super) const NICKS: &str = "\
    给|向|网名|艺名|名字|用户名|我叫|写成|改成|改为|更正为|显示|提示|叫|姓名|职位|房间|频道|节目|群|主播|老师|id";

/// Directly before a name in quotation marks: a nickname, or what was said or written of a person.
pub(super) const SAID: &str = "\
    昵称|暱称|网名|艺名|写成|写作|登记成|显示成|说我|判我|判定我|判定|评|评定|认定我|认定|标|登记|标记|标为|打成|理由是|原因是|写着|\
    应|正确应该|正确的应该|正确|应改|请改|改名|更正|自称|声称|号称|所谓|我叫";

/// What a Latin name follows.
pub(super) const LATIN_USES: &str = "\
    sign in to|he is on|she is on|they are on|he's on|she's on|now on|is now on|is now with|signed in to|sign into|log into|delete me from|i use|i used|i am using|i'm using|i was using|i have used|i've used|i have been using|\
    i've been using|i only use|i only used|i actually use|he uses|she uses|son uses|daughter uses|\
    child uses|registered with|registered on|registered at|registered in|registered for|signed up for|\
    signed up to|signed up on|signed up with|signed up at|i joined|i am on|i'm on|user of|member of|\
    account with|account on|account at|account in|account for|data from|data in|data on|data at|\
    data with|data held by|information from|recordings from|recordings on|recordings in|user id in|\
    user id on|user id at|user id for|my id in|my id on|my id at|the app is|my app is|app called|\
    app named|is called|app:|platform:|service:|the one i use is|i mean|profile on|profile at|\
    profile in|logged in to|log in to|logged into|consent to|consent i gave|installed|downloaded|\
    calls with|switched to|moved to|lessons in|lessons on|lessons at|lessons with|lessons were in|\
    classes on|classes in";

/// In quotation marks, these are papers and menus.
pub(super) const PAPERS: &str = "政策|协议|法|条例|规定|说明|公约|须知|条款|设置|中心|页面|按钮|勾选|异常|违规|风险|机器人|通知|声明|清单|目录|权利|规则|信用";
