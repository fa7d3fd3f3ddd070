//! Letters in the many words that people use.

use super::*;

#[test]
fn letters_of_many_kinds_are_understood() {
    for (subject, body, route, asked, given) in [
        (
            "注销账号",
            "我要注销在星语直播的账号，UID：88392011。",
            "xingyu-live",
            vec!["close_account"],
            vec!["app_user_id=88392011"],
        ),
        (
            "Data request",
            "Hello,\nI use StarTalk. My user id is st-4471. Please send me a copy of my data and tell me who you shared it with.",
            "startalk",
            vec!["explain_use_and_sharing", "copy"],
            vec!["app_user_id=st-4471"],
        ),
        (
            "erase my data",
            "I am a user of StarTalk (username: wander_girl99). Please erase my personal data. I do not want you to close my account.",
            "startalk",
            vec!["delete"],
            vec!["app_user_id=wander_girl99"],
        ),
        (
            "关于乐听FM",
            "你好，我在乐听FM房间号88123录过音，乐听号：letingfm-660319。请把录音抹掉，并停止使用我的声音。",
            "leting-fm",
            vec!["withdraw_consent", "delete"],
            vec!["app_user_id=letingfm-660319", "channel_id=88123"],
        ),
        (
            "更正",
            "我是「云听课堂」学员，学号：YT-1002，姓名写错了，请更正姓名。",
            "yunting-class",
            vec!["correct"],
            vec!["app_user_id=YT-1002"],
        ),
        (
            "数据副本",
            "请把我在云听课堂的全部数据导出一份给我，学号YT-1003。",
            "yunting-class",
            vec!["copy"],
            vec!["app_user_id=YT-1003"],
        ),
        (
            "转移数据",
            "请将我在星语直播的数据转移到另一个平台，用户编号 u_55",
            "xingyu-live",
            vec!["transfer"],
            vec!["app_user_id=u_55"],
        ),
        (
            "unsubscribe",
            "Please unsubscribe me from your newsletter and stop sending me marketing emails.",
            "house",
            vec!["marketing_opt_out"],
            vec![],
        ),
        (
            "账号注销",
            "请注销我在贵司控制台的账号：ops@yun.example",
            "house",
            vec!["close_account"],
            vec!["ppio_account=ops@yun.example"],
        ),
        (
            "Close my PPIO account",
            "Please close my PPIO account, the console account is ops@yun.example.",
            "house",
            vec!["close_account"],
            vec!["ppio_account=ops@yun.example"],
        ),
        (
            "自动封号",
            "星语直播的系统自动判定我违规并封号，请说明理由并人工复核。用户ID：u_7。",
            "xingyu-live",
            vec!["explain_automated_decision"],
            vec!["app_user_id=u_7"],
        ),
        ("删除", "请删除我的信息，用户ID：u_7。", "NoApp", vec!["delete"], vec!["app_user_id=u_7"]),
        ("请求", "我同时用星语直播和乐听FM，请删除两边的数据。", "SeveralApps", vec!["delete"], vec![]),
        ("查询", "我用的是“小鹿课堂助手”，你们存了我什么信息？", "NoApp", vec!["access"], vec![]),
        ("查询", "我在微课上过课，请问你们保存了我的哪些数据", "NoApp", vec!["access"], vec![]),
        (
            "help",
            "My StarTalk account was banned by your automated system, please explain why. My ID: st-12",
            "startalk",
            vec!["explain_automated_decision"],
            vec!["app_user_id=st-12"],
        ),
        (
            "请求",
            "星語？我是星语直播用户，ＩＤ：ｕ＿９９。请清除我的录音、频道记录。",
            "xingyu-live",
            vec!["delete"],
            vec!["app_user_id=u_99"],
        ),
        (
            "Withdrawal",
            "I hereby withdraw my consent to any recording of my voice in StarTalk.",
            "startalk",
            vec!["withdraw_consent"],
            vec![],
        ),
        (
            "不要删除",
            "请不要删除我在星语直播的账号，我只想查询你们存了我哪些信息。",
            "xingyu-live",
            vec!["access"],
            vec![],
        ),
        (
            "GDPR",
            "Under GDPR I would like access to my personal data held through StarTalk, user number 551234.",
            "startalk",
            vec!["access"],
            vec!["app_user_id=551234"],
        ),
    ] {
        let got = Letter::plain(subject, body).read();
        assert!(got.is_request, "{body}");
        assert_eq!(goes(&got), route, "{body}");
        assert_eq!(rights(&got), asked, "{body}");
        let mut expected: Vec<String> = given.iter().map(|s| (*s).to_owned()).collect();
        expected.push("email=jo@post.example".to_owned());
        assert_eq!(sorted(ids(&got)), sorted(expected), "{body}");
    }
}

#[test]
fn the_subject_may_name_the_app() {
    let got = Letter::plain("StarTalk: delete my data", "my user id is st-1. Thanks").read();
    assert_eq!((goes(&got).as_str(), rights(&got)), ("startalk", vec!["delete"]));
}

