//! Mail addresses in a letter: the person's own, an account with PPIO, or neither.

use super::identifiers::{CORRECTION, Context, Given, IdentifierKind, Of, add};
use super::mime::tidy_address;
use super::scan::Line;
use super::whose::OTHERS;
use crate::domain::phrase::{fold, says, says_any};

const ANSWER_TO: &[&str] = &[
    "回复|发到|发送到|发送至|发至|发往|寄到|转发|抄送|联系|客服|投诉至|写信|答复…",
    "reply|respond|answer|write|send|forward|contact|cc|copy|email me|reach…to|at|me|us",
];

/// Addresses in the text that are written as the person's own.
pub fn read(line: &Line, context: &Context<'_>, out: &mut Vec<Given>) {
    const OWN_ADDRESS: &[&str] = &[
        "我的|我|注册|登录|登陆|绑定|使用|本人|账号…邮箱|邮件地址|email|e-mail|mail",
        "邮箱|电子邮箱|电子邮件|邮箱地址",
        "注册|登录|登陆|绑定",
        "my|registered|sign up|signed up|signup|log in|login|logged in|account|registration|under|using…email|e-mail|mail|address|with|is|under|as|using|by",
        "email|e-mail|email address",
    ];
    for (value, before, after) in line.addresses() {
        let address = tidy_address(&value);
        let registered_with = says_any(&before, &["用|使用|以|通过|using|used|with"])
            && says_any(&after, &["注册|登录|登陆|开户|绑定|signed up|sign up|registered|register|log in"]);
        let account = registered_with && !says(&before, ANSWERED) || names_account(&before);
        let own = account && is_with_house(&before, &after, context)
            || registered_with
            || says_any(&before, OWN_ADDRESS);
        if !own
            || says_any(&before, ANSWER_TO)
            || says(&before, OTHERS)
            || says_any(&line.all_folded(), CORRECTION)
            || is_house(&address, context)
            || out.iter().any(|g| g.kind == IdentifierKind::PpioAccount && g.value == address)
        {
            continue;
        }
        if account && is_with_house(&before, &after, context) {
            add(out, IdentifierKind::PpioAccount, address, Of::Requester, line.quote());
        } else {
            let of = if context.guardian { Of::Guardian } else { Of::Requester };
            add(out, IdentifierKind::Email, address, of, line.quote());
        }
    }
}

const ANSWERED: &str = "回复|联系|reply|contact";

/// An account stands before the address: "账号是 …", "registered as …".
fn names_account(before: &str) -> bool {
    says_any(
        before,
        &[
            "账号|账户|帐号|帐户|登录名|用户名|登录邮箱|注册邮箱|登录|注册了|注册的",
            "account|log in|login|logged in|sign in|signed up|signed in|registered|registration…with|as|is|under|using|:|(|email|address",
        ],
    )
}

/// The account is one with PPIO: the letter is about it, or these words name PPIO or its console.
pub fn is_with_house(before: &str, after: &str, context: &Context<'_>) -> bool {
    let here = format!("{before} {after}");
    let brand = || context.brands.iter().any(|b| says(&here, &fold(b)));
    context.house || says(&here, "控制台|console") || brand()
}

/// An address of PPIO's, or one that only got the mail.
pub fn is_house(address: &str, context: &Context<'_>) -> bool {
    let domain = address.rsplit_once('@').map_or("", |(_, d)| d);
    context.house_domains.iter().any(|h| domain == h || domain.ends_with(&format!(".{h}")))
        || context.recipients.iter().any(|r| r.address.eq_ignore_ascii_case(address))
}
