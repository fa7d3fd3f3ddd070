//! Which kinds of data the letter names (the policy's tables, R24).

use super::rights::{Found, quote};
use crate::domain::phrase::{clauses, fold, says};
use crate::domain::{Category, Role};

const WORDS: &[(Category, &str)] = &[
    (
        Category::Device,
        "设备类型|设备信息|操作系统|设备型号|机型|设备、|设备和|手机型号|设备数据|device|devices|operating system|phone model|handset",
    ),
    (
        Category::Network,
        "ip地址|ip 地址|ip|网络类型|网络信息|网络状况|网络数据|网络日志|ip address|ip addresses|network type|network information|network data|network",
    ),
    (
        Category::SdkInteraction,
        "频道记录|频道信息|频道|房间记录|使用时长|通话日志|通话记录|日志|连麦记录|进出房间|使用记录|浏览记录|channel|channels|room history|usage|logs|call log|call logs|call history|session",
    ),
    (
        Category::Media,
        "录音|录像|录屏|音频流|视频流|录制|上课视频|语音片段|recording|recordings|audio stream|video stream|footage|voice clips",
    ),
    (
        Category::Inquiry,
        "咨询内容|服务咨询|工单|咨询记录|投诉记录|enquiry|inquiry|support ticket|support tickets",
    ),
    (
        Category::Account,
        "控制台账号|账号信息|账户信息|公司及职位|姓名|手机号|account information|account details|account data",
    ),
    (
        Category::Marketing,
        "营销邮件|营销|商业电子邮件|推广邮件|推广短信|广告邮件|退订|newsletter|newsletters|marketing|promotional|mailing list",
    ),
];

/// Reads a text. `role` is PPIO's role for the data this route leads to; `None` reads both.
pub fn read(text: &str, role: Option<Role>) -> Vec<Found<Category>> {
    let mut out: Vec<Found<Category>> = Vec::new();
    for clause in clauses(text) {
        let folded = fold(clause);
        for (category, words) in WORDS {
            let fits = role.is_none_or(|r| category.role() == r);
            if fits && !out.iter().any(|f| f.what == *category) && says(&folded, words) {
                out.push(Found { what: *category, words: quote(clause) });
            }
        }
    }
    out.sort_by_key(|f| f.what);
    out
}
