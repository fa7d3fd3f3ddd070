//! Bytes to text as it is in the wild: wrong labels, missing labels, encoded
//! words cut in the middle of a character.

use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::decoders::{base64::base64_decode, charsets::map::charset_decoder};

/// Undoes a Content-Transfer-Encoding (RFC 2045 §6). Broken base64 gives what can be read of it.
pub fn transfer(encoding: &str, body: &[u8]) -> Vec<u8> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "base64" => base64(body),
        "quoted-printable" => quoted_printable_decode(body).unwrap_or_else(|| body.to_vec()),
        _ => body.to_vec(),
    }
}

fn base64(body: &[u8]) -> Vec<u8> {
    let alphabet = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let clean: Vec<u8> = body.iter().copied().filter(alphabet).collect();
    base64_decode(&clean).unwrap_or_default()
}

/// Decodes with the declared charset; without one (or with one that does not
/// fit), UTF-8 where it is UTF-8, else GB18030, which holds GBK and GB2312.
pub fn decode(bytes: &[u8], charset: Option<&str>) -> String {
    let declared = charset
        .map(|c| c.trim_matches([' ', '"', '\'', '\t']).to_ascii_lowercase())
        .filter(|c| !c.is_empty());
    let ascii = matches!(
        declared.as_deref(),
        None | Some("us-ascii" | "ascii" | "utf-8" | "utf8" | "unknown-8bit" | "x-unknown" | "binary")
    );
    if ascii || std::str::from_utf8(bytes).is_ok() && bytes.is_ascii() && !stateful(declared.as_deref()) {
        return match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => guess(bytes),
        };
    }
    // GB2312 in a label nearly always means its superset.
    let name = match declared.as_deref() {
        Some("cp936" | "ms936" | "windows-936" | "euc-cn") => "gb18030",
        Some(gb) if gb.trim_start_matches("x-").starts_with("gb") => "gb18030",
        // Taiwan's and Hong Kong's labels of the same family: big5_tw, x-big5, big5-eten.
        Some("cp950" | "ms950" | "windows-950") => "big5",
        Some(big5) if big5.contains("big5") && charset_decoder(big5.as_bytes()).is_none() => "big5",
        Some(other) => other,
        None => "utf-8",
    };
    match charset_decoder(name.as_bytes()) {
        Some(decoder) => {
            let text = decoder(bytes);
            // A label that does not fit: UTF-8 text sent as gb18030, or the reverse.
            match std::str::from_utf8(bytes) {
                Ok(utf8) if text.contains('\u{FFFD}') => utf8.to_owned(),
                _ => text,
            }
        }
        None => guess(bytes),
    }
}

fn stateful(charset: Option<&str>) -> bool {
    charset.is_some_and(|c| {
        c.starts_with("iso-2022") || c.starts_with("utf-7") || c.starts_with("utf-16") || c == "hz-gb-2312"
    })
}

fn guess(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let lossy = String::from_utf8_lossy(bytes);
    let bad = lossy.matches('\u{FFFD}').count();
    let Some(decoder) = charset_decoder(b"gb18030") else { return lossy.into_owned() };
    let gb = decoder(bytes);
    if gb.matches('\u{FFFD}').count() < bad { gb } else { lossy.into_owned() }
}

/// Whether the bytes, read as GB18030, hold a four-byte character.
pub fn has_four_byte(bytes: &[u8]) -> bool {
    let mut i = 0;
    while i < bytes.len() {
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let lead = |at: usize| bytes.get(at).is_some_and(|b| (0x81..=0xFE).contains(b));
        if !lead(i) {
            i += 1;
        } else if digit(i + 1) && lead(i + 2) && digit(i + 3) {
            return true;
        } else {
            i += 2;
        }
    }
    false
}

/// Whether the label names GB18030 itself.
pub fn is_gb18030(charset: &str) -> bool {
    charset.trim().eq_ignore_ascii_case("gb18030")
}