#[test]
fn the_subject_asks_for_nothing_that_the_letter_declines() {
    let got = Letter::plain("删除还是更正", "不需要删除，请更正我在星语直播的昵称。").read();
    assert_eq!(rights(&got), ["correct"]);
}

#[test]
fn the_senders_domain_routes_nothing() {
    let got = Letter::plain("delete", "please delete my data").from("Jo <jo@startalk.example>").read();
    assert_eq!(goes(&got), "NoApp");
    assert!(flags(&got).contains(&"do_not_search_by_email_across_tenants".to_owned()));
}

#[test]
fn longer_letters_are_understood_too() {
    for (body, route, asked, given) in [
        (
            "本人系星语直播App注册用户（用户ID：u_5520013）。根据《个人信息保护法》第四十七条，要求贵司删除因向该App提供音视频服务而处理的本人个人信息，包括IP地址、设备信息及通话日志。\n联系电话：13800138000",
            "xingyu-live",
            vec!["delete"],
            vec!["app_user_id=u_5520013", "phone=13800138000"],
        ),
        (
            "I used the app StarTalk for voice rooms. My StarTalk user ID is ST-88213 and I was mostly in channel 77120.\nBefore you close my account, could you please provide me with a copy of all personal data you hold on me?\nAfter that please shut down the account.",
            "startalk",
            vec!["copy", "close_account"],
            vec!["app_user_id=ST-88213", "channel_id=77120"],
        ),
        (
            "我是贵司官网注册用户，控制台登录账号 chen@corp.example。公司名称由“云帆”变更为“远帆科技”，请予更正；另外请注销旧的子账号。",
            "house",
            vec!["correct", "close_account"],
            vec!["ppio_account=chen@corp.example"],
        ),
        (
            "我在乐听FM的账号（乐听号 letingfm-10086）昨天被AI自动封禁，没有任何人工介入。请说明判定依据，并安排人工复核。",
            "leting-fm",
            vec!["explain_automated_decision"],
            vec!["app_user_id=letingfm-10086"],
        ),
        (
            "请问你们那边是不是有我的数据？我用过一个看直播的软件，名字想不起来了。要是有的话就都帮我删了吧。",
            "NoApp",
            vec!["access", "delete"],
            vec![],
        ),
        (
            "I noticed that StarTalk sends my data to your servers. What information do you collect, for what purposes, and who do you share it with? I am not asking for deletion at this point. StarTalk ID: st-20901",
            "startalk",
            vec!["access", "explain_use_and_sharing"],
            vec!["app_user_id=st-20901"],
        ),
        (
            "本人撤销此前通过“星语直播”向贵司作出的授权（录音、摄像头），其余不变。不需要注销账号，也不用删除历史数据。用户编号：XY20200315",
            "xingyu-live",
            vec!["withdraw_consent"],
            vec!["app_user_id=XY20200315"],
        ),
        (
            "StarTalk's AI moderation system permanently suspended me (user ID st-7070) on 3 November. I demand a meaningful explanation of the logic involved and the possibility to contest this decision.",
            "startalk",
            vec!["explain_automated_decision"],
            vec!["app_user_id=st-7070"],
        ),
        (
            "my user name on StarTalk is moonlight_7, room id r-20981. I no longer agree to my calls being analysed. Kindly also tell me the names of all third parties which received my call logs.",
            "startalk",
            vec!["withdraw_consent", "explain_use_and_sharing"],
            vec!["app_user_id=moonlight_7", "channel_id=r-20981"],
        ),
        (
            "依据个保法第四十五条，请求查阅、复制本人在乐听FM产生的、由贵司保存的个人信息。乐听号:letingfm-777001 频道:99881",
            "leting-fm",
            vec!["access", "copy"],
            vec!["app_user_id=letingfm-777001", "channel_id=99881"],
        ),
        (
            "你们官网的隐私政策写着可以联系这个邮箱。我用的App叫StarTalk，用户名 tom_2020。请撤回我对视频录制的授权。",
            "startalk",
            vec!["withdraw_consent"],
            vec!["app_user_id=tom_2020"],
        ),
        (
            "Could you confirm what information StarTalk has passed to PPIO regarding my account st-9911 and how long you keep it?",
            "startalk",
            vec!["access"],
            vec!["app_user_id=st-9911"],
        ),
        (
            "麻烦帮我把星语直播的号销了，号是u_20202，谢谢",
            "xingyu-live",
            vec!["close_account"],
            vec!["app_user_id=u_20202"],
        ),
    ] {
        let got = Letter::plain("", body).read();
        assert_eq!(goes(&got), route, "{body}");
        assert_eq!(rights(&got), asked, "{body}");
        let mut expected: Vec<String> = given.iter().map(|s| (*s).to_owned()).collect();
        expected.push("email=jo@post.example".to_owned());
        assert_eq!(sorted(ids(&got)), sorted(expected), "{body}");
    }
}

#[test]
fn an_answer_without_a_right_reaches_a_person_with_its_id() {
    let got = Letter::plain("Re: 您的请求", "谢谢。我的用户ID是 u_778123，App 是星语直播。").read();
    assert_eq!(goes(&got), "NoRight");
    assert!(ids(&got).contains(&"app_user_id=u_778123".to_owned()));
}
