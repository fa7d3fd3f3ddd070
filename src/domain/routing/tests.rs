use super::*;

fn registered(app: &str, controller: &str, facts: Vec<Fact>) -> Registered {
    Registered { app: app.parse().unwrap(), controller: controller.parse().unwrap(), facts }
}

fn facts() -> Facts {
    use FactKind::{BundleId, Company, Domain, Name, SdkAppId};
    Facts {
        house: House {
            app: "ppio".parse().unwrap(),
            controller: "ppio".parse().unwrap(),
            brands: vec!["PPIO".into()],
            domains: vec!["ppio.example".into()],
        },
        apps: vec![
            registered(
                "xiaolu",
                "lu",
                vec![Fact::new(Name, "小鹿课堂"), Fact::new(Company, "小鹿教育有限公司")],
            ),
            registered("lu", "other", vec![Fact::new(Name, "小鹿"), Fact::new(Company, "别家有限公司")]),
            registered(
                "startalk",
                "star",
                vec![
                    Fact::new(Name, "StarTalk"),
                    Fact::new(BundleId, "com.startalk.app"),
                    Fact::new(Domain, "startalk.example"),
                    Fact::new(SdkAppId, "1400123456"),
                ],
            ),
            registered(
                "meet",
                "meetco",
                vec![Fact::new(Name, "Meet"), Fact::common(FactKind::Alias, "会客厅")],
            ),
            registered("weike", "weike", vec![Fact::new(Name, "微课")]),
            registered("letingfm", "leting", vec![Fact::new(Name, "乐听FM")]),
        ],
    }
}

fn own(text: &str) -> Passage {
    Passage { voice: Voice::Own, place: Place::Body, text: text.into() }
}

fn context(text: &str) -> Passage {
    Passage { voice: Voice::Context, ..own(text) }
}

/// `app`, `house`, or the reason for triage.
fn goes(text: &str) -> String {
    outcome(route(&[own(text)], &facts()))
}

fn outcome(route: Route) -> String {
    match route {
        Route::App { app, .. } => app.to_string(),
        Route::House { .. } => "house".into(),
        Route::Triage { reason, .. } => format!("{reason:?}"),
    }
}

#[test]
fn an_exact_name_routes() {
    for text in [
        "我在“小鹿课堂”App上课",
        "我在小鹿课堂上课",
        "「小鹿课堂」",
        "“小鹿课堂App”",
        "我用小鹿课堂网页版",
        "我用小鹿课堂 2 年了",
        "我用小鹿\n课堂上课",
        "我在用小鹿课堂数学课",
    ] {
        assert_eq!(goes(text), "xiaolu", "{text}");
    }
    for text in [
        "I use startalk.",
        "the STARTALK app",
        "I use StarTalk's rooms",
        "用StarTalk聊天",
        "ＳｔａｒＴａｌｋ",
        "StarTalk-App",
    ] {
        assert_eq!(goes(text), "startalk", "{text}");
    }
    assert_eq!(goes("删除乐听FM 的录音"), "letingfm");
}

#[test]
fn the_longest_name_wins_where_one_holds_another() {
    assert_eq!(goes("我在小鹿课堂上课"), "xiaolu");
    assert_eq!(goes("我用“小鹿”聊天"), "lu");
    assert_eq!(goes("我在小鹿课堂和小鹿都有账号"), "SeveralApps");
}

#[test]
fn a_longer_unregistered_name_only_suggests() {
    for text in [
        "“小鹿课堂助手”",
        "我用小鹿课堂助手",
        "我用小鹿课堂极速版",
        "我用小鹿课堂 车机版",
        "小鹿课堂2里的数据",
        "“小鹿课堂 2”",
        "乐听FM极速版",
        "StarTalk III",
        "“新小鹿课堂”",
        "我在小鹿课堂Pro里",
        "我在小鹿课堂 Kids 的用户",
        "我在天马小鹿课堂注册",
        "I use Super StarTalk.",
        "StarTalk Pro",
        "I used \"StarTalk Kids\" once",
    ] {
        let got = route(&[own(text)], &facts());
        let Route::Triage { reason: TriageReason::NoApp, suggestions, .. } = got else {
            panic!("a longer name was routed: {text}")
        };
        assert_eq!(suggestions.len(), 1, "{text}");
    }
}

#[test]
fn a_name_that_is_not_meant_goes_to_a_person() {
    for text in [
        "我不是小鹿课堂的用户",
        "我不是“小鹿课堂”的用户",
        "我用的App跟小鹿课堂类似",
        "I am not a user of StarTalk",
        "it is similar to StarTalk",
        "Please do not forward this to StarTalk",
        "请不要把这封信转给小鹿课堂",
        "StarTalk. It was not StarTalk",
    ] {
        assert_eq!(goes(text), "OnlyInContext", "{text}");
    }
    for text in ["之前写过小鹿课堂的事，这次是另一个App", "我在“小鹿课堂”和“咕噜星球”都有账号"]
    {
        assert_eq!(goes(text), "SeveralApps", "{text}");
    }
    for text in [
        "我不是要注销小鹿课堂账号，而是删除信息",
        "我不再使用小鹿课堂",
        "请告诉我小鹿课堂把我的信息分享给了哪些其他App",
    ] {
        assert_eq!(goes(text), "xiaolu", "{text}");
    }
    for text in
        ["I no longer use StarTalk", "I did not consent to StarTalk", "I do not use StarTalk any more"]
    {
        assert_eq!(goes(text), "startalk", "{text}");
    }
}

