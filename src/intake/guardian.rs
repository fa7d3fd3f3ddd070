//! Whether a parent or guardian asks for a child, and how old the child is (PIPL 31, policy §7).
//!
//! Under 14 is the line: the child's data is sensitive and the proof of the
//! relation goes to the controller. At 14 it is not under 14 any more.

use crate::domain::phrase::{clauses, fold, says, says_any, sentences};

/// What the letter says about a minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guardianship {
    /// The requester asks as parent or guardian of a minor.
    pub guardian: bool,
    /// The minor's age in years, if it is said or follows from a year of birth.
    pub minor_age: Option<u8>,
    pub under_14: bool,
}

const CHILD: &str = "孩子|小儿|小女儿|小犬|女儿|儿子|小孩|小孩子|闺女|宝宝|宝贝|未成年人|未成年子女|子女|我娃|娃|小朋友|学生家长|my son|my daughter|my child|my children|my kid|my kids|my boy|my girl|our son|our daughter|our child|my little one|our kid|my step*|my grandson|my granddaughter|year-old son|year-old daughter|year old son|year old daughter|years old son|years old daughter|minor child|my ward|my minor";

const RELATION: &[&str] = &[
    "我是|本人是|系|作为…母亲|父亲|妈妈|爸爸|家长|监护人|爷爷|奶奶|外公|外婆|姥姥|姥爷|妈|爸",
    "监护人",
    "我的|我家|我…孩子|女儿|儿子|小孩|闺女|娃|宝宝|宝贝",
    "孩子…未满|不满|岁|信息|数据|账号|录像|录音|个人",
    "i am|i'm|as|we are…mother|father|parent|parents|guardian|mum|mom|dad…of|to|",
    "my|our…son|daughter|child|children|kid|kids|boy|girl|grandson|granddaughter|stepson|stepdaughter|ward",
    "parent of|guardian of|mother of|father of|on behalf of my",
];

/// Whole sentences: the child's particulars may stand between.
const PARENT_OF: &[&str] = &[
    "我是|本人是|本人系|我系|作为…的母亲|的父亲|的妈妈|的爸爸|的家长|的监护人|之母|之父",
    "guardian of|parent of|mother of|father of",
    "i'm|i am|as…his|her|their|the child's|the kid's…dad|daddy|mum|mom|mommy|father|mother|parent|guardian|grandmother|grandfather",
];

/// The writer is the grown child of the one it concerns.
const CHILD_OF: &[&str] = &[
    "我是|本人是|我系|本人系|作为…他儿子|她儿子|他的儿子|她的儿子|他女儿|她女儿|他的女儿|她的女儿|其子|其女",
    "i am|i'm|as…his son|her son|his daughter|her daughter|their son|their daughter",
];

/// Reads a text. `today` is the day on which the mail came (year, month, day), to count from a birth.
pub fn read(text: &str, today: (i16, i8, i8)) -> Guardianship {
    let folded = fold(text);
    let related = clauses(&folded).iter().any(|c| says_any(c, RELATION));
    let child = says(&folded, CHILD) || says(&folded, "未成年|监护");
    let parent_of = sentences(&folded).iter().any(|s| says_any(s, PARENT_OF));
    let claim = related && child || parent_of;
    let below = bounds(&folded);
    let ages: Vec<u8> = ages(&folded, today, claim);
    let minor_age = ages.iter().copied().filter(|a| *a < 18).min();
    // "My son is 25" is no minor.
    let grown = minor_age.is_none() && below.is_none() && child_is_grown(&folded);
    // "I am his son" writes for a father.
    let for_a_parent = minor_age.is_none() && below.is_none() && says_any(&folded, CHILD_OF);
    let guardian = claim && !grown && !for_a_parent && !is_the_minor(&folded);
    let speaks_of_self = says_any(
        &folded,
        &["我今年|我才|我还|本人|我是…岁|未成年|未满", "i am|i'm…years old|year old|under"],
    );
    let concerned = guardian || speaks_of_self;
    let under_14 = concerned && (minor_age.is_some_and(|a| a < 14) || below.is_some_and(|b| b <= 14));
    Guardianship { guardian, minor_age: if concerned { minor_age } else { None }, under_14 }
}

