//! Reading a person's words: folding, sentences, and phrases with gaps.
//!
//! Folding keeps one character for one character, so a place in folded text is
//! the same place in the text it came from (counted in characters).

use std::collections::HashMap;
use std::sync::LazyLock;

/// Full-width ASCII and the ideographic space become their ordinary forms
/// (the part of NFKC that people type by accident). Case stays.
pub fn fold_width(text: &str) -> String {
    text.chars().map(width_of).collect()
}

/// [`fold_width`], then lower case, straight apostrophes and simplified characters: for comparing, not for showing.
pub fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

fn width_of(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
        '\u{3000}' | '\u{00A0}' => ' ',
        _ => c,
    }
}

/// One character to one: a lower case that needs several characters is left alone.
pub fn fold_char(c: char) -> char {
    let c = match width_of(c) {
        '\u{2018}' | '\u{2019}' | '\u{02BC}' => '\'',
        '\u{2010}' | '\u{2011}' | '\u{2013}' => '-',
        other if is_han(other) => return SIMPLER.get(&other).copied().unwrap_or(other),
        other => other,
    };
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Common traditional characters and, at the same places, their simplified forms. Only where one
/// stands for one, so that folded text keeps its places.
const TRADITIONAL: &str = "\
    並來係個們備傳僅僑價億償優兒內兩冊別刪剛創劃劇劉動務勝勞匯區協卻厲參叢員問啟喚喬單嗎嘗嘰嚴\
    國園圓圖團執場壓壞夠夢夾奪婦媽嬰孫學實寧審寫寵寶將專尋對導屆屬島師帳帶幣幫庫廠廢廣張強彈彙\
    後徑從復徵慶憑憲應懷戰戶掃掛採換損擁擇擊擔據擬擴擾攝敗敘數斷於時暫曆曬會東條棄楊業極榮構樂\
    標樣橋機檔檢櫃權歡歲歷歸殘殺毀氣氾決沒沖測準溝滅滿潔瀏災為無爭爺狀獨獲現環產畫異當發盡監盤\
    眾瞭碼礎礙禦禮種稱積穩穫窩竊競筆節範簡簽糾約純紙級細終組結絕絡給統綁經維網緊緒線編練縮縱總\
    繫繼續罰羅羣義習聖聞聯聲職聽肅脅腦膽臉臺與舉舊葉蓋藍藝藥蘇蘭處虛號術衛裏補裝裡製複見規視親\
    覽觀訂計訊訓託記訪設許訴診註詐評詢試話該詳誌認語誠誤說誰課調談請論諾講謝證識譯議護讀變讓讚\
    負財貨販責貴買費貼資賞賠賣質賬賴購賽贈贏趙蹤車軌軟較載輔輕輸轉辦辯農這週進遊運過達違遞遠適\
    遲選遺還邊郵鄭鄰醫釋鈕銀銷鋪錄錢錯鍵鎖鏈鐘鑰長門閉開間閱關陳隊階際隨險隱雙離難雲電靜響頁項\
    順須預領頭頻題額願類顯風飛餘館馬驗體鬧魚魯鮮鳥麗麥黃點黨齊齡龍暱喺嘅咗哋俾啲佢";
const SIMPLIFIED: &str = "\
    并来系个们备传仅侨价亿偿优儿内两册别删刚创划剧刘动务胜劳汇区协却厉参丛员问启唤乔单吗尝叽严\
    国园圆图团执场压坏够梦夹夺妇妈婴孙学实宁审写宠宝将专寻对导届属岛师账带币帮库厂废广张强弹汇\
    后径从复征庆凭宪应怀战户扫挂采换损拥择击担据拟扩扰摄败叙数断于时暂历晒会东条弃杨业极荣构乐\
    标样桥机档检柜权欢岁历归残杀毁气泛决没冲测准沟灭满洁浏灾为无争爷状独获现环产画异当发尽监盘\
    众了码础碍御礼种称积稳获窝窃竞笔节范简签纠约纯纸级细终组结绝络给统绑经维网紧绪线编练缩纵总\
    系继续罚罗群义习圣闻联声职听肃胁脑胆脸台与举旧叶盖蓝艺药苏兰处虚号术卫里补装里制复见规视亲\
    览观订计讯训托记访设许诉诊注诈评询试话该详志认语诚误说谁课调谈请论诺讲谢证识译议护读变让赞\
    负财货贩责贵买费贴资赏赔卖质账赖购赛赠赢赵踪车轨软较载辅轻输转办辩农这周进游运过达违递远适\
    迟选遗还边邮郑邻医释钮银销铺录钱错键锁链钟钥长门闭开间阅关陈队阶际随险隐双离难云电静响页项\
    顺须预领头频题额愿类显风飞余馆马验体闹鱼鲁鲜鸟丽麦黄点党齐龄龙昵在的了们给些他";

static SIMPLER: LazyLock<HashMap<char, char>> =
    LazyLock::new(|| TRADITIONAL.chars().zip(SIMPLIFIED.chars()).collect());

/// Whether the character belongs to Chinese script (all CJK planes).
pub fn is_han(c: char) -> bool {
    matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x323AF)
}

