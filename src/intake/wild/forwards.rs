//! Earlier mail, and mails inside mails.

use super::*;

#[test]
fn quoted_mail_adds_no_right_and_no_identifier() {
    for quote in [
        "> please delete my data\n> user id: st-1",
        "On Mon, Nov 16, 2026 at 9:00 AM Jo <jo@post.example> wrote:\n\nplease delete my data, user id: st-1",
        "-----Original Message-----\nFrom: Jo <jo@post.example>\nSent: Monday, November 16, 2026 9:00 AM\nTo: feedback@ppio.example\nSubject: x\n\nplease delete my data, user id: st-1",
        "发件人：Jo <jo@post.example>\n发送时间：2026年11月16日 9:00\n收件人：feedback@ppio.example\n主题：x\n\n请删除我的数据，用户ID：st-1",
    ] {
        let got = Letter::plain(
            "Re: question",
            &format!("Which data of mine in StarTalk do you have?\n\n{quote}\n"),
        )
        .read();
        assert_eq!(rights(&got), ["access"], "{quote}");
        assert_eq!(ids(&got), ["email=jo@post.example"], "{quote}");
        assert_eq!(goes(&got), "startalk", "{quote}");
    }
}

#[test]
fn another_app_in_quoted_mail_stops_the_route() {
    let got = Letter::plain("hi", "Please delete my data in StarTalk.\n> 星语直播 用户ID：u_1").read();
    assert_eq!(goes(&got), "SeveralApps");
}

const SUPPORT: &str = "PPIO Support <support@ppio.example>";

fn inner(body: &str) -> String {
    format!(
        "From: Zhou <zhou@old.example>\r\nTo: sales@ppio.example\r\nSubject: data\r\nDate: Thu, 12 Nov 2026 18:20:00 +0800\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    )
}

fn attached(text: &str, mail: &str) -> Vec<u8> {
    format!("Content-Type: multipart/mixed; boundary=f\r\n\r\n--f\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--f\r\nContent-Type: message/rfc822\r\n\r\n{mail}\r\n--f--\r\n").into_bytes()
}

#[test]
fn the_one_who_asks_is_inside_a_forward() {
    let mail = attached(
        "please delete this from my queue",
        &inner("What data do you have about me in StarTalk? user id: st-3"),
    );
    let got = Letter::raw("Fwd: data", mail).from(SUPPORT).read();
    assert_eq!(got.requester.address, "zhou@old.example");
    assert_eq!((goes(&got).as_str(), rights(&got)), ("startalk", vec!["access"]));
    assert_eq!(ids(&got), ["app_user_id=st-3", "email=zhou@old.example"]);
    assert_eq!(
        flags(&got),
        ["requester_is_inner_sender", "first_received_by_ppio_2026-11-12", "inner_not_authenticated"]
    );
    assert_eq!(got.auth, AuthSummary::PassOuterOnly);
}

#[test]
fn a_mail_forwarded_twice_keeps_its_first_sender_and_date() {
    let middle = format!(
        "From: Lin <lin@ppio.example>\r\nTo: support@ppio.example\r\nSubject: Fwd: data\r\nDate: Sat, 14 Nov 2026 10:00:00 +0800\r\n{}",
        String::from_utf8(
            attached("see below", &inner("Please delete my data in StarTalk")).into_iter().collect()
        )
        .unwrap()
        .replace("boundary=f", "boundary=g")
        .replace("--f", "--g")
    );
    let got = Letter::raw("Fwd: Fwd: data", attached("for you", &middle)).from(SUPPORT).read();
    assert_eq!(got.requester.address, "zhou@old.example");
    assert_eq!(rights(&got), ["delete"]);
    assert!(flags(&got).contains(&"first_received_by_ppio_2026-11-12".to_owned()));
}

#[test]
fn a_forward_inside_the_text_is_opened() {
    for body in [
        "合规同事，请处理。\n\n发件人：周明 <zhou@old.example>\n发送时间：2026年11月12日 18:20\n收件人：sales@ppio.example\n主题：数据\n\n请删除我在StarTalk的数据，用户ID：st-3",
        "please handle\n\n---------- Forwarded message ---------\nFrom: Zhou <zhou@old.example>\nDate: Thu, Nov 12, 2026 at 6:20 PM\nSubject: data\nTo: <sales@ppio.example>\n\nPlease delete my data in StarTalk, user id: st-3",
    ] {
        let got = Letter::plain("Fwd: 数据", body).from(SUPPORT).read();
        assert_eq!(got.requester.address, "zhou@old.example", "{body}");
        assert_eq!((goes(&got).as_str(), rights(&got)), ("startalk", vec!["delete"]), "{body}");
        assert_eq!(ids(&got), ["app_user_id=st-3", "email=zhou@old.example"], "{body}");
        assert!(flags(&got).contains(&"first_received_by_ppio_2026-11-12".to_owned()), "{body}");
    }
}

#[test]
fn a_person_who_attaches_a_mail_asks_for_himself() {
    let mail = attached(
        "Please delete my data in StarTalk. See what they wrote me.",
        &inner("we collect recordings"),
    );
    let got = Letter::raw("delete my data", mail).read();
    assert_eq!(got.requester.address, "jo@post.example");
    assert_eq!(rights(&got), ["delete"]);
    assert!(flags(&got).contains(&"has_attachments".to_owned()));
}

#[test]
fn a_forged_house_sender_does_not_choose_who_asks() {
    let mail = attached("I want my data deleted", &inner("hello"));
    let bytes = Letter::raw("hi", mail).from("PPIO <x@ppio.example>").bytes();
    let text = String::from_utf8(bytes).unwrap().replace("dmarc=pass", "dmarc=fail");
    let got = read_ok(text.as_bytes());
    assert_eq!(got.requester.address, "x@ppio.example");
    assert_eq!(got.auth, AuthSummary::Fail);
    assert!(flags(&got).contains(&"sender_not_authenticated".to_owned()));
}
