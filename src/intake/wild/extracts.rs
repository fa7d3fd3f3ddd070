//! What goes to a controller, and what never does.

use super::*;

#[test]
fn the_extract_leaves_out_what_concerns_another_app() {
    let body = "您好。\n\n我在星语直播的用户ID：u_1。请删除我的信息。\n\n我在乐听FM的用户ID：u_2。那里的录音也要删。\n\n谢谢。";
    let got = Letter::plain("删除信息", body).read();
    assert_eq!(goes(&got), "SeveralApps");
    let chosen = Route::App {
        app: "xingyu-live".parse().unwrap(),
        controller: "xinghe".parse().unwrap(),
        matched: vec![],
    };
    let forward = forwardable(&got, &chosen, &facts());
    assert!(!forward.original_releasable);
    assert!(forward.extract.contains("u_1") && forward.extract.contains("谢谢"));
    for foreign in ["乐听", "u_2", "录音"] {
        assert!(!forward.extract.contains(foreign), "the extract holds {foreign}: {}", forward.extract);
    }
    let values: Vec<_> = forward.fields.identifiers.iter().map(|g| g.value.as_str()).collect();
    assert_eq!(values, ["u_1", "jo@post.example"]);
    let all = serde_json::to_string(&forward).unwrap();
    assert!(!all.contains("乐听") && !all.contains("u_2"));
}

#[test]
fn a_letter_about_one_app_may_go_whole() {
    let got = Letter::plain("删除", "请删除我在星语直播的信息，用户ID：u_1。").read();
    let forward = forwardable(&got, &got.route, &facts());
    assert!(forward.original_releasable && forward.sentences_left_out == 0);
    assert!(forward.extract.contains("u_1"));
}

#[test]
fn nothing_is_forwarded_from_triage() {
    let got = Letter::plain("删除", "请删除我的信息").read();
    let forward = forwardable(&got, &got.route, &facts());
    assert!(forward.extract.is_empty() && !forward.original_releasable);
    assert!(forward.fields.identifiers.is_empty() && forward.fields.requester.address.is_empty());
}