/// "我今年15岁", "I'm 16": the minor writes.
fn is_the_minor(folded: &str) -> bool {
    const I: &[&str] = &["我", "本人", "i am", "i'm", "im"];
    const BETWEEN: &[&str] = &[
        "是", "今年", "才", "现在", "刚满", "刚", "只有", "已满", "已经", "名", "一个", "a", "only", "just",
        "still",
    ];
    numbers_before_age_word(folded).into_iter().chain(bare_ages(folded)).any(|(age, at)| {
        let mut before = folded[..at].trim_end();
        while let Some(rest) = BETWEEN.iter().find_map(|w| before.strip_suffix(w)) {
            before = rest.trim_end();
        }
        let word = |w: &&&str| {
            let head = before.strip_suffix(**w);
            head.is_some_and(|h| !w.is_ascii() || !h.ends_with(|c: char| c.is_ascii_alphanumeric()))
        };
        age < 18 && I.iter().find(word).is_some()
    })
}

/// "I'm 17 and": an age without its word.
fn bare_ages(folded: &str) -> Vec<(u8, usize)> {
    let mut out = Vec::new();
    for word in ["i'm ", "i am "] {
        for (at, _) in folded.match_indices(word) {
            let rest = &folded[at + word.len()..];
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let next = rest[digits.len()..].trim_start();
            let ends = next.is_empty() || next.starts_with([',', '.', '!']) || next.starts_with("and ");
            if let (true, Ok(age)) = (ends, digits.parse::<u8>()) {
                out.push((age, at + word.len()));
            }
        }
    }
    out
}

fn child_is_grown(folded: &str) -> bool {
    clauses(folded)
        .iter()
        .any(|c| says(c, CHILD) && numbers_before_age_word(c).iter().any(|(age, _)| *age >= 18))
}

/// "未满14周岁": the lowest bound that is said.
fn bounds(folded: &str) -> Option<u8> {
    numbers_before_age_word(folded)
        .into_iter()
        .filter(|(_, at)| is_bound(&folded[..*at]))
        .map(|(age, _)| age)
        .chain(after_words(
            folded,
            &[
                "under ",
                "below ",
                "younger than ",
                "under the age of ",
                "less than ",
                "not yet ",
                "will turn ",
                "will be ",
                "turning ",
                "about to turn ",
                "almost ",
                "nearly ",
            ],
        ))
        .min()
}

fn is_bound(before: &str) -> bool {
    let before = before.trim_end();
    [
        "未满",
        "不满",
        "不到",
        "未到",
        "小于",
        "低于",
        "没满",
        "没到",
        "尚未满",
        "未年满",
        "还未满",
        "还没到",
        "还不到",
        "下个月满",
        "下月满",
        "明年满",
        "明年",
        "下周满",
        "年底满",
        "即将满",
        "即将年满",
        "将满",
        "快满",
        "快要满",
        "就要满",
        "马上满",
        "快到",
        "快",
    ]
    .iter()
    .any(|w| before.ends_with(w))
        || ["under", "below", "younger than", "less than", "not yet", "age of"]
            .iter()
            .any(|w| before.ends_with(w))
}

/// "注册时12岁": how old the child was, not is.
fn is_past(before: &str) -> bool {
    let before = before.trim_end();
    ["时", "那时候", "那年", "时才", "时只有", "时是"].iter().any(|w| before.ends_with(w))
}