#[test]
fn a_name_inside_another_word_is_not_there() {
    for text in [
        "the Meeting was long",
        "微课堂很好",
        "看微课程",
        "startalker",
        "startalk-660318",
        "me@startalk.example",
        "小鹿斑比",
    ] {
        assert_eq!(goes(text), "NoApp", "{text}");
        let Route::Triage { suggestions, .. } = route(&[own(text)], &facts()) else { unreachable!() };
        assert!(suggestions.is_empty(), "{text} suggested {suggestions:?}");
    }
}

#[test]
fn a_common_word_only_suggests() {
    for text in ["when we meet again", "I use Meet", "我在会客厅里", "我在看微课"] {
        let Route::Triage { reason: TriageReason::NoApp, suggestions, .. } = route(&[own(text)], &facts())
        else {
            panic!("a common word routed: {text}")
        };
        assert_eq!(suggestions.len(), 1, "{text}");
    }
}

#[test]
fn technical_facts_route_as_whole_tokens_only() {
    assert_eq!(goes("包名 com.startalk.app。"), "startalk");
    assert_eq!(goes("com.startalk.app.lite"), "NoApp");
    assert_eq!(goes("I have an account at https://help.startalk.example/me"), "startalk");
    assert_eq!(goes("see https://help.startalk.example/privacy"), "OnlyInContext");
    assert_eq!(goes("see https://startalk.example.evil.test/"), "NoApp");
    assert_eq!(goes("evil-startalk.example"), "NoApp");
    assert_eq!(goes("write to a@help.startalk.example"), "NoApp");
    assert_eq!(goes("SDK AppID 1400123456"), "startalk");
    assert_eq!(goes("call 1400123456"), "NoApp");
}

#[test]
fn two_apps_go_to_a_person_with_the_evidence() {
    let got = route(&[own("StarTalk 和 乐听FM 都用过")], &facts());
    let Route::Triage { reason: TriageReason::SeveralApps, suggestions, evidence } = got else {
        panic!("two apps were not seen")
    };
    assert_eq!((suggestions.len(), evidence.len()), (2, 2));
    assert!(evidence.iter().all(|e| e.words.contains("乐听FM")));
}

#[test]
fn context_never_routes_and_may_stop_a_route() {
    assert_eq!(outcome(route(&[context("乐听FM")], &facts())), "OnlyInContext");
    assert_eq!(outcome(route(&[own("乐听FM"), context("乐听FM")], &facts())), "letingfm");
    assert_eq!(outcome(route(&[own("乐听FM"), context("StarTalk")], &facts())), "SeveralApps");
}

#[test]
fn another_controllers_company_stops_the_route() {
    assert_eq!(goes("我用“小鹿课堂”（小鹿教育有限公司）"), "xiaolu");
    assert_eq!(goes("我用“小鹿课堂”（别家有限公司）"), "OtherCompany");
}

#[test]
fn what_is_ppios_own_goes_to_the_house() {
    for text in [
        "我注册了贵司控制台账号",
        "请注销我的控制台账号",
        "我去年在贵司官网（www.ppio.example）提交过服务咨询",
        "please close my PPIO account",
        "I have an account with PPIO",
        "unsubscribe me from your newsletter",
        "不要再给我发送商业电子邮件",
    ] {
        assert_eq!(goes(text), "house", "{text}");
    }
}

#[test]
fn addressing_ppio_is_no_evidence() {
    for text in [
        "PPIO 团队：请删除我的信息",
        "贵司的SDK收集了我的信息",
        "我在贵司官网看到这个邮箱",
        "I read the privacy policy on www.ppio.example",
        "我要退订我在咕噜App里的会员",
        "I found this address on your website",
        "write to feedback@ppio.example",
        "delete everything you have about me",
    ] {
        assert_eq!(goes(text), "NoApp", "{text}");
    }
    assert_eq!(goes("PPIO：我在贵司官网看到隐私政策，我是小鹿课堂的用户"), "xiaolu");
}

#[test]
fn an_app_beside_ppios_own_account_goes_to_a_person() {
    assert_eq!(goes("我有贵司控制台账号，也用小鹿课堂"), "AppAndHouse");
}

#[test]
fn a_name_repeated_without_end_goes_to_a_person() {
    let line = "我在小鹿课堂上课，学号 DX-1001。";
    assert_eq!(goes(&line.repeat(MOST_LOOKS)), "xiaolu");
    assert_eq!(goes(&line.repeat(MOST_LOOKS + 1)), "OnlyInContext");
}

#[test]
fn nothing_of_a_person_is_in_debug() {
    let got = route(&[own("张三用小鹿课堂")], &facts());
    assert!(!format!("{got:?} {:?}", own("张三")).contains("张三"));
}
