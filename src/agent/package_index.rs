//! The page a person opens first in an export package (中文/English).
//!
//! It shows the beginning of each collection; the whole of it is in the files
//! beside. Every value is escaped, and the page may load and run nothing.

use super::value::Value;

/// Rows shown of one collection.
const ROWS: usize = 100;
/// Characters shown of one value.
const CHARACTERS: usize = 200;
/// Bytes after which no more rows are added to the page.
const PAGE_BYTES: usize = 1 << 20;

/// The page while it grows.
pub struct Index {
    html: String,
    shown: usize,
}

fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// How a value reads to a person.
pub fn readable(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(n) => n.to_string(),
        Value::Real(x) => x.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob { base64 } => format!("[{} bytes]", base64.0.len()),
    }
}

impl Index {
    /// `title` and `made` are ours: an id and an instant.
    pub fn new(title: &str, made: &str) -> Self {
        let mut html = String::from(
            "<!doctype html><html lang=\"zh\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>个人信息副本 / Copy of personal information</title>\
             <style>body{font-family:sans-serif;margin:2rem}table{border-collapse:collapse}\
             td,th{border:1px solid #999;padding:.2rem .5rem;text-align:left}</style></head><body>\
             <h1>个人信息副本<br>Copy of personal information</h1><p>",
        );
        escape_into(&mut html, title);
        html.push_str(" · ");
        escape_into(&mut html, made);
        html.push_str(
            "</p><p>每张表在此只显示开头部分，完整内容见 data 文件夹（CSV 与 JSON Lines）。<br>\
             Each table shows its beginning only; all of it is in the folder data (CSV and JSON Lines).</p>\n",
        );
        Self { html, shown: 0 }
    }

    pub fn begin<'a>(&mut self, collection: &str, columns: impl Iterator<Item = &'a str>) {
        self.shown = 0;
        self.html.push_str("<h2>");
        escape_into(&mut self.html, collection);
        self.html.push_str("</h2><table><tr>");
        for column in columns {
            self.html.push_str("<th>");
            escape_into(&mut self.html, column);
            self.html.push_str("</th>");
        }
        self.html.push_str("</tr>\n");
    }

    pub fn row(&mut self, values: &[Value]) {
        if self.shown == ROWS || self.html.len() > PAGE_BYTES {
            return;
        }
        self.shown += 1;
        self.html.push_str("<tr>");
        for value in values {
            let text: String = readable(value).chars().take(CHARACTERS).collect();
            self.html.push_str("<td>");
            escape_into(&mut self.html, &text);
            self.html.push_str("</td>");
        }
        self.html.push_str("</tr>\n");
    }

    pub fn end(&mut self, rows: u64) {
        self.html.push_str(&format!("</table><p>共 {rows} 行 / {rows} rows</p>\n"));
    }

    /// A collection of which nothing is in the package, and why (a word of the vocabulary).
    pub fn left_out(&mut self, collection: &str, why: &str) {
        self.html.push_str("<p>未包含 / Not included: ");
        escape_into(&mut self.html, collection);
        self.html.push_str(" (");
        escape_into(&mut self.html, why);
        self.html.push_str(")</p>\n");
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.html.push_str("</body></html>\n");
        self.html.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_cell() {
        let mut index = Index::new("t", "now");
        index.begin("users", ["a<b"].into_iter());
        index.row(&[Value::text("</td><script>alert('x')</script>")]);
        index.end(1);
        let html = String::from_utf8(index.finish()).unwrap();
        assert!(!html.contains("<script"));
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"));
        assert!(html.contains("<th>a&lt;b</th>"));
    }
}