fn ages(folded: &str, today: (i16, i8, i8), claim: bool) -> Vec<u8> {
    let mut out: Vec<u8> = numbers_before_age_word(folded)
        .into_iter()
        .filter(|(_, at)| !is_bound(&folded[..*at]) && !is_past(&folded[..*at]))
        .map(|(age, _)| age)
        .collect();
    out.extend(
        after_words(
            folded,
            &[
                "aged ",
                "age ",
                "age: ",
                "age is ",
                "turned ",
                "is only ",
                "just turned ",
                "年龄:",
                "年龄",
                "age of ",
            ],
        )
        .filter(|age| *age > 2),
    );
    if out.is_empty() && claim {
        let (year, month, day) = today;
        out.extend(births(folded).filter_map(|(born, birthday)| {
            let to_come = birthday.is_some_and(|b| b > (month, day));
            u8::try_from(year - born - i16::from(to_come)).ok()
        }));
    }
    out
}

/// "2015年8月出生", "born in 2015", "born 12 May 2015".
///
/// With the month and day where they follow the year in numbers. Of a month alone, its last day counts:
/// in doubt the child is the younger.
fn births(folded: &str) -> impl Iterator<Item = (i16, Option<(i8, i8)>)> {
    let mut out = Vec::new();
    for clause in clauses(folded) {
        if !says(clause, "出生|生于|生日|年生|born|date of birth|dob|birthday") {
            continue;
        }
        let numbers: Vec<&str> =
            clause.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).collect();
        for (at, number) in numbers.iter().enumerate().filter(|(_, n)| n.len() == 4) {
            let Some(year) = number.parse().ok().filter(|y: &i16| (1990..2100).contains(y)) else { continue };
            let part = |at: usize, most: i8| {
                numbers.get(at).and_then(|n| n.parse().ok()).filter(|n| (1..=most).contains(n))
            };
            out.push((year, part(at + 1, 12).map(|month| (month, part(at + 2, 31).unwrap_or(31)))));
        }
    }
    out.into_iter()
}

/// Numbers that stand before 岁, 周岁, "years old", "-year-old", with the byte place of the number.
fn numbers_before_age_word(folded: &str) -> Vec<(u8, usize)> {
    let mut out = Vec::new();
    for word in [
        "周岁",
        "岁",
        "-year-old",
        " year-old",
        " year old",
        " years old",
        "-years-old",
        " yrs old",
        " yo ",
        " y/o",
        " years of age",
        "th birthday",
    ] {
        for (at, _) in folded.match_indices(word) {
            let before = folded[..at].trim_end();
            if let Some((number, start)) = trailing_number(before) {
                out.push((number, start));
            }
        }
    }
    out
}

fn trailing_number(before: &str) -> Option<(u8, usize)> {
    let digits = before.chars().rev().take_while(char::is_ascii_digit).count();
    if (1..=2).contains(&digits) {
        let start = before.len() - digits;
        return Some((before[start..].parse().ok()?, start));
    }
    if digits > 0 {
        return None;
    }
    let han: Vec<(usize, char)> =
        before.char_indices().rev().take_while(|(_, c)| "零一二两三四五六七八九十".contains(*c)).collect();
    if let Some((start, _)) = han.last() {
        return Some((han_number(&before[*start..])?, *start));
    }
    let word_start = before.len() - before.chars().rev().take_while(char::is_ascii_alphabetic).count();
    const WORDS: &[&str] = &[
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
    ];
    let at = WORDS.iter().position(|w| *w == &before[word_start..])?;
    Some((u8::try_from(at + 1).ok()?, word_start))
}

/// 一 to 九十九.
fn han_number(text: &str) -> Option<u8> {
    let digit = |c: char| match c {
        '两' => Some(2),
        c => "零一二三四五六七八九".chars().position(|d| d == c).and_then(|p| u8::try_from(p).ok()),
    };
    match text.split_once('十') {
        Some((tens, ones)) => {
            let tens = if tens.is_empty() { 1 } else { digit(tens.chars().next_back()?)? };
            let ones = if ones.is_empty() { 0 } else { digit(ones.chars().next()?)? };
            Some(tens * 10 + ones)
        }
        None if text.chars().count() == 1 => digit(text.chars().next()?),
        None => None,
    }
}

