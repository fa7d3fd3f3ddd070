//! What is no request, and what tries to be more than one.

use super::*;

#[test]
fn what_machines_and_sellers_send_is_no_request() {
    let plain = |subject: &str, body: &str| Letter::plain(subject, body);
    for (what, letter, sign) in [
        (
            "newsletter",
            plain("本周资讯", "数据合规资讯：如何响应删除请求。退订请点击。")
                .header("List-Unsubscribe: <https://x.example/u>"),
            "bulk",
        ),
        (
            "list",
            plain(
                "delete my data?",
                "How vendors handle requests to delete my data. Register now for our webinar.",
            )
            .header("List-Id: <x.example>"),
            "bulk",
        ),
        (
            "vacation",
            plain("自动回复：你好", "我正在休假。").header("Auto-Submitted: auto-replied"),
            "auto_reply",
        ),
        (
            "out of office",
            plain("Automatic reply: hi", "I am out of office. Please delete this."),
            "auto_reply",
        ),
        (
            "auto-reply without its header",
            plain(
                "自动回复：收到您的来信",
                "您的邮件已收到，我们会在15日内处理您的个人信息请求。星语直播客服",
            ),
            "auto_reply",
        ),
        (
            "auto-reply that quotes",
            plain("Out of Office: delete request", "I am out. > Please delete my data in StarTalk."),
            "auto_reply",
        ),
        (
            "bounce",
            plain("Undelivered Mail", "could not be delivered").from("MAILER-DAEMON@x.example"),
            "auto_reply",
        ),
        ("seller", plain("代开发票", "尊敬的客户：代开发票，低价优惠，加微信。"), "bulk"),
        (
            "seller of compliance",
            plain(
                "GDPR delete requests",
                "We handle all data subject requests! Special offer, limited time. Book a demo. Delete data fast.",
            ),
            "bulk",
        ),
        ("a question", plain("卡顿", "星语直播里你们的 SDK 经常卡顿，怎么解决？"), "not_a_request"),
    ] {
        let got = letter.read();
        assert!(!got.is_request, "{what}");
        assert_eq!(goes(&got), "NotARequest", "{what}");
        assert!(got.rights.is_empty() && got.identifiers.is_empty(), "{what}");
        assert!(flags(&got).contains(&sign.to_owned()), "{what}: {:?}", flags(&got));
        assert!(flags(&got).contains(&"not_a_request".to_owned()), "{what}");
    }
}

#[test]
fn a_person_who_writes_through_a_bulk_sender_still_asks() {
    let got = Letter::plain("delete", "Please delete my data in StarTalk.")
        .header("List-Unsubscribe: <https://x.example>")
        .read();
    assert!(got.is_request);
}

#[test]
fn words_about_rights_that_no_rule_knows_reach_a_person() {
    let got = Letter::plain("隐私", "关于贵公司的个人信息处理，我有意见要反映。").read();
    assert!(got.is_request);
    assert!(flags(&got).contains(&"no_right_recognised".to_owned()));
}

#[test]
fn a_mail_that_orders_is_no_instruction() {
    for body in [
        "作为个人信息处理者，我司现指令贵司立即删除星语直播用户ID：u_1 的全部数据。",
        "We are the controller of StarTalk and hereby instruct you to delete the data of user id st-1.",
        "Please delete my data in StarTalk. eyJhbGciOiJFUzI1NiIsInR5cCI6Imluc3RydWN0aW9uIn0.eyJpc3MiOiJjb250cm9sbGVycy94In0.c2lnbmF0dXJlLWhlcmU",
    ] {
        let got = Letter::plain("delete", body).read();
        assert!(flags(&got).contains(&"claims_to_instruct".to_owned()), "{body}");
        assert!(got.is_request && rights(&got).contains(&"delete"), "{body}");
    }
    let ordinary = Letter::plain("delete", "Please delete my data in StarTalk.").read();
    assert!(!flags(&ordinary).contains(&"claims_to_instruct".to_owned()));
}

#[test]
fn a_foreign_reply_to_is_flagged_and_never_an_identifier() {
    let got = Letter::plain("delete", "Please delete my data in StarTalk.")
        .header("Reply-To: evil@x.example")
        .read();
    assert!(flags(&got).contains(&"reply_to_differs".to_owned()));
    assert_eq!(ids(&got), ["email=jo@post.example"]);
}

#[test]
fn an_attachment_is_counted_and_not_read() {
    let got = Letter::with_attachment(
        "delete",
        "Please delete my data in StarTalk.",
        "text/plain",
        "星语直播 用户ID：u_9",
    )
    .read();
    assert_eq!(goes(&got), "startalk");
    assert_eq!(ids(&got), ["email=jo@post.example"]);
    assert_eq!(got.attachments.len(), 1);
    assert!(!forwardable(&got, &got.route, &facts()).original_releasable);
}

#[test]
fn a_guardian_of_a_child_on_either_side_of_fourteen() {
    for (age, under) in [("13", true), ("14", false)] {
        let got = Letter::plain(
            "孩子",
            &format!("我是孩子的母亲，孩子今年{age}岁，请删除孩子在小鹿课堂的信息，学员编号 DX-1。"),
        )
        .read();
        assert!(got.guardian);
        assert_eq!(got.minor_age, age.parse().ok());
        assert_eq!(flags(&got).contains(&"minor_under_14".to_owned()), under);
        assert!(got.identifiers.iter().any(|g| g.value == "DX-1" && g.of == Of::Minor));
        assert!(got.identifiers.iter().any(|g| g.kind == IdentifierKind::Email && g.of == Of::Guardian));
    }
    let got = Letter::plain(
        "my son",
        "My 11-year-old son uses StarTalk. Please delete his data. His user id is st-8.",
    )
    .read();
    assert!(got.guardian && got.minor_age == Some(11));
    assert_eq!(ids(&got), ["app_user_id=st-8", "email=jo@post.example"]);
}

#[test]
fn a_text_that_is_too_long_goes_to_a_person() {
    let got =
        Letter::plain("删除", &format!("请删除我在星语直播的信息。{}乐听FM", "啊".repeat(25_000))).read();
    assert_eq!(goes(&got), "TooLong");
}
