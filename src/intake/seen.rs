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
use scraper::{ElementRef, Html, Node};

use super::colour::{self, Colour, see_through};
use super::css::{Declarations, Sheet, hides};
use crate::domain::{Reason, Refusal};

/// Tags and open nesting beyond which a page is refused: building the tree costs their product.
const MAX_TAGS: usize = 20_000;
const MAX_OPEN: usize = 400;

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
    colour: Colour,
    background: Colour,
}

/// Reads a page.
///
/// # Errors
/// `MAIL_TOO_LARGE` when the page has more tags, or nests deeper, than is read.
pub fn read(html: &str) -> Result<Seen, Refusal> {
    measure(html)?;
    let page = Html::parse_document(html);
    let sheet = Sheet::of(&page);
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
                let styled = ElementRef::wrap(node).and_then(|e| sheet.declarations(&e));
                let look = look(element, parent, styled.as_ref());
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

fn look(element: &Element, parent: &Look, style: Option<&Declarations>) -> Look {
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
    look.hidden |= element.attr("hidden").is_some() || name == "select";
    look.machine |= NEVER.contains(&name);
    let class = element.attr("class").unwrap_or_default();
    let cited = element.attr("type").is_some_and(|t| t.eq_ignore_ascii_case("cite"));
    look.quoted |=
        name == "blockquote" && (cited || class.contains("quote")) || class.contains("gmail_quote");
    if let Some(colour) = element.attr("bgcolor").and_then(colour::parse) {
        look.background = colour;
    }
    if let Some(colour) = element.attr("color").and_then(colour::parse) {
        look.colour = colour;
    }
    match style {
        Some(style) => dress(&mut look, style),
        None => look.hidden = true,
    }
    look
}

/// What an element's styles change.
fn dress(look: &mut Look, style: &Declarations) {
    look.hidden |= hides(style);
    let mut through = false;
    for (property, value) in style {
        match property.as_str() {
            "color" => {
                look.colour = colour::parse(value).unwrap_or(look.colour);
                through = see_through(value);
            }
            "background" | "background-color" => {
                look.background = value.split_whitespace().find_map(colour::parse).unwrap_or(look.background);
            }
            _ => {}
        }
    }
    look.hidden |= through;
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
        let unseen = look.hidden || colour::same(look.colour, look.background);
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
