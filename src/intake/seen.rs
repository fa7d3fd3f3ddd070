//! HTML to the text a person sees, apart from the text that is only there for machines.
//!
//! An instruction or a name hidden in HTML is nothing the person wrote or
//! read. Hidden is: script, style, head, comments, templates; the `hidden`
//! attribute; styles (inline, or in a style sheet of the mail) that do not
//! display, make invisible, shrink to nothing, move off the screen or colour
//! text like its background. `aria-hidden` hides from screen readers only: it
//! is seen.

use std::collections::HashMap;

use scraper::node::Element;
use scraper::{ElementRef, Html, Node, Selector};

use crate::domain::{Reason, Refusal};

/// Tags and open nesting beyond which a page is refused: building the tree costs their product.
const MAX_TAGS: usize = 20_000;
const MAX_OPEN: usize = 400;
const MAX_RULES: usize = 100;

/// What a page shows and what it hides. Personal data.
#[derive(Default)]
pub struct Seen {
    pub shown: String,
    /// Text that is styled so that nobody sees it.
    pub hidden: String,
    /// Text that only programs read: title, comments, scripts.
    pub machine: String,
}

#[derive(Clone)]
struct Look {
    hidden: bool,
    machine: bool,
    quoted: bool,
    /// Directly inside a closed `<details>`: whether what is around that is hidden.
    summary: Option<bool>,
    colour: [u8; 3],
    background: [u8; 3],
}

/// Reads a page.
///
/// # Errors
/// `MAIL_TOO_LARGE` when the page has more tags, or nests deeper, than is read.
pub fn read(html: &str) -> Result<Seen, Refusal> {
    measure(html)?;
    let page = Html::parse_document(html);
    let rules = hiding_rules(&page);
    let start = Look {
        hidden: false,
        machine: false,
        quoted: false,
        summary: None,
        colour: [0, 0, 0],
        background: [255, 255, 255],
    };
    let mut out = Writer::default();
    let mut looks = vec![start];
    // Depth first by hand: hostile pages must not choose our stack's depth.
    let mut work = vec![(page.tree.root(), false)];
    while let Some((node, closing)) = work.pop() {
        match node.value() {
            Node::Text(text) => out.text(text, looks.last()),
            Node::Comment(comment) => out.machine(comment),
            Node::Element(element) if closing => {
                if let Some(look) = looks.pop() {
                    out.close(element.name(), &look);
                }
            }
            Node::Element(element) => {
                let Some(parent) = looks.last() else { break };
                let ruled = ElementRef::wrap(node).is_some_and(|e| rules.iter().any(|r| r.matches(&e)));
                let look = look(element, parent, ruled);
                out.open(element.name(), &look);
                looks.push(look);
                work.push((node, true));
                work.extend(node.children().rev().map(|child| (child, false)));
            }
            _ if closing => {}
            _ => work.extend(node.children().rev().map(|child| (child, false))),
        }
    }
    Ok(out.finish())
}

fn measure(html: &str) -> Result<(), Refusal> {
    let too_much = |note: &'static str| Refusal::at(Reason::MailTooLarge, "mail.html").note(note);
    let mut open: HashMap<String, i64> = HashMap::new();
    let mut depth: i64 = 0;
    let mut tags = 0;
    for piece in html.split('<').skip(1) {
        tags += 1;
        if tags > MAX_TAGS {
            return Err(too_much("more than 20000 tags"));
        }
        let closing = piece.starts_with('/');
        let name: String = piece
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(20)
            .collect::<String>()
            .to_ascii_lowercase();
        if name.is_empty() || VOID.contains(&name.as_str()) {
            continue;
        }
        let count = open.entry(name).or_default();
        if closing {
            if *count > 0 {
                *count -= 1;
                depth -= 1;
            }
        } else {
            *count += 1;
            depth += 1;
            if depth > MAX_OPEN as i64 {
                return Err(too_much("nested deeper than 400"));
            }
        }
    }
    Ok(())
}

/// Elements that hold nothing, or that people leave open and browsers close.
const VOID: &[&str] = &[
    "br", "hr", "img", "meta", "link", "input", "col", "area", "base", "wbr", "source", "p", "li", "td",
    "tr", "th", "option", "dt", "dd", "tbody", "thead",
];

const NEVER: &[&str] = &[
    "script", "style", "head", "title", "template", "noscript", "object", "iframe", "audio", "video",
    "canvas", "embed", "datalist", "map",
];

