//! What the styles of a page say about whether text is seen: declarations on
//! elements, and the mail's own style sheets with the cascade (CSS Cascading 4 §6).

use std::cell::Cell;

use scraper::{ElementRef, Html, Selector};

/// Rules beyond this many are not read.
const MAX_RULES: usize = 400;
/// Questions put to selectors for one page. What comes after is taken as hidden.
const MAX_MATCHES: usize = 400_000;

/// Property and value, in lower case; the later wins.
pub type Declarations = Vec<(String, String)>;

struct Declared {
    important: bool,
    property: String,
    value: String,
}

struct Rule {
    selector: Selector,
    /// Ids, classes and their like, element names.
    weight: (usize, usize, usize),
    declared: Vec<Declared>,
}

/// The rules of the mail's own style sheets that can hide or colour. Blocks for other media are left out.
pub struct Sheet {
    rules: Vec<Rule>,
    left: Cell<usize>,
}

impl Sheet {
    pub fn of(page: &Html) -> Sheet {
        let mut sheet = Sheet { rules: Vec::new(), left: Cell::new(MAX_MATCHES) };
        let Ok(style) = Selector::parse("style") else { return sheet };
        for element in page.select(&style) {
            let text: String = element.text().collect();
            for (selectors, body) in top_level_rules(&without_comments(&text)) {
                sheet.take(&selectors, &body);
            }
        }
        sheet.rules.sort_by_key(|rule| rule.weight);
        sheet
    }

    fn take(&mut self, selectors: &str, body: &str) {
        let matters = |d: &Declared| MATTERS.iter().any(|m| d.property.starts_with(m));
        let declared = || -> Vec<Declared> { split(body).into_iter().filter(matters).collect() };
        if selectors.contains('@') || declared().is_empty() {
            return;
        }
        for one in listed(selectors) {
            if self.rules.len() >= MAX_RULES {
                return;
            }
            if let Ok(selector) = Selector::parse(one.trim()) {
                self.rules.push(Rule { selector, weight: weight(one), declared: declared() });
            }
        }
    }

    /// What holds for the element: the sheet's rules by weight, then its own `style`, then what is important.
    /// `None` when the page has asked too much.
    pub fn declarations(&self, element: &ElementRef<'_>) -> Option<Declarations> {
        let left = self.left.get().checked_sub(self.rules.len())?;
        self.left.set(left);
        let own = element.value().attr("style").map(split).unwrap_or_default();
        let ruled = self.rules.iter().filter(|r| r.selector.matches(element)).flat_map(|r| &r.declared);
        let mut all: Vec<&Declared> = ruled.chain(&own).collect();
        all.sort_by_key(|d| d.important);
        Some(all.into_iter().map(|d| (d.property.clone(), d.value.clone())).collect())
    }
}

/// Beginnings of the properties that can make text unseen.
const MATTERS: &[&str] = &[
    "display",
    "visibility",
    "content-visibility",
    "mso-hide",
    "font",
    "opacity",
    "max-",
    "height",
    "width",
    "line-height",
    "overflow",
    "filter",
    "transform",
    "position",
    "left",
    "top",
    "right",
    "bottom",
    "text-indent",
    "margin",
    "clip",
    "color",
    "background",
];

/// The selectors of a list. A comma inside brackets belongs to its selector.
fn listed(selectors: &str) -> Vec<&str> {
    let mut depth = 0i32;
    selectors
        .split(|c| {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                _ => {}
            }
            c == ',' && depth <= 0
        })
        .collect()
}

/// How much a selector weighs (Selectors 4 §17), near enough to tell which rule wins.
fn weight(selector: &str) -> (usize, usize, usize) {
    let count = |marks: &[char]| selector.matches(marks).count();
    let names = selector
        .split(|c: char| c.is_whitespace() || matches!(c, '>' | '+' | '~'))
        .filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
        .count();
    (count(&['#']), count(&['.', '[', ':']), names)
}

fn split(style: &str) -> Vec<Declared> {
    let plain = unescaped(&without_comments(style));
    plain
        .split(';')
        .filter_map(|d| d.split_once(':'))
        .map(|(property, value)| {
            let value = value.trim().to_ascii_lowercase().replace("! important", "!important");
            let plain = value.replace("!important", "");
            Declared {
                important: value != plain,
                property: property.trim().to_ascii_lowercase(),
                value: plain.trim().to_owned(),
            }
        })
        .collect()
}

/// Undoes the escapes of CSS (`\\70` is a letter).
fn unescaped(css: &str) -> String {
    let mut out = String::new();
    let mut chars = css.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let mut code = String::new();
        while let Some(digit) = chars.next_if(|d| code.len() < 6 && d.is_ascii_hexdigit()) {
            code.push(digit);
        }
        if code.is_empty() {
            out.extend(chars.next());
        } else {
            chars.next_if(|space| space.is_whitespace());
            out.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
        }
    }
    out
}