fn ends_sentence(c: char, next: Option<char>) -> bool {
    match c {
        '。' | '！' | '？' | '；' | '!' | '?' | ';' | '\n' | '｡' => true,
        '.' => next.is_none_or(char::is_whitespace),
        _ => false,
    }
}

fn split_where<'t>(text: &'t str, ends: impl Fn(char, Option<char>) -> bool) -> Vec<&'t str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if ends(c, chars.peek().map(|(_, n)| *n)) {
            let end = at + c.len_utf8();
            out.push(&text[start..end]);
            start = end;
        }
    }
    out.push(&text[start..]);
    out.retain(|piece: &&'t str| !piece.trim().is_empty());
    out
}

/// The sentences, each with its closing mark.
pub fn sentences(text: &str) -> Vec<&str> {
    split_where(text, ends_sentence)
}

/// The clauses: sentences cut at commas too. The enumeration comma (、) does not cut.
pub fn clauses(text: &str) -> Vec<&str> {
    split_where(text, |c, next| matches!(c, '，' | ',') || ends_sentence(c, next))
}

/// How many characters may lie between two pieces of one phrase.
const GAP: usize = 40;

/// Finds a phrase in folded text and answers its byte range.
///
/// A phrase is pieces separated by `…`, which stand in this order with at most
/// 40 characters between them; a piece is alternatives separated by `|`. An
/// alternative that begins or ends with a Latin letter or digit stands on a
/// word's boundary there; a trailing `*` takes the boundary away.
pub fn find(text: &str, phrase: &str) -> Option<(usize, usize)> {
    let (first, rest) = match phrase.split_once('…') {
        Some((first, rest)) => (first, Some(rest)),
        None => (phrase, None),
    };
    let mut from = 0;
    while let Some((start, end)) = piece(text, from, first) {
        let tail = match rest {
            None => return Some((start, end)),
            Some(rest) => follow(text, end, rest),
        };
        if let Some(end) = tail {
            return Some((start, end));
        }
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// Whether the phrase is there.
pub fn says(text: &str, phrase: &str) -> bool {
    find(text, phrase).is_some()
}

/// Whether one of the phrases is there.
pub fn says_any(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| says(text, phrase))
}

fn follow(text: &str, from: usize, phrase: &str) -> Option<usize> {
    let mut at = from;
    for alternatives in phrase.split('…') {
        let (start, end) = piece(text, at, alternatives)?;
        if text[at..start].chars().count() > GAP {
            return None;
        }
        at = end;
    }
    Some(at)
}

/// The earliest alternative at or after `from`; of several at one place, the longest.
fn piece(text: &str, from: usize, alternatives: &str) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    for word in alternatives.split('|') {
        let (word, open) = match word.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (word, false),
        };
        if let Some((start, end)) = word_at(text, from, word, open) {
            let better = match best {
                None => true,
                Some((s, e)) => start < s || (start == s && end > e),
            };
            if better {
                best = Some((start, end));
            }
        }
    }
    best
}

fn word_at(text: &str, from: usize, word: &str, open: bool) -> Option<(usize, usize)> {
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut at = from;
    while let Some(found) = text.get(at..)?.find(word) {
        let (start, end) = (at + found, at + found + word.len());
        let cut_in = latin(word.chars().next()) && latin(text[..start].chars().next_back());
        let runs_on = !open && latin(word.chars().next_back()) && latin(text[end..].chars().next());
        if !cut_in && !runs_on {
            return Some((start, end));
        }
        at = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_width_letters_and_digits_are_the_same_words() {
        assert_eq!(fold("用户ＩＤ：Ｕ＿１２３"), "用户id:u_123");
        assert_eq!(fold("請刪除小鹿課堂帳號"), "请删除小鹿课堂账号");
        assert_eq!(TRADITIONAL.chars().count(), SIMPLIFIED.chars().count());
        assert_eq!(fold("I Don’t").chars().count(), "I Don’t".chars().count());
    }

    #[test]
    fn a_phrase_stands_in_order_and_on_word_boundaries() {
        assert!(says("我撤回对录制和自动识别的同意", "撤回|撤销…同意|授权"));
        assert!(!says("同意后撤回", "撤回…同意"));
        assert!(says("please delete my data", "delete…data"));
        assert!(!says("undeleted data", "delete…data"));
        assert!(says("automatically banned", "automat*…bann*"));
        assert!(says("meet and meeting", "meeting"));
    }

    #[test]
    fn a_phrase_may_start_at_a_later_word() {
        let text = format!("delete{} and delete my data", " x".repeat(60));
        assert!(says(&text, "delete…data"));
    }

    #[test]
    fn a_dot_inside_an_address_ends_no_sentence() {
        assert_eq!(sentences("see www.ppio.example now. Then go").len(), 2);
        assert_eq!(clauses("先查，再删。完").len(), 3);
    }
}
