//! Colours as style sheets write them, as far as they tell whether text is seen.

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Whether a colour lets everything through.
pub fn see_through(value: &str) -> bool {
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
        && parts.get(3).and_then(|a| super::css::leading_number(a)).is_some_and(|alpha| alpha < 0.05)
}

/// A colour's name, hexadecimal form or function. `None` for what is not known here.
pub fn parse(value: &str) -> Option<Colour> {
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
                let (_, grey, light) = (
                    parts.next()?,
                    super::css::leading_number(parts.next()?)?,
                    super::css::leading_number(parts.next()?)?,
                );
                let level = (light * 2.55) as u8;
                return (grey <= 5.0 || light >= 97.0 || light <= 3.0).then_some([level; 3]);
            }
            if let Some(fallback) = value.strip_prefix("var(").and_then(|v| v.split_once(',')) {
                return parse(fallback.1.trim_end_matches(')'));
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

/// So near that nobody tells them apart.
pub fn same(a: Colour, b: Colour) -> bool {
    a.iter().zip(b).all(|(x, y)| x.abs_diff(y) <= 12)
}
