//! Bar charts as SVG 1.1, without a library: a few rectangles and words.

use std::fmt::Write as _;

/// One bar.
#[derive(Debug, Clone, Copy)]
pub struct Bar<'a> {
    /// What it stands for.
    pub name: &'a str,
    /// How long it is.
    pub value: f64,
}

const WIDTH: f64 = 720.0;
const ROW: f64 = 26.0;
/// Room for the title, for names on the left and for values on the right.
const TOP: f64 = 40.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;

/// A chart of bars that begin at 0, the longest as wide as the picture.
#[must_use]
pub fn bars(title: &str, bars: &[Bar<'_>]) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let height = TOP + ROW * bars.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    for (number, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * number as f64;
        let length = if longest > 0.0 { bar.value.max(0.0) / longest * (WIDTH - LEFT - RIGHT) } else { 0.0 };
        let colour = if bar.name.starts_with("tollgate") { "#c2410c" } else { "#64748b" };
        let (text_y, value_x) = (y + 15.0, LEFT + length + 6.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text_y}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <text x=\"{value_x:.1}\" y=\"{text_y}\">{}</text>",
            LEFT - 8.0,
            escaped(bar.name),
            shown(bar.value)
        );
    }
    svg + "</svg>\n"
}

fn shown(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = bars("a < b", &[Bar { name: "bare", value: 40.0 }, Bar { name: "tollgate", value: 20.0 }]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        for part in
            ["a &lt; b", "width=\"500.0\" height=\"20\" fill=\"#64748b\"", "width=\"250.0\" height=\"20\"", ">40<"]
        {
            assert!(svg.contains(part), "{part}: {svg}");
        }
    }

    #[test]
    fn nothing_and_less_than_nothing_have_no_length() {
        let svg = bars("", &[Bar { name: "a", value: 0.0 }, Bar { name: "b", value: -1.0 }]);
        assert_eq!(svg.matches("width=\"0.0\"").count(), 2, "{svg}");
    }
}
