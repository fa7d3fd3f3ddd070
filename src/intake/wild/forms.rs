//! One letter in many encodings, and letters in HTML.

use super::*;

#[test]
fn every_encoding_of_one_letter_reads_the_same() {
    const TEXT: &str = "请删除我在星语直播的信息，用户ID：u_8839201";
    let gbk: Vec<u8> = GBK.iter().copied().chain(*b"ID").chain([0xA3, 0xBA]).chain(*b"u_8839201").collect();
    let head = |fields: &str| format!("{fields}\r\n\r\n").into_bytes();
    let b64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes).into_bytes();
    let quoted: Vec<u8> = TEXT
        .bytes()
        .map(|b| format!("={b:02X}"))
        .collect::<Vec<_>>()
        .chunks(20)
        .map(|c| c.concat())
        .collect::<Vec<_>>()
        .join("=\r\n")
        .into_bytes();
    let html = format!("<html><body><p>{TEXT}</p></body></html>");
    for (what, content) in [
        ("8bit utf-8", [head("Content-Type: text/plain; charset=utf-8"), TEXT.into()].concat()),
        ("no content type", [head("X-A: b"), TEXT.into()].concat()),
        ("no charset", [head("Content-Type: text/plain"), TEXT.into()].concat()),
        (
            "quoted-printable",
            [
                head(
                    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable",
                ),
                quoted,
            ]
            .concat(),
        ),
        ("gbk without a label", [head("Content-Type: text/plain"), gbk.clone()].concat()),
        ("gbk labelled gb2312", [head("Content-Type: text/plain; charset=gb2312"), gbk.clone()].concat()),
        ("gbk labelled us-ascii", [head("Content-Type: text/plain; charset=us-ascii"), gbk.clone()].concat()),
        (
            "gb18030 in base64",
            [
                head("Content-Type: text/plain; charset=GB18030\r\nContent-Transfer-Encoding: base64"),
                b64(&gbk),
            ]
            .concat(),
        ),
        ("gbk labelled utf-8", [head("Content-Type: text/plain; charset=utf-8"), gbk].concat()),
        ("unknown charset", [head("Content-Type: text/plain; charset=x-nonsense"), TEXT.into()].concat()),
        (
            "html in base64",
            [
                head("Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64"),
                b64(html.as_bytes()),
            ]
            .concat(),
        ),
        (
            "flowed",
            [
                head("Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes"),
                TEXT.replacen('，', "， \r\n", 1).into(),
            ]
            .concat(),
        ),
        (
            "zero-width characters",
            [head("Content-Type: text/plain; charset=utf-8"), TEXT.replace("直播", "直\u{200B}播").into()]
                .concat(),
        ),
    ] {
        let got = Letter::raw("hi", content).read();
        assert_eq!(goes(&got), "xingyu-live", "{what}");
        assert_eq!(rights(&got), ["delete"], "{what}");
        assert_eq!(ids(&got), ["app_user_id=u_8839201", "email=jo@post.example"], "{what}");
    }
}

/// 请删除我在星语直播的信息，用户
const GBK: [u8; 30] = [
    0xC7, 0xEB, 0xC9, 0xBE, 0xB3, 0xFD, 0xCE, 0xD2, 0xD4, 0xDA, 0xD0, 0xC7, 0xD3, 0xEF, 0xD6, 0xB1, 0xB2,
    0xA5, 0xB5, 0xC4, 0xD0, 0xC5, 0xCF, 0xA2, 0xA3, 0xAC, 0xD3, 0xC3, 0xBB, 0xA7,
];

#[test]
fn an_mbox_line_and_bare_newlines_are_no_obstacle() {
    let bytes = Letter::plain("删除", "请删除我在星语直播的信息").bytes();
    let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    assert_eq!(goes(&read_ok(format!("From jo@post.example Mon Nov 16\n{text}").as_bytes())), "xingyu-live");
}

#[test]
fn a_letter_in_html_alone_is_read() {
    let got =
        Letter::html("hi", "<p>Please <b>delete</b> my data in <i>StarTalk</i>.</p><p>User ID: st-5</p>")
            .read();
    assert_eq!((goes(&got).as_str(), rights(&got)), ("startalk", vec!["delete"]));
    assert_eq!(ids(&got), ["app_user_id=st-5", "email=jo@post.example"]);
}

#[test]
fn a_hidden_name_neither_routes_nor_is_released() {
    let got = Letter::html(
        "hi",
        "<p>Please delete my data.</p><div style='display:none'>StarTalk user id: st-9</div>",
    )
    .read();
    assert_eq!(goes(&got), "NoApp");
    assert_eq!(ids(&got), ["email=jo@post.example"]);
    assert!(flags(&got).contains(&"hidden_text".to_owned()));

    let got =
        Letter::html("hi", "<p>Please delete my data in StarTalk.</p><p style='color:#fff'>星语直播</p>")
            .read();
    assert_eq!(goes(&got), "startalk");
    assert_eq!(got.rights.len(), 1);
    let forward = forwardable(&got, &got.route, &facts());
    assert!(!forward.original_releasable, "a hidden second app went along");
    assert_eq!(forward.withheld, [Withheld::NamesAnotherApp]);
}

#[test]
fn a_hidden_right_is_not_asked_for() {
    let got = Letter::html("hi", "<p>What data do you have about me in StarTalk?</p><span style='font-size:0'>delete all my data</span>").read();
    assert_eq!(rights(&got), ["access"]);
}

#[test]
fn alternatives_that_say_other_things_are_flagged_and_go_to_a_person() {
    let got =
        Letter::both("hi", "Please delete my data in StarTalk.", "<p>Please delete my data in 星语直播.</p>")
            .read();
    assert_eq!(goes(&got), "SeveralApps");
    assert!(flags(&got).contains(&"parts_differ".to_owned()));
    let same = Letter::both(
        "hi",
        "Please delete my data in StarTalk.",
        "<p>Please <b>delete</b> my data in StarTalk.</p>",
    )
    .read();
    assert_eq!(goes(&same), "startalk");
    assert!(!flags(&same).contains(&"parts_differ".to_owned()));
}

#[test]
fn a_plain_part_that_only_excuses_itself_is_not_the_letter() {
    let html = format!("<p>{}</p>", "Please delete all my data in StarTalk, user id: st-77. ".repeat(6));
    let got = Letter::both("hi", "Your client does not support HTML.", &html).read();
    assert_eq!((goes(&got).as_str(), rights(&got)), ("startalk", vec!["delete"]));
}