/// A header's text: unfolded, encoded words decoded (RFC 2047), raw 8-bit read as [`decode`] does.
///
/// Neighbouring words of one charset are joined before they are decoded:
/// many mailers cut a character in two.
pub fn header_text(raw: &[u8]) -> (String, bool) {
    let unfolded: Vec<u8> = raw.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let mut out = String::new();
    let mut four_byte = false;
    let mut pending: Option<(String, Vec<u8>)> = None;
    let mut rest = unfolded.as_slice();
    let mut flush = |pending: &mut Option<(String, Vec<u8>)>, out: &mut String| {
        if let Some((charset, bytes)) = pending.take() {
            four_byte |= is_gb18030(&charset) && has_four_byte(&bytes);
            out.push_str(&decode(&bytes, Some(&charset)));
        }
    };
    while !rest.is_empty() {
        match encoded_word(rest) {
            Some((charset, bytes, used)) => {
                match &mut pending {
                    Some((open, joined)) if *open == charset => joined.extend_from_slice(&bytes),
                    _ => {
                        flush(&mut pending, &mut out);
                        pending = Some((charset, bytes));
                    }
                }
                rest = &rest[used..];
            }
            None => {
                let until = next_word(rest);
                let plain = &rest[..until];
                // White space between two encoded words is not shown (RFC 2047 §6.2).
                let joins =
                    pending.is_some() && until < rest.len() && plain.iter().all(u8::is_ascii_whitespace);
                if !joins {
                    flush(&mut pending, &mut out);
                    out.push_str(&decode(plain, None));
                }
                rest = &rest[until..];
            }
        }
    }
    flush(&mut pending, &mut out);
    (out.trim().to_owned(), four_byte)
}

fn next_word(bytes: &[u8]) -> usize {
    (1..bytes.len()).find(|at| encoded_word(&bytes[*at..]).is_some()).unwrap_or(bytes.len())
}

/// `=?charset?B|Q?data?=` at the start: charset, bytes, length.
fn encoded_word(bytes: &[u8]) -> Option<(String, Vec<u8>, usize)> {
    const LONGEST: usize = 2048;
    let body = bytes.strip_prefix(b"=?")?;
    let body = &body[..body.len().min(LONGEST)];
    let charset_end = body.iter().position(|b| *b == b'?')?;
    let charset = std::str::from_utf8(&body[..charset_end]).ok()?.split('*').next()?.to_ascii_lowercase();
    let encoding = body.get(charset_end + 1)?.to_ascii_lowercase();
    if body.get(charset_end + 2) != Some(&b'?') || charset.is_empty() {
        return None;
    }
    let data = &body[charset_end + 3..];
    let end = data.windows(2).position(|w| w == b"?=")?;
    let bytes = match encoding {
        b'b' => base64(&data[..end]),
        b'q' => q_decode(&data[..end]),
        _ => return None,
    };
    Some((charset, bytes, 2 + charset_end + 3 + end + 2))
}

fn q_decode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut i = 0;
    while i < data.len() {
        match data[i] {
            b'_' => out.push(b' '),
            b'=' => {
                let hex = data.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
                match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
                    Some(byte) => {
                        out.push(byte);
                        i += 2;
                    }
                    None => out.push(b'='),
                }
            }
            other => out.push(other),
        }
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_between_two_encoded_words_is_whole_again() {
        let (text, _) = header_text(b"=?utf-8?B?5Yig6Q==?=\r\n =?utf-8?B?maTmiJE=?=");
        assert_eq!(text, "删除我");
    }

    #[test]
    fn words_and_plain_text_mix() {
        assert_eq!(header_text(b"Fwd: =?utf-8?Q?a_b=20c?= tail").0, "Fwd: a b c tail");
        assert_eq!(header_text(b"=?utf-8?X?zz?= stays").0, "=?utf-8?X?zz?= stays");
    }

    #[test]
    fn unlabelled_chinese_is_read() {
        let gbk = [0xC9, 0xBE, 0xB3, 0xFD]; // 删除
        assert_eq!(decode(&gbk, None), "删除");
        assert_eq!(decode(&gbk, Some("us-ascii")), "删除");
        assert_eq!(header_text(&gbk).0, "删除");
        assert_eq!(decode("删除".as_bytes(), None), "删除");
    }

    #[test]
    fn gbk_labelled_as_gb2312_is_read() {
        for label in ["big5_tw", "x-big5", "Big5", "cp950"] {
            assert_eq!(decode(&[0xA7, 0x52, 0xB0, 0xA3], Some(label)), "刪除", "{label}");
        }
        let gbk = [0xEF, 0x46]; // 颋 is outside GB2312
        assert!(!decode(&gbk, Some("gb2312")).contains('\u{FFFD}'));
    }

    #[test]
    fn the_four_byte_forms_of_gb18030_are_read_and_noticed() {
        let bytes = [0x95, 0x34, 0xB2, 0x35, 0xCC, 0xEF];
        assert_eq!(decode(&bytes, Some("GB18030")), "𠮷田");
        assert!(has_four_byte(&bytes));
        assert!(!has_four_byte(&[0xCC, 0xEF, b'1', b'2']));
    }
}