fn look(element: &Element, parent: &Look, ruled: bool) -> Look {
    let mut look = parent.clone();
    let name = element.name();
    // A closed <details> shows its summary alone.
    look.summary = None;
    if let (Some(outer), "summary") = (parent.summary, name) {
        look.hidden = outer;
    }
    if name == "details" && element.attr("open").is_none() {
        look.summary = Some(look.hidden);
        look.hidden = true;
    }
    look.hidden |= ruled || element.attr("hidden").is_some() || name == "select";
    look.machine |= NEVER.contains(&name);
    let class = element.attr("class").unwrap_or_default();
    let cited = element.attr("type").is_some_and(|t| t.eq_ignore_ascii_case("cite"));
    look.quoted |=
        name == "blockquote" && (cited || class.contains("quote")) || class.contains("gmail_quote");
    if let Some(colour) = element.attr("bgcolor").and_then(parse_colour) {
        look.background = colour;
    }
    if let Some(colour) = element.attr("color").and_then(parse_colour) {
        look.colour = colour;
    }
    if let Some(style) = element.attr("style") {
        let style = declarations(style);
        look.hidden |= hides(&style);
        for (property, value) in &style {
            match property.as_str() {
                "color" => look.colour = parse_colour(value).unwrap_or(look.colour),
                "background" | "background-color" => {
                    look.background =
                        value.split_whitespace().find_map(parse_colour).unwrap_or(look.background);
                }
                _ => {}
            }
        }
        if style.iter().any(|(p, v)| p == "color" && see_through(v)) {
            look.hidden = true;
        }
    }
    look
}

