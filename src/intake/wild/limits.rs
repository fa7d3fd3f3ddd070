//! Bytes that are no mail, or too much of one.

use proptest::prelude::*;

use super::*;
use crate::domain::{Reason, Right};

fn refused(bytes: &[u8]) -> Reason {
    read(bytes, &facts(), &config()).unwrap_err().reason
}

#[test]
fn what_is_too_much_is_refused() {
    assert_eq!(refused(&vec![b'a'; MAX_BYTES + 1]), Reason::MailTooLarge);
    let many = format!(
        "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n{}",
        "--x\r\n\r\na\r\n".repeat(300)
    );
    assert_eq!(refused(many.as_bytes()), Reason::MailTooLarge);
    let deep = "From: a@b.example\r\nContent-Type: message/rfc822\r\n\r\n".repeat(5_000);
    assert_eq!(refused(deep.as_bytes()), Reason::MailTooLarge);
    let mut wrapped = b"From: a@b.example\r\n\r\nhi".to_vec();
    for _ in 0..12 {
        let inside = BASE64_STANDARD.encode(&wrapped);
        wrapped = format!("From: a@b.example\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{inside}").into_bytes();
    }
    assert_eq!(refused(&wrapped), Reason::MailTooLarge);
}

#[test]
fn hostile_lengths_cost_no_more_than_their_length() {
    for (unit, times) in [
        ("星语直播", 200_000),
        ("\"StarTalk\" ", 100_000),
        ("please delete all of the data that you have about me and more so\n", 40_000),
        ("> a\n", 400_000),
        ("On 1 a@b.example wrote:\n", 60_000),
        ("发件人：a@b.example\n收件人：c@d.example\n主题：x\n\n", 20_000),
        ("删。", 300_000),
        ("id id 频道 ", 100_000),
        ("=?utf-8?B?", 100_000),
        ("有限公司运营的星语直播。", 60_000),
        ("星语直播和小鹿", 60_000),
        ("在“麦浪”App和星语直播", 40_000),
        ("MoonChat account and StarTalk, ", 40_000),
        ("用户ID 在 ", 80_000),
        ("uses it as a1\n", 60_000),
    ] {
        let got = Letter::plain(unit.trim(), &unit.repeat(times)).read();
        let _ = forwardable(&got, &got.route, &facts());
        assert!(got.flags.contains(&Flag::TextTruncated) || !got.rights.is_empty() || !got.is_request);
    }
}

#[test]
fn a_sheet_that_asks_too_much_hides_what_is_left() {
    let rules: String = (0..1_000).map(|i| format!("div.a{i} p b{{color:#fff}}")).collect();
    let page =
        format!("<style>{rules}</style>{}", "<div class=a1><p><b>StarTalk</b></p></div>".repeat(3_000));
    let got = Letter::html("delete", &format!("{page}<p>Please delete my data</p>")).read();
    assert!(got.route.app().is_none());
    assert!(got.flags.contains(&Flag::HiddenText));
}

#[test]
fn what_is_no_mail_is_refused() {
    for bytes in [&b""[..], b"hello", b"\0\0\0", b"{\"a\": 1}", b"\n\n\n"] {
        assert_eq!(refused(bytes), Reason::MailMalformed);
    }
}

#[test]
fn every_right_is_a_word_of_the_vocabulary() {
    for right in Right::ALL {
        assert_eq!(right.as_str().parse::<Right>().unwrap(), *right);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = read(&bytes, &facts(), &config());
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        kind in "(text/plain|text/html|multipart/mixed|multipart/alternative|message/rfc822|multipart/digest)",
        encoding in "(base64|quoted-printable|8bit|7bit)",
        charset in "(utf-8|gb18030|iso-2022-jp|utf-16|utf-7|big5|x)",
        body in proptest::collection::vec(prop_oneof![
            any::<u8>().prop_map(|b| vec![b]),
            "(--b\n|--b--\n|Content-Type: message/rfc822\n\n|\n\n|<p>|<div style='display:none'>|</div>|删除|用户ID：|>|未满|岁|years old|On 1 wrote:\n|发件人：|=?utf-8\\?B\\?|\\?=|@|。|，)".prop_map(String::into_bytes),
        ], 0..200),
    ) {
        let head = format!("From: a@b.example\nSubject: x\nContent-Type: {kind}; charset={charset}; boundary=b\nContent-Transfer-Encoding: {encoding}\n\n");
        let bytes = [head.into_bytes(), body.concat()].concat();
        if let Ok(candidate) = read(&bytes, &facts(), &config()) {
            let _ = forwardable(&candidate, &candidate.route, &facts());
            prop_assert!(serde_json::to_vec(&candidate).is_ok());
        }
    }
}