/// Whether these declarations make an element's text unseen by themselves.
pub fn hides(style: &[(String, String)]) -> bool {
    let get = |name: &str| style.iter().rev().find(|(p, _)| p == name).map(|(_, v)| v.as_str());
    let number = |name: &str| get(name).and_then(leading_number);
    let nothing = |name: &str| number(name).is_some_and(|n| n <= 0.0);
    let clipped = get("overflow").is_some_and(|v| v.starts_with("hidden") || v.starts_with("clip"));
    let off = |name: &str| {
        number(name).is_some_and(|n| n <= -100.0 || n >= 2000.0)
            || get(name).is_some_and(|v| v.ends_with('%')) && number(name).is_some_and(|n| n >= 100.0)
    };
    // A box of a pixel or two shows no letter.
    let tiny = |name: &str| {
        number(name).is_some_and(|n| n <= 2.0)
            && get(name).is_some_and(|v| {
                v.ends_with(|c: char| c.is_ascii_digit()) || v.ends_with("px") || v.ends_with("pt")
            })
    };
    let placed = get("position").is_some_and(|v| matches!(v, "absolute" | "fixed" | "relative"));
    get("display") == Some("none")
        || matches!(get("visibility"), Some("hidden" | "collapse"))
        || get("content-visibility") == Some("hidden")
        || get("mso-hide") == Some("all")
        || number("font-size").is_some_and(|n| n < 1.5)
            && !get("font-size").is_some_and(|v| v.ends_with("em"))
        || nothing("font-size")
        || number("opacity").is_some_and(|n| n < 0.05)
        || nothing("max-height")
        || nothing("max-width")
        || (nothing("height") || nothing("width")) && (clipped || get("line-height").is_some())
        || ["height", "width", "max-height", "max-width"].iter().any(|p| tiny(p)) && clipped
        || get("font").is_some_and(no_font)
        || get("filter").is_some_and(|v| argument(v, "opacity(").is_some_and(|n| n < 0.05))
        || get("transform").is_some_and(moved_off)
        || nothing("height") && nothing("width")
        || placed && ["left", "top", "right", "bottom"].iter().any(|p| off(p))
        || off("text-indent")
        || ["margin-left", "margin-top"].iter().any(|p| number(p).is_some_and(|n| n <= -500.0))
        || get("clip").is_some_and(|v| v.replace(' ', "").starts_with("rect(0"))
        || get("clip-path").is_some_and(|v| v.contains("inset(100%") || v.contains("inset(50%"))
        || get("transform").is_some_and(|v| {
            ["scale(", "scalex(", "scaley("].iter().any(|f| argument(v, f).is_some_and(|n| n.abs() < 0.05))
        })
}

/// The first number in the brackets of a CSS function.
fn argument(value: &str, function: &str) -> Option<f32> {
    leading_number(value.split_once(function)?.1.trim_start())
}

/// `font: 0/0 a`: a size of nothing in the short form.
fn no_font(value: &str) -> bool {
    value.split_whitespace().filter_map(|word| word.split('/').next()).any(|size| {
        leading_number(size)
            .is_some_and(|n| n <= 0.0 || n < 1.5 && (size.ends_with("px") || size.ends_with("pt")))
    })
}

/// Moved further than a screen is wide.
fn moved_off(value: &str) -> bool {
    value.contains("translate")
        && value.split(['(', ',', ' ', ')']).filter_map(leading_number).any(|n| n <= -200.0 || n >= 2000.0)
}

/// The number a value begins with.
pub fn leading_number(value: &str) -> Option<f32> {
    let end =
        value.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(value.len());
    value[..end].parse().ok()
}

fn without_comments(css: &str) -> String {
    let mut out = String::new();
    let mut rest = css;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, tail)| tail);
    }
    out.push_str(rest);
    out.replace("<!--", "").replace("-->", "")
}

/// `@media screen` and its like, without a condition on size or scheme.
fn for_screens(selector: &str) -> bool {
    let Some(media) = selector.trim().to_ascii_lowercase().strip_prefix("@media").map(str::to_owned) else {
        return false;
    };
    media.split(',').any(|m| matches!(m.trim(), "screen" | "only screen" | "all" | "only all" | ""))
}

fn top_level_rules(css: &str) -> Vec<(String, String)> {
    let (mut out, mut depth) = (Vec::new(), 0usize);
    let (mut selector, mut body) = (String::new(), String::new());
    let mut inside_screen = false;
    for c in css.chars() {
        match c {
            // The rules of a block for every screen stand as if outside it.
            '{' if depth == 0 && !inside_screen && for_screens(&selector) => {
                inside_screen = true;
                selector.clear();
            }
            '}' if depth == 0 => {
                inside_screen = false;
                selector.clear();
            }
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    out.push((std::mem::take(&mut selector), std::mem::take(&mut body)));
                }
            }
            _ if depth == 0 => selector.push(c),
            _ => body.push(c),
        }
    }
    out
}