fn declarations(style: &str) -> Vec<(String, String)> {
    let plain = unescaped(&without_comments(style));
    let mut out: Vec<(bool, String, String)> = plain
        .split(';')
        .filter_map(|d| d.split_once(':'))
        .map(|(p, v)| {
            let value = v.trim().to_ascii_lowercase().replace("! important", "!important");
            let plain = value.replace("!important", "");
            (value != plain, p.trim().to_ascii_lowercase(), plain.trim().to_owned())
        })
        .collect();
    // What is important wins over what comes later.
    out.sort_by_key(|(important, ..)| *important);
    out.into_iter().map(|(_, property, value)| (property, value)).collect()
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

/// Whether a colour lets everything through.
fn see_through(value: &str) -> bool {
    if value == "transparent" {
        return true;
    }
    if let Some(hex) = value.strip_prefix('#') {
        return hex.len() == 4 && hex.ends_with('0') || hex.len() == 8 && hex.ends_with("00");
    }
    let Some((kind, args)) = value.split_once('(') else { return false };
    let parts: Vec<&str> =
        args.trim_end_matches(')').split([',', ' ', '/']).filter(|p| !p.is_empty()).collect();
    matches!(kind, "rgb" | "rgba" | "hsl" | "hsla")
        && parts.get(3).and_then(|a| leading_number(a)).is_some_and(|alpha| alpha < 0.05)
}

/// Whether these declarations make an element's text unseen by themselves.
fn hides(style: &[(String, String)]) -> bool {
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

fn leading_number(value: &str) -> Option<f32> {
    let end =
        value.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(value.len());
    value[..end].parse().ok()
}

fn parse_colour(value: &str) -> Option<[u8; 3]> {
    let value = value.trim().trim_end_matches(',').to_ascii_lowercase();
    let named = match value.as_str() {
        "white" => [255, 255, 255],
        "black" => [0, 0, 0],
        "snow" | "ghostwhite" | "ivory" | "whitesmoke" | "floralwhite" | "mintcream" | "azure" => {
            [250, 250, 250]
        }
        "navy" => [0, 0, 128],
        "maroon" => [128, 0, 0],
        "purple" => [128, 0, 128],
        "teal" => [0, 128, 128],
        "silver" | "lightgray" | "lightgrey" => [200, 200, 200],
        "darkgray" | "darkgrey" => [169, 169, 169],
        "orange" => [255, 165, 0],
        "red" => [255, 0, 0],
        "blue" => [0, 0, 255],
        "green" => [0, 128, 0],
        "gray" | "grey" => [128, 128, 128],
        "yellow" => [255, 255, 0],
        _ => {
            if let Some(args) = value.strip_prefix("rgb(").or_else(|| value.strip_prefix("rgba(")) {
                let mut parts = args.trim_end_matches(')').split([',', ' ', '/']).filter(|p| !p.is_empty());
                let mut channel = || parts.next().and_then(|p| p.trim().parse::<f32>().ok()).map(|n| n as u8);
                return Some([channel()?, channel()?, channel()?]);
            }
            if let Some(args) = value.strip_prefix("hsl(").or_else(|| value.strip_prefix("hsla(")) {
                let mut parts = args.trim_end_matches(')').split([',', ' ', '/']).filter(|p| !p.is_empty());
                // Only the greys matter: text that is white on white.
                let (_, grey, light) =
                    (parts.next()?, leading_number(parts.next()?)?, leading_number(parts.next()?)?);
                let level = (light * 2.55) as u8;
                return (grey <= 5.0 || light >= 97.0 || light <= 3.0).then_some([level; 3]);
            }
            if let Some(fallback) = value.strip_prefix("var(").and_then(|v| v.split_once(',')) {
                return parse_colour(fallback.1.trim_end_matches(')'));
            }
            let hex = value.strip_prefix('#').unwrap_or(&value);
            if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            let pair = |s: &str| u8::from_str_radix(s, 16).ok();
            return match hex.len() {
                3 | 4 => {
                    let one = |i: usize| pair(&hex[i..=i]).map(|n| n * 17);
                    Some([one(0)?, one(1)?, one(2)?])
                }
                6 | 8 => Some([pair(&hex[0..2])?, pair(&hex[2..4])?, pair(&hex[4..6])?]),
                _ => None,
            };
        }
    };
    Some(named)
}

fn same_colour(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(x, y)| x.abs_diff(y) <= 12)
}

/// The selectors of the mail's own style sheets whose rules hide. Blocks for other media are left out.
fn hiding_rules(page: &Html) -> Vec<Selector> {
    let Ok(style) = Selector::parse("style") else { return Vec::new() };
    let mut out = Vec::new();
    for sheet in page.select(&style) {
        let text: String = sheet.text().collect();
        for (selectors, body) in top_level_rules(&without_comments(&text)) {
            if out.len() >= MAX_RULES || selectors.contains('@') || !hides(&declarations(&body)) {
                continue;
            }
            out.extend(Selector::parse(selectors.trim()).ok());
        }
    }
    out
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

#[derive(Default)]
struct Writer {
    shown: String,
    hidden: String,
    machine: String,
}

const BLOCK: &[&str] = &[
    "p",
    "div",
    "br",
    "li",
    "tr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "table",
    "ul",
    "ol",
    "blockquote",
    "hr",
    "section",
    "article",
    "header",
    "footer",
    "pre",
    "dl",
    "dt",
    "dd",
    "form",
    "center",
    "body",
];

impl Writer {
    fn open(&mut self, name: &str, look: &Look) {
        if BLOCK.contains(&name) {
            self.line(look);
        }
    }

    fn close(&mut self, name: &str, look: &Look) {
        if look.machine {
            return;
        }
        if name == "p" && !look.hidden {
            self.line(look);
            self.shown.push('\n');
        } else if BLOCK.contains(&name) && name != "br" {
            self.line(look);
        } else if matches!(name, "td" | "th") && !look.hidden {
            self.shown.push(' ');
        }
    }

    fn line(&mut self, look: &Look) {
        let to = if look.hidden { &mut self.hidden } else { &mut self.shown };
        if !to.is_empty() && !to.ends_with('\n') {
            to.push('\n');
        }
    }

    fn text(&mut self, text: &str, look: Option<&Look>) {
        let Some(look) = look else { return };
        if look.machine {
            return self.machine(text);
        }
        let unseen = look.hidden || same_colour(look.colour, look.background);
        let to = if unseen { &mut self.hidden } else { &mut self.shown };
        let mut space = to.is_empty() || to.ends_with(char::is_whitespace);
        if look.quoted && (to.is_empty() || to.ends_with('\n')) && !text.trim().is_empty() {
            to.push_str("> ");
            space = true;
        }
        for c in text.chars() {
            if c.is_whitespace() && c != '\u{3000}' {
                if !space {
                    to.push(' ');
                }
                space = true;
            } else {
                to.push(c);
                space = false;
            }
        }
    }

    fn machine(&mut self, text: &str) {
        self.machine.push_str(text);
        self.machine.push('\n');
    }

    fn finish(self) -> Seen {
        Seen { shown: tidy(&self.shown), hidden: tidy(&self.hidden), machine: self.machine }
    }
}

fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut out = lines.join("\n");
    while out.contains("\n\n\n") {
        out = out.replace("\n\n\n", "\n\n");
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> String {
        read(html).unwrap().shown
    }

    #[test]
    fn text_and_paragraphs_come_through() {
        assert_eq!(shown("<p>one <b>two</b></p><p>three<br>four</p>"), "one two\n\nthree\nfour");
        assert_eq!(shown("<table><tr><td>a</td><td>b</td></tr></table>"), "a b");
        assert_eq!(shown("a&nbsp;&amp;&#x5220;"), "a &删");
    }

    #[test]
    fn what_nobody_sees_is_apart() {
        for hider in [
            "<div style='display:none'>X</div>",
            "<div style='DISPLAY : NONE !important'>X</div>",
            "<span style='visibility:hidden'>X</span>",
            "<span style='font-size:0px'>X</span>",
            "<span style='font-size:1px'>X</span>",
            "<span style='opacity:0'>X</span>",
            "<div style='height:0;overflow:hidden'>X</div>",
            "<div style='max-height:0px'>X</div>",
            "<div style='width:0;height:0'>X</div>",
            "<div style='position:absolute;left:-9999px'>X</div>",
            "<div style='text-indent:-9999px'>X</div>",
            "<span style='color:#FFF'>X</span>",
            "<font color=white>X</font>",
            "<span style='color: rgb(255, 255, 255)'>X</span>",
            "<table><tr><td bgcolor='#000000'><span style='color:#000'>X</span></td></tr></table>",
            "<div style='background:#333;color:#343434'>X</div>",
            "<div style='color:transparent'>X</div>",
            "<p hidden>X</p>",
            "<style>@media screen{.h{display:none}}</style><p class=h>X</p>",
            "<div style='color:rgba(0,0,0,0)'>X</div>",
            "<div style='color:#0000'>X</div>",
            "<div style='color:hsl(0,0%,100%)'>X</div>",
            "<div style='color:var(--x,#fff)'>X</div>",
            "<table bgcolor=navy><tr><td style='color:navy'>X</td></tr></table>",
            "<div style='height:1px;overflow:hidden'>X</div>",
            "<div style='font:0/0 a'>X</div>",
            "<div style='filter:opacity(0)'>X</div>",
            "<div style='transform:translateX(-9999px)'>X</div>",
            "<div style='right:110%;position:fixed'>X</div>",
            "<div style='dis\\70lay:none'>X</div>",
            "<div style='display:/**/none'>X</div>",
            "<div style='display:none!important;display:block'>X</div>",
            "<details><summary>s</summary>X</details>",
            "<select><option>X</option></select>",
            "<style>.q{display:none}</style><p class=q>X</p>",
            "<style>/* x */ #z , .y { visibility : hidden; }</style><p class='a y'>X</p>",
        ] {
            let seen = read(&format!("<p>before</p>{hider}<p>after</p>")).unwrap();
            assert!(!seen.shown.contains('X'), "{hider}: {}", seen.shown);
            assert!(seen.hidden.contains('X'), "{hider}");
            assert!(seen.shown.contains("before") && seen.shown.contains("after"), "{hider}");
        }
    }

    #[test]
    fn what_only_programs_read_is_apart() {
        for machine in [
            "<script>X</script>",
            "<!-- X -->",
            "<title>X</title>",
            "<template>X</template>",
            "<style>X{}</style>",
        ] {
            let seen = read(&format!("<p>before</p>{machine}<p>after</p>")).unwrap();
            assert!(!seen.shown.contains('X') && !seen.hidden.contains('X'), "{machine}");
        }
    }

    #[test]
    fn what_is_seen_stays() {
        for visible in [
            "<p aria-hidden=true>X</p>",
            "<p style='color:#000'>X</p>",
            "<p style='font:400 14px/1.5 arial'>X</p>",
            "<p style='transform:scale(0.9)'>X</p>",
            "<p style='color:rgba(0,0,0,0.9)'>X</p>",
            "<details open><summary>s</summary>X</details>",
            "<details><summary>X</summary>s</details>",
            "<p style='font-size:0.8em'>X</p>",
            "<p style='height:0'>X</p>",
            "<div style='background:#000;color:#fff'>X</div>",
            "<style>@media print { p { display:none } }</style><p>X</p>",
        ] {
            assert!(shown(visible).contains('X'), "{visible}");
        }
    }

    #[test]
    fn earlier_mail_is_marked_as_quoted() {
        assert_eq!(shown("new<blockquote type=cite><p>old</p></blockquote>"), "new\n> old");
        assert_eq!(shown("<blockquote>mine</blockquote>"), "mine");
    }

    #[test]
    fn a_page_that_nests_too_deeply_is_refused() {
        assert_eq!(read(&"<div>".repeat(5_000)).err().unwrap().reason, Reason::MailTooLarge);
        assert_eq!(read(&"<div></x>".repeat(5_000)).err().unwrap().reason, Reason::MailTooLarge);
        assert_eq!(read(&"<br>".repeat(50_000)).err().unwrap().reason, Reason::MailTooLarge);
        assert!(read(&"<div>a</div>".repeat(2_000)).is_ok());
    }
}