fn after_words<'t>(folded: &'t str, words: &'t [&'t str]) -> impl Iterator<Item = u8> + 't {
    words.iter().flat_map(move |word| {
        folded.match_indices(word).filter_map(move |(at, _)| {
            let whole = folded[..at].chars().next_back().is_none_or(|c| !c.is_ascii_alphabetic());
            let tail = &folded[at + word.len()..];
            let digits: String = tail.chars().take_while(char::is_ascii_digit).collect();
            let unit = tail[digits.len()..].trim_start();
            let other = ["%", "month", "day", "hour", "minute", "week", "次", "天", "个", "年"]
                .iter()
                .any(|u| unit.starts_with(u));
            (whole && (1..=2).contains(&digits.len()) && !other).then(|| digits.parse().ok())?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(text: &str) -> (bool, Option<u8>, bool) {
        let g = read(text, (2026, 11, 23));
        (g.guardian, g.minor_age, g.under_14)
    }

    #[test]
    fn the_line_is_at_fourteen() {
        for (text, expected) in [
            ("我是孩子的母亲，孩子今年13岁", (true, Some(13), true)),
            ("我是孩子的母亲，孩子今年14岁", (true, Some(14), false)),
            ("我女儿十三周岁", (true, Some(13), true)),
            ("我女儿十四岁", (true, Some(14), false)),
            ("My 13-year-old son uses it", (true, Some(13), true)),
            ("My 14-year-old son uses it", (true, Some(14), false)),
            ("My daughter is eleven years old", (true, Some(11), true)),
            ("My son, aged 12, uses it", (true, Some(12), true)),
        ] {
            assert_eq!(got(text), expected, "{text}");
        }
    }

    #[test]
    fn a_bound_is_no_age() {
        assert_eq!(got("孩子未满14周岁，我是家长"), (true, None, true));
        assert_eq!(got("我的孩子不满十四周岁"), (true, None, true));
        assert_eq!(got("my child is under 14"), (true, None, true));
        assert_eq!(got("我是孩子妈妈，孩子下个月满14周岁"), (true, None, true));
        assert_eq!(
            got("I am the father of Leo. He will turn 14 next month. My son uses it."),
            (true, None, true)
        );
        assert_eq!(got("我是家长。孩子注册时12岁，现在15岁了"), (true, Some(15), false));
        assert_eq!(got("我的孩子未满18岁"), (true, None, false));
        assert_eq!(got("我的孩子未满14周岁，今年11岁"), (true, Some(11), true));
    }

    #[test]
    fn a_year_of_birth_tells_the_age() {
        assert_eq!(got("我是陈果果（2015年8月出生）的母亲"), (true, Some(11), true));
        assert_eq!(got("我是孩子的监护人。孩子2012年12月20日出生"), (true, Some(13), true));
        assert_eq!(got("我女儿生于2012年11月22日出生"), (true, Some(14), false));
        assert_eq!(got("My son was born in 2010"), (true, Some(16), false));
    }

    #[test]
    fn the_parents_own_age_is_not_the_childs() {
        assert_eq!(got("我今年35岁，我女儿11岁"), (true, Some(11), true));
        assert_eq!(got("我儿子25岁了"), (false, None, false));
    }

    #[test]
    fn a_grown_child_is_no_guardian_of_his_parents() {
        for text in [
            "我父亲今年70岁，我是他儿子，替他申请删除录音",
            "我母亲是学员，她65岁，我作为她的女儿代她申请注销",
            "My father is 70. I am his son and he asked me to write.",
        ] {
            assert!(!got(text).0, "{text}");
        }
    }

    #[test]
    fn a_letter_without_a_child_has_no_guardian() {
        assert_eq!(got("请删除我的信息，我今年30岁"), (false, None, false));
        assert_eq!(got("Please delete my data. I was parented well."), (false, None, false));
        assert_eq!(got("我今年12岁，请删除我的信息"), (false, Some(12), true));
    }
}
